"""Where answers come from: the model behind an OpenAI API if there is a key for it, else one that is built in."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from resumable_stream.chat import message_text
from resumable_stream.http import AnswerRequest

MAX_COUNT = 10_000

PROSE = """\
You wrote “{topic}”, and this is what I have to say about it. I am the model that is built into this example: I work \
offline, I know nothing, and to the same message I always give the same answer. What I am good at is taking my time.

While you read, a task on the server goes on writing about “{topic}”, one word after the other. Each word is logged \
before anybody sees it, and your page does no more than read that log. So do to the page what you like: reload it, \
close it, take your phone out of the network and bring it back, or open a second tab and watch both of them write.

None of this asks me again. Whoever comes back gets what they have not seen: no word twice, and none missing. If \
everybody leaves, I finish all the same, and my answer is kept in this chat, where you find it tomorrow.

For a real answer about “{topic}”, set OPENAI_API_KEY and start the example again. Or send “count 200”, and check that \
no number is lost."""

MARKDOWN = """\
## What survives what

An answer is *logged* before anybody sees it, so **your page only reads**. What that is good for:

| what happens | the answer | the page |
| --- | --- | --- |
| you reload | goes on | goes on where it was |
| your network fails | goes on | comes back |
| the server dies | is kept as far as it got | says so |

1. Ask something long.
2. Reload while it is being written.
3. Look for the note below the answer.

> No word comes twice, and none is missing.

To start this again, with several processes that share a Redis:

```console
make demo REDIS_URL=redis://127.0.0.1:6379 WORKERS=3
```

It is `make demo` without those. What is written in HTML, such as <b>this</b>, is shown as it is written."""


async def answer(request: AnswerRequest) -> AsyncIterator[str]:
    """Answer the last message of a chat, piece by piece."""
    messages = request.turn.messages
    pieces = _ask_openai(messages) if os.environ.get("OPENAI_API_KEY") else _ask_built_in(messages)
    async for piece in pieces:
        yield piece


async def _ask_openai(messages: Sequence[Mapping[str, Any]]) -> AsyncIterator[str]:
    from openai import AsyncOpenAI  # here, so that the built-in model needs no package

    async with AsyncOpenAI() as client:  # reads OPENAI_API_KEY and OPENAI_BASE_URL
        stream = await client.chat.completions.create(
            model=os.environ.get("OPENAI_MODEL") or "gpt-5.4-mini",
            messages=[{"role": message["role"], "content": message_text(message)} for message in messages],
            stream=True,
        )
        async for chunk in stream:
            if chunk.choices and (text := chunk.choices[0].delta.content):
                yield text


async def _ask_built_in(messages: Sequence[Mapping[str, Any]]) -> AsyncIterator[str]:
    delay = float(os.environ.get("DEMO_DELAY") or 0.05)
    for word in re.findall(r"\s*\S+", _compose(message_text(messages[-1]))):
        await asyncio.sleep(delay)
        yield word


def _compose(message: str) -> str:
    if re.search("markdown", message, re.IGNORECASE):
        return MARKDOWN
    count = re.fullmatch(r"\s*count\s+(-?\d+)\s*", message, re.IGNORECASE)
    if count is None:
        topic = " ".join(message.split())
        return PROSE.format(topic=topic if len(topic) <= 80 else f"{topic[:79]}…")
    if not 1 <= int(count[1]) <= MAX_COUNT:
        return f"I can count to any number from 1 to {MAX_COUNT:,}, but not to that one."
    return " ".join(map(str, range(1, int(count[1]) + 1)))

"""What the examples share: chats, an answer that counts, and a stream that is no chat."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

from resumable_stream import JSONCodec, ResumableStreamContext
from resumable_stream.chat import ChatStore, ResumableChat, message_text
from resumable_stream.chat.stores.memory import MemoryChatStore
from resumable_stream.chat.stores.redis import RedisChatStore
from resumable_stream.http import AnswerRequest, EventStreamSettings

REDIS_URL = os.environ.get("REDIS_URL")
DELAY = 0.02
MAX_BODY_BYTES = 100_000

context = ResumableStreamContext.from_url(REDIS_URL or "memory://", codec=JSONCodec(), drain_timeout=1.0)
store: ChatStore = RedisChatStore(REDIS_URL) if REDIS_URL else MemoryChatStore()
chats = ResumableChat(context, store)
settings = EventStreamSettings()


async def respond(asked: AnswerRequest) -> AsyncIterator[str]:
    """Count as far as the message says, which is ``count 300``, say."""
    last = message_text(asked.turn.messages[-1]).split()[-1]
    for number in range(1, int(last) + 1 if last.isdecimal() else 11):
        yield f"{number} "
        await asyncio.sleep(DELAY)


async def numbers() -> AsyncIterator[dict[str, int]]:
    """Count to ten: this stands for any stream."""
    for number in range(1, 11):
        yield {"number": number}
        await asyncio.sleep(DELAY)


def user_of(request: Any) -> str | None:
    """Believe what the client says of itself: your sign-in goes here. In all frameworks headers are found this way."""
    user: str | None = request.headers.get("x-user")
    return user

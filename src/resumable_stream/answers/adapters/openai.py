"""From the streams of ``openai``, and of what speaks like it, such as LiteLLM."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from ..items import Item
from .openai_chat import ChatReader
from .openai_responses import ResponsesReader
from .reading import look, opened

__all__ = ["from_openai"]


async def from_openai(stream: Any) -> AsyncIterator[Item]:
    """Turn a stream of OpenAI's chat completions or responses into items.

    Seen working with openai 3.52.0 (``chat.completions.create``, ``chat.completions.stream``, ``responses.create`` and
    ``responses.stream``) and with ``acompletion`` of litellm 1.83.0.

    Text and refusals become text; ``reasoning_content``, ``reasoning`` and summaries of reasoning become reasoning.
    Calls of functions, and of tools that OpenAI has defined and does not run, become tool calls, for you to run: each
    ends in a `ToolInput`. Tools that the provider runs come with what they returned, but for pictures, which may be
    larger than a chunk may be: store them, and yield a `file`. Usage and the reason of the end are passed on: for the
    usage of a chat completion ask with ``stream_options={"include_usage": True}``. Of several choices only the first is
    read.

    Args:
        stream: What the client returns with ``stream=True``, awaited or not. For a client that blocks, see `in_thread`.

    Raises:
        InvalidFactoryError: It is no async iterable.
        RuntimeError: The provider says in the stream that it has failed.
    """
    chat, responses = ChatReader(), ResponsesReader()
    async with opened(stream) as chunks:
        async for chunk in chunks:
            for item in _items(chunk, chat, responses):
                yield item
    for item in chat.end():
        yield item


def _items(chunk: Any, chat: ChatReader, responses: ResponsesReader) -> Iterator[Item]:
    kind = look(chunk, "type")
    if kind == "chunk":  # of `chat.completions.stream`, which has events of its own besides
        return chat.read(look(chunk, "chunk"))
    return chat.read(chunk) if look(chunk, "choices") is not None else responses.read(kind, chunk)

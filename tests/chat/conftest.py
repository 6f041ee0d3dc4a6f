"""Chats over streams and a chat store that several contexts share, as several processes would."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import pytest

from resumable_stream import JSONCodec, ResumableStreamContext
from resumable_stream.abc import ChatStore, StreamBackend
from resumable_stream.backends.memory import MemoryBackend, MemoryStore
from resumable_stream.chat import Answer, ResumableChat, Turn
from resumable_stream.chat.stores.memory import MemoryChats, MemoryChatStore
from resumable_stream.testing import ManualClock

ALICE, BOB = "alice", "bob"


def text_chunks(*words: str) -> list[dict[str, Any]]:
    """Return the chunks of an answer that is one text, without its start and its finish."""
    deltas = [{"type": "text-delta", "id": "t", "delta": word} for word in words]
    return [{"type": "text-start", "id": "t"}, *deltas, {"type": "text-end", "id": "t"}]


def user_message(message_id: str, text: str = "Hello?") -> dict[str, Any]:
    """Return a message as a front end sends it."""
    return {"id": message_id, "role": "user", "parts": [{"type": "text", "text": text}]}


def says(*words: str) -> Answer:
    """Return an answer that says these words, and ends."""

    async def answer(_turn: Turn) -> AsyncIterator[Mapping[str, Any]]:
        for chunk in text_chunks(*words):
            yield chunk

    return answer


def by(factory: Callable[[], AsyncIterator[Mapping[str, Any]]]) -> Answer:
    """Return an answer that a test steers."""
    return lambda _turn: factory()


def text_of(messages: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the text of each message."""
    return ["".join(part.get("text", "") for part in message["parts"]) for message in messages]


class World:
    """One application: its streams and its chats, and as many processes as a test wants."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.clock = ManualClock()
        self.streams = MemoryStore(clock=self.clock)
        self.chats = MemoryChats()
        self._stack = stack

    async def process(
        self,
        *,
        store: ChatStore | None = None,
        backend: StreamBackend | None = None,
        settings: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> tuple[ResumableStreamContext, ResumableChat]:
        """Start a process: its context, entered, and its chats. When all its tasks wait, nothing is under way."""
        terms: dict[str, Any] = {"codec": JSONCodec(), "drain_timeout": 0.0, "linger": 0.0, **(settings or {})}
        backend = backend or MemoryBackend(self.streams)
        context = await self._stack.enter_async_context(ResumableStreamContext(backend, **terms))
        return context, ResumableChat(context, store or MemoryChatStore(self.chats), **options)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """An application without any chats."""
    async with AsyncExitStack() as stack:
        yield World(stack)

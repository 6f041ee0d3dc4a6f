"""How the suite gets at a store, and what its tests have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

from ...abc import ChatStore
from ...chat_types import Chat, ChatChange, ChatInfo, StreamRecord

E = TypeVar("E", bound=Exception)

ODD_IDS: Sequence[str] = [
    "../x",
    "..",
    ".",
    "/etc/passwd",
    "a/b\\c",
    "CON",
    "nul.json",
    "x" * 256,
    "ü" * 256,
    "🦜" * 256,
    "{x}",
    "}{",
    "{}",
    "*?[a]",
    "a:b",
    "a b\n\t\r",
    "\x00",
    "a\x00b",
    "\\z",
    "\\",
    "\ud800",
    "%7B",
    "%",
    "'; DROP TABLE chats; --",
    '"',
    "None",
    "0",
    "مرحبا",
    "e\u0301",
    "é",
    "A",
    "a",
    "a ",
    " ",
]
"""Ids that are names of files, patterns, quotes, escapes, or all but equal; two surrogates never stand in a row."""


class ChatStoreHarness(ABC):
    """How the suite gets at a store. One harness is one empty place for chats."""

    @abstractmethod
    def make_store(self) -> ChatStore:
        """Return a new store on the place, not yet connected. The suite makes several, as several processes would."""


def message(message_id: str, text: str = "") -> dict[str, Any]:
    """A message."""
    return {"id": message_id, "role": "user", "parts": [{"type": "text", "text": text}]}


def stream(stream_id: str, replies_to: str = "") -> StreamRecord:
    """A stream that begins. What a store sets itself is set to what cannot be."""
    return StreamRecord(stream_id, "not a chat", -1.0, replies_to)


def put(*message_ids: str) -> ChatChange:
    """A change that puts messages."""
    return ChatChange(put=[message(message_id) for message_id in message_ids])


async def create(store: ChatStore, chat_id: str = "c", owner: str = "o") -> ChatInfo:
    """Make a chat."""
    return await store.create(chat_id, owner, {})


async def load(store: ChatStore, chat_id: str = "c") -> Chat:
    """A chat that is there."""
    chat = await store.load(chat_id)
    assert chat is not None
    return chat


async def ids_of(store: ChatStore, chat_id: str = "c") -> list[str]:
    """The ids of a chat's messages, in order."""
    return [one["id"] for one in (await load(store, chat_id)).messages]


async def active_in(store: ChatStore, chat_id: str = "c") -> str | None:
    """The id of the active stream."""
    active = (await load(store, chat_id)).info.active_stream
    return active and active.stream_id


async def error_of(call: Awaitable[object], kind: type[E]) -> E:
    """The error of a call that has to fail."""
    try:
        await call
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")

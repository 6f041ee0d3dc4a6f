"""Chats in the memory of one process: the reference implementation of the contract."""

from __future__ import annotations

import time
from bisect import bisect_left, insort
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from typing_extensions import override

from ...abc import ChatStore
from ...chat_types import Chat, ChatChange, ChatInfo, ChatPage, StreamRecord
from ...exceptions import ChatExistsError, ChatNotFoundError
from ..changes import Changed, PagePosition, apply_change
from .text import copy, copy_change

__all__ = ["MemoryChatStore", "MemoryChats"]


class MemoryChats:
    """The chats themselves, which several stores of one event loop may share, as several processes share a database.

    Args:
        clock: Returns the time in seconds since 1970. Tests pass one that they move.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._chats: dict[str, Changed] = {}
        self._by_owner: dict[str, list[PagePosition]] = {}
        self._by_stream: dict[str, str] = {}

    def create(self, chat_id: str, owner: str, metadata: Mapping[str, Any]) -> ChatInfo:
        """As `ChatStore.create`; and so are the others."""
        if chat_id in self._chats:
            raise ChatExistsError(chat_id)
        now = self._clock()
        info = ChatInfo(chat_id, owner, created_at=now, updated_at=now, version=1, metadata=copy(metadata))
        self._chats[chat_id] = Changed(Chat(info, []), [])
        insort(self._by_owner.setdefault(owner, []), PagePosition.of(info))
        return _copy_of(info)

    def describe(self, chat_id: str) -> ChatInfo | None:
        """Return what is known of a chat."""
        kept = self._chats.get(chat_id)
        return kept and _copy_of(kept.chat.info)

    def load(self, chat_id: str) -> Chat | None:
        """Return a chat."""
        kept = self._chats.get(chat_id)
        return kept and Chat(_copy_of(kept.chat.info), [copy(message) for message in kept.chat.messages])

    def list(self, owner: str, limit: int, after: str | None) -> ChatPage:
        """Return a page."""
        positions = self._by_owner.get(owner, [])
        stop = len(positions) if after is None else bisect_left(positions, PagePosition.decode(after))
        start = max(stop - limit, 0)
        chats = [_copy_of(self._chats[position.chat_id].chat.info) for position in reversed(positions[start:stop])]
        return ChatPage(chats, positions[start].encode() if start else None)

    def save(self, chat_id: str, change: ChatChange) -> ChatInfo:
        """Change a chat."""
        kept = self._chats.get(chat_id)
        if kept is None:
            raise ChatNotFoundError(chat_id)
        changed = apply_change(kept.chat, kept.streams, copy_change(change), self._clock())
        self._chats[chat_id] = changed
        if change.begin is not None:
            self._by_stream[change.begin.stream_id] = chat_id
        return _copy_of(changed.chat.info)

    def delete(self, chat_id: str, if_owner: str | None) -> Sequence[StreamRecord] | None:
        """Forget a chat."""
        kept = self._chats.get(chat_id)
        if kept is None or if_owner not in (None, kept.chat.info.owner):
            return None
        del self._chats[chat_id]
        info = kept.chat.info
        positions = self._by_owner[info.owner]
        del positions[bisect_left(positions, PagePosition.of(info))]
        if not positions:
            del self._by_owner[info.owner]
        for stream in kept.streams:
            self._by_stream.pop(stream.stream_id, None)
        return kept.streams

    def list_streams(self, chat_id: str) -> Sequence[StreamRecord]:
        """Return the streams of a chat."""
        kept = self._chats.get(chat_id)
        return [*kept.streams] if kept else []

    def find_by_stream(self, stream_id: str) -> ChatInfo | None:
        """Return the chat of a stream."""
        return self.describe(self._by_stream.get(stream_id, ""))


class MemoryChatStore(ChatStore):
    """Keeps chats in this process, for one event loop. They are gone when it ends.

    Args:
        chats: Where they are, if that is shared with other stores. ``None``: chats of its own.
    """

    def __init__(self, chats: MemoryChats | None = None) -> None:
        self._chats = chats or MemoryChats()

    @override
    async def connect(self) -> None:
        pass

    @override
    async def aclose(self) -> None:
        pass

    @override
    async def create(self, chat_id: str, owner: str, metadata: Mapping[str, Any]) -> ChatInfo:
        return self._chats.create(chat_id, owner, metadata)

    @override
    async def describe(self, chat_id: str) -> ChatInfo | None:
        return self._chats.describe(chat_id)

    @override
    async def load(self, chat_id: str) -> Chat | None:
        return self._chats.load(chat_id)

    @override
    async def list(self, owner: str, limit: int, after: str | None) -> ChatPage:
        return self._chats.list(owner, limit, after)

    @override
    async def save(self, chat_id: str, change: ChatChange) -> ChatInfo:
        return self._chats.save(chat_id, change)

    @override
    async def delete(self, chat_id: str, *, if_owner: str | None = None) -> Sequence[StreamRecord] | None:
        return self._chats.delete(chat_id, if_owner)

    @override
    async def list_streams(self, chat_id: str) -> Sequence[StreamRecord]:
        return self._chats.list_streams(chat_id)

    @override
    async def find_by_stream(self, stream_id: str) -> ChatInfo | None:
        return self._chats.find_by_stream(stream_id)


def _copy_of(info: ChatInfo) -> ChatInfo:
    return replace(info, metadata=copy(info.metadata))

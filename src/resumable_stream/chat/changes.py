"""What a change makes of a chat, and the positions of pages: decisions alone, without I/O and without a clock."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from typing import Any, NamedTuple

from ..chat_types import Chat, ChatChange, ChatInfo, Message, StreamRecord
from ..exceptions import ChatChangedError, InvalidPositionError

__all__ = ["Changed", "PagePosition", "apply_change", "check_conditions", "record_of"]


_LAST = 1e11
"""No chat is made after this, which is long after the year 5000."""


class Changed(NamedTuple):
    """What a change made."""

    chat: Chat
    streams: list[StreamRecord]
    """All of the chat, oldest first."""


def apply_change(chat: Chat, streams: Sequence[StreamRecord], change: ChatChange, now: float) -> Changed:
    """Return what becomes of a chat. The one given stays as it is; messages that both have are the same objects.

    Args:
        chat: As it is.
        streams: All of the chat, oldest first.
        change: What to do.
        now: The time, in seconds since 1970.

    Raises:
        ChatChangedError: A condition does not hold.
    """
    info = chat.info
    check_conditions(info, change)
    streams, active = _begun(streams, info, change, now)
    changed = replace(
        info,
        updated_at=now,
        version=info.version + 1,
        active_stream=None if change.clear_active else active,
        metadata=info.metadata if change.metadata is None else change.metadata,
    )
    return Changed(Chat(changed, _put(_kept(chat.messages, change.drop_after), change.put)), streams)


def check_conditions(info: ChatInfo, change: ChatChange) -> None:
    """Raise `ChatChangedError` unless a change may be made to a chat as it is."""
    active_id = info.active_stream and info.active_stream.stream_id
    has_version = change.if_version in {None, info.version}
    has_active = change.if_active in {None, active_id}
    if not (has_version and has_active and change.if_owner in {None, info.owner}):
        raise ChatChangedError(info.chat_id)


def record_of(begin: StreamRecord, chat_id: str, now: float) -> StreamRecord:
    """Return how a stream that begins is recorded: the store says in which chat, and when."""
    return begin._replace(chat_id=chat_id, created_at=now)


def _begun(
    streams: Sequence[StreamRecord], info: ChatInfo, change: ChatChange, now: float
) -> tuple[list[StreamRecord], StreamRecord | None]:
    """Return all streams, and the one that is active then. A stream that is recorded already stays as it is."""
    if change.begin is None:
        return list(streams), info.active_stream
    new = record_of(change.begin, info.chat_id, now)
    known = next((stream for stream in streams if stream.stream_id == new.stream_id), None)
    return ([*streams, new], new) if known is None else (list(streams), known)


def _kept(messages: Sequence[dict[str, Any]], drop_after: str | None) -> Sequence[dict[str, Any]]:
    before = list(takewhile(lambda message: message["id"] != drop_after, messages))
    return messages[: len(before) + 1]  # with the one that was found; if none was, these are all


def _put(messages: Sequence[dict[str, Any]], put: Sequence[Message]) -> list[dict[str, Any]]:
    by_id = {message["id"]: message for message in messages}
    by_id.update(
        {message["id"]: dict(message) for message in put}
    )  # which leaves those that it replaces in their place
    return list(by_id.values())


class PagePosition(NamedTuple):
    """Where a page of chats ends. Its text is what a page says is next: made of letters, digits, ``-`` and ``_``."""

    created_at: float
    chat_id: str

    @classmethod
    def of(cls, info: ChatInfo) -> PagePosition:
        """Return the position of the last chat of a page."""
        return cls(info.created_at, info.chat_id)

    @classmethod
    def decode(cls, text: str) -> PagePosition:
        """Return the position that a text means.

        Raises:
            InvalidPositionError: It means none.
        """
        try:
            match json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)):
                case [float(created_at), str(chat_id)] if 0 <= created_at < _LAST:
                    return cls(created_at, chat_id)
        except (ValueError, RecursionError):
            pass
        raise InvalidPositionError("after is what a page of chats said is next, and nothing else")

    def encode(self) -> str:
        """Return its text."""
        packed = json.dumps([float(self.created_at), self.chat_id], separators=(",", ":"))
        return base64.urlsafe_b64encode(packed.encode()).decode().rstrip("=")

"""The values of chats: what a chat store keeps, and what it is asked to change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from .exceptions import InvalidSettingError

__all__ = ["Chat", "ChatChange", "ChatInfo", "ChatLimits", "ChatPage", "Message", "StreamRecord"]

Message: TypeAlias = Mapping[str, Any]
"""A message as JSON has it: an object with an ``id``. A store keeps every field of it, known or not, and looks at the
id alone."""


class StreamRecord(NamedTuple):
    """One stream of a chat: an answer, or the attempt at one."""

    stream_id: str
    chat_id: str
    created_at: float = 0.0
    """Seconds since 1970, by the store's clock; the store sets it."""
    replies_to: str = ""
    """Id of the message that it answers. What comes after that one is replaced by the answer."""


@dataclass(frozen=True)
class ChatInfo:
    """What there is to know of a chat, but for its messages."""

    chat_id: str
    owner: str
    created_at: float
    """Seconds since 1970, by the store's clock."""
    updated_at: float
    """When it was last changed, likewise."""
    version: int
    """1 when it is created; grows by one with each change."""
    active_stream: StreamRecord | None = None
    """The answer that is being made, or was when somebody last looked."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """The application's own, as JSON has it: a title, a model, a folder."""


@dataclass(frozen=True)
class Chat:
    """A chat with its messages."""

    info: ChatInfo
    messages: list[dict[str, Any]]
    """Oldest first. The caller's own: changing them changes nothing else."""


class ChatPage(NamedTuple):
    """Some chats of an owner, newest first."""

    chats: list[ChatInfo]
    next: str | None
    """What to pass as ``after`` to get those that follow; ``None``: there are no more."""


@dataclass(frozen=True)
class ChatChange:
    """What to change in a chat, in this order, and on which conditions: all of it or nothing."""

    drop_after: str | None = None
    """Forget the messages after the one with this id. If there is no such message, none is forgotten."""
    put: Sequence[Message] = ()
    """Messages to add at the end; one whose id is there already takes the place of that one. Of two with the same id,
    the later counts."""
    begin: StreamRecord | None = None
    """A stream to record, and to make the active one. Of one that is recorded already, the record stays as it is. No
    two chats record the same stream: that is up to the caller."""
    clear_active: bool = False
    """Let no stream be the active one."""
    metadata: Mapping[str, Any] | None = None
    """What to put in the place of the chat's metadata."""
    if_owner: str | None = None
    """Only if this is the chat's owner: not if it was deleted, and somebody else has made one under its id."""
    if_version: int | None = None
    """Only if this is the chat's version still."""
    if_active: str | None = None
    """Only if the stream with this id is the active one still."""


@dataclass(frozen=True)
class ChatLimits:
    """Bounds on what one `ResumableChat` accepts. Each is at least 1."""

    max_message_bytes: int = 4 * 1024 * 1024
    """Of a message that a user sends, as JSON. Files within messages count."""
    max_messages: int = 10_000
    """Of one chat."""
    max_metadata_bytes: int = 16 * 1024
    """Of one chat's metadata, as JSON."""
    max_page: int = 100
    """Chats on one page."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value: object = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InvalidSettingError(f"{name} is a whole number, at least 1, not {value!r}")

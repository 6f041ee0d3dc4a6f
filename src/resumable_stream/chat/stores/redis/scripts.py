"""The Lua scripts, and what their replies mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from ....backends.redis.scripts import Script, read_script
from ....chat_types import ChatInfo, StreamRecord
from ..text import load

__all__ = ["SCRIPTS", "Described", "Status", "decode_described", "decode_messages", "decode_streams", "seconds"]

_OF_CHAT = ("create", "delete", "read", "renewed", "save")
_OF_INDEX = ("enter", "leave", "page", "point", "follow", "forget")


class Status(IntEnum):
    """What became of a call."""

    OK = 0
    NOT_FOUND = 1
    REFUSED = 2
    LATE = 3


class Described(NamedTuple):
    """A chat as ``chat.lua`` describes it."""

    info: ChatInfo
    created_at: int
    """Microseconds since 1970."""
    renewed_at: int
    """When its entries in the indexes were renewed, likewise."""


SCRIPTS: Mapping[str, Script] = {
    **{name: read_script(__package__, "chat", name) for name in _OF_CHAT},
    **{name: read_script(__package__, "index", name) for name in _OF_INDEX},
}
"""By name."""


def seconds(microseconds: int) -> float:
    """Return what the rest of the world wants to be told."""
    return microseconds / 1_000_000


def decode_described(chat_id: str, reply: Sequence[bytes]) -> Described:
    """Return the chat that ``chat.lua`` describes.

    Raises:
        ValueError: The reply is none of it.
    """
    owner, created_at, updated_at, version, metadata, active, renewed_at, stream = reply
    info = ChatInfo(
        chat_id,
        text_of(owner),
        seconds(int(created_at)),
        seconds(int(updated_at)),
        int(version),
        _decode_stream(chat_id, active, stream)[1] if active else None,
        load(metadata),
    )
    return Described(info, int(created_at), int(renewed_at))


def decode_messages(ids: Sequence[bytes], by_id: Sequence[bytes]) -> list[dict[str, Any]]:
    """Return messages in order.

    Raises:
        ValueError: Ids and messages do not fit.
    """
    messages = dict(zip(by_id[::2], by_id[1::2], strict=True))
    if messages.keys() != set(ids):
        raise ValueError("the order of the messages is not theirs")
    return [load(messages[message_id]) for message_id in ids]


def decode_streams(chat_id: str, by_id: Sequence[bytes]) -> list[StreamRecord]:
    """Return streams, oldest first.

    Raises:
        ValueError: A record is malformed.
    """
    numbered = [_decode_stream(chat_id, *pair) for pair in zip(by_id[::2], by_id[1::2], strict=True)]
    return [record for _, record in sorted(numbered, key=lambda pair: pair[0])]


def _decode_stream(chat_id: str, stream_id: bytes, value: bytes) -> tuple[int, StreamRecord]:
    number, created_at, replies_to = value.split(b" ", 2)
    record = StreamRecord(text_of(stream_id), chat_id, seconds(int(created_at)), text_of(replies_to))
    return int(number), record


def text_of(reply: bytes) -> str:
    """Return a text that Redis keeps as bytes, whatever characters it has."""
    return reply.decode("utf-8", "surrogatepass")

"""The names of what we keep in Redis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

from ....backends.redis.keys import check_prefix

__all__ = ["Entry", "Keys", "decode_id", "encode_id"]

_SAFE = "!$&'()*+,/:;=@"  # what `quote` leaves as it is, besides letters, digits, and _ . - ~


class Keys:
    """Names under one prefix. What belongs to one chat, one owner or one stream has one hash tag."""

    def __init__(self, prefix: str) -> None:
        self._prefix = check_prefix(prefix)

    @property
    def notices(self) -> str:
        """A channel on which nothing is ever said."""
        return f"{self._prefix}:notices"

    def of_chat(self, chat_id: str) -> Sequence[str]:
        """Return the keys of a chat."""
        base = self._base(chat_id)
        return [base + name for name in (":chat", ":messages", ":order", ":streams")]

    def of_deleted(self, chat_id: str, token: str) -> str:
        """Return the key of what one deletion of a chat returned."""
        return f"{self._base(chat_id)}:deleted:{token}"

    def of_owner(self, owner: str) -> str:
        """Return the key of the index of an owner."""
        return f"{self._prefix}:owner:{{{encode_id(owner)}}}:chats"

    def of_stream(self, stream_id: str) -> str:
        """Return the key of the index of a stream."""
        return f"{self._prefix}:stream:{{{encode_id(stream_id)}}}:chat"

    def _base(self, chat_id: str) -> str:
        return f"{self._prefix}:{{{encode_id(chat_id)}}}"


class Entry(NamedTuple):
    """A chat in the index of its owner."""

    created_at: int
    """Microseconds since 1970."""
    chat_id: str

    @classmethod
    def decode(cls, member: bytes) -> Entry:
        """Return what a member of the sorted set means.

        Raises:
            ValueError: Nothing.
        """
        created_at, _, chat_id = member.decode("ascii").partition(":")
        return cls(int(created_at), decode_id(chat_id))

    def encode(self) -> str:
        """Return the member of the sorted set."""
        return f"{self.created_at:016d}:{encode_id(self.chat_id)}"


def encode_id(some_id: str) -> str:
    """Return an id in ASCII, without braces and blanks. Most ids stay as they are."""
    return quote(some_id.encode("utf-8", "surrogatepass"), safe=_SAFE)


def decode_id(text: str) -> str:
    """Return the id of what `encode_id` returned."""
    return unquote_to_bytes(text).decode("utf-8", "surrogatepass")

"""What the npm package ``resumable-stream`` says in Redis, read from its version 2.2.13. Values and pure functions.

- ``{prefix}:rs:sentinel:{stream id}``: a positive integer while the stream runs, ``DONE`` after that. A caller that
  would publish or follow counts it up with ``INCR``, and publishes if the answer is 1.
- ``{prefix}:rs:request:{stream id}``: the channel to which the publisher is subscribed. A listener subscribes to a
  channel of its own and then publishes its name here, as JSON: ``listenerId``, and ``skipCharacters`` if there are any.
- ``{prefix}:rs:chunk:{listener id}``: that channel. The publisher first says everything so far, or an empty text; then
  chunk by chunk what comes; and at the end `DONE_MESSAGE`. The end is also in the sentinel: first there.

Nothing is repeated, nothing is confirmed, and a stream is in the memory of its publisher alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import NamedTuple

from ...exceptions import InvalidPositionError, InvalidSettingError, InvalidStreamIdError

__all__ = [
    "DONE_MESSAGE",
    "DONE_VALUE",
    "FIRST_OF_OURS",
    "Names",
    "Request",
    "check_npm_stream_id",
    "check_skip",
    "count_units",
    "encode_text",
    "frames_of",
    "skip_units",
]

DONE_VALUE = "DONE"
DONE_MESSAGE = b"\n\n\nDONE_SENTINEL_hasdfasudfyge374%$%^$EDSATRTYFtydryrte\n"

FIRST_OF_OURS = 1 << 31
"""Sentinels of our streams start from multiples of it, those of Node from 1: so each process knows its own again,
however often it was counted up in between."""

_MAX_NAME = 512
_MAX_COUNT = 2**53 - 1
_FRAME_CHARACTERS = 64 * 1024


class Names:
    """Keys and channels under one prefix.

    Raises:
        InvalidSettingError: The prefix is empty or too long.
    """

    def __init__(self, prefix: object) -> None:
        if not _is_name(prefix):
            raise InvalidSettingError(f"key_prefix is text of 1 to {_MAX_NAME} characters")
        self._base = f"{prefix}:rs"

    def sentinel(self, stream_id: str) -> str:
        """The key that says whether a stream runs."""
        return f"{self._base}:sentinel:{stream_id}"

    def requests(self, stream_id: str) -> str:
        """The channel on which a publisher is asked."""
        return f"{self._base}:request:{stream_id}"

    def chunks(self, listener_id: str) -> str:
        """The channel on which a listener is answered."""
        return f"{self._base}:chunk:{listener_id}"

    def last(self, listener_id: str) -> str:
        """A key of ours, which the npm package does not have: what was published last to a listener."""
        return f"{self._base}:last:{listener_id}"

    def asked(self, listener_id: str) -> str:
        """Another one: whether a listener of ours was heard."""
        return f"{self._base}:asked:{listener_id}"


class Request(NamedTuple):
    """What a listener asks for."""

    listener_id: str
    skip: int = 0
    """UTF-16 units that it does not need."""

    def encode(self) -> bytes:
        """Return it as the message that it is."""
        words: dict[str, str | int] = {"listenerId": self.listener_id}
        if self.skip:
            words["skipCharacters"] = self.skip
        return json.dumps(words, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, message: bytes) -> Request:
        """Return what a message asks for. Like in JavaScript, a fraction is cut off; nobody means less than nothing.

        Raises:
            ValueError: The message is none of this protocol.
        """
        try:
            words: object = json.loads(message)
        except RecursionError as error:
            raise ValueError("no request of a listener") from error
        listener_id = words.get("listenerId") if isinstance(words, dict) else None
        if not isinstance(words, dict) or not _is_name(listener_id):
            raise ValueError("no request of a listener")
        skip = words.get("skipCharacters") or 0
        # No look at whether an int is finite: one that no float can hold is an error there.
        is_number = isinstance(skip, int) or (isinstance(skip, float) and math.isfinite(skip))
        if isinstance(skip, bool) or not is_number:
            raise ValueError("no number of characters")
        return cls(str(listener_id), max(int(skip), 0))


def check_npm_stream_id(stream_id: object) -> str:
    """Return ``stream_id`` if it can be one. Node may choose what our own streams may not: it reaches no other key.

    Raises:
        InvalidStreamIdError: It is no text, or is empty or too long.
    """
    if not _is_name(stream_id):
        raise InvalidStreamIdError(f"a stream id is text of 1 to {_MAX_NAME} characters")
    return str(stream_id)


def check_skip(count: object) -> int:
    """Return ``count`` if so many characters can be skipped.

    Raises:
        InvalidPositionError: It is no whole number, less than 0, or more than JavaScript can count to.
    """
    if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count <= _MAX_COUNT:
        raise InvalidPositionError(f"skip_characters is a whole number, from 0 to {_MAX_COUNT}")
    return count


def count_units(text: str) -> int:
    """Return the length of a text as JavaScript counts it: in UTF-16 units, of which an emoji has two."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def skip_units(text: str, count: int) -> str:
    """Return a text without its first UTF-16 units.

    A character that is cut in two leaves U+FFFD, which stands for one unit, as its half did: what JavaScript makes of
    it when it is sent.
    """
    if text.isascii():
        return text[count:]
    return text.encode("utf-16-le", "surrogatepass")[2 * count :].decode("utf-16-le", "replace")


def encode_text(text: str) -> bytes:
    """Return a text as it is sent. Halves of characters become whole ones, or U+FFFD, as in JavaScript."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return skip_units(text, 0).encode()


def frames_of(text: str) -> Iterator[str]:
    """Cut a text into pieces that no server and no client finds too long."""
    for start in range(0, len(text), _FRAME_CHARACTERS):
        yield text[start : start + _FRAME_CHARACTERS]


def _is_name(name: object) -> bool:
    if not isinstance(name, str) or not 1 <= len(name) <= _MAX_NAME:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in name)  # those cannot be sent

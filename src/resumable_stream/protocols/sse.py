"""Server-sent events: what goes into an event stream, and what comes out of one.

After the HTML Living Standard, section 9.2 "Server-sent events"
(https://html.spec.whatwg.org/multipage/server-sent-events.html).
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from typing import NamedTuple

from ..exceptions import InvalidInputError

__all__ = ["Event", "SSEDecoder", "encode_comment", "encode_event", "encode_events"]

_LINE_END = re.compile("\r\n|\n|\r")


class Event(NamedTuple):
    """An event as a client sees it."""

    data: str
    event: str = "message"
    """Its type."""
    event_id: str = ""
    """The last id that the stream has named, in this event or before it; empty: none, or it was taken back."""


def encode_event(
    data: str, *, event_id: str | None = None, event: str | None = None, retry: float | None = None
) -> bytes:
    """Return one event. Line ends within the data come out as line feeds.

    Args:
        data: Any text.
        event_id: What the client sends as ``Last-Event-ID`` when it comes back. Empty: the client forgets the last one.
        event: Its type; ``None`` means ``message``.
        retry: How long the client is to wait before it comes back, in seconds, to the millisecond.

    Raises:
        InvalidInputError: The id or the type has a line end, the id has a NUL, ``retry`` is negative or no number, or
            a text has half a surrogate pair.
    """
    framed = _framed(event_id, data)
    if event is not None:
        framed = f"event: {_checked_type(event)}\n{framed}"
    if retry is not None:
        framed = f"retry: {_milliseconds(retry)}\n{framed}"
    return _as_bytes(framed)


def encode_events(events: Iterable[tuple[str | None, str]]) -> bytes:
    """Return many events at once: for each its id, or ``None``, and its data. Errors are those of `encode_event`."""
    pairs = list(events)
    text = "".join([f"id: {event_id}\ndata: {data}\n\n" for event_id, data in pairs])
    # One look at the whole tells whether each id and each data was one line, as they almost always are.
    is_plain = text.count("\n") == 3 * len(pairs) and "\r" not in text and "\0" not in text
    if not is_plain or None in [event_id for event_id, _ in pairs]:
        text = "".join([_framed(event_id, data) for event_id, data in pairs])
    return _as_bytes(text)


def encode_comment(text: str = "") -> bytes:
    """Return a comment, which clients pass over: a sign of life.

    Raises:
        InvalidInputError: The text has half a surrogate pair.
    """
    return _as_bytes("".join([f": {line}".rstrip() + "\n" for line in _LINE_END.split(text)]) + "\n")


def _framed(event_id: str | None, data: str) -> str:
    if "\n" in data or "\r" in data:
        data = "\ndata: ".join(_LINE_END.split(data))
    if event_id is None:
        return f"data: {data}\n\n"
    if "\n" in event_id or "\r" in event_id or "\0" in event_id:
        raise InvalidInputError("the id of an event has no line end and no NUL")
    return f"id: {event_id}\ndata: {data}\n\n"


def _checked_type(event: str) -> str:
    if _LINE_END.search(event):
        raise InvalidInputError("the type of an event has no line end")
    return event


def _milliseconds(seconds: float) -> int:
    if not 0 <= seconds < float("inf"):
        raise InvalidInputError("a time to wait is a number of seconds, and not negative")
    return round(seconds * 1000)


def _as_bytes(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise InvalidInputError("half a surrogate pair cannot be sent: an event stream is UTF-8") from None


class SSEDecoder:
    """Reads an event stream that comes in pieces, cut anywhere.

    What the stream ends in without an empty line is no event, and never comes out. Bytes that are no UTF-8 become
    replacement characters. It keeps what has come of the current event, however long that gets.
    """

    def __init__(self) -> None:
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")
        self._is_at_start = True
        self._is_after_return = False
        self._line: list[str] = []
        self._data: list[str] = []
        self._event = ""
        self._event_id = ""
        self._last_event_id = ""
        self._retry: float | None = None

    @property
    def last_event_id(self) -> str:
        """What to send as ``Last-Event-ID`` when coming back; empty: nothing."""
        return self._last_event_id

    @property
    def retry(self) -> float | None:
        """How long the server wants a client to wait before it comes back, in seconds; ``None``: it did not say."""
        return self._retry

    def feed(self, data: bytes) -> list[Event]:
        """Take more bytes, and return the events that they complete."""
        events = []
        for line in self._lines(self._characters.decode(data)):
            if line:
                self._take_field(line)
            elif (event := self._dispatch()) is not None:
                events.append(event)
        return events

    def _lines(self, text: str) -> list[str]:
        """Return the lines that a text completes, and keep the rest. Line ends become line feeds."""
        if text and self._is_at_start:
            text = text.removeprefix("\ufeff")
            self._is_at_start = False
        if text and self._is_after_return:  # that line is over already: an event need not wait for its line feed
            text = text.removeprefix("\n")
            self._is_after_return = False
        if text.endswith("\r"):
            self._is_after_return = True
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        first, *lines = text.split("\n")
        self._line.append(first)
        if not lines:
            return []
        lines.insert(0, "".join(self._line))
        self._line = [lines.pop()]
        return lines

    def _take_field(self, line: str) -> None:
        name, _, value = line.partition(":")  # a comment is a field without a name
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "id" and "\0" not in value:
            self._event_id = value
        elif name == "event":
            self._event = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self._retry = int(value[:_MOST_DIGITS]) / 1000

    def _dispatch(self) -> Event | None:
        """Return the event that an empty line completes; without data there is none."""
        data, event = self._data, self._event or "message"
        self._data, self._event = [], ""
        self._last_event_id = self._event_id
        return Event("\n".join(data), event, self._last_event_id) if data else None


_MOST_DIGITS = 300  # of a time to wait: more are no number of seconds for anybody

"""What requests ask for, checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from .._core import positions
from ..exceptions import InvalidInputError, InvalidPositionError, LimitExceededError
from ..types import StreamInfo, StreamState
from .errors import HTTPError
from .messages import HTTPRequest

__all__ = [
    "SentMessage",
    "StreamPosition",
    "parse_json",
    "parse_position",
    "parse_reading",
    "parse_sent_message",
    "text_field",
    "unreadable_body",
]


_IN_CHARACTERS = ("skipCharacters", "resumeAt")


class StreamPosition(NamedTuple):
    """Where a client wants to go on reading: in one form at most."""

    start_index: int = 0
    """How many chunks it has seen; negative: how many it wants of the end."""
    after: str | None = None
    """Id of the last event that it has seen."""

    @property
    def has_seen(self) -> bool:
        """Whether the client goes on with something that it has begun to read."""
        return self.after is not None or self.start_index > 0

    def start_in(self, info: StreamInfo) -> int:
        """Return the index of the first chunk to send. It may be beyond the end.

        Raises:
            InvalidPositionError: The client has seen another stream.
        """
        if self.after is not None:
            position = positions.parse_position(after=self.after)
            if position.generation != info.generation:
                raise InvalidPositionError("the event id is of another stream")
            is_lost_there = info.state is StreamState.LOST and position.start_index == info.length
            return position.start_index + (position.is_told_of_loss and is_lost_there)
        if self.start_index < 0:
            return max(info.length + self.start_index, 0)
        # Who counts may have counted the word about a loss, after which the stream went on.
        has_counted_loss = info.is_running and info.epoch > 1 and self.start_index == info.length + 1
        return self.start_index - has_counted_loss


@dataclass(frozen=True)
class SentMessage:
    """The body of a request that wants an answer."""

    chat_id: str | None
    message: Mapping[str, Any] | None
    trigger: str
    message_id: str | None
    fields: Mapping[str, Any]
    """All of the body, with what the application's own front end put there."""


async def parse_json(request: HTTPRequest, max_bytes: int) -> dict[str, Any]:
    """Read a body that is a JSON object; an empty one is an empty object.

    Raises:
        LimitExceededError: It is too long. The rest was not read.
        InvalidInputError: It is no JSON object, or broke off.
        HTTPError: A page of another site sent it, in a way that browsers do not ask about first. Or it is too long for
            the framework.
    """
    _check_origin(request)
    body = await _read(request, max_bytes)
    if len(body) > max_bytes:
        raise LimitExceededError("max_body_bytes", max_bytes)
    if not body.strip():
        return {}
    try:
        parsed = json.loads(body, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise InvalidInputError("the body is no JSON") from None
    if not isinstance(parsed, dict):
        raise InvalidInputError("the body is a JSON object")
    return parsed


async def _read(request: HTTPRequest, max_bytes: int) -> bytes:
    """Read a body, or so much of it that it is too long."""
    body = bytearray()
    try:
        async for piece in request.body:
            body += piece
            if len(body) > max_bytes:
                break
    except Exception as error:  # each framework has its own
        raise unreadable_body(error) from error
    return bytes(body)


def unreadable_body(error: Exception) -> Exception:
    """Return what to answer when reading a body failed. Most often its client has gone away: no failure of ours."""
    if 413 in (getattr(error, "code", None), getattr(error, "status_code", None)):
        return HTTPError(413, "too_large", "too large")
    return InvalidInputError("the body broke off")


def parse_sent_message(body: Mapping[str, Any], chat_id: str | None) -> SentMessage:
    """Return what a front end sent: the last message, or all of which the last counts.

    Raises:
        InvalidInputError: A field has the wrong type.
    """
    message = body.get("message")
    if message is None:
        messages = body.get("messages", [])
        if not isinstance(messages, list):
            raise InvalidInputError("messages is a list")
        message = messages[-1] if messages else None
    if message is not None and not isinstance(message, Mapping):
        raise InvalidInputError("a message is an object")
    return SentMessage(
        text_field(body, "id") if chat_id is None else chat_id,
        message,
        text_field(body, "trigger") or "submit-message",
        text_field(body, "messageId"),
        body,
    )


def parse_position(request: HTTPRequest) -> StreamPosition:
    """Return where a client wants to read an answer from: ``startIndex`` in the URL, or the ``Last-Event-ID`` header.

    A browser's `EventSource` repeats its URL with that header when it reconnects, so the header counts for more.
    Numbers of characters mean nothing here: what is sent are chunks of many types, and to begin in the middle of one
    would take its id away.

    Raises:
        InvalidPositionError: It is malformed.
        HTTPError: It is in characters.
    """
    for name in _IN_CHARACTERS:
        if request.query.get(name):
            raise HTTPError(400, "invalid_position", f"an answer has no {name}: send startIndex or Last-Event-ID")
    after = request.headers.get("last-event-id")
    if after:
        return StreamPosition(after=after)
    given = request.query.get("startIndex")
    if given is None or given == "":
        return StreamPosition()
    return StreamPosition(start_index=_whole_number("startIndex", given))


def parse_reading(request: HTTPRequest) -> dict[str, Any]:
    """Return where a client wants to read any stream from, as arguments for `ResumableStreamContext.resumable_stream`.

    It is a ``Last-Event-ID`` header, or ``startIndex``, ``skipCharacters`` or ``resumeAt`` in the URL. The last two are
    numbers of characters, as users of the npm package have them.

    Raises:
        InvalidPositionError: It is malformed, or given in two forms.
    """
    given = [name for name in ("startIndex", *_IN_CHARACTERS) if request.query.get(name)]
    after = request.headers.get("last-event-id")
    if after:
        return {"after": after}
    if len(given) > 1:
        raise InvalidPositionError("a position is given in one form")
    if not given:
        return {}
    number = _whole_number(given[0], request.query[given[0]])
    return {"start_index" if given[0] == "startIndex" else "skip_characters": number}


def text_field(body: Mapping[str, Any], name: str) -> str | None:
    """Return a field that is text, if it is there.

    Raises:
        InvalidInputError: It is something else.
    """
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidInputError(f"{name} is text")
    return value


def _whole_number(name: str, given: str) -> int:
    digits = given.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 15):
        raise InvalidPositionError(f"{name} is a whole number")
    return int(given)


def _check_origin(request: HTTPRequest) -> None:
    """Refuse what the page of another site can send with the user's cookies and without the browser asking first.

    With the content type of JSON the browser asks. Some clients do not set that, but those are no pages of others.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not _is_of_this_site(request.headers):
        raise HTTPError(415, "unsupported_media_type", "send application/json")


def _is_of_this_site(headers: Mapping[str, str]) -> bool:
    """Whether a request comes from our own pages, or from no page. Where it is not encrypted, only the origin tells."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == headers.get("host")


def _refuse(constant: str) -> Any:
    raise ValueError(constant)

"""Names that come from outside: stream ids and event ids."""

from __future__ import annotations

import re

from ..exceptions import InvalidPositionError, InvalidStreamIdError

# Without braces, an id cannot end the hash tag of a Redis key; without slashes and spaces, it is one segment of a URL.
_STREAM_ID = re.compile(r"[A-Za-z0-9_.:-]+", re.ASCII)
_EVENT_ID = re.compile(r"([0-9a-z]{1,32})-(0|[1-9][0-9]{0,15})", re.ASCII)


def check_stream_id(stream_id: object, max_length: int) -> str:
    """Return ``stream_id`` if it is one.

    Raises:
        InvalidStreamIdError: It is no string, is empty or too long, or has a character that is not allowed.
    """
    if not isinstance(stream_id, str):
        raise InvalidStreamIdError(f"a stream id is a str, not {type(stream_id).__name__}")
    if not 1 <= len(stream_id) <= max_length:
        raise InvalidStreamIdError(f"a stream id has 1 to {max_length} characters, not {len(stream_id)}")
    if not _STREAM_ID.fullmatch(stream_id):
        raise InvalidStreamIdError("a stream id has only letters a-z and A-Z, digits, and _ . : -")
    return stream_id


def format_event_id(generation: str, index: int) -> str:
    """Return the event id of chunk ``index``."""
    return f"{generation}-{index}"


def parse_event_id(event_id: object) -> tuple[str, int]:
    """Return generation and index of an event id.

    Raises:
        InvalidPositionError: It is not one that `format_event_id` makes.
    """
    match = _EVENT_ID.fullmatch(event_id) if isinstance(event_id, str) else None
    if match is None:
        raise InvalidPositionError("not an event id of a resumable stream")
    return match[1], int(match[2])

"""Names that come from outside: stream ids and event ids."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..exceptions import InvalidChatIdError, InvalidPositionError, InvalidStreamIdError

# Without braces, an id cannot end the hash tag of a Redis key; without slashes and spaces, it is one segment of a URL,
# and one that clients leave as it is, which dots alone are not.
_STREAM_ID = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9_.:-]+", re.ASCII)
_MAX_CHAT_ID = 256
_LOSS = ".lost"
_EVENT_ID = re.compile(rf"([0-9a-z]{{1,32}})-(0|[1-9][0-9]{{0,15}})({re.escape(_LOSS)})?", re.ASCII)


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
        raise InvalidStreamIdError("a stream id has only letters a-z and A-Z, digits, and _ . : -, and is not . or ..")
    return stream_id


def check_chat_id(chat_id: object) -> str:
    """Return ``chat_id`` if it is one. It looks like a stream id.

    Raises:
        InvalidChatIdError: It is none.
    """
    if not isinstance(chat_id, str) or not 1 <= len(chat_id) <= _MAX_CHAT_ID or not _STREAM_ID.fullmatch(chat_id):
        raise InvalidChatIdError(f"a chat id has 1 to {_MAX_CHAT_ID} letters a-z and A-Z, digits, and _ . : -")
    return chat_id


def format_event_id(generation: str, index: int) -> str:
    """Return the event id of chunk ``index``."""
    return f"{generation}-{index}"


def format_loss_id(event_id: str) -> str:
    """Return the id of the word that a stream was lost, given that of the chunk which would have come.

    It does not take the place of that chunk: a stream that was lost may go on.
    """
    return event_id + _LOSS


class EventId(NamedTuple):
    """What an event id says."""

    generation: str
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    is_of_loss: bool
    """Whether it stands before that chunk, and says that its reader was told of a loss there."""


def parse_event_id(event_id: object) -> EventId:
    """Return what an event id says.

    Raises:
        InvalidPositionError: It is not one that `format_event_id` or `format_loss_id` makes.
    """
    match = _EVENT_ID.fullmatch(event_id) if isinstance(event_id, str) else None
    if match is None:
        raise InvalidPositionError("not an event id of a resumable stream")
    return EventId(match[1], int(match[2]), match[3] is not None)

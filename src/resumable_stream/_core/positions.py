"""Positions: what a caller says it has seen, and where reading starts because of it."""

from __future__ import annotations

from dataclasses import dataclass

from ..exceptions import InvalidPositionError
from ..types import StreamInfo, StreamState
from .ids import parse_event_id

_MAX_INDEX = 2**53 - 1  # what Redis's Lua and JavaScript clients can count to without rounding


@dataclass(frozen=True)
class Position:
    """A position in exactly one form; without arguments, the start."""

    start_index: int = 0
    skip_characters: int = 0
    generation: str | None = None
    """Of the stream that ``start_index`` belongs to, if it came from an event id."""
    is_told_of_loss: bool = False
    """Whether the caller knows that the stream was lost there."""

    @property
    def is_start(self) -> bool:
        """Whether it fits a stream that has no chunks yet."""
        return self.start_index <= 0 and self.skip_characters == 0 and self.generation is None


def parse_position(start_index: object = None, skip_characters: object = None, after: object = None) -> Position:
    """Return the position that was given in one of three forms, or the start.

    Raises:
        InvalidPositionError: More than one was given, or it is malformed.
    """
    if sum(value is not None for value in (start_index, skip_characters, after)) > 1:
        raise InvalidPositionError("give start_index, skip_characters or after, not more than one of them")
    if after is not None:
        seen = parse_event_id(after)
        return Position(seen.index + (not seen.is_of_loss), 0, seen.generation, seen.is_of_loss)
    if skip_characters is not None:
        return Position(skip_characters=_check_count("skip_characters", skip_characters, 0))
    if start_index is not None:
        return Position(start_index=_check_count("start_index", start_index, -_MAX_INDEX))
    return Position()


def resolve_start(position: Position, info: StreamInfo) -> int:
    """Return the index to read from; characters still have to be skipped from there.

    A negative index counts from the end, and stops at the start. The length itself is a valid index: nothing is
    missing yet. Nobody can have seen more, since a chunk is logged before it is delivered; but the word about a bad
    end, which is not logged, may have had an event id. If the stream has failed, that was the next one. If it was lost,
    more may follow, so that word has an id of its own, which takes no chunk's place.

    Raises:
        InvalidPositionError: The position is of another generation, or beyond the end.
    """
    if position.generation not in (None, info.generation):
        raise InvalidPositionError(f"the event id is of an older stream {info.stream_id!r}")
    if position.start_index < 0:
        return max(info.length + position.start_index, 0)
    if position.start_index > info.length + (position.generation is not None and info.state is StreamState.FAILED):
        raise InvalidPositionError(
            f"start index {position.start_index} is beyond the end: stream {info.stream_id!r} has {info.length} chunks"
        )
    return position.start_index


def _check_count(name: str, value: object, minimum: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidPositionError(f"{name} is an int, not {type(value).__name__}")
    if not minimum <= value <= _MAX_INDEX:
        raise InvalidPositionError(f"{name} is out of range")
    return value

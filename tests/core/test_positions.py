"""Positions."""

from __future__ import annotations

import pytest

from resumable_stream import InvalidPositionError, StreamInfo, StreamState
from resumable_stream._core.positions import Position, parse_position, resolve_start


def info(length: int, state: StreamState = StreamState.RUNNING) -> StreamInfo:
    """A stream of so many chunks."""
    return StreamInfo("s", "gen", 1, state, length, 0.0, None, is_readable=True)


@pytest.mark.parametrize(
    ("given", "position", "is_start"),
    [
        ({}, Position(), True),
        ({"start_index": 0}, Position(), True),
        ({"start_index": -3}, Position(start_index=-3), True),
        ({"start_index": 3}, Position(start_index=3), False),
        ({"skip_characters": 0}, Position(), True),
        ({"skip_characters": 5}, Position(skip_characters=5), False),
        ({"after": "gen-4"}, Position(start_index=5, generation="gen"), False),
    ],
)
def test_one_form(given: dict[str, object], position: Position, is_start: bool) -> None:
    """A position is given in one of three forms; only the start fits a stream without chunks."""
    assert parse_position(**given) == position
    assert position.is_start is is_start


@pytest.mark.parametrize(
    "given",
    [
        {"start_index": 0, "skip_characters": 0},
        {"start_index": 1, "after": "gen-0"},
        {"skip_characters": 1, "after": "gen-0"},
        {"start_index": 1, "skip_characters": 1, "after": "gen-0"},
        {"start_index": "1"},
        {"start_index": 1.0},
        {"start_index": True},
        {"start_index": 2**53},
        {"start_index": -(2**53)},
        {"skip_characters": -1},
        {"skip_characters": "x"},
        {"skip_characters": False},
        {"after": ""},
        {"after": 5},
    ],
)
def test_refused(given: dict[str, object]) -> None:
    """Two at once, though they say the same, wrong types and numbers that cannot be are refused."""
    with pytest.raises(InvalidPositionError):
        parse_position(**given)


@pytest.mark.parametrize(
    ("position", "length", "start"),
    [
        (Position(), 0, 0),
        (Position(start_index=4), 10, 4),
        (Position(start_index=10), 10, 10),
        (Position(start_index=-3), 10, 7),
        (Position(start_index=-30), 10, 0),
        (Position(start_index=-1), 0, 0),
        (Position(start_index=5, generation="gen"), 5, 5),
        (Position(skip_characters=100), 3, 0),
    ],
)
def test_resolved(position: Position, length: int, start: int) -> None:
    """A negative index counts from the end and stops at the start; the length is a valid index."""
    assert resolve_start(position, info(length)) == start


@pytest.mark.parametrize("position", [Position(start_index=6), Position(start_index=6, generation="gen")])
def test_beyond_the_end(position: Position) -> None:
    """An index beyond the end is refused."""
    with pytest.raises(InvalidPositionError, match="beyond the end"):
        resolve_start(position, info(5))


def test_after_the_word_about_a_bad_end() -> None:
    """After a bad end one more event may have been seen than there are chunks; not after a good one, nor by number."""
    after = Position(start_index=6, generation="gen")
    assert resolve_start(after, info(5, StreamState.FAILED)) == 6
    refused = ((after, StreamState.DONE), (after, StreamState.LOST), (Position(start_index=6), StreamState.FAILED))
    for position, state in refused:
        with pytest.raises(InvalidPositionError, match="beyond the end"):
            resolve_start(position, info(5, state))


def test_after_the_word_about_a_loss() -> None:
    """It takes no chunk's place: whatever becomes of the stream, the next chunk is the one that follows."""
    after = parse_position(after="gen-5.lost")
    assert after.is_told_of_loss
    for state in StreamState:
        assert resolve_start(after, info(5, state)) == resolve_start(after, info(7, state)) == 5
    with pytest.raises(InvalidPositionError, match="beyond the end"):
        resolve_start(after, info(4, StreamState.LOST))


def test_of_an_older_stream() -> None:
    """An event id of an older stream under the same name is recognised, not misread."""
    with pytest.raises(InvalidPositionError, match="older stream"):
        resolve_start(Position(start_index=1, generation="other"), info(5))

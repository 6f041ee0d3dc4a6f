"""Reading a stream to its end: what came, when, and how old it was."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .sources import STAMP_LENGTH, digest


@dataclass
class Reading:
    """What one reader has got."""

    pieces: list[str] = field(default_factory=list)
    ages: list[int] = field(default_factory=list)
    """Of chunks that are stamps, in nanoseconds."""
    started: float = 0.0
    first: float = 0.0
    last: float = 0.0
    failure: str = ""

    @property
    def text(self) -> str:
        """All that came."""
        return "".join(self.pieces)


async def read(
    stream: AsyncIterator[str], reading: Reading, *, is_stamped: bool, enough: int, on_first: Callable[[], None]
) -> None:
    """Read a stream to its end, or until so many characters have come."""
    try:
        first = await stream.__anext__()
    except StopAsyncIteration:
        reading.last = time.perf_counter()
        return
    reading.first = reading.last = time.perf_counter()
    reading.pieces.append(first)
    on_first()
    if is_stamped:
        _take_stamps(reading, first[STAMP_LENGTH:])
        async for piece in stream:
            _take_stamps(reading, piece)
            reading.pieces.append(piece)
    elif enough:
        await _read_enough(stream, reading, enough)
    else:
        reading.pieces += [piece async for piece in stream]
    reading.last = time.perf_counter()


def _take_stamps(reading: Reading, piece: str) -> None:
    """Take note of the ages of chunks. Some contestants send what has collected as one piece."""
    now = time.perf_counter_ns()
    reading.ages += [now - int(piece[at : at + STAMP_LENGTH]) for at in range(0, len(piece), STAMP_LENGTH)]


async def _read_enough(stream: AsyncIterator[str], reading: Reading, enough: int) -> None:
    length = sum(map(len, reading.pieces))
    while length < enough:
        piece = await stream.__anext__()
        reading.pieces.append(piece)
        length += len(piece)


def summary(readings: Sequence[Reading], warm_up: int) -> dict[str, Any]:
    """Return what many readers got, for the answer to an order.

    Args:
        readings: One for each.
        warm_up: How many of the first stamps of each do not count.
    """
    whole = [reading for reading in readings if not reading.failure]
    found: dict[str, Any] = {
        "texts": [None if reading.failure else digest(reading.text) for reading in readings],
        "lengths": [sum(map(len, reading.pieces)) for reading in readings],
        "failures": _count(reading.failure for reading in readings if reading.failure),
        "first": _mean(reading.first - reading.started for reading in whole),
        "all": _mean(reading.last - reading.started for reading in whole),
        "started": min((reading.started for reading in readings), default=0.0),
        "ended": max((reading.last for reading in whole), default=0.0),
    }
    ages = sorted(age / 1e6 for reading in readings for age in reading.ages[warm_up:])
    if ages:
        found["ages"] = {str(percent): ages[len(ages) * percent // 100] for percent in (50, 90, 99)}
        found["ages"] |= {"max": ages[-1], "count": len(ages)}
    return found


def _count(failures: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for failure in failures:
        counts[failure] = counts.get(failure, 0) + 1
    return counts


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0

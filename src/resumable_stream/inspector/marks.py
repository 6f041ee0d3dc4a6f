"""When chunks came, in a picture of bounded size, and from where on the latest text is to be read."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from ..types import TimelineEntry

__all__ = ["Mark", "Marks"]

MAX_MARKS = 2000
TEXT_BYTES = 64 * 1024


class Mark(NamedTuple):
    """Some entries that came one soon after the other."""

    first_at: float
    """Seconds since 1970, as the next."""
    last_at: float
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    """Of the first chunk."""
    count: int  # type: ignore[assignment]  # the same
    """Of chunks."""
    size_bytes: int
    entries: int


class Marks:
    """Takes in entries one by one, and keeps at most ``2 * MAX_MARKS`` marks of them: what is far apart stays apart."""

    def __init__(self) -> None:
        self.next_index: int = 0
        """Of the chunk after the last one that was taken in."""
        self.marks: list[Mark] = []
        self._tail: deque[tuple[int, int]] = deque()
        self._tail_bytes = 0

    @property
    def text_from(self) -> int:
        """Index of a chunk from which there are `TEXT_BYTES` to the end, or all there are."""
        return self._tail[0][0] if self._tail else self.next_index

    def add(self, entry: TimelineEntry) -> None:
        """Take in the next entry."""
        self.next_index = entry.index + entry.count
        self._tail.append((entry.index, entry.size_bytes))
        self._tail_bytes += entry.size_bytes
        while self._tail_bytes - self._tail[0][1] >= TEXT_BYTES:
            self._tail_bytes -= self._tail.popleft()[1]
        self.marks.append(Mark(entry.at, entry.at, entry.index, entry.count, entry.size_bytes, 1))
        while len(self.marks) >= 2 * MAX_MARKS:
            self.marks = _thinned(self.marks)


def _joined(one: Mark, two: Mark) -> Mark:
    sums = (one.count + two.count, one.size_bytes + two.size_bytes, one.entries + two.entries)
    return Mark(one.first_at, two.last_at, one.index, *sums)


def _thinned(marks: Sequence[Mark]) -> list[Mark]:
    """Return fewer marks: neighbours are joined, two by two, where the gap between them is none of the longer ones."""
    gaps = [after.first_at - before.last_at for before, after in pairwise(marks)]
    longest = sorted(gaps)[len(gaps) // 2]
    thinned: list[Mark] = []
    at = 0
    while at < len(marks):
        if at + 1 < len(marks) and gaps[at] <= longest:
            thinned.append(_joined(marks[at], marks[at + 1]))
            at += 2
        else:
            thinned.append(marks[at])
            at += 1
    return thinned

"""The picture stays small, and true."""

from __future__ import annotations

from itertools import pairwise

from resumable_stream.inspector.marks import MAX_MARKS, TEXT_BYTES, Marks
from resumable_stream.types import TimelineEntry


def test_few_entries() -> None:
    """As long as there are few, each entry is a mark."""
    marks = Marks()
    marks.add(TimelineEntry(0, 2, 10, 5.0))
    marks.add(TimelineEntry(2, 1, 7, 6.0))
    assert marks.marks == [(5.0, 5.0, 0, 2, 10, 1), (6.0, 6.0, 2, 1, 7, 1)]
    assert (marks.next_index, marks.text_from) == (3, 0)


def test_many_entries() -> None:
    """Of any number of entries there are some thousand marks, in which no chunk is missing and gaps are still seen."""
    marks = Marks()
    at = 1000.0
    for index in range(100_000):
        at += 5.0 if index % 10_000 == 5000 else 0.01
        marks.add(TimelineEntry(index, 1, 20, at))
    kept = marks.marks
    assert MAX_MARKS / 4 < len(kept) < 2 * MAX_MARKS
    assert sum(mark.count for mark in kept) == sum(mark.entries for mark in kept) == 100_000
    assert sum(mark.size_bytes for mark in kept) == 2_000_000
    assert all(one.index + one.count == two.index for one, two in pairwise(kept))
    gaps = [two.first_at - one.last_at for one, two in pairwise(kept)]
    assert sum(gap > 4.9 for gap in gaps) == 10


def test_entries_all_at_once() -> None:
    """It does not matter how far apart they are."""
    marks = Marks()
    for index in range(50_000):
        marks.add(TimelineEntry(index, 1, 1, 1000.0))
    assert len(marks.marks) < 2 * MAX_MARKS
    assert marks.marks[-1].index + marks.marks[-1].count == 50_000


def test_where_the_latest_text_begins() -> None:
    """It begins at the last entry from which there is as much as is shown, be the entries small or large."""
    marks = Marks()
    assert marks.text_from == 0
    for index in range(10_000):
        marks.add(TimelineEntry(index, 1, 100, 1.0))
    assert marks.text_from == 10_000 - -(-TEXT_BYTES // 100)
    marks.add(TimelineEntry(10_000, 1, 10 * TEXT_BYTES, 1.0))
    assert marks.text_from == 10_000

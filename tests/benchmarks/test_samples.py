"""What the benchmark says of its samples."""

from __future__ import annotations

import pytest

from benchmarks.findings import Metric, Table, Work, compare, compare_with_number
from benchmarks.report import replaced
from benchmarks.samples import Bound, Spread, Verdict, at_least, at_most, judge, ratio, spread
from benchmarks.text import aligned, goal_line, goal_lines, number, table_lines


def test_spread() -> None:
    """The middle one of the samples, and what they lie between."""
    assert spread([3.0, 1.0, 2.0]) == Spread(1.0, 2.0, 3.0)
    assert spread([1.0, 2.0]).median == 1.5


def test_ratio_in_pairs() -> None:
    """Samples taken in turns are compared in pairs: what slows both down does not show."""
    assert ratio([2.0, 20.0, 4.0], [1.0, 10.0, 2.0]) == Spread(2.0, 2.0, 2.0)


def test_ratio_of_unequal_numbers() -> None:
    """If samples are missing, the ratio is as uncertain as the ranges allow."""
    assert ratio([2.0, 4.0], [1.0, 2.0, 4.0]) == Spread(0.5, 1.5, 4.0)


@pytest.mark.parametrize(
    ("bound", "found", "verdict"),
    [
        (at_least(2), Spread(2, 3, 4), Verdict.MET),
        (at_least(2), Spread(1, 3, 4), Verdict.NOISE),
        (at_least(2), Spread(0.5, 1, 1.9), Verdict.NOT_MET),
        (at_most(2), Spread(1, 1.5, 2), Verdict.MET),
        (at_most(2), Spread(1, 2.5, 3), Verdict.NOISE),
        (at_most(2), Spread(2.1, 2.5, 3), Verdict.NOT_MET),
        (None, Spread(1, 2, 3), Verdict.NO_GOAL),
    ],
)
def test_verdict(bound: Bound | None, found: Spread, verdict: Verdict) -> None:
    """A goal is met, or not, if all samples say so; else it is within the noise."""
    assert judge(found, bound) is verdict


def _table() -> Table:
    table = Table("work", [Metric("rate", "1/s"), Metric("other", "")])
    for rate in (10.0, 12.0):
        table.add("ours", {"rate": rate})
        table.add("slow", {"rate": rate / 4})
    table.fail("broken", "its process ended with 1 | boom")
    table.fail("broken", "its process ended with 1 | boom")
    return table


def test_peer_that_cannot() -> None:
    """Who could not do the work is no comparison, and it is told what was seen; if it is ours, the goal is not met."""
    goal = compare("rate", _table(), "rate", "ours", "broken", at_least(2))
    assert goal.verdict is Verdict.NO_COMPARISON
    assert "boom" in goal.remark
    assert compare("rate", _table(), "rate", "broken", "ours", at_least(2)).verdict is Verdict.NOT_MET


def test_goal_line() -> None:
    """A goal is a row: what, how much it is to be, how much it was, and the verdict."""
    goal = compare("rate", _table(), "rate", "ours", "slow", at_least(3))
    assert goal_line(Work("P0", "work"), goal) == "| P0 | rate | ≥ 3 | 4 (4 .. 4) | met |"
    assert compare_with_number("size", [], at_most(1)).verdict is Verdict.NOT_MET
    assert len(goal_lines([Work("P0", "work", goals=[goal])])) == 3


def test_table_lines() -> None:
    """A table has a row for each contestant, those that failed included, and says once what was seen."""
    lines = table_lines(_table())
    assert "| ours | 11 (10 .. 12) | - |" in lines
    assert "| broken, no figure | its process ended with 1 / boom | |" in lines


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.01234, "0.0123"), (12.34, "12.3"), (1234.5, "1,230"), (123456, "123,000"), (1234567, "1.23 M")],
)
def test_number(value: float, text: str) -> None:
    """Numbers have three digits that count."""
    assert number(value) == text


def test_aligned() -> None:
    """On a terminal the columns of a table stand below each other, and other lines are as they were."""
    assert aligned(["a", "| x | y |", "| --- | --- |", "| longer | z |", "b"]) == ["a", "x       y", "longer  z", "b"]


def test_replaced() -> None:
    """A run writes between the markers of the page, and nowhere else."""
    page = "before\n<!-- goals: written by make bench -->\nold\n<!-- goals: end -->\nafter\n"
    changed = replaced(page, ["new"])
    assert "old" not in changed
    assert changed.startswith("before\n")
    assert changed.endswith("\nafter\n")
    assert replaced(changed, ["new"]) == changed
    with pytest.raises(ValueError, match="no place"):
        replaced("no markers", [])

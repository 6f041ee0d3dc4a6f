"""What was found, in the form that tables, plots and files are made of."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from .samples import Bound, Spread, Verdict, judge, ratio

Values = dict[str, list[float]]
"""Samples of each metric."""


class Metric(NamedTuple):
    """One column of a table."""

    name: str
    unit: str


@dataclass
class Table:
    """What contestants did at the same work."""

    title: str
    metrics: list[Metric]
    rows: dict[str, Values] = field(default_factory=dict)
    """Of each contestant."""
    failures: dict[str, list[str]] = field(default_factory=dict)
    """What was seen of contestants instead of a figure."""
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, sample: dict[str, float]) -> None:
        """Take a sample."""
        row = self.rows.setdefault(name, {})
        for metric, value in sample.items():
            row.setdefault(metric, []).append(value)

    def fail(self, name: str, seen: str) -> None:
        """Take note that there is no sample."""
        seen_before = self.failures.setdefault(name, [])
        if seen not in seen_before:
            seen_before.append(seen)

    def samples(self, name: str, metric: str) -> list[float]:
        """Return samples of a contestant, or none."""
        return self.rows.get(name, {}).get(metric, [])


class Goal(NamedTuple):
    """One thing that is to be so, and whether it is."""

    text: str
    bound: Bound | None
    found: Spread | None
    verdict: Verdict
    remark: str = ""


@dataclass
class Work:
    """All about one row of the list of goals."""

    key: str
    title: str
    tables: dict[str, Table] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def table(self, key: str, title: str, metrics: list[Metric]) -> Table:
        """Make a table, and return it."""
        return self.tables.setdefault(key, Table(title, metrics))


def compare(
    text: str, table: Table, metric: str, ours: str, theirs: str, bound: Bound | None, *, other_metric: str = ""
) -> Goal:
    """Return whether the ratio of two contestants is what it is to be."""
    mine, others = table.samples(ours, metric), table.samples(theirs, other_metric or metric)
    if not mine:
        return Goal(text, bound, None, Verdict.NOT_MET, "; ".join(table.failures.get(ours, ["not measured"])))
    if not others:
        seen = "; ".join(table.failures.get(theirs, ["not measured"]))
        return Goal(text, bound, None, Verdict.NO_COMPARISON, f"{theirs}: {seen}")
    found = ratio(mine, others)
    return Goal(text, bound, found, judge(found, bound))


def compare_with_each(
    text: str,
    table: Table,
    metric: str,
    ours: str,
    others: Iterable[str],
    bound: Bound | None,
    *,
    other_metric: str = "",
) -> list[Goal]:
    """Return the same for several others. The text has a place for the name."""
    return [
        compare(text.format(other), table, metric, ours, other, bound, other_metric=other_metric) for other in others
    ]


def claim(text: str, is_so: bool, remark: str = "") -> Goal:
    """Return whether something is so that is no ratio."""
    return Goal(text, None, None, Verdict.MET if is_so else Verdict.NOT_MET, remark)


def compare_with_number(text: str, samples: list[float], bound: Bound | None) -> Goal:
    """Return whether a figure of ours is what it is to be, by itself."""
    if not samples:
        return Goal(text, bound, None, Verdict.NOT_MET, "not measured")
    found = ratio(samples, [1.0] * len(samples))
    return Goal(text, bound, found, judge(found, bound))

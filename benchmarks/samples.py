"""What samples say: medians, ratios, and whether a goal is met. Pure functions."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple


class Spread(NamedTuple):
    """A median, and what the samples lie between."""

    low: float
    median: float
    high: float


class Verdict(str, Enum):
    """What is to be said of a goal."""

    MET = "met"
    """By every sample."""
    NOISE = "within the noise"
    """By some samples, and not by others."""
    NOT_MET = "not met"
    """By none."""
    NO_GOAL = "no goal"
    """It is told for its own sake."""
    NO_COMPARISON = "no comparison"
    """What it is to be compared with could not do the work."""


class Bound(NamedTuple):
    """What a ratio is to be."""

    value: float
    is_minimum: bool

    def holds(self, ratio: float) -> bool:
        """Whether a ratio is on the right side."""
        return ratio >= self.value if self.is_minimum else ratio <= self.value

    def __str__(self) -> str:
        return f"{'≥' if self.is_minimum else '≤'} {self.value:g}"


def at_least(value: float) -> Bound:
    """Return a lower bound."""
    return Bound(value, is_minimum=True)


def at_most(value: float) -> Bound:
    """Return an upper bound."""
    return Bound(value, is_minimum=False)


def spread(samples: Sequence[float]) -> Spread:
    """Return median and range."""
    return Spread(min(samples), statistics.median(samples), max(samples))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Return by what one figure is larger than another.

    Samples that were taken in turns are compared in pairs, so that what else the machine did meets both. If some are
    missing, it is as far as the ranges allow.
    """
    if len(ours) == len(theirs):
        return spread([one / other for one, other in zip(ours, theirs, strict=True)])
    one, other = spread(ours), spread(theirs)
    return Spread(one.low / other.high, one.median / other.median, one.high / other.low)


def judge(found: Spread, bound: Bound | None) -> Verdict:
    """Return whether a ratio is what it is to be."""
    if bound is None:
        return Verdict.NO_GOAL
    held = bound.holds(found.low), bound.holds(found.high)
    if all(held):
        return Verdict.MET
    return Verdict.NOISE if any(held) else Verdict.NOT_MET


def percentile(ordered: Sequence[float], percent: int) -> float:
    """Return what so many percent of sorted values are below of."""
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]

"""Chunks that say when they were made, to be compared with the clock of another process."""

from __future__ import annotations

import time
from collections.abc import Sequence

GAP = 0.005
"""Pause before each, in seconds."""

WARM_UP = 20
"""How many of the first ones do not count."""


def stamp() -> str:
    """The time, in 20 characters."""
    # CLOCK_MONOTONIC on Linux: the same clock for all processes.
    return f"{time.perf_counter_ns():020}"


def age(stamped: str | bytes) -> float:
    """How old a stamp is, in milliseconds."""
    return (time.perf_counter_ns() - int(stamped)) / 1e6


def percentile(ages: Sequence[float], percent: int) -> float:
    """The age that so many percent are below of, those of the first stamps left out."""
    ordered = sorted(ages[WARM_UP:])
    return ordered[len(ordered) * percent // 100]

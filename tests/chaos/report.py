"""What was counted, as tables for people."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from .redis_server import describe_server
from .scenarios import Scenario
from .soak import CHUNKS_PER_SECOND, WINDOW_BYTES, Soak
from .tally import Tally

_PAGE = Path(__file__).parent.parent.parent / "docs" / "reliability.md"
_MIB = 1024 * 1024

_COUNTS = ("rounds", "streams", "readers", "chunks")
_ZEROS = ("lost", "doubled", "reordered", "wrong", "wrong_ends", "hangs", "late")
_COLUMNS = [name.replace("_", " ") for name in _COUNTS + _ZEROS]
_FAULTS_HEAD = (f"| fault | {' | '.join(_COLUMNS)} | worst time |", f"| --- |{' ---: |' * len(_COLUMNS)} --- |")
_SOAK_HEAD = (
    "| | memory of publisher | of follower | tasks of publisher | of follower | connections of both | keys |",
    "| --- |" + " ---: |" * 6,
)


class Played(NamedTuple):
    """A scenario, and what it counted."""

    scenario: Scenario
    tally: Tally

    def summary(self) -> str:
        """Return it as one row of the table."""
        counts = [f"{getattr(self.tally, name):,}" for name in _COUNTS + _ZEROS]
        worst = f"{self.tally.worst:.2f} s {self.scenario.measures}"
        return f"| {' | '.join([self.scenario.name, *counts, worst])} |"


def conditions() -> list[str]:
    """Return when and where this is."""
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    software = f"Python {platform.python_version()}, redis-py {version('redis')}, {describe_server()}"
    return [f"{time.strftime('%Y-%m-%d', time.gmtime())}, {software}, {machine}"]


def fault_table(played: Sequence[Played]) -> list[str]:
    """Return what was counted in all scenarios."""
    samples = sum(one.tally.samples for one in played)
    immortal = sum(one.tally.without_expiry for one in played)
    keys = f"All keys were looked at {samples:,} times meanwhile; {immortal or 'none'} of them had no expiry."
    return [f"`make chaos`, {conditions()[0]}:", "", *_FAULTS_HEAD, *(one.summary() for one in played), "", keys]


def soak_table(soak: Soak) -> list[str]:
    """Return what was counted in the soak."""
    tally = soak.tally
    plan = f"{soak.streams:,} streams of {CHUNKS_PER_SECOND} chunks a second, for {soak.seconds:g} s"
    rate = f"It took {soak.took:.0f} s, so {tally.chunks / soak.took:,.0f} chunks a second."
    delivered = f"{tally.readers:,} readers got {tally.chunks:,} chunks; problems: {tally.problems}. {rate}"
    rows = []
    for sample in soak.samples:
        memory = [f"{size / _MIB:.0f} MiB" for size in sample.resident_bytes]
        cells = [sample.moment, *memory, *map(str, sample.tasks), str(sample.connections), f"{sample.keys:,}"]
        rows.append(f"| {' | '.join(cells)} |")
    return [
        f"`make soak`, {conditions()[0]}: {plan}, each followed in another process, `window_bytes={WINDOW_BYTES}`.",
        delivered,
        "",
        *_SOAK_HEAD,
        *rows,
    ]


def write(name: str, lines: Sequence[str]) -> None:
    """Put lines between two markers of the page."""
    begin, end = f"<!-- {name}: written by make chaos -->", f"<!-- {name}: end -->"
    before, _, rest = _PAGE.read_text(encoding="utf-8").partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise RuntimeError(f"{_PAGE} has no place for {name}")
    _PAGE.write_text(f"{before}{begin}\n" + "\n".join(lines) + f"\n{end}{after}", encoding="utf-8")

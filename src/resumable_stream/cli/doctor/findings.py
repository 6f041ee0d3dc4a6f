"""What a check says."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from rich.text import Text

from ..records import print_record
from ..rendering import print_table, printable


class Level(str, Enum):
    """How bad it is."""

    OK = "ok"
    UNKNOWN = "unknown"
    """The server does not tell."""
    WARNING = "warning"
    PROBLEM = "problem"


_STYLES = {Level.OK: "green", Level.UNKNOWN: "dim", Level.WARNING: "yellow", Level.PROBLEM: "bold red"}


class Finding(NamedTuple):
    """One check, and what came of it."""

    check: str
    level: Level
    found: str
    advice: str = ""
    """What to change; empty: nothing."""


def unknown(check: str, asked: str) -> Finding:
    """Return that the server did not tell."""
    return Finding(check, Level.UNKNOWN, f"cannot tell: the server does not answer {asked}")


class Examined(NamedTuple):
    """What was found at one server."""

    server: str
    findings: Sequence[Finding]


def print_findings(examined: Sequence[Examined], *, as_json: bool) -> int:
    """Print all that was found, and return how many problems there are."""
    levels = [finding.level for one in examined for finding in one.findings]
    problems, warnings = levels.count(Level.PROBLEM), levels.count(Level.WARNING)
    if as_json:
        checks = [
            {"server": one.server, **finding._asdict(), "level": finding.level.value}
            for one in examined
            for finding in one.findings
        ]
        print_record({"problems": problems, "warnings": warnings, "checks": checks})
    else:
        for one in examined:
            sys.stdout.write(f"{printable(one.server)}\n")
            print_table(("CHECK", "", "FOUND"), (row for finding in one.findings for row in _rows(finding)))
    return problems


def _rows(finding: Finding) -> Iterator[list[str | Text]]:
    yield [finding.check, Text(finding.level.value, _STYLES[finding.level]), finding.found]
    if finding.advice:
        yield ["", "", Text(f"→ {printable(finding.advice)}", "bold")]

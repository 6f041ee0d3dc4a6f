"""What was found, in files: for machines, for people, and for the page about performance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from .findings import Work
from .text import goal_lines, work_lines

RESULTS = Path(__file__).parent / "results"
"""Of the last full run, and in folders of their own those that were kept beside it."""
LAST = Path(__file__).parent / ".last"
"""Of a run that was not a full one."""

_PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
_BEGIN, _END = "<!-- goals: written by make bench -->", "<!-- goals: end -->"


def write_results(works: Sequence[Work], about: Mapping[str, str], folder: Path) -> None:
    """Write ``results.json`` and ``table.md``."""
    folder.mkdir(exist_ok=True)
    found = {"conditions": dict(about), "works": [asdict(work) for work in works]}
    (folder / "results.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = ["# Results", "", *condition_lines(about), "", *goal_lines(works), ""]
    for work in works:
        lines += work_lines(work)
    (folder / "table.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def write_page(works: Sequence[Work], about: Mapping[str, str]) -> None:
    """Put the list of goals between two markers of the page."""
    conditions = "; ".join(f"{name} {value}" for name, value in about.items())
    lines = [f"`make bench`, {conditions}:", "", *goal_lines(works)]
    _PAGE.write_text(replaced(_PAGE.read_text(encoding="utf-8"), lines), encoding="utf-8")


def replaced(page: str, lines: Sequence[str]) -> str:
    """Return a page with other lines between the markers.

    Raises:
        ValueError: It does not have them.
    """
    before, _, rest = page.partition(_BEGIN)
    _, found, after = rest.partition(_END)
    if not found:
        raise ValueError("the page has no place for the list of goals")
    return f"{before}{_BEGIN}\n" + "\n".join(lines) + f"\n{_END}{after}"


def condition_lines(about: Mapping[str, str]) -> list[str]:
    """Return when and where it was measured."""
    return ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in about.items())]

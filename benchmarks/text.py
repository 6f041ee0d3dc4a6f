"""What was found, as text: for a terminal, and for pages in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .findings import Goal, Table, Work
from .samples import Spread, spread

GOALS_HEAD = ("| work | what | goal | measured (min .. max) | |", "| --- | --- | ---: | ---: | --- |")


def number(value: float) -> str:
    """Return a number with three digits that count."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.3g} M"
    if size >= 1000:
        return f"{round(value, 2 - len(str(int(size))) + 1):,.0f}"
    return f"{value:.3g}"


def ranged(found: Spread) -> str:
    """Return a median and its range."""
    return f"{number(found.median)} ({number(found.low)} .. {number(found.high)})"


def table_lines(table: Table) -> list[str]:
    """Return a table in Markdown: a row for each contestant, and what was seen instead of figures."""
    head = " | ".join(f"{metric.name}, {metric.unit}" if metric.unit else metric.name for metric in table.metrics)
    lines = [f"{table.title}:", "", f"| | {head} |", f"| --- |{' ---: |' * len(table.metrics)}"]
    for name, row in table.rows.items():
        cells = [ranged(spread(row[metric.name])) if row.get(metric.name) else "-" for metric in table.metrics]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for name, seen in table.failures.items():
        some = "sometimes" if name in table.rows else "no figure"
        lines.append(f"| {name}, {some} | {_cell('; '.join(seen))} |{' |' * (len(table.metrics) - 1)}")
    for note in table.notes:
        lines += ["", note]
    return lines


def goal_line(work: Work, goal: Goal) -> str:
    """Return a goal as a row of the list of goals."""
    bound = "" if goal.bound is None else str(goal.bound)
    found = goal.remark if goal.found is None else ranged(goal.found) + (f"; {goal.remark}" if goal.remark else "")
    return f"| {work.key} | {goal.text} | {bound} | {_cell(found)} | {goal.verdict.value} |"


def goal_lines(works: Iterable[Work]) -> list[str]:
    """Return the list of goals."""
    return [*GOALS_HEAD, *(goal_line(work, goal) for work in works for goal in work.goals)]


def work_lines(work: Work) -> list[str]:
    """Return all tables of a work."""
    lines = [f"## {work.key}: {work.title}", ""]
    for table in work.tables.values():
        lines += [*table_lines(table), ""]
    for remark in work.remarks:
        lines += [remark, ""]
    return lines


def aligned(lines: Sequence[str]) -> list[str]:
    """Return lines of Markdown with the columns of each table below each other, for a terminal."""
    done: list[str] = []
    block: list[list[str]] = []
    for line in [*lines, ""]:
        if line.startswith("|"):
            block.append([cell.strip() for cell in line.strip("|").split("|")])
            continue
        done += _aligned_block(block)
        block = []
        done.append(line)
    return done[:-1]


def _aligned_block(block: list[list[str]]) -> list[str]:
    rows = [row for row in block if not all(set(cell) <= set("-: ") and cell for cell in row)]
    if not rows:
        return []
    columns = max(map(len, rows))
    padded = [row + [""] * (columns - len(row)) for row in rows]
    widths = [min(44, max(len(row[column]) for row in padded)) for column in range(columns)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in padded]


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())

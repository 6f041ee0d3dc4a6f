"""What was found, as pictures: a dot for each median, and a line from the smallest sample to the largest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

from .findings import Table, Work
from .samples import spread

mpl.use("Agg")

_OURS, _LIMIT, _PEER = "#0a7d55", "#777777", "#c2541b"
_SECTIONS = 6
"""Of one picture, at most."""


def draw_all(works: Sequence[Work], folder: Path) -> None:
    """Draw a picture for each work, as PNG and as SVG."""
    for work in works:
        tables = [table for table in work.tables.values() if table.rows]
        if tables:
            _draw(work, tables, folder)


def _draw(work: Work, tables: list[Table], folder: Path) -> None:
    grown = [table for table in tables if len(table.rows) == 1]
    shown = [table for table in tables if len(table.rows) > 1]
    sections = [(table, metric.name) for table in shown for metric in table.metrics if _has(table, metric.name)]
    for number, part in enumerate(_parts(sections)):
        rows = [len(table.rows) for table, _ in part]
        figure, axes = plt.subplots(
            len(part), 1, figsize=(9, 1.1 * len(part) + 0.32 * sum(rows)), squeeze=False, height_ratios=rows
        )
        for axis, (table, metric) in zip(axes[:, 0], part, strict=True):
            _draw_dots(axis, table, metric)
        _save(figure, work, folder, f"{work.key.lower()}{f'-{number + 1}' if number else ''}")
    if len(grown) > 1:
        _draw_growth(work, grown, folder)


def _parts(sections: list[tuple[Table, str]]) -> list[list[tuple[Table, str]]]:
    return [sections[at : at + _SECTIONS] for at in range(0, len(sections), _SECTIONS)]


def _draw_dots(axis: Any, table: Table, metric: str) -> None:
    names = [name for name in table.rows if table.samples(name, metric)]
    unit = next(each.unit for each in table.metrics if each.name == metric)
    for place, name in enumerate(reversed(names)):
        low, median, high = spread(table.samples(name, metric))
        color = _color(name)
        axis.plot([low, high], [place, place], color=color, linewidth=3, alpha=0.4, solid_capstyle="round")
        axis.plot([median], [place], "o", color=color)
        axis.annotate(f"{median:,.3g}" if median < 1000 else f"{median:,.0f}", (median, place), xytext=(0, 6),
                      textcoords="offset points", ha="center", fontsize=8, color=color)  # fmt: skip
    axis.set_yticks(range(len(names)), list(reversed(names)), fontsize=9)
    axis.set_ylim(-0.6, len(names) - 0.2)
    if min(min(table.samples(name, metric)) for name in names) > 0:
        axis.set_xscale("log")
    axis.set_title(f"{metric}{f', {unit}' if unit else ''}: {table.title}", fontsize=9, loc="left")
    axis.grid(axis="x", which="both", alpha=0.25)


def _draw_growth(work: Work, tables: list[Table], folder: Path) -> None:
    """Draw how a figure grows from one table to the next, which differ in one number."""
    metrics = list(dict.fromkeys(metric for table in tables for metric in table.metrics))
    figure, axes = plt.subplots(len(metrics), 1, figsize=(9, 2.6 * len(metrics)), squeeze=False)
    for axis, metric in zip(axes[:, 0], metrics, strict=True):
        labels, points = [], []
        for table in tables:
            (row,) = table.rows.values()
            if row.get(metric.name):
                labels.append(table.title.split(", ")[0] if "," in table.title else table.title)
                points.append(spread(row[metric.name]))
        places = range(len(points))
        axis.vlines(places, [p.low for p in points], [p.high for p in points], color=_OURS, alpha=0.4, linewidth=3)
        axis.plot(places, [p.median for p in points], "o", color=_OURS)
        axis.set_xticks(places, [label.replace(" of ", "\nof ", 1) for label in labels], fontsize=7)
        if points and min(p.low for p in points) > 0:
            axis.set_yscale("log")
        axis.set_title(f"{metric.name}, {metric.unit}" if metric.unit else metric.name, fontsize=9, loc="left")
        axis.grid(axis="y", which="both", alpha=0.25)
    _save(figure, work, folder, f"{work.key.lower()}-growth")


def _save(figure: Any, work: Work, folder: Path, name: str) -> None:
    figure.suptitle(f"{work.key}: {work.title} (median, smallest to largest)", fontsize=11)
    figure.tight_layout()
    for kind in ("png", "svg"):
        figure.savefig(folder / f"{name}.{kind}", dpi=110, metadata={"Date": None} if kind == "svg" else None)
    plt.close(figure)


def _has(table: Table, metric: str) -> bool:
    return any(table.samples(name, metric) for name in table.rows)


def _color(name: str) -> str:
    if name.startswith("ours"):
        return _OURS
    return _LIMIT if name.startswith(("bare", "source")) else _PEER

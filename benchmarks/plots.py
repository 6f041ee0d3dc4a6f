"""What was found, as pictures: a dot for each median, and a line from the smallest sample to the largest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt

from .findings import Metric, Table, Work
from .samples import spread
from .text import number

mpl.use("Agg")

_OURS, _LIMIT, _PEER = "#0a7d55", "#777777", "#c2541b"
_MUCH = 8
_SECTIONS = 4
"""Of one picture, at most."""


def draw_all(works: Sequence[Work], folder: Path) -> None:
    """Draw a picture for each work, as PNG and as SVG."""
    for work in works:
        _draw_contestants(work, folder)
        _draw_growth(work, folder)


def _draw_contestants(work: Work, folder: Path) -> None:
    shown = [table for table in work.tables.values() if len(table.rows) > 1]
    sections = [(table, metric.name) for table in shown for metric in table.metrics if _has(table, metric.name)]
    for place, part in enumerate(_parts(sections)):
        rows = [len(table.rows) for table, _ in part]
        height = 1.3 * len(part) + 0.32 * sum(rows)
        figure, axes = plt.subplots(len(part), 1, figsize=(9, height), squeeze=False, height_ratios=rows)
        for axis, (table, metric) in zip(axes[:, 0], part, strict=True):
            _draw_dots(axis, table, metric)
        _save(figure, work, folder, f"{work.key.lower()}{f'-{place + 1}' if place else ''}")


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
        axis.annotate(
            number(median),
            (median, place),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=color,
        )
    axis.set_yticks(range(len(names)), list(reversed(names)), fontsize=9)
    axis.set_ylim(-0.6, len(names) - 0.2)
    _scale(axis, "x", [value for name in names for value in table.samples(name, metric)])
    axis.set_title(f"{metric}{f', {unit}' if unit else ''}\n{table.title}", fontsize=9, loc="left")
    axis.grid(axis="x", which="both", alpha=0.25)


def _draw_growth(work: Work, folder: Path) -> None:
    """Draw how figures grow from one table to the next, of those whose keys differ in a number only."""
    groups: dict[str, list[Table]] = {}
    for key, table in work.tables.items():
        if len(table.rows) == 1 and " " in key:
            groups.setdefault(key.split()[0], []).append(table)
    for name, tables in groups.items():
        metrics = tables[0].metrics
        figure, axes = plt.subplots(len(metrics), 1, figsize=(9, 0.6 + 2.4 * len(metrics)), squeeze=False)
        for axis, metric in zip(axes[:, 0], metrics, strict=True):
            _draw_points(axis, tables, metric)
        _save(figure, work, folder, f"{work.key.lower()}-{name}")


def _draw_points(axis: Any, tables: list[Table], metric: Metric) -> None:
    found = [(table.title.split(", ")[0], row[metric.name]) for table in tables for row in table.rows.values()]
    points = [spread(samples) for _, samples in found]
    places = range(len(points))
    axis.vlines(places, [p.low for p in points], [p.high for p in points], color=_OURS, alpha=0.4, linewidth=3)
    axis.plot(places, [p.median for p in points], "o", color=_OURS)
    for place, point in enumerate(points):
        axis.annotate(
            number(point.median), (place, point.median), xytext=(8, -3), textcoords="offset points", fontsize=8
        )
    axis.set_xticks(places, [label for label, _ in found], fontsize=8)
    axis.margins(x=0.1, y=0.15)
    _scale(axis, "y", [value for _, samples in found for value in samples])
    axis.set_title(f"{metric.name}, {metric.unit}" if metric.unit else metric.name, fontsize=9, loc="left")
    axis.grid(axis="y", which="both", alpha=0.25)


def _scale(axis: Any, which: str, values: list[float]) -> None:
    """Make an axis logarithmic where there is much between the values, and let it begin at zero where there is not."""
    if min(values) > 0 and max(values) / min(values) > _MUCH:
        getattr(axis, f"set_{which}scale")("log")
    else:
        getattr(axis, f"set_{which}lim")(min(0.0, min(values)), max(values) * 1.15 or 1.0)
    ticks = getattr(axis, f"{which}axis")
    ticks.set_major_formatter(lambda value, _: number(value))
    ticks.set_minor_formatter(lambda _value, _: "")


def _save(figure: Any, work: Work, folder: Path, name: str) -> None:
    figure.suptitle(f"{work.key}: {work.title} (median, smallest to largest)", fontsize=11)
    figure.tight_layout()
    for kind in ("png", "svg"):
        figure.savefig(folder / f"{name}.{kind}", dpi=110, metadata={"Date": None} if kind == "svg" else None)
    plt.close(figure)


def _has(table: Table, metric: str) -> bool:
    return any(table.samples(name, metric) for name in table.rows)


def _color(name: str) -> str:
    if name.startswith(("ours", "resumable")):
        return _OURS
    return _LIMIT if name.startswith(("bare", "source", "the same")) else _PEER

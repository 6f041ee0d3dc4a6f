"""What people read. What programs read is in `records`."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterable
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..types import StreamInfo, StreamState

_STYLES = {
    StreamState.RUNNING: "cyan",
    StreamState.DONE: "green",
    StreamState.FAILED: "red",
    StreamState.STOPPED: "yellow",
    StreamState.LOST: "red",
}
_UNITS = (("d", 86400), ("h", 3600), ("min", 60))
_WIDE = 100_000  # where nobody looks, nothing is to be wrapped


def printable(text: str) -> str:
    """Return text in one line that cannot steer a terminal. What a stream failed of is not ours."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def span(seconds: float) -> str:
    """Return a length of time, in its largest unit."""
    for unit, size in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def moment(seconds: float, now: float) -> str:
    """Return a time in UTC, and how long ago it was."""
    stamp = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
    return f"{stamp} ({span(now - seconds)} ago)"


def print_streams(streams: Iterable[StreamInfo]) -> None:
    """Print a table of streams."""
    now = time.time()
    table = _table("ID", "STATE", "CHUNKS", "AGE", "LEASE LEFT", "ENDED", folds={"ID"}, right={"CHUNKS"})
    for info in streams:
        ended = "" if info.ended_at is None else f"{span(now - info.ended_at)} ago"
        lease = span(info.lease_left) if info.is_running else ""
        table.add_row(_plain(info.stream_id), _state(info), str(info.length), span(now - info.created_at), lease, ended)
    _print(table)


def print_stream(info: StreamInfo) -> None:
    """Print all that is known of a stream, and that there is to say."""
    now = time.time()
    table = _table("NAME", "VALUE", folds={"VALUE"})
    table.show_header = False
    rows: list[tuple[str, str | Text]] = [("id", info.stream_id), ("state", _state(info)), ("chunks", str(info.length))]
    rows.append(("created", moment(info.created_at, now)))
    if info.ended_at is not None:
        rows.append(("ended", moment(info.ended_at, now)))
    if info.is_running:
        rows.append(("lease left", f"{info.lease_left:.1f} s"))
    elif info.lease_left < 0:
        rows.append(("lease left", f"none: it lapsed {span(-info.lease_left)} ago"))
    rows += [("generation", info.generation), ("epoch", f"{info.epoch}, from chunk {info.epoch_start} on")]
    rows += [
        ("taken over", f"{moment(start.at, now)}: epoch {start.epoch}, from chunk {start.length} on")
        for start in info.takeovers
    ]
    rows.append(("readable", "yes" if info.is_readable else "no: its retention is over"))
    if info.error_type:
        rows.append(("error", f"{info.error_type}: {info.error_message}"))
    if info.reason:
        rows.append(("reason", info.reason))
    for name, value in rows:
        table.add_row(name, value if isinstance(value, Text) else _plain(value))
    _print(table)


def print_table(columns: Iterable[str], rows: Iterable[Iterable[str | Text]]) -> None:
    """Print a table of other things."""
    names = list(columns)
    table = _table(*names, folds=names)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else _plain(cell) for cell in row))
    _print(table)


def _table(*columns: str, folds: Collection[str], right: Collection[str] = ()) -> Table:
    # What is too long goes on in the next line, where it may: rich would cut off what may not.
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        justify: Literal["right", "left"] = "right" if name in right else "left"
        table.add_column(name, justify=justify, overflow="fold", no_wrap=name not in folds)
    return table


def _print(table: Table) -> None:
    console = Console(file=sys.stdout, highlight=False, width=None if sys.stdout.isatty() else _WIDE)
    with console.capture() as capture:
        console.print(table)
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _state(info: StreamInfo) -> Text:
    return Text(info.state.value if info.is_readable else f"{info.state.value}, over", _STYLES[info.state])


def _plain(text: str) -> Text:
    return Text(printable(text))  # not a str, in which brackets would be markup

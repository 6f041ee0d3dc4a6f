"""The streams there are, looked through once for all who watch."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import anyio

from ..context import ResumableStreamContext
from ..exceptions import InvalidInputError
from ..types import StreamInfo, StreamState

__all__ = ["Filter", "Listing", "parse_filter"]

MAX_SCANNED = 10_000
"""Streams that are looked at. What a store has beyond them is not counted."""
MAX_ROWS = 500
_INTERVAL = 1.0
"""Seconds between two walks through the streams, at least."""
_LONGEST_WALK = 3.0
"""Seconds after which a walk ends with what it has found, as it does after `MAX_SCANNED` streams. Between two streams a
server may have millions of keys that are none of ours."""
_SHARE = 4
"""A walk is followed by a pause of so many times its length, at least."""
_LONGEST_MEMORY = 30.0
"""After so many seconds, how many chunks a stream had says nothing of its rate."""
TOMBSTONE = "tombstone"
KINDS = (*(state.value for state in StreamState), TOMBSTONE)


class Filter(NamedTuple):
    """Which streams are asked for."""

    kind: str = ""
    contains: str = ""
    limit: int = 100


def parse_filter(query: Mapping[str, str]) -> Filter:
    """Return the filter that a query says.

    Raises:
        InvalidInputError: There is none like this.
    """
    kind, limit = query.get("state", ""), query.get("limit", "100")
    if kind not in ("", *KINDS):
        raise InvalidInputError(f"state is one of {', '.join(KINDS)}")
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= MAX_ROWS):
        raise InvalidInputError(f"limit is a number from 1 to {MAX_ROWS}")
    return Filter(kind, query.get("contains", ""), int(limit))


class _Seen(NamedTuple):
    generation: str
    length: int
    at: float


@dataclass
class _Walk:
    """What was found in one walk through the streams."""

    at: float
    """On the event loop's clock."""
    now: float
    """Seconds since 1970."""
    infos: list[StreamInfo] = field(default_factory=list)
    rates: dict[str, float] = field(default_factory=dict)
    is_complete: bool = False


class Listing:
    """Describes the streams of a context, for any number of viewers.

    Args:
        context: It.
        own_readers: Returns how many readers of a stream are the inspector's, and not to be counted.
    """

    def __init__(self, context: ResumableStreamContext, own_readers: Callable[[str], int]) -> None:
        self._context = context
        self._own_readers = own_readers
        self._lock: anyio.Lock | None = None  # it belongs to an event loop, which may not run yet
        self._walk: _Walk | None = None
        self._next_at = 0.0
        self._seen: dict[str, _Seen] = {}

    def forget(self) -> None:
        """Have the next viewer see the streams as they are then."""
        self._next_at = 0.0

    async def show(self, wanted: Filter) -> dict[str, Any]:
        """Return the streams that a filter lets through: those that run first, and then the newest first.

        Raises:
            TimeoutError: None was found in the time that a walk has.
            BackendError: The store failed.
        """
        walk, readers = await self._newest(), self._context.readers()
        found = [
            info for info in walk.infos if wanted.contains in info.stream_id and wanted.kind in ("", kind_of(info))
        ]
        shown = heapq.nsmallest(wanted.limit, found, key=lambda info: (not info.is_running, -info.created_at))
        return {
            "now": walk.now,
            "counts": dict.fromkeys(KINDS, 0) | Counter(map(kind_of, walk.infos)),
            "found": len(found),
            "is_complete": walk.is_complete,
            "streams": [self._row(info, walk.rates.get(info.stream_id), readers) for info in shown],
        }

    def describe(self, info: StreamInfo) -> dict[str, Any]:
        """Return what the page shows of one stream that was just looked at."""
        rate = self._walk.rates.get(info.stream_id) if self._walk else None
        return self._row(info, rate, self._context.readers())

    def _row(self, info: StreamInfo, rate: float | None, readers: Mapping[str, int]) -> dict[str, Any]:
        return {
            "id": info.stream_id,
            "generation": info.generation,
            "state": kind_of(info),
            "length": info.length,
            "rate": rate if info.is_running else None,
            "readers": max(readers.get(info.stream_id, 0) - self._own_readers(info.stream_id), 0),
            "created_at": info.created_at,
            "ended_at": info.ended_at,
            "lease_left": info.lease_left if info.is_running else None,
            "epoch": info.epoch,
            "reason": info.reason,
            "error": f"{info.error_type}: {info.error_message}" if info.error_type else "",
        }

    async def _newest(self) -> _Walk:
        if self._lock is None:
            self._lock = anyio.Lock()
        async with self._lock:
            begun_at = anyio.current_time()
            if begun_at >= self._next_at:
                self._walk = await self._go_through(begun_at)
                took = anyio.current_time() - begun_at
                self._next_at = begun_at + max(_INTERVAL, took * (_SHARE + 1))
            if self._walk is None:
                raise TimeoutError
            return self._walk

    async def _go_through(self, at: float) -> _Walk | None:
        walk, seen = _Walk(at, time.time()), dict[str, _Seen]()
        with anyio.move_on_after(_LONGEST_WALK):
            walk.is_complete = await self._fill(walk, seen)
        self._seen = seen
        return walk if walk.infos or walk.is_complete else None

    async def _fill(self, walk: _Walk, seen: dict[str, _Seen]) -> bool:
        """Put streams into a walk; return whether these are all."""
        infos = self._context.list_streams()
        async with aclosing(infos) if isinstance(infos, AsyncGenerator) else nullcontext():
            async for info in infos:
                if len(walk.infos) == MAX_SCANNED:
                    return False
                walk.infos.append(info)
                if info.is_running:
                    newest = seen[info.stream_id] = _Seen(info.generation, info.length, anyio.current_time())
                    rate = _rate(self._seen.get(info.stream_id), newest)
                    if rate is not None:
                        walk.rates[info.stream_id] = rate
        return True


def kind_of(info: StreamInfo) -> str:
    """Return the state of a stream, or that just its tombstone is left."""
    return info.state.value if info.is_readable else TOMBSTONE


def _rate(before: _Seen | None, now: _Seen) -> float | None:
    """Return chunks per second, if that can be told."""
    if before is None or before.generation != now.generation or not 0 < now.at - before.at < _LONGEST_MEMORY:
        return None
    return round(max(now.length - before.length, 0) / (now.at - before.at), 1)

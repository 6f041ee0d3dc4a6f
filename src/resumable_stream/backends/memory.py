"""Streams in the memory of one process: the reference implementation of the contract."""

from __future__ import annotations

import heapq
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from typing_extensions import override

from ..abc import OnNotice, OnPush, StreamBackend
from ..exceptions import LimitExceededError
from ..types import (
    Acquired,
    Append,
    Appended,
    AppendStatus,
    Claim,
    End,
    Entry,
    EpochStart,
    Page,
    Push,
    StreamInfo,
    StreamState,
)

__all__ = ["MemoryBackend", "MemoryStore"]

_KEPT_TAKEOVERS = 20
_GRACE = 60.0
"""How long entries outlive the retention, for readers who joined before, in seconds."""


@dataclass
class _Record:
    claim: Claim
    generation: str
    created_at: float
    leased_until: float
    epoch: int = 1
    epoch_start: int = 0
    takeovers: tuple[EpochStart, ...] = ()
    stop_reason: str = ""
    entries: list[Entry] = field(default_factory=list)
    length: int = 0
    end: End | None = None
    ended_at: float = 0.0
    last: Append | None = None

    def settle(self, now: float) -> None:
        """Record that the publisher is lost, if its lease has lapsed; stopped, if that was asked for."""
        if (self.end is None and now > self.leased_until) or (self.is_lost() and self.stop_reason):
            lost = End(StreamState.STOPPED, reason=self.stop_reason) if self.stop_reason else End(StreamState.LOST)
            self.end, self.ended_at = lost, self.leased_until

    def is_readable(self, now: float) -> bool:
        return self.end is None or now < self.ended_at + self.claim.retention

    def is_id_free(self, now: float) -> bool:
        return self.end is not None and now >= self.ended_at + self.claim.retention + self.claim.tombstone

    def is_lost(self) -> bool:
        return self.end is not None and self.end.state is StreamState.LOST

    def may_be_taken_over(self, claim: Claim) -> bool:
        return claim.allow_lost and claim.lost_epoch in {0, self.epoch}


class MemoryStore:
    """The streams themselves, which several backends of one event loop may share, as several processes share a Redis.

    Args:
        max_streams: How many streams are kept, finished ones and tombstones included. One more is refused with
            `LimitExceededError`.
        clock: Returns the time in seconds, from any start. Tests pass one that they move.
    """

    def __init__(self, *, max_streams: int = 100_000, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_streams = max_streams
        self._clock = clock
        self._to_unix = time.time() - clock()
        self._records: dict[str, _Record] = {}
        self._checks: list[tuple[float, str, str]] = []
        self._backends: list[MemoryBackend] = []

    def attach(self, backend: MemoryBackend) -> None:
        """Push to a backend from now on."""
        self._backends.append(backend)

    def detach(self, backend: MemoryBackend) -> None:
        """Push to it no more. Without effect if it is not attached."""
        if backend in self._backends:
            self._backends.remove(backend)

    def acquire(self, stream_id: str, claim: Claim) -> Acquired:
        """As `StreamBackend.acquire`; and so are the others."""
        now = self._clock()
        record = self._find(stream_id, now)
        if record is None or record.is_id_free(now):
            if not claim.allow_new:
                return Acquired(is_publisher=False, info=None)
            record = self._create(stream_id, claim, now)
        elif record.is_lost() and record.is_readable(now) and record.may_be_taken_over(claim):
            record.claim, record.epoch, record.end = claim, record.epoch + 1, None
            record.leased_until, record.epoch_start = now + claim.lease, record.length
            start = EpochStart(record.epoch, record.length, now + self._to_unix)
            record.takeovers = (*record.takeovers, start)[-_KEPT_TAKEOVERS:]
            self._push(stream_id, None)
            self._notify(stream_id)
        return Acquired(record.claim.token == claim.token, self._describe(stream_id, record, now))

    def append(self, append: Append) -> Appended:
        """Append to one stream."""
        now = self._clock()
        record = self._find(append.stream_id, now)
        if record is None or record.generation != append.generation:
            return Appended(AppendStatus.GONE)
        if append.epoch != record.epoch:
            return Appended(AppendStatus.FENCED, record.length)
        if append == record.last:
            return Appended(AppendStatus.ACCEPTED, stop_reason=record.stop_reason)
        if record.end is not None:
            return Appended(AppendStatus.FENCED, record.length)
        if append.first != record.length:
            return Appended(AppendStatus.MISPLACED, record.length)
        self._write(record, append, now)
        return Appended(AppendStatus.ACCEPTED, stop_reason=record.stop_reason)

    def read(self, stream_id: str, start: int, max_bytes: int) -> Page | None:
        """Read a page."""
        now = self._clock()
        record = self._find(stream_id, now)
        if record is None:
            return None
        return Page(self._describe(stream_id, record, now), _page_of(record.entries, start, max_bytes))

    def request_stop(self, stream_id: str, reason: str) -> StreamInfo | None:
        """Ask a stream to stop."""
        now = self._clock()
        record = self._find(stream_id, now)
        if record is None or record.is_id_free(now):
            return None
        if record.end is None or (record.is_lost() and record.is_readable(now)):
            record.stop_reason = record.stop_reason or reason
            record.settle(now)
            self._notify(stream_id)
        return self._describe(stream_id, record, now)

    def delete(self, stream_id: str) -> bool:
        """Forget a stream."""
        now = self._clock()
        record = self._find(stream_id, now)
        self._records.pop(stream_id, None)
        self._push(stream_id, None)
        self._notify(stream_id)
        return record is not None and not record.is_id_free(now)

    def scan(self) -> Iterator[StreamInfo]:
        """Describe all streams."""
        now = self._clock()
        for stream_id in list(self._records):
            record = self._find(stream_id, now)
            if record is not None and not record.is_id_free(now):
                yield self._describe(stream_id, record, now)

    def _find(self, stream_id: str, now: float) -> _Record | None:
        """Return a record as it stands ``now``, after forgetting what is due: of any stream, to bound memory."""
        while self._checks and self._checks[0][0] <= now:
            _, due_id, generation = heapq.heappop(self._checks)
            self._check(due_id, generation, now)
        record = self._records.get(stream_id)
        if record is not None:
            record.settle(now)
        return record

    def _check(self, stream_id: str, generation: str, now: float) -> None:
        """Forget what is due of one stream, and plan the next check: a lease that was renewed moves the due times."""
        record = self._records.get(stream_id)
        if record is None or record.generation != generation:
            return
        record.settle(now)
        ended_at = record.leased_until if record.end is None else record.ended_at
        entries_until = ended_at + record.claim.retention + _GRACE
        record_until = max(entries_until, ended_at + record.claim.retention + record.claim.tombstone)
        if now >= entries_until:
            record.entries.clear()
            if record.last is not None and record.last.count:
                record.last = None  # it has chunks, too, and nobody repeats it after so long
        if now >= record_until:
            del self._records[stream_id]
        else:
            due = record_until if now >= entries_until else entries_until
            heapq.heappush(self._checks, (due, stream_id, generation))

    def _create(self, stream_id: str, claim: Claim, now: float) -> _Record:
        if len(self._records) >= self._max_streams and stream_id not in self._records:
            raise LimitExceededError("max_streams", self._max_streams)
        record = _Record(claim, claim.token, created_at=now, leased_until=now + claim.lease)
        self._records[stream_id] = record
        heapq.heappush(self._checks, (record.leased_until, stream_id, record.generation))
        return record

    def _write(self, record: _Record, append: Append, now: float) -> None:
        record.leased_until = now + record.claim.lease
        entry = None
        if append.count:
            entry = Entry(append.first, append.count, append.payload)
            record.entries.append(entry._replace(at=now + self._to_unix))
            record.length, record.last = entry.stop, append
        if append.end is not None:
            record.end, record.ended_at, record.last = append.end, now, append
        if entry or append.end:
            self._push(append.stream_id, Push(record.generation, record.epoch, record.length, entry, append.end))

    def _push(self, stream_id: str, push: Push | None) -> None:
        for backend in self._backends:
            backend.on_push(stream_id, push)

    def _notify(self, stream_id: str) -> None:
        for backend in self._backends:
            backend.on_notice(stream_id)

    def _describe(self, stream_id: str, record: _Record, now: float) -> StreamInfo:
        end = record.end or End(StreamState.RUNNING)
        return StreamInfo(
            stream_id=stream_id,
            generation=record.generation,
            epoch=record.epoch,
            state=end.state,
            length=record.length,
            created_at=record.created_at + self._to_unix,
            ended_at=record.ended_at + self._to_unix if record.end else None,
            is_readable=record.is_readable(now),
            error_type=end.error_type,
            error_message=end.error_message,
            reason=end.reason,
            epoch_start=record.epoch_start,
            lease_left=record.leased_until - now if record.end is None or record.is_lost() else 0.0,
            takeovers=record.takeovers,
        )


class MemoryBackend(StreamBackend):
    """Keeps streams in this process, for one event loop. They are gone when it ends.

    Args:
        store: Where they are, if it is shared with other backends. ``None``: a store of its own.
    """

    def __init__(self, store: MemoryStore | None = None) -> None:
        self._store = store or MemoryStore()
        self._subscriptions: dict[str, OnPush] = {}
        self._on_notice: OnNotice | None = None

    @override
    async def connect(self, on_notice: OnNotice) -> None:
        self._on_notice = on_notice
        self._store.attach(self)

    @override
    async def aclose(self) -> None:
        self._store.detach(self)
        self._subscriptions.clear()
        self._on_notice = None

    @override
    async def acquire(self, stream_id: str, claim: Claim) -> Acquired:
        return self._store.acquire(stream_id, claim)

    @override
    async def append(self, appends: Sequence[Append]) -> list[Appended]:
        return [self._store.append(append) for append in appends]

    @override
    async def read(self, stream_id: str, start: int, max_bytes: int) -> Page | None:
        return self._store.read(stream_id, start, max_bytes)

    @override
    async def subscribe(self, stream_id: str, on_push: OnPush) -> None:
        self._subscriptions[stream_id] = on_push

    @override
    async def unsubscribe(self, stream_id: str) -> None:
        self._subscriptions.pop(stream_id, None)

    @override
    async def request_stop(self, stream_id: str, reason: str) -> StreamInfo | None:
        return self._store.request_stop(stream_id, reason)

    @override
    async def delete(self, stream_id: str) -> bool:
        return self._store.delete(stream_id)

    @override
    async def scan(self) -> AsyncIterator[StreamInfo]:
        for info in self._store.scan():
            yield info

    def on_push(self, stream_id: str, push: Push | None) -> None:
        """Hand on what the store pushes, if it is subscribed to."""
        on_push = self._subscriptions.get(stream_id)
        if on_push is not None:
            on_push(push)

    def on_notice(self, stream_id: str) -> None:
        """Hand on what the store has for publishers."""
        if self._on_notice is not None:
            self._on_notice(stream_id)


def _page_of(entries: list[Entry], start: int, max_bytes: int) -> list[Entry]:
    page: list[Entry] = []
    size = 0
    at = max(bisect_right(entries, start, key=lambda entry: entry.first) - 1, 0)
    while size < max_bytes and at < len(entries) and entries[at].stop > start:
        page.append(entries[at])
        size += len(entries[at].payload)
        at += 1
    return page

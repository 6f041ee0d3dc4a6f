"""What a publisher has not yet logged."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from ..exceptions import InvalidChunkError, LimitExceededError
from ..types import Append, End, Limits, RawChunk, StreamInfo
from .allowance import Allowance
from .packing import encoded_size, pack

_CHUNK_OVERHEAD = 64
"""Roughly what Python needs for a short string besides its characters, in bytes."""


@dataclass(slots=True)
class Batch:
    """Chunks that travel together, or none, and what else does."""

    first: int
    chunks: list[RawChunk] = field(default_factory=list)
    size: int = 0
    """Encoded bytes."""
    allowed: int = 0
    """Bytes that were taken from the allowance for it."""
    end: End | None = None
    """What is recorded after them."""

    @property
    def stop(self) -> int:
        """Index after the last chunk."""
        return self.first + len(self.chunks)

    def begin(self, first: int) -> None:
        """Be empty, from chunk ``first`` on."""
        self.first, self.size, self.allowed, self.end = first, 0, 0, None
        self.chunks.clear()


class Outbox:
    """Collects the chunks of one publisher and hands them out in appends, one at a time.

    While an append is in flight, new chunks collect for the next one. Nothing that was handed out is handed out again
    with other content, so that a repeated append is recognised.

    While the store is away, full batches wait behind each other, for as long as the allowance lasts.
    """

    __slots__ = (
        "_allowance",
        "_backlog",
        "_end",
        "_epoch",
        "_generation",
        "_has_given_up",
        "_in_flight",
        "_is_finished",
        "_is_watched",
        "_kind",
        "_logged",
        "_max_chunk_bytes",
        "_max_stream_bytes",
        "_pending",
        "_pending_bytes",
        "_pending_chunks",
        "_spare",
        "_stream_id",
        "_total",
    )

    def __init__(self, info: StreamInfo, limits: Limits, allowance: Allowance) -> None:
        self._stream_id = info.stream_id
        self._generation = info.generation
        self._epoch = info.epoch
        self._logged = info.length
        self._pending = Batch(info.length)
        # Used again: were there a new one for each append, those of many streams would call the garbage collector.
        self._spare: Batch | None = None
        self._backlog: deque[Batch] = deque()
        self._allowance = allowance
        self._in_flight: Batch | None = None
        self._end: End | None = None
        self._kind: type[RawChunk] | None = None
        self._total = 0
        self._is_watched = False
        self._has_given_up = False
        self._is_finished = False
        self._max_chunk_bytes, self._max_stream_bytes = limits.max_chunk_bytes, limits.max_stream_bytes
        self._pending_bytes, self._pending_chunks = limits.pending_bytes, limits.pending_chunks

    @property
    def allowance(self) -> Allowance:
        """What it may keep while the store is away, shared with others."""
        return self._allowance

    @property
    def epoch(self) -> int:
        """Under which appends are handed out."""
        return self._epoch

    @property
    def logged(self) -> int:
        """How many chunks are known to be logged."""
        return self._logged

    @property
    def stop(self) -> int:
        """Index after the last chunk that was put."""
        return self._pending.stop

    @property
    def is_full(self) -> bool:
        """Whether the source should wait before it makes more chunks."""
        return bool(self._backlog) or self._is_pending_full

    @property
    def has_more(self) -> bool:
        """Whether there are chunks or an end to take."""
        return bool(self._backlog or self._end is not None or (self._pending.chunks and not self._has_given_up))

    def resume(self, chunks: list[RawChunk]) -> None:
        """Take note of what was logged before this publisher came: it counts as the stream's, for type and size."""
        self._kind = type(chunks[0]) if chunks else None
        self._total = sum(encoded_size(chunk) + 1 for chunk in chunks)

    def put(self, chunk: Any) -> bool:
        """Add a chunk, and return whether the source should wait, or is watched. Nothing is added if it is refused.

        Raises:
            InvalidChunkError: It is neither text nor bytes, or not what the chunks before it were.
            LimitExceededError: It, or the stream with it, is too large.
        """
        kind = chunk.__class__
        if kind is not self._kind:
            chunk = self._check_kind(chunk)
        size = len(chunk) if kind is bytes or chunk.isascii() else encoded_size(chunk)
        total = self._total + size + 1  # with its length
        if size > self._max_chunk_bytes or total > self._max_stream_bytes:
            raise self._over_limit(size)
        self._total = total
        pending = self._pending
        chunks = pending.chunks
        chunks.append(chunk)
        pending.size = size = pending.size + size
        return size >= self._pending_bytes or len(chunks) >= self._pending_chunks or self._is_watched

    def watch(self, is_watched: bool) -> None:
        """Have `put` return true for every chunk, or only when the source should wait."""
        self._is_watched = is_watched or self._has_given_up

    def finish(self, end: End) -> None:
        """Record ``end`` together with the last chunks. Nothing can be put afterwards."""
        self._end = end
        self._kind = None
        self._is_finished = True

    def take(self) -> Append:
        """Return the next append: the oldest batch, or else a renewal of the lease."""
        assert self._in_flight is None, "one append at a time"
        if self._has_given_up:
            batch = Batch(self._logged)
        elif self._backlog:
            batch = self._backlog.popleft()
            self._give_back(batch)
        else:
            batch, self._pending = self._pending, self._spare or Batch(0)
            self._spare = None
            self._pending.begin(batch.first + len(batch.chunks))
        if self._end is not None and not self._backlog and (self._has_given_up or not self._pending.chunks):
            batch.end, self._end = self._end, None
        self._in_flight = batch
        chunks = batch.chunks
        payload = pack(chunks) if chunks else b""
        # Each chunk has one: the class itself would make it in Python, which takes twice as long.
        values = (self._stream_id, self._generation, self._epoch, batch.first, len(chunks), payload, batch.end)
        return tuple.__new__(Append, values)

    def acknowledge(self) -> Batch:
        """Take note that the append in flight is logged, and return what it was made of, until the next `take`."""
        assert self._in_flight is not None, "nothing was taken"
        batch, self._in_flight = self._in_flight, None
        self._logged = batch.first + len(batch.chunks)
        self._spare = batch
        return batch

    def retract(self, info: StreamInfo) -> bool:
        """Take back the append in flight, to be handed out anew under the epoch of ``info``, unless it is logged.

        Returns:
            Whether that can be: the log ends where the append begins, or where it ends.
        """
        assert self._in_flight is not None, "nothing was taken"
        self._epoch = info.epoch
        batch = self._in_flight
        if info.length not in (batch.first, batch.stop):
            return False
        self._in_flight = None
        self._logged = info.length
        self._end, batch.end = batch.end or self._end, None
        if info.length == batch.first and batch.chunks and not self._has_given_up:
            self._backlog.appendleft(batch)
        return True

    def roll(self) -> bool:
        """Let a full batch wait behind the others, and begin another one. False: the allowance is used up."""
        if not self._is_pending_full:
            return True
        batch = self._pending
        cost = batch.size + _CHUNK_OVERHEAD * len(batch.chunks)
        if not self._allowance.take(cost):
            return False
        batch.allowed = cost
        self._backlog.append(batch)
        self._pending = Batch(batch.stop)
        return True

    def unlogged_from(self, index: int) -> list[tuple[int, list[RawChunk], int]]:
        """Return what is not known to be logged, from chunk ``index`` on: index, chunks, and their bytes, some times.

        The chunks are not to be changed, and may be others after the next call.
        """
        batches = [self._pending]
        if index < self._pending.first:  # seldom: else this would cost with each chunk
            in_flight = [self._in_flight] if self._in_flight else []
            batches = [*in_flight, *self._backlog, self._pending]
        return [_tail_of(batch, index) for batch in batches if batch.stop > index]

    def give_up(self, end: End | None, logged: int | None = None) -> None:
        """Hand out nothing more but ``end``, after the chunks that are logged or in flight; drop all others.

        Args:
            end: How the stream ends; ``None`` if that cannot be recorded.
            logged: How many chunks the log has, if it refused the append in flight because that is not what we took it
                to have.
        """
        self._has_given_up = self._is_watched = True
        self._end = end
        self.drop_backlog()
        if logged is not None:
            self._logged, self._in_flight = logged, None

    def discard(self) -> Batch:
        """Return the chunks that were put and will not be logged, and forget them."""
        batch = self._pending
        self._pending = Batch(batch.stop)
        return batch

    def drop_backlog(self) -> None:
        """Forget what waits, and give back what it took of the allowance."""
        while self._backlog:
            self._give_back(self._backlog.popleft())

    def _give_back(self, batch: Batch) -> None:
        self._allowance.give_back(batch.allowed)
        batch.allowed = 0

    @property
    def _is_pending_full(self) -> bool:
        pending = self._pending
        return pending.size >= self._pending_bytes or len(pending.chunks) >= self._pending_chunks

    def _over_limit(self, size: int) -> LimitExceededError:
        if size > self._max_chunk_bytes:
            return LimitExceededError("max_chunk_bytes", self._max_chunk_bytes)
        return LimitExceededError("max_stream_bytes", self._max_stream_bytes)

    def _check_kind(self, chunk: object) -> RawChunk:
        if self._is_finished:
            raise InvalidChunkError("the stream has ended")
        raw = _as_raw(chunk)
        if self._kind is None:
            self._kind = type(raw)
        elif type(raw) is not self._kind:
            raise InvalidChunkError(f"a stream of {self._kind.__name__} cannot take {type(chunk).__name__}")
        return raw


def _tail_of(batch: Batch, index: int) -> tuple[int, list[RawChunk], int]:
    if index <= batch.first:
        return batch.first, batch.chunks, batch.size
    chunks = batch.chunks[index - batch.first :]
    return index, chunks, sum(map(encoded_size, chunks))


def _as_raw(chunk: object) -> RawChunk:
    """Return a plain `str` or `bytes` for what is one of them in disguise."""
    if isinstance(chunk, str):
        return "".join(chunk)  # unlike str(), never calls what a subclass made of __str__
    if isinstance(chunk, (bytes, bytearray, memoryview)):
        return bytes(chunk)
    raise InvalidChunkError(f"a chunk is str or bytes, not {type(chunk).__name__}; other values need a codec")

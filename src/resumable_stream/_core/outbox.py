"""What a publisher has not yet logged."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..exceptions import InvalidChunkError, LimitExceededError
from ..types import Append, End, Limits, RawChunk, StreamInfo
from .packing import encoded_size, pack


@dataclass
class Batch:
    """Chunks that travel together."""

    first: int
    chunks: list[RawChunk] = field(default_factory=list)
    size: int = 0
    """Encoded bytes."""


class Outbox:
    """Collects the chunks of one publisher and hands them out in appends, one at a time.

    While an append is in flight, new chunks collect for the next one. Nothing waits for a timer, and nothing that was
    handed out is handed out again with other content, so that a repeated append is recognised.
    """

    __slots__ = (
        "_end",
        "_epoch",
        "_generation",
        "_in_flight",
        "_kind",
        "_max_chunk_bytes",
        "_max_stream_bytes",
        "_pending",
        "_pending_bytes",
        "_pending_chunks",
        "_stream_id",
        "_total",
    )

    def __init__(self, info: StreamInfo, limits: Limits) -> None:
        self._stream_id = info.stream_id
        self._generation = info.generation
        self._epoch = info.epoch
        self._pending = Batch(info.length)
        self._in_flight: tuple[Append, Batch] | None = None
        self._end: End | None = None
        self._kind: type[RawChunk] | None = None
        self._total = 0
        self._max_chunk_bytes, self._max_stream_bytes = limits.max_chunk_bytes, limits.max_stream_bytes
        self._pending_bytes, self._pending_chunks = limits.pending_bytes, limits.pending_chunks

    @property
    def is_full(self) -> bool:
        """Whether the source should wait before it makes more chunks."""
        pending = self._pending
        return pending.size >= self._pending_bytes or len(pending.chunks) >= self._pending_chunks

    @property
    def has_more(self) -> bool:
        """Whether there are chunks or an end to take."""
        return bool(self._pending.chunks) or self._end is not None

    def put(self, chunk: Any) -> bool:
        """Add a chunk, and return `is_full`. Nothing is added if it is refused.

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
        return size >= self._pending_bytes or len(chunks) >= self._pending_chunks

    def _over_limit(self, size: int) -> LimitExceededError:
        if size > self._max_chunk_bytes:
            return LimitExceededError("max_chunk_bytes", self._max_chunk_bytes)
        return LimitExceededError("max_stream_bytes", self._max_stream_bytes)

    def finish(self, end: End) -> None:
        """Record ``end`` together with the last chunks. Nothing can be put afterwards."""
        self._end = end

    def take(self) -> Append:
        """Return the next append: what is pending, or else a renewal of the lease."""
        assert self._in_flight is None, "one append at a time"
        batch, end = self._pending, self._end
        payload = pack(batch.chunks) if batch.chunks else b""
        append = Append(self._stream_id, self._generation, self._epoch, batch.first, len(batch.chunks), payload, end)
        self._pending, self._end = Batch(append.stop), None
        self._in_flight = (append, batch)
        return append

    def acknowledge(self) -> tuple[Append, Batch]:
        """Take note that the append in flight is logged, and return it with its chunks."""
        assert self._in_flight is not None, "nothing was taken"
        acknowledged, self._in_flight = self._in_flight, None
        return acknowledged

    def _check_kind(self, chunk: object) -> RawChunk:
        raw = _as_raw(chunk)
        if self._kind is None:
            self._kind = type(raw)
        elif type(raw) is not self._kind:
            raise InvalidChunkError(f"a stream of {self._kind.__name__} cannot take {type(chunk).__name__}")
        return raw


def _as_raw(chunk: object) -> RawChunk:
    """Return a plain `str` or `bytes` for what is one of them in disguise."""
    if isinstance(chunk, str):
        return "".join(chunk)  # unlike str(), never calls what a subclass made of __str__
    if isinstance(chunk, (bytes, bytearray, memoryview)):
        return bytes(chunk)
    raise InvalidChunkError(f"a chunk is str or bytes, not {type(chunk).__name__}; other values need a codec")

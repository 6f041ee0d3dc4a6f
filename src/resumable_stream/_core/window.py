"""The latest chunks of a live stream, in memory, for all readers of one process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..types import RawChunk

_CHUNK_OVERHEAD = 64
"""Roughly what Python needs for a short string besides its characters, in bytes."""
_SEGMENTS = 16
"""In how many lists a full window is kept: the oldest is forgotten as a whole."""


class _Segment(NamedTuple):
    """Consecutive chunks that are forgotten together."""

    first: int
    chunks: list[RawChunk]
    size: int


class Window:
    """A gapless range of chunks that grows at the end and forgets at the start.

    It has at least the latest ``max_bytes``, or all there are, and not much more: what is forgotten goes by the
    sixteenth, or by what came in one piece if that is larger. A piece that is too large by itself stays only while it
    is the latest.
    """

    # Few and plain objects. The garbage collector comes once in 700 lists or tuples that stay, and now and again it
    # walks through all there is, for 50 ms and more.
    __slots__ = ("_chunks", "_first", "_older", "_older_size", "_size", "max_bytes", "stop")

    def __init__(self, start: int, max_bytes: int) -> None:
        self.max_bytes: int = max_bytes
        """How much is kept. Takes effect with what comes next."""
        self.stop: int = start
        """Index after the last chunk."""
        self._first = start
        self._chunks: list[RawChunk] = []
        self._size = 0
        self._older: list[_Segment] = []
        self._older_size = 0

    @property
    def start(self) -> int:
        """Index of the first chunk that is still here."""
        return self._older[0].first if self._older else self._first

    def offer(self, first: int, chunks: Sequence[RawChunk], size: int) -> bool:
        """Take what is new in ``chunks``, which have ``size`` bytes; drop the oldest that no longer fit.

        Returns:
            False if chunks are missing before them: nothing was taken, the log has to be read. True otherwise, also
            when there was nothing new.
        """
        if first != self.stop:
            if first > self.stop:
                return False
            chunks = chunks[self.stop - first :]
        count = len(chunks)
        if not count:
            return True
        size += _CHUNK_OVERHEAD * count
        if (self._size + size) * _SEGMENTS > self.max_bytes:
            self._begin_segment(size)
        self._size += size
        self._chunks += chunks
        self.stop += count
        return True

    def chunks_from(self, index: int) -> list[RawChunk]:
        """Return some chunks from ``index`` on; none, if that was dropped or is not there yet."""
        if index >= self._first:
            return self._chunks[index - self._first :]
        for segment in reversed(self._older):
            if index >= segment.first:
                return segment.chunks[index - segment.first :]
        return []

    def skip_to(self, index: int) -> None:
        """Forget everything, and go on at ``index``: what is missing before it is in the log."""
        self._first = self.stop = index
        self._chunks, self._size = [], 0
        self._older, self._older_size = [], 0

    def _begin_segment(self, size: int) -> None:
        """Have what comes, which has ``size`` bytes, in a list of its own, and drop what is not needed any more."""
        if self._chunks:
            self._older.append(_Segment(self._first, self._chunks, self._size))
            self._older_size += self._size
        self._first, self._chunks, self._size = self.stop, [], 0
        while self._older and self._is_needless(self._older[0], size):
            self._older_size -= self._older.pop(0).size

    def _is_needless(self, oldest: _Segment, size: int) -> bool:
        return oldest.size > self.max_bytes or self._older_size - oldest.size + size >= self.max_bytes

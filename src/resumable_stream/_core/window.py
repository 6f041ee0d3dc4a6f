"""The latest chunks of a live stream, in memory, for all readers of one process."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from ..types import RawChunk

_CHUNK_OVERHEAD = 64
"""Roughly what Python needs for a short string besides its characters, in bytes."""


class Block(NamedTuple):
    """Consecutive chunks as they arrived together. Shared by readers: not to be changed."""

    first: int
    chunks: Sequence[RawChunk]

    @property
    def stop(self) -> int:
        """Index after the last chunk."""
        return self.first + len(self.chunks)


class Window:
    """A gapless range of chunks that grows at the end and forgets at the start.

    Readers ask by *ordinal*, the running number of a block, so that the next block costs the same for one reader and
    for ten thousand, and whatever the window's size.
    """

    __slots__ = ("_batches", "_bytes", "_dropped", "_firsts", "_sizes", "max_bytes", "stop")

    def __init__(self, start: int, max_bytes: int) -> None:
        # Text, or a tuple where several chunks came together, and plain numbers. Text and numbers are nothing to the
        # garbage collector, and tuples of them it lets go of at its first look. It comes once in 700 objects of other
        # kinds, tuples included, and now and again it walks through all there is, for 50 ms and more.
        self._batches: deque[tuple[RawChunk, ...] | RawChunk] = deque()
        self._firsts: deque[int] = deque()
        self._sizes: deque[int] = deque()
        self._bytes = 0
        self.max_bytes: int = max_bytes
        """How much is kept. Takes effect with the next block."""
        self._dropped = 0
        self.stop: int = start
        """Index after the last chunk."""

    @property
    def start(self) -> int:
        """Index of the first chunk that is still here."""
        return self._firsts[0] if self._firsts else self.stop

    def offer(self, first: int, chunks: Sequence[RawChunk], size: int) -> bool:
        """Take what is new in ``chunks``, which have ``size`` bytes; drop the oldest blocks that no longer fit.

        Returns:
            False if chunks are missing before them: nothing was taken, the log has to be read. True otherwise, also
            when there was nothing new.
        """
        if first > self.stop:
            return False
        if first < self.stop:
            first, chunks = self.stop, chunks[self.stop - first :]
        count = len(chunks)
        if not count:
            return True
        size += _CHUNK_OVERHEAD * count
        self._batches.append(chunks[0] if count == 1 else tuple(chunks))
        self._firsts.append(first)
        self._sizes.append(size)
        self._bytes += size
        self.stop = first + count
        while self._bytes > self.max_bytes and len(self._firsts) > 1:
            self._drop_oldest()
        return True

    def skip_to(self, index: int) -> None:
        """Forget everything, and go on at ``index``: what is missing before it is in the log."""
        self._dropped += len(self._firsts) + 1  # so that nobody takes the next block for the one that should be next
        self._batches.clear()
        self._firsts.clear()
        self._sizes.clear()
        self._bytes = 0
        self.stop = index

    def ordinal_of(self, index: int) -> int | None:
        """Return the ordinal of the block that has, or will have, chunk ``index``; ``None`` if it was dropped."""
        if index < self.start:
            return None
        if index >= self.stop:
            return self._dropped + len(self._firsts)
        return self._dropped + bisect_right(self._firsts, index) - 1

    def block_at(self, ordinal: int) -> Block | None:
        """Return a block, or ``None`` if it is not there yet.

        Raises:
            LookupError: It was dropped.
        """
        position = ordinal - self._dropped
        if position < 0:
            raise LookupError(ordinal)
        if position >= len(self._firsts):
            return None
        batch = self._batches[position]
        return Block(self._firsts[position], batch if isinstance(batch, tuple) else (batch,))

    def _drop_oldest(self) -> None:
        self._batches.popleft()
        self._firsts.popleft()
        self._bytes -= self._sizes.popleft()
        self._dropped += 1


def tail_of(block: Block, index: int) -> Block:
    """Return the part of ``block`` from ``index`` on."""
    return block if index <= block.first else Block(index, block.chunks[index - block.first :])

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
        # Plain tuples of text and plain numbers: the garbage collector lets go of them at its first look. Were there an
        # object for each block, it would walk through those of a thousand streams, again and again, for 50 ms and more.
        self._batches: deque[tuple[RawChunk, ...]] = deque()
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

    def offer(self, block: Block, size: int) -> bool:
        """Take what is new in ``block``, whose chunks have ``size`` bytes; drop the oldest blocks that no longer fit.

        Returns:
            False if chunks are missing before it: nothing was taken, the log has to be read. True otherwise, also when
            there was nothing new in it.
        """
        if block.first > self.stop:
            return False
        if block.stop > self.stop:
            self._take(tail_of(block, self.stop), size)
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
        return Block(self._firsts[position], self._batches[position]) if position < len(self._firsts) else None

    def _take(self, block: Block, size: int) -> None:
        self._batches.append(tuple(block.chunks))
        self._firsts.append(block.first)
        self._sizes.append(size + _CHUNK_OVERHEAD * len(block.chunks))
        self._bytes += self._sizes[-1]
        self.stop = block.stop
        while self._bytes > self.max_bytes and len(self._firsts) > 1:
            self._batches.popleft()
            self._firsts.popleft()
            self._bytes -= self._sizes.popleft()
            self._dropped += 1


def tail_of(block: Block, index: int) -> Block:
    """Return the part of ``block`` from ``index`` on."""
    return block if index <= block.first else Block(index, block.chunks[index - block.first :])

"""One position over one stream."""

from __future__ import annotations

from copy import copy

from .._core.window import Block, tail_of
from ..abc import StreamBackend
from ..exceptions import (
    InvalidPositionError,
    PublisherFailedError,
    PublisherLostError,
    StreamGoneError,
)
from ..types import StreamState
from .feed import Feed, block_of


class Reader:
    """Reads a stream from an index on: from the log while it is behind, then from the feed.

    Cancelling a read is safe: no chunk is lost.
    """

    def __init__(self, backend: StreamBackend, feed: Feed, index: int, page_bytes: int) -> None:
        self.feed: Feed = feed
        self.index: int = index
        """Index of the next chunk."""
        self._backend = backend
        self._page_bytes = page_bytes
        self._page: Block | None = None
        self._ordinal: int | None = None
        self._is_closed = False

    async def next_block(self) -> Block | None:
        """Return the next chunks, or ``None`` after the last.

        Raises:
            PublisherFailedError, PublisherLostError: That is how the stream ended. All its chunks were returned.
            StreamGoneError: The chunks that should be next are not in the store any more.
            BackendError: The store cannot be read. A new reader can go on later, from ``index``.
        """
        while not self._is_closed:
            block = self._from_page() or self._from_window()
            if block is not None:
                self.index = block.stop
                return block
            if self.index < self.feed.window.start:
                await self._read_page()
            elif self.feed.is_over:
                self._raise_end()
                return None
            else:
                await self.feed.wait()
        return None

    def close(self) -> None:
        """Have a read that waits, and any later one, return ``None``."""
        self._is_closed = True
        self.feed.wake()

    async def skip_characters(self, count: int, stop: int) -> Block | None:
        """Read past ``count`` characters, all before index ``stop``; return the rest of the chunk that they end in.

        Raises:
            InvalidPositionError: There are not so many, or the chunks are no text.
        """
        while count > 0 and self.index < stop:
            block = await self.next_block()
            assert block is not None, "these chunks are logged"
            for at, chunk in enumerate(block.chunks):
                if not isinstance(chunk, str):
                    raise InvalidPositionError("only text has characters to skip")
                if count < len(chunk):
                    return Block(block.first + at, [chunk[count:], *block.chunks[at + 1 :]])
                count -= len(chunk)
                if count == 0:
                    return tail_of(block, block.first + at + 1) if at + 1 < len(block.chunks) else None
        if count > 0:
            raise InvalidPositionError(f"skip_characters goes {count} beyond the end")
        return None

    def _from_page(self) -> Block | None:
        block, self._page = self._page, None
        return block

    def _from_window(self) -> Block | None:
        window = self.feed.window
        while True:
            if self._ordinal is None:
                self._ordinal = window.ordinal_of(self.index)
                if self._ordinal is None:
                    return None  # too slow: the log has it
            try:
                block = window.block_at(self._ordinal)
            except LookupError:
                # Dropped. That need not mean that we are behind: a page of the log may have brought us past it.
                self._ordinal = None
                continue
            if block is None:
                return None
            self._ordinal += 1
            if block.stop > self.index:
                return tail_of(block, self.index)

    async def _read_page(self) -> None:
        page = await self._backend.read(self.feed.stream_id, self.index, self._page_bytes)
        if page is None or page.info.generation != self.feed.generation or not page.entries:
            raise StreamGoneError(self.feed.stream_id)
        block = block_of(self.feed.stream_id, page.entries)
        if not block.first <= self.index < block.stop:
            raise StreamGoneError(self.feed.stream_id)
        self._page = tail_of(block, self.index)

    def _raise_end(self) -> None:
        """Raise what the stream ended with, unless it just ended."""
        feed = self.feed
        if feed.error is not None:
            # A copy, as each raise adds to the traceback of what it raises, and all readers share this one.
            raise copy(feed.error) from feed.error.__cause__
        assert feed.end is not None, "over"
        if feed.end.state is StreamState.FAILED:
            error = PublisherFailedError(feed.stream_id, feed.end.error_type, feed.end.error_message)
            raise error from feed.cause
        if feed.end.state is StreamState.LOST:
            raise PublisherLostError(feed.stream_id)

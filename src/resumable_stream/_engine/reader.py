"""One position over one stream."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from copy import copy
from typing import TypeVar

import anyio

from .._core.backoff import Backoff
from ..abc import StreamBackend
from ..exceptions import (
    BackendUnavailableError,
    ConcurrentReadError,
    InvalidPositionError,
    PublisherFailedError,
    PublisherLostError,
    StreamGoneError,
)
from ..types import End, RawChunk, StreamInfo, StreamState
from .feed import Feed, chunks_of

T = TypeVar("T")

_LOG_INTERVAL = 0.1
_FIRST_PAGE_BYTES = 32 * 1024
"""Whoever joins late has something soon, and the rest in larger pages."""


class Reader:
    """Reads a stream from an index on: from the log while it is behind, then from the feed.

    Cancelling a read is safe: no chunk is lost. It gives itself back when the stream has come to its end.

    Args:
        give_back: Called once, when nobody reads any more.
    """

    def __init__(
        self,
        backend: StreamBackend,
        feed: Feed,
        index: int,
        *,
        page_bytes: int,
        outage_timeout: float,
        give_back: Callable[[Reader], None],
    ) -> None:
        self.feed: Feed = feed
        self.unread: list[RawChunk] = []
        """Chunks that are held, the next one last. To be taken from its end."""
        self._fetched = index
        self._backend = backend
        self._page_bytes = page_bytes
        self._next_page_bytes = min(page_bytes, _FIRST_PAGE_BYTES)
        self._outage_timeout = outage_timeout
        self._give_back: Callable[[Reader], None] | None = give_back
        self._backoff = Backoff()
        self._away_since: float | None = None
        self._deadline = math.inf
        self._is_late = False
        """Whether it is past the deadline of the fetch that is under way."""
        self._alarm: asyncio.Handle | None = None
        self._alarm_at = math.inf
        self._is_fetching = False
        self._is_closed = False

    @property
    def index(self) -> int:
        """Index of the next chunk: how many come before it."""
        return self._fetched - len(self.unread)

    async def fetch(self, deliver: Callable[[int, list[RawChunk]], T], deadline: float = math.inf) -> T:
        """Get the next chunks, and return what ``deliver`` makes of them; of none, at the deadline.

        Args:
            deliver: Called with the index after the chunks, and with a list of them that is its own. It spares whoever
                calls a coroutine around this one, which would have to be gone through whenever the reader wakes up.
            deadline: When to deliver no chunks, if there are none, on the event loop's clock. A read of the log is not
                broken off for that.

        Raises:
            StopAsyncIteration: All were fetched, and the stream has come to a good end; or the reader was closed.
            PublisherFailedError, PublisherLostError: That is how the stream ended. All its chunks were fetched.
            StreamGoneError: The chunks that should be next are not in the store any more.
            BackendError: The store cannot be read, and was not back in time. Reading may go on, but not where the feed
                was given up: another reader can, then.
            ConcurrentReadError: Another task is fetching.
        """
        if self._is_fetching and not self._is_closed:
            raise ConcurrentReadError("another task is reading from this stream object")
        if self.unread:
            return deliver(self._fetched, self._take_held())
        self._is_fetching = True
        self._deadline, self._is_late = deadline, False
        feed = self.feed
        window = feed.window
        try:
            while not self._is_closed:
                if self._fetched < window.stop:
                    # The log has them if this reader is so far behind that the window has dropped them.
                    chunks = window.chunks_from(self._fetched) or await self._read_page(deadline)
                    if chunks is not None:
                        self._fetched += len(chunks)
                        return deliver(self._fetched, chunks)
                elif feed.is_over:
                    self.give_back()
                    self._raise_end()
                    break
                elif self._is_late:
                    return deliver(self._fetched, [])
                else:
                    if deadline < self._alarm_at:
                        self._set_alarm()
                    await feed.change(self)
        except StreamGoneError:
            self.give_back()
            raise
        finally:
            self._is_fetching = False
        raise StopAsyncIteration

    def hold(self, _stop: int, chunks: list[RawChunk]) -> None:
        """Take what was just fetched back, to hand it on one by one, or later."""
        chunks.reverse()
        self.unread = chunks

    def _take_held(self) -> list[RawChunk]:
        chunks, self.unread = self.unread, []
        chunks.reverse()
        return chunks

    @property
    def is_held(self) -> bool:
        """Whether it was not given back yet."""
        return self._give_back is not None

    def close(self) -> None:
        """Have a fetch that waits, and any later one, find that there is no more; stay where it is. Give it back."""
        self._fetched, self.unread = self.index, []
        self._is_closed = True
        self.give_back()

    def give_back(self) -> None:
        """Take note that nobody reads any more, and let go of what is only needed while somebody does."""
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            self.feed.call(self)
            self._drop_alarm()
            give_back(self)

    def _drop_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm, self._alarm_at = None, math.inf

    async def skip_characters(self, count: int, stop: int) -> None:
        """Read past ``count`` characters, all before index ``stop``; of the chunk that they end in, keep the rest.

        Raises:
            InvalidPositionError: There are not so many, or the chunks are no text.
        """
        while count > 0 and self.index < stop:
            if not self.unread:
                try:
                    await self.fetch(self.hold)
                except StopAsyncIteration:
                    break
            chunk = self.unread.pop()
            if not isinstance(chunk, str):
                raise InvalidPositionError("only text has characters to skip")
            if count < len(chunk):
                self.unread.append(chunk[count:])
            count -= len(chunk)
        if count > 0:
            raise InvalidPositionError(f"skip_characters goes {count} beyond the end")

    def _set_alarm(self) -> None:
        """See to it that this reader is called at its deadline.

        Next to no wait lasts so long. So there is one alarm for many, which is set anew when it rings.
        """
        self._drop_alarm()
        self._alarm_at = self._deadline
        self._alarm = asyncio.get_running_loop().call_at(self._deadline, self._on_alarm)

    def _on_alarm(self) -> None:
        self._alarm, self._alarm_at = None, math.inf
        if asyncio.get_running_loop().time() >= self._deadline:
            self._is_late = True
            self.feed.call(self)
        elif self._deadline < math.inf:  # it was set for an earlier read
            self._set_alarm()

    async def _read_page(self, deadline: float) -> list[RawChunk] | None:
        """Return chunks from the log, or none at the deadline; ``None``: look again."""
        chunks = await self._try_to_read_page()
        is_due = chunks or anyio.current_time() >= deadline
        return chunks if is_due and not self._is_closed else None

    async def _try_to_read_page(self) -> list[RawChunk]:
        """Read chunks from the log, once. If it cannot be read, or has none yet, wait a little, and return none."""
        was_published_here = self.feed.is_published_here
        try:
            page = await self._backend.read(self.feed.stream_id, self._fetched, self._next_page_bytes)
        except BackendUnavailableError as error:
            await self._wait_for_store(error)
            return []
        self._away_since = None
        self._backoff.reset()
        if page is None or page.info.generation != self.feed.generation:
            raise StreamGoneError(self.feed.stream_id)
        if not page.entries:
            await self._wait_for_log(page.info, was_published_here)
            return []
        self._next_page_bytes = self._page_bytes
        return chunks_of(self.feed.stream_id, page.entries, self._fetched)

    async def _wait_for_store(self, error: BackendUnavailableError) -> None:
        """Wait before it is asked again. How long it is away is counted over calls that are cancelled, too.

        Raises:
            BackendUnavailableError: ``error``, if it has been away for too long.
        """
        now = anyio.current_time()
        self._away_since = now if self._away_since is None else self._away_since
        if now - self._away_since > self._outage_timeout:
            raise error
        await anyio.sleep(self._backoff.next_delay())

    async def _wait_for_log(self, info: StreamInfo, was_published_here: bool) -> None:
        """Wait a little for chunks that were seen here and are not logged: the store was away, and is being caught up.

        Raises:
            PublisherFailedError: They never will be.
            StreamGoneError: They were, and the store lost them.
        """
        if info.length > self._fetched:
            raise StreamGoneError(self.feed.stream_id)
        if info.end is not None:
            self._raise_if_bad(info.end)
        if not was_published_here:
            raise StreamGoneError(self.feed.stream_id)
        await anyio.sleep(_LOG_INTERVAL)

    def _raise_end(self) -> None:
        """Raise what the stream ended with, unless it just ended."""
        feed = self.feed
        if feed.error is not None:
            # A copy, as each raise adds to the traceback of what it raises, and all readers share this one.
            raise copy(feed.error) from feed.error.__cause__
        assert feed.end is not None, "over"
        self._raise_if_bad(feed.end)

    def _raise_if_bad(self, end: End) -> None:
        if end.state is StreamState.FAILED:
            error = PublisherFailedError(self.feed.stream_id, end.error_type, end.error_message)
            raise error from self.feed.cause
        if end.state is StreamState.LOST:
            raise PublisherLostError(self.feed.stream_id)

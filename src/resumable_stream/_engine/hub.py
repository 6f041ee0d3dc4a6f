"""The live streams of one process, and how they are kept up with the store."""

from __future__ import annotations

import logging
from collections import deque
from functools import partial

import anyio
from anyio.abc import TaskGroup

from ..abc import StreamBackend
from ..exceptions import BackendError, ContextClosedError, ResumableStreamError, StreamGoneError
from ..types import Limits, Push, StreamInfo
from .failures import backend_error
from .feed import Feed

_logger = logging.getLogger("resumable_stream")


class Hub:
    """Hands out one feed per live stream, and subscribes to those whose publisher is elsewhere.

    A push is only a hint. When one does not join on, or the backend says that some may be missing, or none came for
    ``check_interval`` seconds, the log is read.
    """

    def __init__(self, backend: StreamBackend, limits: Limits, tasks: TaskGroup, check_interval: float) -> None:
        self._backend = backend
        self._limits = limits
        self._tasks = tasks
        self._check_interval = check_interval
        self._feeds: dict[str, Feed] = {}
        self._subscribed: set[str] = set()
        self._updating: set[Feed] = set()
        self._outdated: set[Feed] = set()
        self._unwanted: deque[str] = deque()
        self._wake: anyio.Event | None = None
        self._is_closed = False

    def publish(self, info: StreamInfo) -> Feed:
        """Return the feed of a stream that is published here from now on: its publisher fills it."""
        feed = self._feed_of(info)
        feed.is_published_here = True
        return feed

    def disown(self, feed: Feed) -> None:
        """Take note that its publisher is gone from here. Readers go on with what is in the store."""
        feed.is_published_here = False
        if feed.readers and not feed.is_over:
            self._update(feed)
        self._drop_unused(feed)

    def follow(self, info: StreamInfo) -> Feed:
        """Return the feed of a stream for one more reader, who gives it back with `release`."""
        if not info.is_running:
            feed = Feed(info, self._limits)
        else:
            feed = self._feed_of(info)
            if not feed.is_published_here and feed.readers == 0:
                self._update(feed)
        feed.readers += 1
        return feed

    def release(self, feed: Feed) -> None:
        """Give back what `follow` returned."""
        feed.readers -= 1
        self._drop_unused(feed)

    def close(self) -> None:
        """Let go of all readers that still wait. Nothing is started any more."""
        self._is_closed = True
        for feed in self._feeds.values():
            feed.fail(ContextClosedError("the context was left while the stream was being read"))

    async def unsubscribe_unwanted(self) -> None:
        """Unsubscribe from streams that nobody reads any more, until cancelled.

        A service and not a task for each: readers are released by the garbage collector too, where none can be started.
        """
        while True:
            while not self._unwanted:
                self._wake = anyio.Event()
                await self._wake.wait()
            stream_id = self._unwanted.popleft()
            if stream_id in self._feeds:
                continue  # somebody came meanwhile
            self._subscribed.discard(stream_id)
            try:
                await self._backend.unsubscribe(stream_id)
            except Exception as error:  # noqa: BLE001  # a task boundary: the others are to be unsubscribed from too
                _logger.warning("could not unsubscribe: %s", type(error).__name__)

    async def watch(self) -> None:
        """Read the log of streams that were silent, for as long as they are: the last push may have been lost."""
        while True:
            await anyio.sleep(self._check_interval)
            for feed in list(self._feeds.values()):
                if not (feed.was_heard or feed.is_published_here or feed.is_over):
                    self._update(feed)
                feed.was_heard = False

    def _feed_of(self, info: StreamInfo) -> Feed:
        known, feed = self._feeds.get(info.stream_id), Feed(info, self._limits)
        if known is not None and known.generation != info.generation:
            # Deleted, and made anew under the same id. Replies may overtake each other, so either may be the older one.
            older = feed if feed.created_at < known.created_at else known
            older.fail(StreamGoneError(info.stream_id))
            if older is feed:
                return feed
        if known is not None and not known.is_over:
            return known
        self._feeds[info.stream_id] = feed
        return feed

    def _drop_unused(self, feed: Feed) -> None:
        if feed.readers or feed.is_published_here or self._feeds.get(feed.stream_id) is not feed:
            return
        del self._feeds[feed.stream_id]
        if feed.stream_id in self._subscribed or feed in self._updating:
            self._unwanted.append(feed.stream_id)
            if self._wake is not None:
                self._wake.set()

    def _update(self, feed: Feed) -> None:
        """Have the log read, once more if that is under way."""
        if self._is_closed:
            return
        self._outdated.add(feed)
        if feed not in self._updating:
            self._updating.add(feed)
            self._tasks.start_soon(self._read_log, feed)

    async def _read_log(self, feed: Feed) -> None:
        try:
            await self._subscribe(feed)
            while feed in self._outdated:
                self._outdated.discard(feed)
                await self._catch_up(feed)
        except Exception as error:  # noqa: BLE001  # a task boundary: only this stream's readers are to suffer
            feed.fail(backend_error(error, "read"))
        finally:
            self._outdated.discard(feed)
            self._updating.discard(feed)

    async def _subscribe(self, feed: Feed) -> None:
        if feed.stream_id in self._subscribed:
            return
        try:
            await self._backend.subscribe(feed.stream_id, partial(self._on_push, feed.stream_id))
        except BackendError as error:
            # The log can still be read, now and each time that the stream was silent for a while.
            _logger.warning("could not subscribe, reading the log instead: %s", error)
        else:
            if self._feeds.get(feed.stream_id) is feed:
                self._subscribed.add(feed.stream_id)

    async def _catch_up(self, feed: Feed) -> None:
        has_all = feed.is_over
        while not has_all:
            start = feed.window.stop
            page = await self._backend.read(feed.stream_id, start, self._limits.page_bytes)
            has_all = feed.take_page(page, start)

    def _on_push(self, stream_id: str, push: Push | None) -> None:
        feed = self._feeds.get(stream_id)
        if feed is None or feed.is_over:
            return
        try:
            has_joined = push is not None and feed.take_push(push)
        except ResumableStreamError:  # damaged on the way, or none of ours: the log has it
            has_joined = False
        if not has_joined:
            self._update(feed)

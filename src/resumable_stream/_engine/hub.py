"""The live streams of one process, and how they are kept up with the store."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import anyio
from anyio.abc import TaskGroup

from ..abc import StreamBackend
from ..exceptions import (
    BackendError,
    BackendUnavailableError,
    ContextClosedError,
    ResumableStreamError,
    StreamGoneError,
)
from ..types import End, Limits, Push, StreamInfo, StreamState
from .failures import backend_error
from .feed import Feed
from .patience import PATIENCE

_logger = logging.getLogger("resumable_stream")

_TICK = 0.25
_LONGEST_DELAY = 2.0
_GRACE = 0.5
"""How long readers wait for somebody to take over a lost stream, in seconds, until they are told that it is lost."""
_GRACE_AFTER_OUTAGE = 5.0
"""The same after the store was away: its publisher, if it lives, tries to be back within a second or two."""


class Hub:
    """Hands out one feed per live stream, and subscribes to those whose publisher is elsewhere.

    A push is only a hint. When one does not join on, or the backend says that some may be missing, or none came for
    ``check_interval`` seconds or until the lease lapses, the log is read.

    Args:
        on_lost: Called with a feed whose stream is lost. Returns whether somebody here tries to take it over.
    """

    def __init__(
        self,
        backend: StreamBackend,
        limits: Limits,
        tasks: TaskGroup,
        *,
        check_interval: float,
        outage_timeout: float,
        on_lost: Callable[[Feed, StreamInfo], bool],
    ) -> None:
        self._backend = backend
        self._limits = limits
        self._tasks = tasks
        self._check_interval = check_interval
        self._outage_timeout = outage_timeout
        self._on_lost = on_lost
        self._feeds: dict[str, Feed] = {}
        self._watched: set[Feed] = set()
        """Those whose publisher is elsewhere. It may have others, until they are looked at."""
        self._subscribed: set[str] = set()
        self._updating: set[Feed] = set()
        self._outdated: set[Feed] = set()
        self._unread: deque[Feed] = deque()
        self._wake_reading: anyio.Event | None = None
        self._unwanted: deque[str] = deque()
        self._changing: dict[str, anyio.Event] = {}
        """Those that are being subscribed to, or unsubscribed from. What is called later may be carried out earlier."""
        self._wake: anyio.Event | None = None
        self._back_at = -math.inf
        self._is_closed = False

    def publish(self, info: StreamInfo) -> Feed:
        """Return the feed of a stream that is published here from now on, by its owner, whom the caller sets."""
        feed = self._feed_of(info)
        if not feed.publish_from(info):
            feed.fail(StreamGoneError(info.stream_id))
            feed = self._feed_of(info)
        self._drop_subscription(feed)
        return feed

    def disown(self, feed: Feed, owner: object) -> None:
        """Take note that its publisher is gone from here. Readers go on with what is in the store.

        Without effect if it has another owner by now, or was disowned before.
        """
        if feed.owner is not owner:
            return
        feed.owner = None
        feed.is_degraded = False
        feed.window.max_bytes = self._limits.window_bytes  # it kept more, if the store was away
        if feed.readers and not feed.is_over:
            self._watched.add(feed)
            self.look(feed)
        self._drop_unused(feed)

    def follow(self, info: StreamInfo) -> Feed:
        """Return the feed of a stream for one more reader, who gives it back with `release`."""
        known = self._feeds.get(info.stream_id)
        is_ours = known is not None and known.is_published_here and known.generation == info.generation
        if info.end is not None and not is_ours and not self._may_go_on(info):
            feed = Feed(info, self._limits)
            feed.finish(info.end)
        else:
            feed = self._feed_of(info)
            if not feed.is_published_here and feed.readers == 0:
                self._watched.add(feed)
                self.look(feed)
        feed.readers += 1
        return feed

    def release(self, feed: Feed) -> None:
        """Give back what `follow` returned."""
        feed.readers -= 1
        self._drop_unused(feed)

    def look(self, feed: Feed) -> None:
        """Have the log read, once more if that is under way. May be called from anywhere on the event loop."""
        if self._is_closed:
            return
        self._outdated.add(feed)
        if feed not in self._updating:
            self._updating.add(feed)
            self._unread.append(feed)
            if self._wake_reading is not None:
                self._wake_reading.set()

    def note_recovery(self) -> None:
        """Take note that the store was away, and is back: look at all streams that are waiting for it."""
        self._back_at = anyio.current_time()
        for feed in self._feeds.values():
            if feed.away_since is not None:
                feed.look_at = self._back_at

    def length_of(self, info: StreamInfo) -> int:
        """Return how many chunks of a stream can be read here: more than are logged, if the store was just away."""
        feed = self._feeds.get(info.stream_id)
        if feed is None or not feed.is_published_here or feed.generation != info.generation:
            return info.length
        return max(info.length, feed.window.stop)

    def readers(self) -> dict[str, int]:
        """Return how many readers each live stream has here."""
        return {stream_id: feed.readers for stream_id, feed in self._feeds.items() if feed.readers}

    def close(self) -> None:
        """Let go of all readers that still wait. Nothing is started any more."""
        self._is_closed = True
        for feed in self._feeds.values():
            feed.fail(ContextClosedError("the context was left while the stream was being read"))

    async def read_logs(self) -> None:
        """Start the reads that `look` asked for, until cancelled.

        A service, because only a task can start another one, and a push may come from a callback of the event loop.
        """
        while True:
            while not self._unread:
                self._wake_reading = anyio.Event()
                await self._wake_reading.wait()
            self._tasks.start_soon(self._read_log, self._unread.popleft())

    async def unsubscribe_unwanted(self) -> None:
        """Unsubscribe from streams that nobody reads any more, until cancelled.

        A service and not a task for each: readers are released by the garbage collector too, where none can be started.
        """
        while True:
            while not self._unwanted:
                self._wake = anyio.Event()
                await self._wake.wait()
            stream_id = self._unwanted.popleft()
            if stream_id not in self._subscribed:
                continue  # done before, or somebody is subscribing, who will see whether it is wanted
            if stream_id in self._feeds and not self._feeds[stream_id].is_published_here:
                continue  # somebody came meanwhile
            self._subscribed.discard(stream_id)
            with self._change(stream_id):
                try:
                    await self._backend.unsubscribe(stream_id)
                except Exception as error:  # noqa: BLE001  # a task boundary: the others are to be unsubscribed from too
                    _logger.warning("could not unsubscribe: %s", type(error).__name__)

    async def watch(self) -> None:
        """Read the log of streams that were silent, for as long as they are, until cancelled.

        The last push may have been lost, or the publisher.
        """
        while True:
            await anyio.sleep(min(self._check_interval, _TICK))
            now = anyio.current_time()
            for feed in list(self._watched):  # not all there are: this is done often, and there may be very many
                if not feed.readers or feed.is_over or feed.is_published_here:
                    self._watched.discard(feed)
                elif feed.was_heard:
                    feed.was_heard = False
                    feed.look_at = now + self._check_interval
                elif now >= feed.look_at:
                    feed.look_at = now + self._check_interval
                    self.look(feed)

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
        self._drop_subscription(feed)

    def _drop_subscription(self, feed: Feed) -> None:
        if feed.stream_id in self._subscribed:  # one that is under way is undone when it is done
            self._unwanted.append(feed.stream_id)
            if self._wake is not None:
                self._wake.set()

    async def _read_log(self, feed: Feed) -> None:
        try:
            await self._subscribe(feed)
            while feed in self._outdated:
                self._outdated.discard(feed)
                await self._catch_up(feed)
        except BackendUnavailableError as error:
            self._look_later(feed, error)
        except Exception as error:  # noqa: BLE001  # a task boundary: only this stream's readers are to suffer
            if _needs_log(feed):
                feed.fail(backend_error(error, "read"))
        finally:
            self._outdated.discard(feed)
            self._updating.discard(feed)

    async def _subscribe(self, feed: Feed) -> None:
        while feed.stream_id in self._changing:
            await self._changing[feed.stream_id].wait()
        if feed.stream_id in self._subscribed or feed.is_published_here or self._feeds.get(feed.stream_id) is not feed:
            return
        with self._change(feed.stream_id):
            try:
                await self._backend.subscribe(feed.stream_id, partial(self._on_push, feed.stream_id))
            except BackendError as error:
                # The log can still be read, now and each time that the stream was silent for a while.
                _logger.debug("could not subscribe, reading the log instead: %s", error)
                return
            self._subscribed.add(feed.stream_id)
        if self._feeds.get(feed.stream_id) is not feed or feed.is_published_here:
            self._drop_subscription(feed)  # the last reader left meanwhile, or the stream was taken over here

    @contextmanager
    def _change(self, stream_id: str) -> Iterator[None]:
        is_over = self._changing[stream_id] = anyio.Event()
        try:
            yield
        finally:
            del self._changing[stream_id]
            is_over.set()

    async def _catch_up(self, feed: Feed) -> None:
        has_all = False
        while not has_all and _needs_log(feed):
            start, asked_at = feed.window.stop, anyio.current_time()
            page = await self._backend.read(feed.stream_id, start, self._limits.page_bytes)
            if anyio.current_time() - asked_at > PATIENCE:
                self.note_recovery()
            if not _needs_log(feed):
                return  # taken over here meanwhile, perhaps: its publisher is ahead of the log
            has_all = feed.take_page(page, start)
            self._note_recovery(feed)
            if has_all and page is not None:
                self._judge(feed, page.info)

    def _judge(self, feed: Feed, info: StreamInfo) -> None:
        """Say that a stream is lost, or when to look again."""
        if feed.is_over or feed.is_published_here:
            return
        now = anyio.current_time()
        if info.state is not StreamState.LOST:
            feed.told_at = None
            feed.look_at = now + min(self._check_interval, max(info.lease_left, 0.0))
        elif self._on_lost(feed, info):
            feed.look_at = now + _TICK
        else:
            if feed.told_at is None:
                feed.told_at = max(now + info.lease_left + _GRACE, self._back_at + _GRACE_AFTER_OUTAGE)
            if now < feed.told_at:
                feed.look_at = feed.told_at
            else:
                feed.finish(End(StreamState.LOST))

    def _may_go_on(self, info: StreamInfo) -> bool:
        """Whether a stream was lost just now, so that somebody may be about to take it over."""
        if info.state is not StreamState.LOST:
            return False
        return -info.lease_left < _GRACE or anyio.current_time() < self._back_at + _GRACE_AFTER_OUTAGE

    def _look_later(self, feed: Feed, error: BackendUnavailableError) -> None:
        """Have the log read again soon, and then less and less often; give up after ``outage_timeout``."""
        if not _needs_log(feed):
            return  # taken over here meanwhile, perhaps
        now = anyio.current_time()
        if feed.away_since is None:
            feed.away_since = now
            feed.is_degraded = True
        away_for = now - feed.away_since
        if away_for > self._outage_timeout:
            feed.fail(error)
        feed.was_heard = False
        feed.told_at = None
        feed.look_at = now + min(max(away_for, _TICK), _LONGEST_DELAY)

    def _note_recovery(self, feed: Feed) -> None:
        if feed.away_since is not None:
            feed.away_since = None
            feed.is_degraded = False
            self.note_recovery()

    def _on_push(self, stream_id: str, push: Push | None) -> None:
        feed = self._feeds.get(stream_id)
        if feed is None or feed.is_over or feed.is_published_here:
            return
        try:
            has_joined = push is not None and feed.take_push(push)
        except ResumableStreamError:  # damaged on the way, or none of ours: the log has it
            has_joined = False
        if not has_joined:
            self.look(feed)


def _needs_log(feed: Feed) -> bool:
    return not (feed.is_over or feed.is_published_here)

"""The tasks of one context, from entering it to leaving it."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, NamedTuple, TypeVar

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from typing_extensions import override

from .._core.allowance import Allowance
from .._core.backoff import Backoff
from ..abc import StreamBackend
from ..exceptions import (
    BackendError,
    BackendUnavailableError,
    ContextClosedError,
    LimitExceededError,
    StreamGoneError,
)
from ..observer import Observer
from ..types import Acquired, Claim, Limits, RawChunk, StreamInfo, StreamState, TimelineEntry
from .companion import Companion
from .feed import Feed, chunks_of
from .flusher import Flusher
from .hub import Hub
from .keeper import Keeper
from .patience import PATIENCE, patiently
from .publisher import Publisher, PublisherHost
from .publishers import Publishers
from .reader import Reader
from .reporter import Reporter
from .terms import Source, Terms

T = TypeVar("T")

_logger = logging.getLogger("resumable_stream")

_RENEWALS_PER_LEASE = 3


class _Tasks(NamedTuple):
    hub: Hub
    services: TaskGroup
    runs: TaskGroup
    keeper: Keeper


class Runtime(PublisherHost):
    """Owns the backend's connection, the publishers and the feeds.

    All tasks live in a host task of their own, not in the task that enters the context: a cancelled request cannot
    reach them, and a context may be left by another task than the one that entered it, as test fixtures do.
    """

    def __init__(
        self,
        backend: StreamBackend,
        limits: Limits,
        terms: Terms,
        companion: Callable[[str], AbstractAsyncContextManager[object]] | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._backend = backend
        self._make_companion = companion
        self._reporter = Reporter(observer)
        self._limits = limits
        self._terms = terms
        self._check_interval = terms.lease / _RENEWALS_PER_LEASE
        self._flusher = self._new_flusher()
        self._allowance = Allowance(limits.outage_bytes)
        self._publishers = Publishers()
        self._companions: dict[Publisher, Companion] = {}
        self._opening: Counter[str] = Counter()
        self._noticed: set[str] = set()
        self._offers: dict[Feed, dict[Reader, Source]] = {}
        self._host: asyncio.Task[None] | None = None
        self._tasks: _Tasks | None = None
        self._is_drained = False

    async def start(self) -> None:
        """Connect, and start the tasks.

        Raises:
            BackendError: The store cannot be reached. Nothing was started.
        """
        if self._host is not None:
            raise ContextClosedError("the context is open already: enter it once")
        try:
            await self._backend.connect(self._on_notice)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._backend.aclose()
            raise
        self._is_drained = False
        self._publishers = Publishers()
        self._companions = {}
        self._flusher = self._new_flusher()
        self._allowance = Allowance(self._limits.outage_bytes)
        started, self._leaving = anyio.Event(), anyio.Event()
        self._host = asyncio.create_task(self._run(started), name="resumable-stream context")
        try:
            await started.wait()
        except BaseException:
            await self.stop()
            with anyio.CancelScope(shield=True):
                await self._backend.aclose()  # once more, if the host was cancelled before its first step
            raise

    async def stop(self) -> None:
        """Let the publishers come to their end for ``drain_timeout`` seconds, then end them; let go of everything.

        Cancelling it cuts the waiting short, and nothing else: the ends are still recorded.
        """
        host, self._host = self._host, None
        if host is None:
            return
        self._leaving.set()
        try:
            await asyncio.wait([host])
        except BaseException:
            self._end_publishers()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([host])
            raise
        if not host.cancelled():
            host.result()

    @property
    def is_leaving(self) -> bool:
        """Whether publishers are coming to their end because the context is left."""
        return self._tasks is not None and self._leaving.is_set()

    async def acquire(self, stream_id: str, source: Source, *, allow_new: bool) -> Acquired:
        """Ask the store, and start the publisher if the caller became it. Cancelling the call does not undo that.

        Raises:
            LimitExceededError: The stream is new, and this context publishes as many as it may. Nothing was written.
        """
        tasks = self._open_tasks()
        if self._publishers.count + self._opening.total() >= self._limits.max_publishers:
            acquired = await self._ask(self._terms.new_claim(), stream_id)
            if acquired.info is None and allow_new:
                raise LimitExceededError("max_publishers", self._limits.max_publishers)
            return acquired
        self._opening[stream_id] += 1
        # A publisher that is here takes its own stream back; a second run beside it is not wanted.
        allow_lost = source.takeover is not None and not self._publishers.of(stream_id)
        claim = self._terms.new_claim(allow_new=allow_new, allow_lost=allow_lost)
        outcome: asyncio.Future[Acquired] = asyncio.get_running_loop().create_future()
        tasks.runs.start_soon(self._acquire_and_publish, stream_id, claim, source, outcome)
        return await outcome

    async def describe(self, stream_id: str) -> StreamInfo | None:
        """Ask the store what it knows of a stream."""
        self._open_tasks()
        return (await self._ask(self._terms.new_claim(), stream_id)).info

    async def stop_stream(self, stream_id: str, reason: str) -> StreamState | None:
        """Stop the publisher that is here, at once; have the store tell the one that is elsewhere. Return the state.

        Raises:
            BackendUnavailableError: The store is away, and the publisher is not here.
        """
        self._open_tasks()
        self._reporter.stop_requested(stream_id, reason)
        publishers = self._publishers.of(stream_id)
        for publisher in publishers:
            publisher.stop(reason)
        try:
            info = await self._patiently(partial(self._backend.request_stop, stream_id, reason))
        except BackendUnavailableError:
            if publishers:
                return StreamState.RUNNING
            raise
        return None if info is None else info.state

    async def delete(self, stream_id: str) -> bool:
        """Forget a stream. Its publisher and its readers find out."""
        self._open_tasks()
        existed = await self._patiently(partial(self._backend.delete, stream_id))
        self._on_notice(stream_id)
        return existed

    def scan(self) -> AsyncIterator[StreamInfo]:
        """Describe all streams."""
        self._open_tasks()
        return self._backend.scan()

    async def timeline(self, stream_id: str, index: int) -> AsyncGenerator[TimelineEntry, None]:
        """Tell when the entries from the one that contains a chunk were logged: those that there are now."""
        self._open_tasks()
        generation = ""
        while True:
            read = partial(self._backend.read, stream_id, index, self._limits.page_bytes)
            page = await self._patiently(read)
            if page is None or not page.entries or generation not in ("", page.info.generation):
                return
            generation = page.info.generation
            for first, count, payload, at in page.entries:
                yield TimelineEntry(first, count, len(payload), at)
            index = page.entries[-1].stop

    def readers(self) -> dict[str, int]:
        """Return how many readers each live stream has here."""
        return self._open_tasks().hub.readers()

    def length_of(self, info: StreamInfo) -> int:
        """Return how many chunks of a stream can be read here."""
        return self._open_tasks().hub.length_of(info)

    def read(self, info: StreamInfo, index: int, source: Source | None = None) -> Reader:
        """Return a reader, to be given back. While it reads, its source takes the stream over if that gets lost."""
        hub = self._open_tasks().hub
        feed = hub.follow(info)
        reader = Reader(
            self._backend,
            feed,
            index,
            page_bytes=self._limits.page_bytes,
            outage_timeout=self._terms.outage_timeout,
            give_back=self._release,
        )
        if source is not None and source.takeover is not None:
            self._offers.setdefault(feed, {})[reader] = source
        self._reporter.reading(reader, hub.length_of(info))
        return reader

    def _release(self, reader: Reader) -> None:
        """Take note that a reader is gone. Works at any time, for readers that were forgotten too."""
        self._reporter.read(reader)
        offers = self._offers.get(reader.feed)
        if offers is not None:
            offers.pop(reader, None)
            if not offers:
                del self._offers[reader.feed]
        if self._tasks is not None:
            self._tasks.hub.release(reader.feed)

    async def _ask(self, claim: Claim, stream_id: str) -> Acquired:
        return await self._patiently(partial(self._backend.acquire, stream_id, claim))

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        asked_at = anyio.current_time()
        answer = await patiently(call, self._terms.call_timeout)
        if anyio.current_time() - asked_at > PATIENCE:
            self._note_recovery()
        return answer

    async def _acquire_and_publish(
        self, stream_id: str, claim: Claim, source: Source, outcome: asyncio.Future[Acquired]
    ) -> None:
        """Acquire in a task of the context, so that a caller who leaves does not leave a stream without publisher."""
        try:
            acquired, companion = await self._publish_if_acquired(stream_id, claim, source)
            if companion is not None:
                await companion.entered()
            _settle(outcome, acquired)
        except Exception as error:  # noqa: BLE001  # a task boundary: the caller gets it
            _settle(outcome, error)
        finally:
            _settle(outcome, ContextClosedError("the context was left"))

    async def _publish_if_acquired(
        self, stream_id: str, claim: Claim, source: Source
    ) -> tuple[Acquired, Companion | None]:
        companion = None
        try:
            acquired = await self._ask(claim, stream_id)
            if acquired.is_publisher and acquired.info is not None:
                if acquired.info.is_running:
                    companion = self._publish(acquired.info, source)
                else:  # the answer took longer than the lease
                    acquired = acquired._replace(is_publisher=False)
            return acquired, companion
        finally:
            self._opening[stream_id] -= 1
            if not self._opening[stream_id]:
                del self._opening[stream_id]
                self._noticed.discard(stream_id)

    def _publish(self, info: StreamInfo, source: Source) -> Companion | None:
        tasks = self._open_tasks()
        feed = tasks.hub.publish(info)
        publisher = Publisher(
            info,
            source.factory if info.epoch == 1 else lambda: self._go_on(info, source, publisher),
            source.encode,
            feed,
            self._flusher,
            self._limits,
            self._allowance,
            self,
        )
        self._publishers.add(publisher)
        self._reporter.publishing(publisher, info)
        companion = Companion(info.stream_id, self._make_companion) if self._make_companion else None
        if companion is not None:
            self._companions[publisher] = companion
            tasks.runs.start_soon(companion.run)
        tasks.keeper.start(publisher)
        if self._is_drained:
            publisher.leave()
        elif info.stream_id in self._noticed:
            publisher.on_notice()
        return companion

    async def _go_on(self, info: StreamInfo, source: Source, publisher: Publisher) -> Any:
        """Make what comes after the chunks of a stream that was taken over."""
        try:
            chunks = await self._read_all(info)
        except (BackendError, StreamGoneError):
            publisher.give_way()  # nobody's factory failed: the stream is lost again, or gone
            raise
        publisher.resume(chunks)
        assert source.takeover is not None, "lost streams are only acquired with it"
        made = source.takeover(list(map(source.decode, chunks)) if source.decode else chunks)
        return await made if inspect.isawaitable(made) else made

    async def _read_all(self, info: StreamInfo) -> list[RawChunk]:
        """Return the chunks that were logged before this epoch."""
        chunks: list[RawChunk] = []
        while len(chunks) < info.length:
            read = partial(self._backend.read, info.stream_id, len(chunks), self._limits.page_bytes)
            page = await patiently(read, self._terms.outage_timeout)
            if page is None or page.info.generation != info.generation or not page.entries:
                raise StreamGoneError(info.stream_id)
            chunks += chunks_of(info.stream_id, page.entries, len(chunks))
        return chunks

    @override
    def on_over(self, publisher: Publisher) -> None:
        self._publishers.discard(publisher)

    @override
    def on_cut_off(self, publisher: Publisher) -> None:
        if self._tasks is not None:
            self._tasks.hub.disown(publisher.feed, publisher)

    @override
    def on_lease_lapsed(self, publisher: Publisher) -> None:
        if self._tasks is not None:
            self._tasks.services.start_soon(self._reacquire, publisher)

    @override
    def on_unrecorded(self, publisher: Publisher) -> None:
        if self._tasks is not None:
            self._tasks.keeper.see_to_end(publisher)

    async def _see_to_end(self, publisher: Publisher) -> None:
        try:
            await publisher.see_to_end(self._terms.outage_timeout)
        finally:
            self.on_finished(publisher)

    @override
    def on_finished(self, publisher: Publisher) -> None:
        if self._tasks is not None:
            self._tasks.keeper.discard(publisher)  # first: what follows calls the application
        if (companion := self._companions.pop(publisher, None)) is not None:
            companion.leave()
        self.on_over(publisher)
        self.on_cut_off(publisher)
        self._reporter.published(publisher)

    def _on_lost(self, feed: Feed, info: StreamInfo) -> bool:
        """Take a lost stream over, if a reader here offered to."""
        offers = self._offers.get(feed)
        if not offers or not info.is_readable or self._tasks is None or self._leaving.is_set():
            return False
        if feed.stream_id not in self._opening:
            if self._publishers.count + self._opening.total() >= self._limits.max_publishers:
                return False
            self._opening[feed.stream_id] += 1
            source = next(iter(offers.values()))
            source.context.run(self._tasks.runs.start_soon, self._take_over, feed, source)
        return True

    async def _take_over(self, feed: Feed, source: Source) -> None:
        claim = self._terms.new_claim(allow_lost=True)
        outcome: asyncio.Future[Acquired] = asyncio.get_running_loop().create_future()
        try:
            await self._acquire_and_publish(feed.stream_id, claim, source, outcome)
        finally:
            error = outcome.exception()  # looked at in any case, so that nobody complains
        if error is not None and not isinstance(error, BackendUnavailableError):
            _logger.warning("could not take over stream %s: %s", feed.stream_id, type(error).__name__)
            self._offers.pop(feed, None)
        self._open_tasks().hub.look(feed)

    async def _reacquire(self, publisher: Publisher) -> None:
        """Take over a publisher's own stream, whose lease lapsed while the store was away, unless somebody else did."""
        claim = self._terms.new_claim(allow_lost=True, lost_epoch=publisher.epoch)
        backoff = Backoff()
        while not publisher.is_over:
            try:
                acquired = await self._backend.acquire(publisher.feed.stream_id, claim)
            except BackendUnavailableError:
                await anyio.sleep(backoff.next_delay())
            except Exception as error:  # noqa: BLE001  # a task boundary: only this stream is to suffer
                _logger.warning("could not acquire stream %s again: %s", publisher.feed.stream_id, type(error).__name__)
                publisher.on_acquired(None)
            else:
                publisher.on_acquired(acquired.info if acquired.is_publisher else None)
                return

    def _new_flusher(self) -> Flusher:
        return Flusher(
            self._backend,
            self._limits,
            linger=self._terms.linger,
            on_trouble=self._degrade,
            on_recovery=self._note_recovery,
            reporter=self._reporter,
        )

    def _degrade(self) -> None:
        for publisher in self._publishers:
            publisher.degrade()

    def _note_recovery(self) -> None:
        if self._tasks is not None:
            self._tasks.hub.note_recovery()

    def _on_notice(self, stream_id: str | None) -> None:
        if stream_id is None:
            self._note_recovery()  # it may be back before anybody here has noticed that it was away
            return
        for publisher in self._publishers.of(stream_id):
            publisher.on_notice()
        if stream_id in self._opening:
            self._noticed.add(stream_id)

    def _open_tasks(self) -> _Tasks:
        if self._tasks is None:
            raise ContextClosedError("the context is not open: use it inside of 'async with'")
        return self._tasks

    async def _run(self, started: anyio.Event) -> None:
        try:
            async with anyio.create_task_group() as services:
                hub = Hub(
                    self._backend,
                    self._limits,
                    services,
                    check_interval=self._check_interval,
                    outage_timeout=self._terms.outage_timeout,
                    on_lost=self._on_lost,
                )
                flusher = self._flusher
                for service in (flusher.run, flusher.retry, flusher.watch):
                    services.start_soon(service)
                for service in (hub.read_logs, hub.unsubscribe_unwanted, hub.watch):
                    services.start_soon(service)
                services.start_soon(self._renew_leases)
                try:
                    async with anyio.create_task_group() as runs:
                        self._tasks = _Tasks(hub, services, runs, Keeper(runs, self._see_to_end))
                        self._reporter.entered()
                        started.set()
                        await self._leaving.wait()
                        services.start_soon(self._end_publishers_later)
                finally:
                    self._tasks = None  # before anything is awaited: who comes now is too late
                    hub.close()
                await checkpoint()  # a task that is cancelled before its first step warns that it was never awaited
                services.cancel_scope.cancel()
        finally:
            self._tasks = None
            self._reporter.left()
            with anyio.CancelScope(shield=True):
                await self._backend.aclose()

    async def _end_publishers_later(self) -> None:
        await anyio.sleep(self._terms.drain_timeout)
        self._end_publishers()

    def _end_publishers(self) -> None:
        self._is_drained = True
        if self._tasks is not None:
            for publisher in self._tasks.keeper:
                publisher.leave()

    async def _renew_leases(self) -> None:
        while True:
            await anyio.sleep(self._check_interval)
            for publisher in self._publishers:
                publisher.renew_lease()


def _settle(outcome: asyncio.Future[T], result: T | Exception) -> None:
    """Answer, unless that was done, or nobody waits any more."""
    if outcome.done():
        return
    if isinstance(result, Exception):
        outcome.set_exception(result)
    else:
        outcome.set_result(result)

"""The tasks of one context, from entering it to leaving it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from ..abc import StreamBackend
from ..exceptions import ContextClosedError, LimitExceededError
from ..types import Acquired, Claim, Limits, RawChunk, StreamInfo
from .feed import Feed
from .flusher import Flusher
from .hub import Hub
from .publisher import Publisher
from .reader import Reader

T = TypeVar("T")

_RENEWALS_PER_LEASE = 3


@dataclass(frozen=True)
class Source:
    """A factory, and how its values become chunks."""

    factory: Callable[[], Any]
    encode: Callable[[Any], RawChunk] | None


class _Tasks(NamedTuple):
    hub: Hub
    runs: TaskGroup


class Runtime:
    """Owns the backend's connection, the publishers and the feeds.

    All tasks live in a host task of their own, not in the task that enters the context: a cancelled request cannot
    reach them, and a context may be left by another task than the one that entered it, as test fixtures do.
    """

    def __init__(self, backend: StreamBackend, limits: Limits, *, lease: float, drain_timeout: float) -> None:
        self._backend = backend
        self._limits = limits
        self._check_interval = lease / _RENEWALS_PER_LEASE
        self._drain_timeout = drain_timeout
        self._flusher = Flusher(backend)
        self._publishers: set[Publisher] = set()
        self._opening = 0
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
            await self._backend.connect()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._backend.aclose()
            raise
        self._is_drained = False
        self._publishers.clear()
        self._flusher = Flusher(self._backend)
        started, self._leaving = anyio.Event(), anyio.Event()
        self._host = asyncio.create_task(self._run(started), name="resumable-stream context")
        try:
            await started.wait()
        except BaseException:
            await self.stop()
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

    async def acquire(self, stream_id: str, claim: Claim, source: Source | None = None) -> Acquired:
        """Ask the backend, and start the publisher if the caller became it. Cancelling the call does not undo that.

        Raises:
            LimitExceededError: The stream is new, and this context publishes as many as it may. Nothing was written.
        """
        tasks = self._open_tasks()
        if source is None:
            return await self._backend.acquire(stream_id, claim)
        if len(self._publishers) + self._opening >= self._limits.max_publishers:
            acquired = await self._backend.acquire(stream_id, claim._replace(allow_new=False, allow_lost=False))
            if acquired.info is None:
                raise LimitExceededError("max_publishers", self._limits.max_publishers)
            return acquired
        self._opening += 1
        outcome: asyncio.Future[Acquired] = asyncio.get_running_loop().create_future()
        tasks.runs.start_soon(self._acquire_and_publish, stream_id, claim, source, outcome)
        return await outcome

    async def delete(self, stream_id: str) -> bool:
        """Forget a stream. Its publisher and its readers find out."""
        self._open_tasks()
        return await self._backend.delete(stream_id)

    def scan(self) -> AsyncIterator[StreamInfo]:
        """Describe all streams."""
        self._open_tasks()
        return self._backend.scan()

    def read(self, info: StreamInfo, index: int) -> Reader:
        """Return a reader, whose feed is to be released."""
        return Reader(self._backend, self._open_tasks().hub.follow(info), index, self._limits.page_bytes)

    def release(self, feed: Feed) -> None:
        """Take note that a reader is gone. Works at any time, for readers that were forgotten too."""
        if self._tasks is not None:
            self._tasks.hub.release(feed)

    async def _acquire_and_publish(
        self, stream_id: str, claim: Claim, source: Source, outcome: asyncio.Future[Acquired]
    ) -> None:
        """Acquire in a task of the context, so that a caller who leaves does not leave a stream without publisher."""
        try:
            acquired = await self._backend.acquire(stream_id, claim)
            if acquired.is_publisher and acquired.info is not None:
                self._publish(acquired.info, source)
            _settle(outcome, acquired)
        except Exception as error:  # noqa: BLE001  # a task boundary: the caller gets it
            _settle(outcome, error)
        finally:
            self._opening -= 1
            _settle(outcome, ContextClosedError("the context was left"))

    def _publish(self, info: StreamInfo, source: Source) -> None:
        tasks = self._open_tasks()
        feed = tasks.hub.publish(info)
        on_over = self._publishers.discard
        publisher = Publisher(info, source.factory, source.encode, feed, self._flusher, self._limits, on_over)
        self._publishers.add(publisher)
        tasks.runs.start_soon(self._run_publisher, publisher)
        if self._is_drained:
            publisher.stop("shutdown")

    async def _run_publisher(self, publisher: Publisher) -> None:
        try:
            await publisher.run()
        finally:
            self._publishers.discard(publisher)
            self._open_tasks().hub.disown(publisher.feed)

    def _open_tasks(self) -> _Tasks:
        if self._tasks is None:
            raise ContextClosedError("the context is not open: use it inside of 'async with'")
        return self._tasks

    async def _run(self, started: anyio.Event) -> None:
        try:
            async with anyio.create_task_group() as services:
                hub = Hub(self._backend, self._limits, services, self._check_interval)
                for service in (self._flusher.run, hub.unsubscribe_unwanted, hub.watch, self._renew_leases):
                    services.start_soon(service)
                async with anyio.create_task_group() as runs:
                    self._tasks = _Tasks(hub, runs)
                    started.set()
                    await self._leaving.wait()
                    services.start_soon(self._end_publishers_later)
                self._tasks = None  # before anything is awaited: who comes now is too late
                hub.close()
                await checkpoint()  # a task that is cancelled before its first step warns that it was never awaited
                services.cancel_scope.cancel()
        finally:
            self._tasks = None
            with anyio.CancelScope(shield=True):
                await self._backend.aclose()

    async def _end_publishers_later(self) -> None:
        await anyio.sleep(self._drain_timeout)
        self._end_publishers()

    def _end_publishers(self) -> None:
        self._is_drained = True
        for publisher in list(self._publishers):
            publisher.stop("shutdown")

    async def _renew_leases(self) -> None:
        while True:
            await anyio.sleep(self._check_interval)
            for publisher in list(self._publishers):
                publisher.renew_lease()


def _settle(outcome: asyncio.Future[T], result: T | Exception) -> None:
    """Answer, unless that was done, or nobody waits any more."""
    if outcome.done():
        return
    if isinstance(result, Exception):
        outcome.set_exception(result)
    else:
        outcome.set_result(result)

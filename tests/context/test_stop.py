"""Promise 8: a stop works from anywhere, is never lost, and keeps what was produced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from resumable_stream import (
    BackendUnavailableError,
    InvalidSettingError,
    InvalidStreamIdError,
    ResumableStreamContext,
    StreamState,
)
from resumable_stream.backends.memory import MemoryBackend, MemoryStore
from resumable_stream.testing import FaultyBackend, Hold, ManualClock
from tests.stores import Store
from tests.streams import Tap, collect, factory_of, never, take

SOON = 2.0
"""Far below the third of a lease that a heartbeat would take."""


async def test_stop_from_another_process(store: Store) -> None:
    """A stop from elsewhere cancels a factory that is blocked in one long await, at once, and keeps its chunks."""
    async with store.make_context() as here, store.make_context() as elsewhere:
        tap = Tap("a", "b")
        stream = await here.resumable_stream("s", tap)
        follower = await elsewhere.resumable_stream("s", never)
        assert await take(follower, 2) == ["a", "b"]
        with anyio.fail_after(SOON):
            assert await elsewhere.stop("s", reason="enough") is StreamState.RUNNING
            await tap.is_closed.wait()
            assert await collect(follower) == []
        assert await collect(stream) == ["a", "b"]
        assert stream is not None
        assert stream.state is StreamState.STOPPED
        info = await elsewhere.info("s")
        assert info is not None
        assert (info.state, info.reason, info.length) == (StreamState.STOPPED, "enough", 2)


async def test_stop_here(store: Store) -> None:
    """A stop in the publisher's own process does the same."""
    async with store.make_context() as context:
        tap = Tap("a")
        stream = await context.resumable_stream("s", tap)
        assert await take(stream, 1) == ["a"]
        with anyio.fail_after(SOON):
            await context.stop("s")
            assert await collect(stream) == []
        info = await context.info("s")
        assert info is not None
        assert (info.state, info.reason) == (StreamState.STOPPED, "requested")


async def test_stop_twice_and_of_nothing(store: Store) -> None:
    """Stopping again, after the end, or what does not exist, is no error and changes nothing."""
    async with store.make_context() as here, store.make_context() as elsewhere:
        tap = Tap("a")
        await here.resumable_stream("s", tap)
        await elsewhere.stop("s", reason="first")
        await elsewhere.stop("s", reason="second")
        assert await collect(await elsewhere.resume_existing_stream("s")) == ["a"][: tap.calls]
        assert await elsewhere.stop("s", reason="third") is StreamState.STOPPED
        info = await here.info("s")
        assert info is not None
        assert info.reason == "first"
        await collect(await here.resumable_stream("done", factory_of(["a"])))
        assert await elsewhere.stop("done") is StreamState.DONE
        assert await elsewhere.stop("unknown") is None
        assert await elsewhere.has_existing_stream("unknown") is None


async def test_reader_that_leaves_is_no_stop(store: Store) -> None:
    """A disconnect is never a stop."""
    async with store.make_context() as context:
        tap = Tap("a")
        stream = await context.resumable_stream("s", tap)
        assert stream is not None
        await take(stream, 1)
        await stream.aclose()
        tap.end("b")
        assert await collect(await context.resumable_stream("s", never)) == ["a", "b"]


async def test_clean_up_of_a_stopped_factory_may_await(store: Store) -> None:
    """The ``finally`` of a stopped factory runs to its end, awaits included."""
    saved: list[str] = []

    async def factory() -> AsyncIterator[str]:
        try:
            yield "half"
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0.01)
            await anyio.sleep(0.01)
            saved.append("half")

    async with store.make_context() as context:
        stream = await context.resumable_stream("s", factory)
        assert await take(stream, 1) == ["half"]
        await context.stop("s")
        assert await collect(stream) == []
        assert saved == ["half"]


@pytest.mark.parametrize("reason", ["", "x" * 2001, b"bytes", 5, None])
async def test_bad_reasons(reason: Any) -> None:
    """A reason has a length that a store can keep; an id is checked as everywhere."""
    async with ResumableStreamContext.from_url("memory://") as context:
        with pytest.raises(InvalidSettingError):
            await context.stop("s", reason=reason)
        with pytest.raises(InvalidStreamIdError):
            await context.stop("a b")


async def test_stop_before_the_publisher_knows_that_it_is_one() -> None:
    """A stop between the stream's creation and the publisher's start is not lost (ai-resumable-stream#17)."""
    store = MemoryStore()
    backend, hold = FaultyBackend(MemoryBackend(store)), Hold()

    async def reply_later(call: object) -> object:
        answer = await call()  # type: ignore[operator]  # a call
        await hold(lambda: anyio.lowlevel.checkpoint())
        return answer

    backend.plan("acquire", reply_later)
    async with (
        ResumableStreamContext(backend, drain_timeout=0) as here,
        ResumableStreamContext(MemoryBackend(store)) as elsewhere,
        anyio.create_task_group() as tasks,
    ):
        tap = Tap("a")
        tasks.start_soon(here.resumable_stream, "s", tap)
        await hold.is_reached.wait()
        assert await elsewhere.stop("s") is StreamState.RUNNING
        hold.release()
        with anyio.fail_after(SOON):
            assert await collect(await elsewhere.resume_existing_stream("s")) in (["a"], [])
        assert await elsewhere.has_existing_stream("s") is StreamState.STOPPED


async def test_stop_whose_notice_is_lost() -> None:
    """A stop that the publisher does not hear of is told by the answer to its next append, or renewal."""
    store = MemoryStore()
    deaf = FaultyBackend(MemoryBackend(store), on_notice=lambda _: [])
    async with (
        ResumableStreamContext(deaf, lease=0.3) as here,
        ResumableStreamContext(MemoryBackend(store)) as elsewhere,
    ):
        stream = await here.resumable_stream("s", Tap("a"))
        await elsewhere.stop("s")
        with anyio.fail_after(SOON):
            assert await collect(stream) == ["a"]
        assert await elsewhere.has_existing_stream("s") is StreamState.STOPPED


async def test_stop_that_comes_while_an_append_is_in_flight() -> None:
    """A stop that was recorded after an append, and noticed before its answer, is asked for again."""
    store = MemoryStore()
    backend, hold = FaultyBackend(MemoryBackend(store)), Hold()

    async def reply_later(call: object) -> object:
        answer = await call()  # type: ignore[operator]  # a call
        await hold(lambda: anyio.lowlevel.checkpoint())
        return answer

    backend.plan("append", reply_later)
    async with ResumableStreamContext(backend) as here, ResumableStreamContext(MemoryBackend(store)) as elsewhere:
        stream = await here.resumable_stream("s", Tap("a"))
        await hold.is_reached.wait()
        await elsewhere.stop("s")
        hold.release()
        with anyio.fail_after(SOON):
            assert await collect(stream) == ["a"]


async def test_stop_while_the_store_is_away_for_the_publisher() -> None:
    """A stop from elsewhere reaches a publisher that cannot reach the store, when it can."""
    store = MemoryStore()
    backend = FaultyBackend(MemoryBackend(store))
    async with ResumableStreamContext(backend) as here, ResumableStreamContext(MemoryBackend(store)) as elsewhere:
        tap = Tap("a")
        stream = await here.resumable_stream("s", tap)
        assert await take(stream, 1) == ["a"]
        backend.go_away()
        tap.let("b")
        assert await take(stream, 1) == ["b"]
        await elsewhere.stop("s")
        backend.come_back()
        with anyio.fail_after(SOON):
            assert await collect(stream) == []
        assert await collect(await elsewhere.resume_existing_stream("s")) == ["a", "b"]
        assert await elsewhere.has_existing_stream("s") is StreamState.STOPPED


async def test_stop_when_the_store_is_away() -> None:
    """Here, a stop works without the store; for one elsewhere, it waits for the store, and else is an error."""
    store = MemoryStore()
    backend = FaultyBackend(MemoryBackend(store))
    async with (
        ResumableStreamContext(backend, call_timeout=0.1) as here,
        ResumableStreamContext(MemoryBackend(store)) as elsewhere,
    ):
        stream, other = await here.resumable_stream("s", Tap("a")), Tap("b")
        others = await elsewhere.resumable_stream("other", other)
        assert await take(stream, 1) == ["a"]
        backend.go_away()
        await here.stop("s")
        assert await collect(stream) == []
        with pytest.raises(BackendUnavailableError):
            await here.stop("other")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(here.stop, "other")
            backend.come_back()
        assert await collect(others) == ["b"]


async def test_stop_of_a_stream_whose_publisher_died() -> None:
    """A stream that was asked to stop and whose publisher dies has stopped, and nobody takes it over."""
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    dead = FaultyBackend(MemoryBackend(store))
    async with (
        ResumableStreamContext(dead, drain_timeout=0) as here,
        ResumableStreamContext(MemoryBackend(store), lease=0.3) as elsewhere,
    ):
        stream = await here.resumable_stream("s", Tap("a"))
        assert await take(stream, 1) == ["a"]
        follower = await elsewhere.resumable_stream("s", never, takeover=never)
        dead.go_away()
        await elsewhere.stop("s")
        clock.advance(100)
        assert await collect(follower) == ["a"]
        assert follower is not None
        assert follower.state is StreamState.STOPPED
        dead.come_back()


async def test_stop_of_a_lost_stream() -> None:
    """Stopping a lost stream keeps others from taking it over."""
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    async with ResumableStreamContext(MemoryBackend(store), drain_timeout=0) as context:
        stream = await context.resumable_stream("s", Tap("a"))
        await take(stream, 1)
        clock.advance(100)
        assert await context.stop("s") is StreamState.STOPPED
        assert await collect(await context.resumable_stream("s", never, takeover=never)) == ["a"]

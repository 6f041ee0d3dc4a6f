"""What keeps a context open while something is published, and how many tasks that takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextvars import ContextVar
from typing import Any, cast

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from typing_extensions import Self, override

from resumable_stream import ContextClosedError, Observer, PublisherFailedError, ResumableStreamContext
from resumable_stream._engine.keeper import Keeper
from resumable_stream._engine.publisher import Publisher
from resumable_stream._engine.run import Run
from resumable_stream.backends.memory import MemoryBackend, MemoryStore
from resumable_stream.testing import FaultyBackend, Hold, ManualClock, lose_reply
from resumable_stream.types import Append, Appended, End, StreamState
from tests.streams import Tap, collect, factory_of, never, take

SOON = 20


class Doing:
    """A publisher that does nothing but keep account of what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def start(self) -> None:
        """Take note."""
        self.told.append("start")

    def leave(self, reason: str) -> None:
        """Take note."""
        self.told.append(reason)


class Kept:
    """A keeper, and what it saw to the end."""

    def __init__(self, tasks: anyio.abc.TaskGroup) -> None:
        self.keeper = Keeper(tasks, self._see_to_end)
        self.seen_to: list[Doing] = []

    def start(self) -> Doing:
        """Start one more publisher, and return it."""
        publisher = Doing()
        self.keeper.start(cast("Publisher", publisher))
        return publisher

    def see_to_end(self, publisher: Doing) -> None:
        """Ask for a task for its end."""
        self.keeper.see_to_end(cast("Publisher", publisher))

    def discard(self, publisher: Doing) -> None:
        """It is over."""
        self.keeper.discard(cast("Publisher", publisher))

    async def _see_to_end(self, publisher: Publisher) -> None:
        self.seen_to.append(cast("Doing", publisher))
        self.keeper.discard(publisher)


async def test_group_stays_open_for_publishers() -> None:
    """The task group ends when the last publisher has, and there may be others after that."""
    publishers: list[Doing] = []
    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as tasks:
            kept = Kept(tasks)
            for _ in range(2):
                some = [kept.start() for _ in range(3)]
                publishers += some
                await anyio.lowlevel.checkpoint()
                for publisher in some:
                    asyncio.get_running_loop().call_soon(kept.discard, publisher)
                await anyio.sleep(0.01)
    assert [publisher.told for publisher in publishers] == [["start"]] * 6
    assert kept.seen_to == []


async def test_end_in_trouble_gets_a_task() -> None:
    """Whoever asks for a task gets one, from callbacks of the event loop and before the keeper's first step too."""
    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as tasks:
            kept = Kept(tasks)
            early, late = kept.start(), kept.start()
            kept.see_to_end(early)
            asyncio.get_running_loop().call_later(0.01, kept.see_to_end, late)
    assert kept.seen_to == [early, late]


async def test_cancelled_keeper_breaks_off_and_waits() -> None:
    """Cancelling the task group breaks off those that are there and those that still come, and waits for their ends."""
    steps: list[str] = []
    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as tasks:
            kept = Kept(tasks)
            publishers = [kept.start()]

            async def come_late() -> None:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.02)
                    publishers.append(kept.start())
                    await anyio.sleep(0.02)
                    steps.append("ended")
                    kept.discard(publishers[0])
                    kept.see_to_end(publishers[1])

            tasks.start_soon(come_late)
            await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()
        steps.append("left")
    assert [publisher.told for publisher in publishers] == [["start", "cancelled"]] * 2
    assert kept.seen_to == [publishers[1]]
    assert steps == ["ended", "left"]


async def test_task_that_is_cancelled_before_its_first_step() -> None:
    """Where all tasks are cancelled before one for an end has begun, as `asyncio.run` does, there is another one."""
    test = asyncio.current_task()

    def cancel_all() -> None:
        for task in asyncio.all_tasks() - {test}:
            task.cancel()

    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as tasks:
            kept = Kept(tasks)
            publisher = kept.start()
            await anyio.lowlevel.checkpoint()
            begin = kept.keeper._begin_to_see_to
            unstarted: list[Coroutine[Any, Any, None]] = []

            def begin_and_cancel(publisher: Publisher) -> Coroutine[Any, Any, None]:
                if not unstarted:
                    asyncio.get_running_loop().call_soon(cancel_all)
                unstarted.append(begin(publisher))
                return unstarted[-1]

            kept.keeper._begin_to_see_to = begin_and_cancel  # type: ignore[method-assign]
            kept.see_to_end(publisher)
    unstarted[0].close()  # else it warns that it was never awaited
    assert publisher.told == ["start", "cancelled"]
    assert kept.seen_to == [publisher]


async def test_one_task_for_each_live_stream() -> None:
    """A live stream takes one task, that of its factory, and its end none: there may be thousands."""
    async with ResumableStreamContext(MemoryBackend()) as context:
        before = len(asyncio.all_tasks())
        taps = [Tap("a") for _ in range(50)]
        streams = [await context.resumable_stream(f"s{number}", tap) for number, tap in enumerate(taps)]
        for stream in streams:
            assert await take(stream, 1) == ["a"]
        assert len(asyncio.all_tasks()) - before <= len(taps) + 1
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert {f"factory of stream s{number}" for number in range(50)} <= names
        for tap in taps:
            tap.end("b")
        for stream in streams:
            assert await collect(stream) == ["b"]
        await anyio.lowlevel.checkpoint()
        assert len(asyncio.all_tasks()) <= before


class Recording(MemoryBackend):
    """Keeps account of appends."""

    def __init__(self) -> None:
        super().__init__()
        self.appends: list[Append] = []

    @override
    async def append(self, appends: Sequence[Append]) -> list[Appended]:
        self.appends += appends
        return await super().append(appends)


@pytest.mark.parametrize("chunks", [[], ["a"], ["a", "b", "c"]])
async def test_end_goes_with_the_last_chunk(chunks: list[str]) -> None:
    """A factory that ends after its last chunk, without waiting, costs one append and not two."""
    backend = Recording()
    async with ResumableStreamContext(backend) as context:
        assert await collect(await context.resumable_stream("s", factory_of(chunks))) == chunks
    assert [(append.count, append.end) for append in backend.appends] == [(len(chunks), End(StreamState.DONE))]


def swallows() -> AsyncIterator[str]:
    """A source that comes to a good end when it is cancelled."""
    return _until_cancelled(None)


def converts() -> AsyncIterator[str]:
    """A source that fails when it is cancelled."""
    return _until_cancelled(RuntimeError("no"))


async def _until_cancelled(error: Exception | None) -> AsyncIterator[str]:
    try:
        yield "a"
        await anyio.sleep_forever()
    except asyncio.CancelledError:
        if error is not None:
            raise error from None
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(0.01)


async def cleans_up() -> AsyncIterator[str]:
    """A source that takes a moment to be cancelled."""
    try:
        yield "a"
        await anyio.sleep_forever()
    finally:
        await anyio.sleep(0.01)


@pytest.mark.parametrize("source", [cleans_up, swallows, converts])
async def test_host_that_is_cancelled(source: Callable[[], AsyncIterator[str]]) -> None:
    """Where somebody cancels the context's own task, factories clean up, and have stopped, whatever they make of it."""
    backend = Recording()
    context = ResumableStreamContext(backend)
    await context.__aenter__()
    stream = await context.resumable_stream("s", source)
    assert await take(stream, 1) == ["a"]
    await cancel_host(context)
    assert backend.appends[-1].end == End(StreamState.STOPPED, reason="cancelled")
    assert await collect(stream) == []


async def test_host_that_is_cancelled_wakes_all_readers() -> None:
    """A reader of a stream that runs elsewhere, too, is told that the context was left."""
    store = MemoryStore()
    async with ResumableStreamContext(MemoryBackend(store), drain_timeout=0.0) as elsewhere:
        await elsewhere.resumable_stream("s", cleans_up)
        context = ResumableStreamContext(MemoryBackend(store))
        await context.__aenter__()
        stream = await context.resumable_stream("s", never)
        assert await take(stream, 1) == ["a"]
        await cancel_host(context)
        with anyio.fail_after(SOON), pytest.raises(ContextClosedError):
            await collect(stream)


async def test_cause_of_another_publisher() -> None:
    """If who took a stream over elsewhere fails, readers here are not told of what the factory here had raised."""
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    context = ResumableStreamContext(MemoryBackend(store), drain_timeout=0.0)
    async with context, ResumableStreamContext(MemoryBackend(store), drain_timeout=0.0) as elsewhere:
        mine, other = Tap("a"), Tap("b")
        stream = await context.resumable_stream("s", mine)
        assert await take(stream, 1) == ["a"]
        clock.advance(15.1)  # its lease has lapsed just now: readers wait whether somebody takes it over
        mine.let(ValueError("mine"))
        with anyio.fail_after(SOON):
            while context._runtime._publishers.count:
                await anyio.sleep(0.01)
        assert await elsewhere.resumable_stream("s", never, takeover=lambda _: other()) is not None
        assert await take(stream, 1) == ["b"]
        other.let(KeyError("other"))
        with anyio.fail_after(SOON), pytest.raises(PublisherFailedError) as caught:
            await collect(stream)
    assert caught.value.__cause__ is None


async def cancel_host(context: ResumableStreamContext) -> None:
    """Cancel the context's own task, and wait until it is over."""
    host = context._runtime._host
    assert host is not None
    host.cancel()
    await asyncio.wait([host], timeout=SOON)
    assert host.done()


class Lapsed:
    """A factory that came to its end while its publisher asks for the stream again, which the store does not answer.

    Its lease lapsed while the store was away. What had been logged before was accepted then, and the next append not.
    """

    def __init__(self, **settings: Any) -> None:
        self.clock = ManualClock()
        self.backend = FaultyBackend(MemoryBackend(MemoryStore(clock=self.clock)))
        self.context = ResumableStreamContext(self.backend, drain_timeout=0.0, **settings)

    async def __aenter__(self) -> Self:
        """Enter the context, and get there."""
        await self.context.__aenter__()
        tap, asked = Tap("a"), Hold()
        self.stream = await self.context.resumable_stream("s", tap)
        assert await take(self.stream, 1) == ["a"]
        self.backend.plan("append", lose_reply)
        tap.let("b")
        assert await take(self.stream, 1) == ["b"]
        self.backend.go_away()
        self.clock.advance(100)
        self.backend.plan("acquire", asked)
        self.backend.come_back()
        while self.stream is not None and self.stream.degraded:
            await anyio.sleep(0.01)
        tap.let("c")
        await asked.is_reached.wait()
        tap.end()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave the context."""
        await self.context.__aexit__(None, None, None)


async def test_end_that_waits_for_the_stream() -> None:
    """After ``outage_timeout`` nobody waits any more for the answer, and the publisher's place is free."""
    with anyio.fail_after(SOON):
        async with Lapsed(outage_timeout=0.3) as lapsed:
            while lapsed.context._runtime._publishers.count:
                await anyio.sleep(0.01)


async def test_host_that_is_cancelled_while_an_end_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not wait for long, though nobody is there any more who could answer."""
    monkeypatch.setattr("resumable_stream._engine.publisher._RECORD_TIMEOUT", 0.3)
    async with Lapsed() as lapsed:
        await cancel_host(lapsed.context)


async def test_no_append_after_the_end() -> None:
    """News of a stream whose end is under way, that somebody wants it to stop, makes no other append."""
    backend, hold = Recording(), Hold()
    faulty = FaultyBackend(backend)
    async with ResumableStreamContext(faulty) as context:
        tap = Tap("a")
        stream = await context.resumable_stream("s", tap)
        assert await take(stream, 1) == ["a"]
        faulty.plan("append", hold)
        tap.end()
        await hold.is_reached.wait()
        context._runtime._on_notice("s")
        hold.release()
        assert await collect(stream) == []
        await anyio.sleep(0.05)
    assert [append.end for append in backend.appends] == [None, End(StreamState.DONE)]


async def test_publisher_that_nobody_keeps() -> None:
    """One that a cancelled keeper let go of gets no task from the next one."""
    with anyio.fail_after(SOON):
        async with anyio.create_task_group() as tasks:
            kept = Kept(tasks)
            publisher = kept.start()
            kept.see_to_end(Doing())
            await anyio.sleep(0.01)
            kept.discard(publisher)
    assert kept.seen_to == []


async def test_context_variables_of_the_first_caller() -> None:
    """The task for all publishers does not have them: they would be kept, and be those of all ends that get a task."""
    variable = ContextVar("variable", default="none")
    seen: list[str] = []

    class Seeing(Observer):
        @override
        def on_published(self, *_: object) -> None:
            seen.append(variable.get())

    async with ResumableStreamContext(MemoryBackend(), observer=Seeing(), drain_timeout=0.0) as context:
        variable.set("of the first caller")
        await context.resumable_stream("s", Tap("a"))
    assert seen == ["none"]


async def test_run_that_is_stopped_before_it_begins() -> None:
    """It is over at once, and its factory is never called."""
    ends: list[End | None] = []

    async def pump(_chunks: object) -> None:
        raise AssertionError("there is nothing to pump")

    run = Run("s", never, pump, ends.append)
    assert run.stop()
    run.start()
    await anyio.sleep(0.01)
    assert ends == [None]
    assert not run.stop()

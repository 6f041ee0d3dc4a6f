"""What keeps a context open while something is published, and how many tasks that takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, cast

import anyio
import anyio.abc
import anyio.lowlevel
import pytest
from typing_extensions import override

from resumable_stream import ResumableStreamContext
from resumable_stream._engine.keeper import Keeper
from resumable_stream._engine.publisher import Publisher
from resumable_stream.backends.memory import MemoryBackend
from resumable_stream.types import Append, Appended, End, StreamState
from tests.streams import Tap, collect, factory_of, take

SOON = 20


class Doing:
    """A publisher that does nothing but keep account of what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def start(self) -> None:
        """Take note."""
        self.told.append("start")

    def break_off(self) -> None:
        """Take note."""
        self.told.append("break off")


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
    assert [publisher.told for publisher in publishers] == [["start", "break off"]] * 2
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
    assert publisher.told == ["start", "break off"]
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


async def test_host_that_is_cancelled() -> None:
    """Where somebody cancels the context's own task, factories clean up, and their ends are recorded."""
    backend, steps = Recording(), []
    context = ResumableStreamContext(backend)
    await context.__aenter__()

    async def source() -> AsyncIterator[str]:
        try:
            yield "a"
            await anyio.sleep_forever()
        finally:
            await anyio.sleep(0.01)
            steps.append("cleaned up")

    stream = await context.resumable_stream("s", source)
    assert await take(stream, 1) == ["a"]
    host = context._runtime._host
    assert host is not None
    host.cancel()
    await asyncio.wait([host], timeout=SOON)
    assert steps == ["cleaned up"]
    assert backend.appends[-1].end == End(StreamState.STOPPED, reason="cancelled")
    assert await collect(stream) == []

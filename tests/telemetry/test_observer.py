"""What an observer is told, and when."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from typing_extensions import override

from resumable_stream import Observer, ResumableStreamContext, StreamState
from resumable_stream._engine.keeper import Keeper
from resumable_stream._engine.terms import Source
from resumable_stream.backends.memory import MemoryBackend, MemoryStore
from resumable_stream.exceptions import BackendUnavailableError, InvalidSettingError, PublisherFailedError
from resumable_stream.observer import Activity, Publishing, Reading, Sample
from resumable_stream.testing import ManualClock
from resumable_stream.testing.faults import FaultyBackend
from resumable_stream.types import Append, Appended, AppendStatus
from tests.stores import Store
from tests.streams import Tap


class Notes(Observer):
    """Writes down all that it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.samples: list[Sample] = []
        self.appended: list[int] = []
        self.seconds: list[float] = []

    @override
    def on_entered(self, sample: Sample) -> None:
        self.samples.append(sample)

    @override
    def on_left(self, sample: Sample) -> None:
        self.calls.append(("left", sample()))

    @override
    def on_publishing(self, publishing: Publishing) -> None:
        self.calls.append(("publishing", publishing.stream_id, publishing.epoch, publishing.first))

    @override
    def on_published(
        self, publishing: Publishing, state: StreamState | None, error_type: str, chunks: int, seconds: float
    ) -> None:
        self.calls.append(("published", publishing.stream_id, state, error_type, chunks))
        self.seconds.append(seconds)

    @override
    def on_appended(self, streams: int, seconds: float) -> None:
        self.appended.append(streams)
        self.seconds.append(seconds)

    @override
    def on_reading(self, reading: Reading) -> None:
        self.calls.append(("reading", reading.stream_id, reading.index, reading.behind))

    @override
    def on_read(self, reading: Reading, chunks: int, seconds: float) -> None:
        self.calls.append(("read", reading.stream_id, chunks))
        self.seconds.append(seconds)

    @override
    def on_stop_requested(self, stream_id: str, reason: str) -> None:
        self.calls.append(("stop", stream_id, reason))

    @override
    def on_store_away(self) -> None:
        self.calls.append(("away",))

    @override
    def on_store_back(self, seconds: float) -> None:
        self.calls.append(("back",))
        self.seconds.append(seconds)


async def abc() -> AsyncIterator[str]:
    """Three chunks."""
    for chunk in "abc":
        yield chunk


async def never() -> AsyncIterator[str]:
    """A chunk, and then silence."""
    yield "x"
    await anyio.Event().wait()


async def broken() -> AsyncIterator[str]:
    """A chunk, and then an error."""
    yield "x"
    raise RuntimeError("secret")


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what an observer is to be told a moment later."""
    with anyio.fail_after(20):
        while not condition():
            await anyio.sleep(0.01)


async def test_a_stream_and_its_readers(store: Store) -> None:
    """Publishing, appends and reading are told once each, with their counts, and leaving comes last."""
    notes = Notes()
    async with store.make_context(observer=notes) as context:
        stream = await context.resumable_stream("s", abc)
        assert stream is not None
        assert [chunk async for chunk in stream] == ["a", "b", "c"]
        again = await context.resume_existing_stream("s", start_index=1)
        assert again is not None
        assert [chunk async for chunk in again] == ["b", "c"]
    # What is over is told when it was tidied up: a moment later.
    assert notes.calls[:2] == [("publishing", "s", 1, 0), ("reading", "s", 0, 0)]
    assert sorted(notes.calls[2:-1]) == [
        ("published", "s", StreamState.DONE, "", 3),
        ("read", "s", 2),
        ("read", "s", 3),
        ("reading", "s", 1, 2),
    ]
    assert notes.calls[-1] == ("left", Activity(0, 0, 0, 0, 3))
    assert set(notes.appended) == {1}
    assert all(seconds >= 0 for seconds in notes.seconds)


async def test_failure_and_stop(store: Store) -> None:
    """A failed stream comes with the type of what was raised, a stopped one with the request."""
    notes = Notes()
    async with store.make_context(observer=notes) as context:
        failing = await context.resumable_stream("f", broken)
        assert failing is not None
        with pytest.raises(PublisherFailedError):
            [chunk async for chunk in failing]
        stream = await context.resumable_stream("s", never)
        assert stream is not None
        assert await anext(stream) == "x"
        await context.stop("s", reason="enough")
        assert [chunk async for chunk in stream] == []
    assert ("published", "f", StreamState.FAILED, "RuntimeError", 1) in notes.calls
    assert ("stop", "s", "enough") in notes.calls
    assert ("published", "s", StreamState.STOPPED, "", 1) in notes.calls
    assert [call[0] for call in notes.calls].count("published") == 2
    assert "secret" not in str(notes.calls)


async def test_leaving_ends_all_that_was_begun(store: Store) -> None:
    """Streams that are cut short at shutdown, and readers that are still open, are over before the context is left."""
    notes = Notes()
    context = store.make_context(observer=notes, drain_timeout=0)
    async with context:
        stream = await context.resumable_stream("s", never)
        assert stream is not None
        assert await anext(stream) == "x"
        assert notes.samples[0]() == Activity(publishers=1, readers=1, lag=0, degraded=0, chunks=1)
    assert [call[0] for call in notes.calls] == ["publishing", "reading", "published", "read", "left"]
    assert notes.calls[2] == ("published", "s", StreamState.STOPPED, "", 1)
    await stream.aclose()
    assert notes.calls[-1] == ("left", Activity(0, 0, 0, 0, 1))


async def test_deleted_stream(store: Store) -> None:
    """The publisher of a stream that is deleted is over without an end."""
    notes = Notes()
    async with store.make_context(observer=notes) as context:
        stream = await context.resumable_stream("s", never)
        assert stream is not None
        assert await anext(stream) == "x"
        await context.delete("s")
        await until(lambda: ("published", "s", None, "", 1) in notes.calls)


async def test_takeover() -> None:
    """Who takes a stream over starts under another epoch, where the old publisher is over without an end."""
    old, new, clock = Notes(), Notes(), ManualClock()
    store = MemoryStore(clock=clock)
    gone = FaultyBackend(MemoryBackend(store))
    async with ResumableStreamContext(gone, observer=old, drain_timeout=0) as first:
        stream = await first.resumable_stream("s", never)
        assert stream is not None
        assert await anext(stream) == "x"
        gone.go_away()
        clock.advance(100)
        async with ResumableStreamContext(MemoryBackend(store), observer=new) as second:
            taken = await second.resumable_stream("s", never, takeover=lambda chunks: [*chunks, "y"])
            assert taken is not None
            assert [chunk async for chunk in taken] == ["x", "x", "y"]
        gone.come_back()
    assert ("publishing", "s", 2, 1) in new.calls
    assert ("published", "s", StreamState.DONE, "", 2) in new.calls
    assert ("published", "s", None, "", 1) in old.calls
    assert [notes.samples[0]().chunks for notes in (old, new)] == [1, 2]


async def test_lag(store: Store) -> None:
    """The sample says how far the slowest reader is behind."""
    notes = Notes()
    async with store.make_context(observer=notes) as context:
        fast = await context.resumable_stream("s", abc)
        slow = await context.resumable_stream("s", abc)
        assert fast is not None
        assert slow is not None
        assert [chunk async for chunk in fast] == ["a", "b", "c"]
        assert notes.samples[0]().lag == 3
        assert await anext(slow) == "a"
        assert notes.samples[0]().lag == 2  # although this process has fetched all three for it
        assert [chunk async for chunk in slow] == ["b", "c"]
        await until(lambda: notes.samples[0]() == Activity(0, 0, 0, 0, 3))


async def test_reader_that_is_forgotten() -> None:
    """A reader was handed what somebody took from it, and not what was fetched for it."""
    notes = Notes()
    async with ResumableStreamContext(MemoryBackend(MemoryStore()), observer=notes) as context:
        fast, slow = await context.resumable_stream("s", abc), await context.resumable_stream("s", abc)
        assert fast is not None
        assert slow is not None
        assert [chunk async for chunk in fast] == ["a", "b", "c"]
        assert await anext(slow) == "a"
        del slow
        await until(lambda: ("read", "s", 1) in notes.calls)
        assert [call for call in notes.calls if call[0] == "read"] == [("read", "s", 3), ("read", "s", 1)]


async def test_outage() -> None:
    """A store that is away is told once, and once that it is back; meanwhile streams count as degraded."""
    notes = Notes()
    backend = FaultyBackend(MemoryBackend(MemoryStore()))
    go_on = anyio.Event()

    async def two() -> AsyncIterator[str]:
        yield "a"
        await go_on.wait()
        yield "b"

    async with ResumableStreamContext(backend, observer=notes) as context:
        stream = await context.resumable_stream("s", two)
        assert stream is not None
        assert await anext(stream) == "a"
        backend.go_away()
        go_on.set()
        assert await anext(stream) == "b"
        assert ("away",) in notes.calls
        assert notes.samples[0]().degraded == 1
        backend.come_back()
        assert [chunk async for chunk in stream] == []
        await until(lambda: ("back",) in notes.calls)
    assert notes.samples[0]().chunks == 2
    assert [call[0] for call in notes.calls].count("away") == 1
    assert [call[0] for call in notes.calls].count("back") == 1


async def test_outage_at_the_end() -> None:
    """An outage that lasts until the context is left is over then, and the next one is told anew."""
    notes = Notes()
    backend = FaultyBackend(MemoryBackend(MemoryStore()))
    context = ResumableStreamContext(backend, observer=notes, drain_timeout=0)
    for stream_id in ("s", "t"):
        async with context:
            stream = await context.resumable_stream(stream_id, never)
            assert stream is not None
            backend.go_away()
            assert await anext(stream) == "x"
            await until(lambda: notes.calls[-1] == ("away",))
        assert [call[0] for call in notes.calls].count("back") == [call[0] for call in notes.calls].count("away")
        assert notes.calls[-1][0] == "left"
        backend.come_back()
    assert notes.calls.count(("away",)) == 2


async def test_an_observer_that_raises_harms_nothing(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever all methods raise, the stream is what it would be; each is complained about once."""

    class Bad(Observer):
        def __getattribute__(self, name: str) -> Any:
            if not name.startswith("on_"):
                return super().__getattribute__(name)

            def fail(*_: object) -> None:
                raise RuntimeError(name)

            fail.__name__ = name
            return fail

    with caplog.at_level(logging.ERROR, "resumable_stream"):
        async with store.make_context(observer=Bad()) as context:
            for stream_id in ("s", "t"):
                stream = await context.resumable_stream(stream_id, abc)
                assert stream is not None
                assert [chunk async for chunk in stream] == ["a", "b", "c"]
    complaints = [record.getMessage().split()[0] for record in caplog.records]
    assert sorted(complaints) == sorted(set(complaints))
    assert {"on_entered", "on_publishing", "on_appended", "on_published", "on_read", "on_left"} <= set(complaints)


def test_only_an_observer_is_taken() -> None:
    """Anything else is refused when the context is made."""
    with pytest.raises(InvalidSettingError, match="Observer"):
        ResumableStreamContext.from_url("memory://", observer=print)  # type: ignore[arg-type]  # that is the point


class _GatedBackend(MemoryBackend):
    """One whose appends fail from a moment on; all but the first one when the gate opens."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.repeated, self.gate = anyio.Event(), anyio.Event()
        self._failed = 0

    @override
    async def append(self, appends: Sequence[Append]) -> list[Appended]:
        if not self.is_away:
            return await super().append(appends)
        self._failed += 1
        if self._failed > 1:
            self.repeated.set()
            await self.gate.wait()
        raise BackendUnavailableError("away")


async def test_a_publisher_that_gives_up_does_not_bring_the_store_back() -> None:
    """If nobody waits any more for an append when it fails again, the store is still away."""
    notes, backend = Notes(), _GatedBackend()
    async with ResumableStreamContext(backend, observer=notes, outage_timeout=0.1) as context:
        backend.is_away = True
        assert await context.resumable_stream("s", abc) is not None
        with anyio.fail_after(20):
            await backend.repeated.wait()
            await until(lambda: any(call[0] == "published" for call in notes.calls))
        backend.gate.set()
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        assert ("away",) in notes.calls
        assert ("back",) not in notes.calls


async def test_publishers_that_never_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    """A publisher whose tasks were cancelled before their first step is told to be over when the context is left."""
    notes = Notes()
    runtime = ResumableStreamContext(MemoryBackend(), observer=notes)._runtime
    await runtime.start()
    keep, host = Keeper._keep, runtime._host
    assert host is not None
    unstarted: list[Any] = []

    def cancel_before_the_first_step(keeper: Keeper) -> Any:
        asyncio.get_running_loop().call_soon(cancel_all)
        unstarted.append(keep(keeper))
        return unstarted[-1]

    def cancel_all() -> None:  # as `asyncio.run` does at its end
        for task in asyncio.all_tasks() - {test, call}:
            task.cancel()

    monkeypatch.setattr(Keeper, "_keep", cancel_before_the_first_step)
    test = asyncio.current_task()
    call = asyncio.create_task(runtime.acquire("s", Source(abc, None, None, None), allow_new=True))
    await asyncio.wait([host, call], timeout=20)
    assert host.done()
    assert call.done()
    unstarted[0].close()  # else it warns that it was never awaited
    assert [call[0] for call in notes.calls] == ["publishing", "published", "left"]
    assert notes.samples[0]() == Activity(0, 0, 0, 0, 0)


async def test_chunks_never_become_fewer() -> None:
    """A thread that asks all the time sees chunks counted once, also while their publishers end."""
    notes, seen, are_over = Notes(), [0], threading.Event()

    def watch(sample: Sample) -> None:
        while not are_over.is_set():
            seen.append(sample().chunks)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads interrupt each other nearly everywhere
    try:
        async with ResumableStreamContext(MemoryBackend(), observer=notes) as context:
            watching = threading.Thread(target=watch, args=(notes.samples[0],))
            watching.start()
            for number in range(300):
                assert [chunk async for chunk in await context.create_new_resumable_stream(f"s{number}", abc)]
            are_over.set()
            watching.join()
    finally:
        are_over.set()
        sys.setswitchinterval(interval)
    assert seen == sorted(seen)
    assert notes.samples[0]().chunks == 900


class _RefusingBackend(MemoryBackend):
    """Answers appends as it is told to, if it is."""

    answer: Appended | None = None

    @override
    async def append(self, appends: Sequence[Append]) -> list[Appended]:
        return await super().append(appends) if self.answer is None else [self.answer] * len(appends)


async def test_appends_that_nobody_took() -> None:
    """An append that no server has answered is not told, and its chunks count when they are logged."""
    backend, notes, tap = _RefusingBackend(), Notes(), Tap("a")
    async with ResumableStreamContext(backend, observer=notes, linger=0) as context:
        stream = await context.create_new_resumable_stream("s", tap)
        assert await anext(stream) == "a"
        told, backend.answer = len(notes.appended), Appended(AppendStatus.UNAVAILABLE)
        tap.let("b")
        await until(lambda: notes.samples[0]().degraded == 1)
        assert len(notes.appended) == told
        assert notes.samples[0]().chunks == 1
        backend.answer = None
        await until(lambda: notes.samples[0]().chunks == 2)
        assert len(notes.appended) == told + 1
        tap.end()


async def test_chunks_that_the_store_lost_were_logged() -> None:
    """A log that has become shorter does not make the count smaller."""
    backend, notes, tap = _RefusingBackend(), Notes(), Tap("a", "b")
    async with ResumableStreamContext(backend, observer=notes, drain_timeout=0) as context:
        stream = await context.create_new_resumable_stream("s", tap)
        assert [await anext(stream) for _ in "ab"] == ["a", "b"]
        backend.answer = Appended(AppendStatus.MISPLACED, length=1)
        tap.let("c")
        assert await anext(stream) == "c"
        assert notes.samples[0]().chunks == 2
        backend.answer = None


async def test_entering_again() -> None:
    """What was logged before counts on."""
    notes = Notes()
    context = ResumableStreamContext(MemoryBackend(), observer=notes)
    for number in (1, 2):
        async with context:
            assert [chunk async for chunk in await context.create_new_resumable_stream(f"s{number}", abc)] == [*"abc"]
        assert [sample().chunks for sample in notes.samples] == [3 * number] * number

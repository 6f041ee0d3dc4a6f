"""How the chunks of many streams come to travel together, and which wait for none."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest
from anyio.lowlevel import checkpoint
from typing_extensions import override

from resumable_stream import BackendError, InvalidSettingError, Limits, ResumableStreamContext, StreamState
from resumable_stream._engine.flusher import Flusher
from resumable_stream._engine.reporter import Reporter
from resumable_stream.abc import StreamBackend
from resumable_stream.backends.memory import MemoryBackend, MemoryStore
from resumable_stream.types import Append, Appended, AppendStatus
from tests.streams import Tap, collect, take

_LONG = 0.1
"""Seconds, the most that there is."""


class CountingBackend(MemoryBackend):
    """Writes down how many chunks each append had, of how many streams."""

    def __init__(self) -> None:
        super().__init__()
        self.appended: list[tuple[int, int]] = []

    @override
    async def append(self, appends: Sequence[Append]) -> list[Appended]:
        self.appended.append((len(appends), sum(append.count for append in appends)))
        return await super().append(appends)


def one_by_one(number: int) -> Callable[[], AsyncIterator[str]]:
    """A source that lets the others do something before each chunk."""

    async def source() -> AsyncIterator[str]:
        for index in range(number):
            for _ in range(5):
                await checkpoint()
            yield str(index)

    return source


async def test_chunks_of_many_streams_travel_together() -> None:
    """With a linger there are fewer appends, which carry the same."""
    appended: dict[float, list[tuple[int, int]]] = {}
    for linger in (0.0, 0.1):
        backend = CountingBackend()
        async with ResumableStreamContext(backend, linger=linger) as context, anyio.create_task_group() as tasks:
            for name in "abcdefgh":
                tasks.start_soon(collect, await context.create_new_resumable_stream(name, one_by_one(3)))
        appended[linger] = backend.appended
        assert sum(chunks for _, chunks in backend.appended) == 24
    assert appended[0.1][0] == (1, 1), "the first one does not wait"
    assert len(appended[0.1]) * 3 < len(appended[0.0])


async def test_what_waits_is_logged_when_the_context_is_left() -> None:
    """Chunks that were to travel with others are not lost, and neither is the end."""
    store, tap = MemoryStore(), Tap("a")
    async with ResumableStreamContext(MemoryBackend(store), linger=_LONG, drain_timeout=0) as context:
        stream = await context.resumable_stream("s", tap)
        assert await take(stream, 1) == ["a"]
        tap.let("b")
        assert await take(stream, 1) == ["b"]
        tap.let("c")  # the second that comes early
        for _ in range(10):
            await checkpoint()
    async with ResumableStreamContext(MemoryBackend(store)) as other:
        stream = await other.resume_existing_stream("s")
        assert stream is not None
        assert await collect(stream) == ["a", "b", "c"]
        assert stream.state is StreamState.STOPPED


@pytest.mark.parametrize("linger", [-0.001, 0.11, True, "0", None])
def test_linger_has_bounds(linger: object) -> None:
    """It is a tenth of a second at most, and of what appends are waited for elsewhere."""
    with pytest.raises(InvalidSettingError, match=r"^linger is a number of seconds, from 0 to 0\.1, not "):
        ResumableStreamContext(MemoryBackend(), linger=linger)  # type: ignore[arg-type]
    for of_what in ({"lease": 0.5}, {"outage_timeout": 0.5}):
        ResumableStreamContext(MemoryBackend(), linger=0.05, **of_what)  # type: ignore[arg-type]
        with pytest.raises(InvalidSettingError, match=r"from 0 to 0\.05, not "):
            ResumableStreamContext(MemoryBackend(), linger=0.051, **of_what)  # type: ignore[arg-type]


class Waiting:
    """Has one append to make, and tells when it was made."""

    def __init__(self, append: Append) -> None:
        self._append = append
        self.is_made = anyio.Event()

    def take_append(self) -> Append:
        """The one that it has."""
        return self._append

    def on_appended(self, answer: Appended) -> None:
        """It was made."""
        assert answer.status is AppendStatus.ACCEPTED
        self.is_made.set()

    def on_unavailable(self) -> None:
        """The store is here all the time."""
        pytest.fail("no append is repeated here")

    on_unsure = on_unavailable

    def on_unreachable(self, error: BackendError) -> None:
        """The test is over."""


class AcceptingBackend(MemoryBackend):
    """Takes whatever comes."""

    @override
    async def append(self, appends: Sequence[Append]) -> list[Appended]:
        return [Appended(AppendStatus.ACCEPTED)] * len(appends)


def _flusher(backend: StreamBackend, limits: Limits, linger: float) -> Flusher:
    def nothing() -> None:
        pass

    return Flusher(backend, limits, linger=linger, on_trouble=nothing, on_recovery=nothing, reporter=Reporter(None))


@asynccontextmanager
async def appended(*sizes: Sequence[int], limits: Limits) -> AsyncIterator[Callable[[], Waiting]]:
    """A flusher with a very long linger, which has made an append, and another one early.

    That had chunks of so many bytes, for each stream a list of them.
    """
    flusher = _flusher(AcceptingBackend(), limits, linger=1000.0)

    def schedule(chunks: Sequence[int] = (1,)) -> Waiting:
        waiting = Waiting(Append("s", "gen", 1, 0, len(chunks), b"x" * sum(chunks)))
        flusher.schedule(waiting)
        return waiting

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flusher.run)
        await schedule().is_made.wait()
        for one in [schedule(chunks) for chunks in sizes]:
            await one.is_made.wait()
        yield schedule
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("sizes", "limits", "waits"),
    [
        ([[1]], Limits(), True),
        ([[1] * 127], Limits(), True),
        ([[1]] * 127, Limits(), True),
        ([[1] * 128], Limits(), False),
        ([[1]] * 128, Limits(), False),
        ([[32 * 1024 - 1]], Limits(), True),
        ([[32 * 1024]], Limits(), False),
        ([[1] * 4], Limits(pending_chunks=4), False),
        ([[1] * 3], Limits(pending_chunks=4), True),
        ([[400]], Limits(pending_bytes=400), False),
        ([[]], Limits(), False),
        ([[1], *[[]] * 600], Limits(), False),
    ],
    ids=lambda value: f"{len(value)} streams" if isinstance(value, list) else None,
)
async def test_what_waits_for_more(sizes: list[list[int]], limits: Limits, waits: bool) -> None:
    """An append waits after a small one that was early; not after a large one, or one that just renews leases."""
    with anyio.fail_after(30):
        async with appended(*sizes, limits=limits) as schedule:
            with anyio.move_on_after(0.05 if waits else math.inf):
                await schedule().is_made.wait()
                assert not waits


async def test_what_comes_early_once_does_not_wait() -> None:
    """A chunk that comes early after one that was late goes at once; so does the next, if that is not early, too."""
    linger = 0.5  # in which even a busy machine makes two appends
    flusher = _flusher(AcceptingBackend(), Limits(), linger)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(flusher.run)
        waited: list[bool] = []
        for pause in (0, 0, 0, 0, 2 * linger, 0, 0):
            await anyio.sleep(pause)
            waiting = Waiting(Append("s", "gen", 1, 0, 1, b"x"))
            flusher.schedule(waiting)
            for _ in range(10):
                await checkpoint()
            waited.append(not waiting.is_made.is_set())
            await waiting.is_made.wait()
        tasks.cancel_scope.cancel()
    assert waited == [False, False, True, True, False, False, True]


class SlowBackend(MemoryBackend):
    """Has each call wait to be let go."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[list[str], anyio.Event]] = []

    @override
    async def append(self, appends: Sequence[Append]) -> list[Appended]:
        may_go = anyio.Event()
        self.calls.append(([append.stream_id for append in appends], may_go))
        await may_go.wait()
        return [Appended(AppendStatus.ACCEPTED)] * len(appends)


async def test_two_calls_are_under_way_at_most() -> None:
    """What comes while one call is under way goes with a second one. What comes then waits until either is answered."""
    backend = SlowBackend()
    scheduled: dict[str, Waiting] = {}
    async with anyio.create_task_group() as tasks:
        flusher = _flusher(backend, Limits(), linger=0.0)
        tasks.start_soon(flusher.run)

        async def schedule(*names: str) -> None:
            for name in names:
                scheduled[name] = Waiting(Append(name, "gen", 1, 0, 1, b"x"))
                flusher.schedule(scheduled[name])
            await anyio.wait_all_tasks_blocked()

        for names in ("ab", "c", "d", "e"):
            await schedule(*names)
        assert [names for names, _ in backend.calls] == [["a", "b"], ["c"]]
        backend.calls[1][1].set()
        await anyio.wait_all_tasks_blocked()
        assert [name for name, one in scheduled.items() if one.is_made.is_set()] == ["c"]
        await schedule("f")
        assert [names for names, _ in backend.calls] == [["a", "b"], ["c"], ["d", "e"]]
        backend.calls[0][1].set()
        backend.calls[2][1].set()
        await anyio.wait_all_tasks_blocked()
        backend.calls[3][1].set()
        await anyio.wait_all_tasks_blocked()
        assert all(one.is_made.is_set() for one in scheduled.values())
        tasks.cancel_scope.cancel()

"""How the chunks of many streams come to travel together, and which wait for none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

import anyio
import pytest
from anyio.lowlevel import checkpoint
from typing_extensions import override

from resumable_stream import InvalidSettingError, ResumableStreamContext, StreamState
from resumable_stream.backends.memory import MemoryBackend, MemoryStore
from resumable_stream.types import Append, Appended
from tests.streams import Tap, collect, factory_of, take

_LONG = 1.0
"""Seconds. A test that waited for more than a few of these would be over its limit."""


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


async def test_a_lone_chunk_does_not_wait() -> None:
    """What comes when nothing was sent lately is sent at once, with however long a linger."""
    async with ResumableStreamContext(MemoryBackend(), linger=_LONG, drain_timeout=0) as context:
        with anyio.fail_after(_LONG / 2):
            assert await take(await context.resumable_stream("s", Tap("a")), 1) == ["a"]


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


async def test_many_chunks_do_not_wait() -> None:
    """A source that is fast fills one append after the other, and is not held up in between."""
    chunks = [str(index) for index in range(50_000)]  # some 50 times what may be pending
    async with ResumableStreamContext(MemoryBackend(), linger=_LONG) as context:
        with anyio.fail_after(_LONG * 10):
            assert await collect(await context.resumable_stream("s", factory_of(chunks))) == chunks


async def test_what_waits_is_logged_when_the_context_is_left() -> None:
    """Chunks that were to travel with others are not lost, and neither is the end."""
    store, tap = MemoryStore(), Tap("a")
    async with ResumableStreamContext(MemoryBackend(store), linger=_LONG, drain_timeout=0) as context:
        assert await take(await context.resumable_stream("s", tap), 1) == ["a"]
        tap.let("b")
        await anyio.wait_all_tasks_blocked()
    async with ResumableStreamContext(MemoryBackend(store)) as other:
        stream = await other.resume_existing_stream("s")
        assert stream is not None
        assert await collect(stream) == ["a", "b"]
        assert stream.state is StreamState.STOPPED


@pytest.mark.parametrize("linger", [-0.001, 1.6, True, "0", None])
def test_linger_has_bounds(linger: object) -> None:
    """It is a tenth of the lease at most, which an append renews."""
    with pytest.raises(InvalidSettingError, match=r"^linger is a number of seconds, from 0 to 1\.5, not "):
        ResumableStreamContext(MemoryBackend(), linger=linger)  # type: ignore[arg-type]

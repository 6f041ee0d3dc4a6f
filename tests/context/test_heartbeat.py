"""Blocks without chunks, which say that a stream is silent and goes on."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from typing_extensions import override

from resumable_stream import (
    BackendUnavailableError,
    InvalidSettingError,
    JSONCodec,
    Limits,
    ResumableStream,
    ResumableStreamContext,
)
from resumable_stream.backends.memory import MemoryBackend
from resumable_stream.types import Page
from tests.stores import Store
from tests.streams import Tap, collect, factory_of, take

_SOON = 0.01
_NEVER = 1000.0


async def test_silence_is_told_again_and_again(store: Store) -> None:
    """Blocks without chunks come at the very start, and after chunks; they have the position, and no chunk is lost."""
    tap = Tap()
    async with store.make_context() as context:
        blocks = (await context.create_new_resumable_stream("s", tap)).blocks(heartbeat=_SOON)
        assert [await anext(blocks) for _ in range(2)] == [("", 0, [])] * 2
        tap.let("a", "b")
        chunks: list[str] = []
        last_id = ""
        while len(chunks) < 2:
            last_id, _, more = await anext(blocks)
            chunks += more
        assert [await anext(blocks) for _ in range(2)] == [(last_id, 2, [])] * 2
        tap.end("c")
        async for block in blocks:
            chunks += block.chunks
        assert chunks == ["a", "b", "c"]


async def test_silence_counts_from_the_last_chunk() -> None:
    """A stream that is never silent for so long has no heartbeats, however long it takes."""
    tap = Tap()
    async with ResumableStreamContext(MemoryBackend()) as context:
        stream = await context.create_new_resumable_stream("s", tap)
        lengths: list[int] = []
        async for block in stream.blocks(heartbeat=0.3):
            lengths.append(len(block.chunks))
            tap.let("more") if len(lengths) < 20 else tap.end()
            await anyio.sleep(0.03)
    assert lengths[0] == 0, "nothing had come yet"
    assert set(lengths[1:]) == {1}


async def test_chunks_that_come_with_the_heartbeat() -> None:
    """A source that ticks as the heart does: each chunk comes once, whatever comes first."""

    async def ticking() -> AsyncIterator[int]:
        for number in range(150):
            yield number
            await anyio.sleep(0 if number % 2 else 0.003)

    async with ResumableStreamContext(MemoryBackend(), codec=JSONCodec(), linger=0) as context:
        stream = await context.create_new_resumable_stream("s", ticking)
        assert [n async for block in stream.blocks(heartbeat=0.003) for n in block.chunks] == list(range(150))


class SlowLog(MemoryBackend):
    """Its log takes a while to read, or cannot be read."""

    seconds = 0.0
    is_away = False

    @override
    async def read(self, stream_id: str, start: int, max_bytes: int) -> Page | None:
        await anyio.sleep(self.seconds)
        if self.is_away:
            raise BackendUnavailableError("read")
        return await super().read(stream_id, start, max_bytes)


@asynccontextmanager
async def behind_the_window(**settings: Any) -> AsyncIterator[tuple[SlowLog, ResumableStream[str]]]:
    """A stream whose first chunk only the log has."""
    backend, tap = SlowLog(), Tap("a")
    async with ResumableStreamContext(backend, limits=Limits(window_bytes=1), **settings) as context:
        stream = await context.create_new_resumable_stream("s", tap)
        assert await take(await context.resumable_stream("s", tap), 1) == ["a"]
        tap.end("b")
        assert await collect(await context.resumable_stream("s", tap, start_index=1)) == ["b"]
        yield backend, stream


async def test_a_read_of_the_log_is_not_broken_off() -> None:
    """A log that takes longer than the heartbeat is waited for: else nobody would ever get anywhere."""
    async with behind_the_window() as (backend, stream):
        backend.seconds = 0.1
        assert [chunk async for block in stream.blocks(heartbeat=_SOON) for chunk in block.chunks] == ["a", "b"]


async def test_a_stream_that_is_closed_in_a_read_of_the_log_just_ends() -> None:
    """There is no sign of life for somebody who is gone."""
    async with behind_the_window() as (backend, stream):
        backend.seconds = 0.1
        blocks = stream.blocks(heartbeat=_SOON)
        reading = asyncio.ensure_future(anext(blocks, None))
        await anyio.sleep(0.02)
        await stream.aclose()
        assert await reading is None
        assert stream.index == 0


async def test_heartbeats_while_the_store_is_away() -> None:
    """They come between the tries to read the log; and then come the chunks."""
    async with behind_the_window() as (backend, stream):
        backend.is_away = True
        blocks = stream.blocks(heartbeat=_SOON)
        for _ in range(3):
            assert (await anext(blocks)).chunks == []
        backend.is_away = False
        assert [chunk async for block in blocks for chunk in block.chunks] == ["a", "b"]


async def test_heartbeats_do_not_hide_an_outage() -> None:
    """A store that is away for too long is an error, whatever is read meanwhile."""
    async with behind_the_window(outage_timeout=0.3) as (backend, stream):
        backend.is_away = True
        blocks = stream.blocks(heartbeat=_SOON)
        with anyio.fail_after(_NEVER / 100), pytest.raises(BackendUnavailableError):  # noqa: PT012  # one after the other
            while True:
                assert (await anext(blocks)).chunks == []


async def test_a_shorter_heartbeat_after_a_longer_one() -> None:
    """Each read has the one that it was asked for, also after one that was cancelled."""
    async with ResumableStreamContext(MemoryBackend(), drain_timeout=0) as context:
        stream = await context.create_new_resumable_stream("s", Tap())
        with anyio.move_on_after(_SOON):
            await anext(stream.blocks(heartbeat=_NEVER))
        with anyio.fail_after(_NEVER / 100):
            assert (await anext(stream.blocks(heartbeat=_SOON))).chunks == []
        with anyio.move_on_after(_SOON * 5) as waiting:
            await anext(stream)
        assert waiting.cancelled_caught, "who asked for none gets none"


@pytest.mark.parametrize("is_closed", [True, False])
async def test_nothing_is_kept_for_a_heartbeat(is_closed: bool) -> None:
    """A stream that was closed or forgotten is let go at once, and not when its heartbeat is due."""
    async with ResumableStreamContext(MemoryBackend(), drain_timeout=0) as context:
        stream = await context.create_new_resumable_stream("s", Tap())
        with anyio.move_on_after(_SOON):
            await anext(stream.blocks(heartbeat=_NEVER))
        reader = weakref.ref(stream._reader)
        if is_closed:
            await stream.aclose()
        del stream
        with anyio.fail_after(_NEVER / 100):
            while reader() is not None:
                gc.collect()
                await anyio.sleep(_SOON)


@pytest.mark.parametrize("heartbeat", [0, -1.0, float("inf"), float("nan"), 1e9, 10**400, "1", True])
async def test_heartbeat_has_bounds(heartbeat: object) -> None:
    """It is a number of seconds above 0."""
    async with ResumableStreamContext(MemoryBackend()) as context:
        stream = await context.create_new_resumable_stream("s", factory_of("a"))
        for iterate in (stream.blocks, stream.encoded_blocks):
            with pytest.raises(InvalidSettingError, match=r"^heartbeat is a number of seconds above 0, and a year"):
                iterate(heartbeat=heartbeat)  # type: ignore[arg-type]

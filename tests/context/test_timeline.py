"""When chunks came, and who reads: what tools are told."""

from __future__ import annotations

import anyio
import pytest
from redis.asyncio import Redis

from resumable_stream import InvalidPositionError, InvalidStreamIdError, Limits
from resumable_stream._core.packing import pack
from tests.stores import InRedis, Store
from tests.streams import Tap, collect, factory_of, never, take


async def test_timeline(store: Store) -> None:
    """Each entry comes once, in order, with its time and its size; and from any chunk on."""
    async with store.make_context(limits=Limits(page_bytes=100)) as here, store.make_context() as elsewhere:
        tap = Tap("a")
        stream = await here.resumable_stream("s", tap)
        assert await take(stream, 1) == ["a"]
        for number in range(60):
            tap.let(f"{number:020}")
            await take(stream, 1)
        info = await elsewhere.info("s")
        assert info is not None
        marks = [mark async for mark in here.timeline("s")]
        assert [mark async for mark in elsewhere.timeline("s")] == marks
        assert [mark.index for mark in marks] == list(range(61))
        assert [mark.count for mark in marks] == [1] * 61
        assert [mark.size_bytes for mark in marks] == [len(pack(["a"])), *[len(pack(["x" * 20]))] * 60]
        times = [mark.at for mark in marks]
        assert times == sorted(times)
        assert times[0] >= info.created_at
        assert [mark async for mark in elsewhere.timeline("s", start_index=58)] == marks[58:]
        assert [mark async for mark in elsewhere.timeline("s", start_index=61)] == []
        tap.end()
        await collect(stream)


async def test_timeline_of_nothing(store: Store) -> None:
    """A stream that is unknown, or has no chunks, has no entries; what is no id or no index is refused."""
    async with store.make_context() as context:
        await collect(await context.resumable_stream("empty", factory_of([])))
        for stream_id in ("empty", "unknown"):
            assert [mark async for mark in context.timeline(stream_id)] == []
        with pytest.raises(InvalidStreamIdError):
            context.timeline("no id")
        for index in (-1, True, "1"):
            with pytest.raises(InvalidPositionError):
                context.timeline("s", start_index=index)  # type: ignore[arg-type]


async def test_timeline_ends_with_its_stream(store: Store) -> None:
    """Entries of one stream are never followed by those of a new one under its id."""
    async with store.make_context(limits=Limits(page_bytes=1)) as context:
        stream = await context.resumable_stream("s", tap := Tap("a"))
        await take(stream, 1)
        tap.let("b")
        await take(stream, 1)
        timeline = context.timeline("s")
        first = await anext(timeline)
        assert (first.index, first.count) == (0, 1)
        await context.delete("s")
        await collect(await context.create_new_resumable_stream("s", factory_of(["x"] * 9)))
        assert [mark async for mark in timeline] == []


async def test_readers(store: Store) -> None:
    """The readers of this process are counted until they are closed, and those of others are not."""
    async with store.make_context() as here, store.make_context() as elsewhere:
        tap = Tap("a")
        streams = [await here.resumable_stream("s", tap), await here.resumable_stream("s", never)]
        assert here.readers() == {"s": 2}
        follower = await elsewhere.resume_existing_stream("s")
        assert follower is not None
        assert (here.readers(), elsewhere.readers()) == ({"s": 2}, {"s": 1})
        await follower.aclose()
        await anyio.wait_all_tasks_blocked()
        assert (here.readers(), elsewhere.readers()) == ({"s": 2}, {})
        tap.end()
        for stream in streams:
            assert await collect(stream) == ["a"]
        await anyio.wait_all_tasks_blocked()
        assert here.readers() == {}


async def test_clock_that_went_back(redis_store: InRedis) -> None:
    """If a server takes over whose clock is behind, entries came when the stream was created, not before."""
    async with redis_store.make_context() as context, Redis.from_url(redis_store.url) as client:
        stream = await context.resumable_stream("s", tap := Tap("a"))
        await take(stream, 1)
        record = f"{redis_store.prefix}:{{s}}:record"
        ahead = int(await client.hget(record, "created_at") or 0) + 100_000
        await client.hset(record, "created_at", str(ahead))
        tap.end("b")
        assert await collect(stream) == ["b"]
        *_, last = [mark async for mark in context.timeline("s")]
        assert last.at == ahead / 1000

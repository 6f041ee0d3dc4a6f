"""Failures that users of other libraries reported: each is a test here, over real servers, and names the report.

What concerns chats and wires is tested with those.
"""

from __future__ import annotations

import gc

import anyio
import pytest
from redis.asyncio import Redis

from resumable_stream import (
    InvalidPositionError,
    Limits,
    ResumableStreamContext,
    StreamGoneError,
    StreamState,
)
from resumable_stream.testing import FaultyBackend
from tests.stores import InRedis
from tests.streams import Tap, collect, collect_until_error, factory_of, never, take

pytestmark = pytest.mark.parametrize("redis_store", ["redis-6.2"], indirect=True)


async def test_listener_that_comes_before_the_first_chunk(redis_store: InRedis) -> None:
    """A follower that attaches before the producer has sent anything misses nothing (resumable-stream#41)."""
    async with redis_store.make_context() as here, redis_store.make_context() as elsewhere:
        for number in range(20):
            tap = Tap()
            await here.resumable_stream(f"s{number}", tap)
            follower = await elsewhere.resumable_stream(f"s{number}", never)
            tap.end("a", "b")
            assert await collect(follower) == ["a", "b"]


async def test_chunks_between_two_reads(redis_store: InRedis) -> None:
    """Chunks that come while a follower looks again after silence are not skipped (scale-agentex#241)."""
    lossy = FaultyBackend(redis_store.make_backend(), on_push=lambda push: [])
    async with redis_store.make_context() as here, ResumableStreamContext(lossy, lease=0.06) as elsewhere:
        tap = Tap()
        await here.resumable_stream("s", tap)
        follower = await elsewhere.resumable_stream("s", never)
        for number in range(10):
            tap.let(f"{number}")
            await anyio.sleep(0.013)
        tap.end()
        assert await collect(follower) == [f"{number}" for number in range(10)]


async def test_position_that_is_taken_while_chunks_come(redis_store: InRedis) -> None:
    """A reader's first chunks are not lost between being told that it is connected and reading (scale-agentex#330)."""
    async with redis_store.make_context() as here, redis_store.make_context() as elsewhere:
        tap = Tap("0")
        await here.resumable_stream("s", tap)
        stream = await elsewhere.resumable_stream("s", never)
        tap.let("1", "2")
        await anyio.sleep(0.05)
        tap.end("3")
        assert await collect(stream) == ["0", "1", "2", "3"]


async def test_last_chunk_outlives_the_clean_up(redis_store: InRedis) -> None:
    """Even without retention, the last chunk and the end reach who reads now (cloudflare/agents#1607)."""
    async with redis_store.make_context(retention=0) as here, redis_store.make_context(retention=0) as elsewhere:
        tap = Tap("a")
        await here.resumable_stream("s", tap)
        follower = await elsewhere.resumable_stream("s", never)
        assert await take(follower, 1) == ["a"]
        tap.end("last")
        await anyio.sleep(0.1)
        assert await collect(follower) == ["last"]


async def test_position_that_is_not_there_any_more(redis_store: InRedis) -> None:
    """A position whose chunks are gone is an error, and does not resume late (deer-flow#4413)."""
    async with redis_store.make_context() as context, Redis.from_url(redis_store.url) as client:
        tap = Tap()
        stream = await context.resumable_stream("s", tap)
        for chunk in "abc":
            tap.let(chunk)
            assert await take(stream, 1) == [chunk]
        tap.end()
        assert await collect(stream) == []
        await client.ltrim(f"{redis_store.prefix}:{{s}}:log", -1, -1)
        chunks, error = await collect_until_error(await context.resumable_stream("s", never, start_index=1))
        assert (chunks, type(error)) == ([], StreamGoneError)
        with pytest.raises(InvalidPositionError):
            await context.resumable_stream("s", never, start_index=9)


async def test_end_whose_message_is_lost(redis_store: InRedis) -> None:
    """The push of the end is lost: followers learn it all the same, and do not hang (resumable-stream#47)."""
    lossy = FaultyBackend(redis_store.make_backend(), on_push=lambda push: [] if push and push.end else [push])
    async with redis_store.make_context() as here, ResumableStreamContext(lossy, lease=0.3) as elsewhere:
        tap = Tap("a")
        await here.resumable_stream("s", tap)
        follower = await elsewhere.resumable_stream("s", never)
        assert await take(follower, 1) == ["a"]
        tap.end()
        with anyio.fail_after(2):
            assert await collect(follower) == []


async def test_key_that_is_gone(redis_store: InRedis) -> None:
    """A reader of a stream whose keys are gone gets an error, and does not wait for them (assistant-ui#3979)."""
    async with redis_store.make_context() as here, redis_store.make_context(lease=0.3) as elsewhere:
        await here.resumable_stream("s", Tap("a"))
        follower = await elsewhere.resumable_stream("s", never)
        assert await take(follower, 1) == ["a"]
        async with Redis.from_url(redis_store.url) as client:
            await client.delete(f"{redis_store.prefix}:{{s}}:record", f"{redis_store.prefix}:{{s}}:log")
        with anyio.fail_after(2):
            assert type((await collect_until_error(follower))[1]) is StreamGoneError


async def test_rejoining_what_is_finished(redis_store: InRedis) -> None:
    """Rejoining a finished run gives its chunks and its end, also from its very end (aegra#472)."""
    async with redis_store.make_context() as here, redis_store.make_context() as elsewhere:
        await collect(await here.resumable_stream("s", factory_of(["a", "b"])))
        with anyio.fail_after(2):
            assert await collect(await elsewhere.resumable_stream("s", never)) == ["a", "b"]
            assert await collect(await elsewhere.resumable_stream("s", never, start_index=2)) == []


async def test_deploy(redis_store: InRedis) -> None:
    """A process that is being replaced lets its answers come to their end, within ``drain_timeout`` (twenty#22482)."""
    async with redis_store.make_context() as elsewhere:
        tap = Tap("a")
        async with redis_store.make_context(drain_timeout=10) as here:
            await here.resumable_stream("s", tap)
            follower = await elsewhere.resumable_stream("s", never)
            assert await take(follower, 1) == ["a"]
            async with anyio.create_task_group() as tasks:

                async def end_later() -> None:
                    await anyio.sleep(0.1)
                    tap.end("b")

                tasks.start_soon(end_later)
                await here.__aexit__(None, None, None)
        assert await collect(follower) == ["b"]
        assert await elsewhere.has_existing_stream("s") is StreamState.DONE


async def test_cancelled_task(redis_store: InRedis) -> None:
    """A run whose process is told to go is not left "running" (assistant-stream)."""
    async with redis_store.make_context() as here:
        await take(await here.resumable_stream("s", Tap("a")), 1)
    async with redis_store.make_context() as elsewhere:
        info = await elsewhere.info("s")
        assert info is not None
        assert (info.state, info.reason) == (StreamState.STOPPED, "shutdown")


async def test_idle_for_longer_than_the_drivers_time_out(redis_store: InRedis) -> None:
    """A subscription that is silent for longer than the driver's time-out still hears chunks and stops.

    (redis-py#4098: its default is 5 s since version 8. open-webui#27104: the listener for stops died of it.)
    """
    url = f"{redis_store.url}?socket_timeout=0.2"
    async with (
        ResumableStreamContext.from_url(url, key_prefix=redis_store.prefix) as here,
        ResumableStreamContext.from_url(url, key_prefix=redis_store.prefix) as elsewhere,
    ):
        tap = Tap("a")
        stream = await here.resumable_stream("s", tap)
        follower = await elsewhere.resumable_stream("s", never)
        assert await take(follower, 1) == ["a"]
        await anyio.sleep(1)
        tap.let("b")
        with anyio.fail_after(1):
            assert await take(follower, 1) == ["b"]
            await elsewhere.stop("s")
            assert await collect(stream) == ["a", "b"]


async def test_many_waiting_readers(redis_store: InRedis) -> None:
    """Waiting readers take no connection each, and delay no write.

    (suna#2732: the pool starved. lobehub#17876: a blocking read delayed every write.)
    """
    async with redis_store.make_context() as here, redis_store.make_context() as elsewhere:
        taps = [Tap("a") for _ in range(50)]
        for number, tap in enumerate(taps):
            await here.resumable_stream(f"s{number}", tap)
        followers = [await elsewhere.resumable_stream(f"s{number % 50}", never) for number in range(200)]
        for follower in followers:
            assert await take(follower, 1) == ["a"]
        async with Redis.from_url(redis_store.url, protocol=2) as client:
            assert len(await client.client_list()) <= 9  # four each, and this one
        with anyio.fail_after(2):
            for tap in taps:
                tap.end("b")
            for follower in followers:
                assert await collect(follower) == ["b"]


async def test_no_socket_is_left(redis_store: InRedis) -> None:
    """Readers that are dropped, and contexts that are left, hold no connection (dify#41578)."""
    async with Redis.from_url(redis_store.url, protocol=2) as client:
        for _ in range(5):
            async with redis_store.make_context() as here, redis_store.make_context() as elsewhere:
                await here.resumable_stream("s", Tap("a"))
                for _ in range(5):
                    await take(await elsewhere.resumable_stream("s", never), 1)
            await client.delete(f"{redis_store.prefix}:{{s}}:record", f"{redis_store.prefix}:{{s}}:log")
        gc.collect()
        with anyio.fail_after(5):
            while len(await client.client_list()) > 1:
                await anyio.sleep(0.01)


async def test_client_recovers_after_a_drop(redis_store: InRedis) -> None:
    """After all its connections were dropped, a context works as before (mastra#19122)."""
    async with redis_store.make_context() as here, redis_store.make_context() as elsewhere:
        tap = Tap("a")
        await here.resumable_stream("s", tap)
        follower = await elsewhere.resumable_stream("s", never)
        assert await take(follower, 1) == ["a"]
        async with Redis.from_url(redis_store.url, protocol=2) as client:
            for kind in ("normal", "pubsub"):
                await client.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        tap.end("b")
        with anyio.fail_after(5):
            assert await collect(follower) == ["b"]
            assert await collect(await elsewhere.resumable_stream("s", never)) == ["a", "b"]


async def test_big_backlogs_travel_in_pieces(redis_store: InRedis) -> None:
    """A backlog is read, and after an outage written, in bounded pieces (open-agents#276: 91 MB in one message)."""
    limits = Limits(pending_bytes=10_000, page_bytes=50_000)
    backend = FaultyBackend(redis_store.make_backend())
    async with ResumableStreamContext(backend, limits=limits) as here, redis_store.make_context() as elsewhere:
        tap = Tap("first")
        stream = await here.resumable_stream("s", tap)
        assert await take(stream, 1) == ["first"]
        backend.go_away()
        text = [f"{number:01000}" for number in range(500)]
        tap.let(*text)
        assert await take(stream, 500) == text
        backend.come_back()
        tap.end()
        assert await collect(stream) == []
        with anyio.fail_after(10):
            while await elsewhere.has_existing_stream("s") is not StreamState.DONE:
                await anyio.sleep(0.02)
        async with Redis.from_url(redis_store.url) as client:
            entries = await client.lrange(f"{redis_store.prefix}:{{s}}:log", 0, -1)
        assert max(map(len, entries)) < 13_000
        assert await collect(await here.resume_existing_stream("s")) == ["first", *text]


async def test_reader_that_never_reads(redis_store: InRedis) -> None:
    """The first caller never reads: the run neither waits for it nor piles up in memory (ai-resumable-stream#7)."""
    async with redis_store.make_context(limits=Limits(window_bytes=20_000)) as context:
        unread = await context.resumable_stream("s", factory_of([f"{number:01000}" for number in range(2000)]))
        assert unread is not None
        whole = await collect(await context.resumable_stream("s", never))
        assert len(whole) == 2000
        window = unread._reader.feed.window
        assert window.stop - window.start < 1100
        assert await collect(unread) == whole


async def test_positions_count_what_was_yielded(redis_store: InRedis) -> None:
    """A position counts the chunks as the factory yielded them, however they were stored (vercel/ai#19088)."""
    async with redis_store.make_context() as here, redis_store.make_context() as elsewhere:
        chunks = [f"{number} " for number in range(3000)]
        await collect(await here.resumable_stream("s", factory_of(chunks)))
        for start in (0, 1, 999, 1024, 2999, 3000):
            assert await collect(await elsewhere.resumable_stream("s", never, start_index=start)) == chunks[start:]


async def test_factory_is_not_run_again(redis_store: InRedis) -> None:
    """When the chunks have expired, the factory is not run, and paid for, again (omni#327)."""
    async with redis_store.make_context(retention=0.05) as context:
        await collect(await context.resumable_stream("s", factory_of(["a"])))
        await anyio.sleep(0.1)
        assert await context.resumable_stream("s", never) is None

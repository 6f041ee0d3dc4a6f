"""Followers, whatever becomes of the pushes; slow readers; and what the server sees of all that."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence

import anyio
import pytest
from redis.asyncio import Redis
from typing_extensions import override

from resumable_stream import Limits, PublisherFailedError, ResumableStreamContext, StreamGoneError, StreamState
from resumable_stream.abc import OnPush
from resumable_stream.backends.memory import MemoryBackend, MemoryStore
from resumable_stream.testing import FaultyBackend, ManualClock
from resumable_stream.types import Claim, Push
from tests.stores import InRedis, Store
from tests.streams import Tap, collect, collect_until_error, factory_of, never, take

Deliver = Callable[["Push | None"], Sequence["Push | None"]]


def only_every_third() -> Deliver:
    """Lose two pushes of three."""
    seen = 0

    def deliver(push: Push | None) -> Sequence[Push | None]:
        nonlocal seen
        seen += 1
        return [push] if seen % 3 == 0 else []

    return deliver


def late_by_two() -> Deliver:
    """Deliver each push when the second after it comes."""
    held: list[Push | None] = []

    def deliver(push: Push | None) -> Sequence[Push | None]:
        held.append(push)
        return [held.pop(0)] if len(held) > 2 else []

    return deliver


@pytest.mark.parametrize(
    "make_deliver",
    [
        lambda: lambda push: [],
        lambda: lambda push: [None],
        lambda: lambda push: [push, push],
        lambda: lambda push: [push and push._replace(entry=None)],
        only_every_third,
        late_by_two,
    ],
    ids=["lost", "empty", "doubled", "without entry", "two of three lost", "late"],
)
async def test_pushes_are_only_hints(store: Store, make_deliver: Callable[[], Deliver]) -> None:
    """Whatever becomes of pushes, the end's too, followers get every chunk once and the end (resumable-stream#47)."""
    backend = FaultyBackend(store.make_backend(), on_push=make_deliver())
    async with store.make_context() as here, ResumableStreamContext(backend, lease=0.1, drain_timeout=0) as elsewhere:
        tap = Tap("0 ")
        first = await here.resumable_stream("s", tap)
        streams = [await elsewhere.resumable_stream("s", never) for _ in range(3)]
        for number in range(1, 20):
            tap.let(f"{number} ")
            await take(first, 1)
        tap.end("end")
        whole = [f"{number} " for number in range(20)] + ["end"]
        for stream in streams:
            assert await collect(stream) == whole


async def test_slow_reader_reads_on_from_the_log(store: Store) -> None:
    """Promise 11: a reader that falls behind the window gets all chunks from the log, and joins again."""
    limits = Limits(window_bytes=1000, page_bytes=2000, pending_chunks=5)
    async with store.make_context(limits=limits) as here, store.make_context(limits=limits) as elsewhere:
        tap = Tap("first")
        fast = await here.resumable_stream("s", tap)
        slow = [await here.resumable_stream("s", never), await elsewhere.resumable_stream("s", never)]
        for stream in (fast, *slow):
            assert await take(stream, 1) == ["first"]
        chunks = [f"chunk {number}" for number in range(500)]
        tap.let(*chunks)
        assert await take(fast, 500) == chunks
        for stream in slow:
            assert await take(stream, 250) == chunks[:250]
        tap.end("last")
        for stream in slow:
            assert await collect(stream) == [*chunks[250:], "last"]


async def test_memory_of_a_live_stream_is_bounded() -> None:
    """What a process keeps of a live stream does not grow with the stream, though a reader does not read."""
    from resumable_stream._engine.feed import Feed

    limits = Limits(window_bytes=10_000)
    async with ResumableStreamContext(MemoryBackend(), limits=limits, drain_timeout=0) as context:
        fast = await context.resumable_stream("s", factory_of(["x" * 100] * 5000))
        slow = await context.resumable_stream("s", never)
        await collect(fast)
        feeds = [value for value in gc.get_objects() if type(value) is Feed]  # isinstance would wake lazy ones
        assert feeds
        assert all(feed.window.stop - feed.window.start < 1100 for feed in feeds)
        assert len(await collect(slow)) == 5000


async def test_source_is_held_back_while_the_log_is_slow() -> None:
    """A source that is faster than the log is held back: what is pending stays within its bounds."""
    from tests.context.test_lifecycle import GatedAppends

    made = 0

    def chunks() -> Iterator[str]:
        nonlocal made
        for made in range(1, 10_001):  # noqa: B007  # counts what was asked for
            yield "x"

    backend = GatedAppends()
    async with ResumableStreamContext(backend, limits=Limits(pending_chunks=10)) as context:
        stream = await context.resumable_stream("s", chunks)
        await anyio.wait_all_tasks_blocked()
        assert made <= 30
        backend.gate.set()
        assert len(await collect(stream)) == 10_000


async def test_readers_are_forgotten_without_a_leak(redis_store: InRedis) -> None:
    """Subscriptions end with the last reader: closed, at the end of the stream, or forgotten."""

    async def channels() -> int:
        async with Redis.from_url(redis_store.url, protocol=2) as client:
            return len(await client.pubsub_channels(f"{redis_store.prefix}:{{*"))

    async with redis_store.make_context() as here, redis_store.make_context() as elsewhere:
        taps = [Tap("a") for _ in range(6)]
        for number, tap in enumerate(taps):
            await here.resumable_stream(f"s{number}", tap)
        streams = [await elsewhere.resumable_stream(f"s{number}", never) for number in range(6)]
        for stream in streams:
            assert await take(stream, 1) == ["a"]
        assert await channels() == 6
        for stream in streams[:2]:
            assert stream is not None
            await stream.aclose()
        for number in (2, 3):
            taps[number].end()
            await collect(streams[number])
        del streams, stream
        gc.collect()
        with anyio.fail_after(5):
            while await channels():
                await anyio.sleep(0.01)


async def test_following_again_right_after_leaving(store: Store) -> None:
    """A reader that comes while the subscription of the last one is being ended misses nothing."""
    async with store.make_context() as here, store.make_context() as elsewhere:
        tap = Tap("0")
        first = await here.resumable_stream("s", tap)
        assert await take(first, 1) == ["0"]
        for number in range(1, 30):
            stream = await elsewhere.resumable_stream("s", never)
            assert stream is not None
            tap.let(str(number))
            assert await take(stream, number + 1) == [str(index) for index in range(number + 1)]
            await stream.aclose()


class SlowToConfirm(MemoryBackend):
    """Has each subscription wait to be confirmed, for as long as it is slow. Pushes come from the beginning."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.is_slow = True
        self.unconfirmed: list[anyio.Event] = []

    @override
    async def subscribe(self, stream_id: str, on_push: OnPush) -> None:
        await super().subscribe(stream_id, on_push)
        if self.is_slow:
            self.unconfirmed.append(anyio.Event())
            await self.unconfirmed[-1].wait()


async def test_following_again_while_subscriptions_are_made() -> None:
    """Readers who come and go faster than subscriptions are made take nothing from the one who stays."""
    store, tap = MemoryStore(), Tap("a")
    backend = SlowToConfirm(store)
    async with ResumableStreamContext(MemoryBackend(store)) as here, ResumableStreamContext(backend) as elsewhere:
        first = await here.resumable_stream("s", tap)
        assert await take(first, 1) == ["a"]
        for _ in range(2):
            stream = await elsewhere.resumable_stream("s", never)
            await anyio.wait_all_tasks_blocked()
            assert stream is not None
            await stream.aclose()
        backend.is_slow = False
        backend.unconfirmed[0].set()
        await anyio.wait_all_tasks_blocked()
        stays = await elsewhere.resumable_stream("s", never)
        for unconfirmed in backend.unconfirmed:  # a second one is confirmed in this very moment, if there is one
            unconfirmed.set()
        await anyio.wait_all_tasks_blocked()
        tap.let("b")
        with anyio.fail_after(1):  # it would look by itself after two seconds
            assert await take(stays, 2) == ["a", "b"]
        tap.end()


async def test_taking_over_while_a_subscription_is_made() -> None:
    """A process does not go on hearing of a stream that it took over in the meantime."""
    clock, tap = ManualClock(), Tap("b")
    store = MemoryStore(clock=clock)
    store.acquire("s", Claim("dead", lease=1.0, retention=60.0, tombstone=60.0))
    backend = SlowToConfirm(store)
    async with ResumableStreamContext(backend, drain_timeout=0) as context:
        follows = await context.resumable_stream("s", never)
        await anyio.wait_all_tasks_blocked()
        clock.advance(2)
        await context.resumable_stream("s", never, takeover=lambda _: tap())
        assert await take(follows, 1) == ["b"]
        assert backend._subscriptions
        backend.unconfirmed[0].set()
        await anyio.wait_all_tasks_blocked()
        assert not backend._subscriptions


async def test_publishing_what_this_process_follows_already() -> None:
    """A stream followed here, deleted, and published anew here under the same id: each reader gets its own stream."""
    store = MemoryStore()
    async with (
        ResumableStreamContext(MemoryBackend(store), drain_timeout=0) as here,
        ResumableStreamContext(MemoryBackend(store), drain_timeout=0) as elsewhere,
    ):
        await elsewhere.resumable_stream("s", Tap("old"))
        old = await here.resumable_stream("s", never)
        assert await take(old, 1) == ["old"]
        await elsewhere.delete("s")
        new = await here.resumable_stream("s", factory_of(["new"]))
        assert await collect(new) == ["new"]
        assert type((await collect_until_error(old))[1]) is StreamGoneError


async def test_connections_of_a_process_are_constant(redis_store: InRedis) -> None:
    """Promise 11: with 500 streams and 500 followers, each process has at most four connections to the server."""
    count = 500
    async with (
        redis_store.make_context() as here,
        redis_store.make_context() as elsewhere,
        Redis.from_url(redis_store.url, protocol=2) as client,
    ):
        taps = [Tap("a") for _ in range(count)]
        streams = {}

        async def follow(number: int) -> None:
            await here.resumable_stream(f"s{number}", taps[number])
            streams[number] = await elsewhere.resumable_stream(f"s{number}", never)
            assert await take(streams[number], 1) == ["a"]

        async with anyio.create_task_group() as tasks:
            for number in range(count):
                tasks.start_soon(follow, number)

        async def finish(number: int) -> None:
            taps[number].end("b")
            assert await collect(streams[number]) == ["b"]

        counts = [len(await client.client_list()) - 1]
        async with anyio.create_task_group() as tasks:
            for number in range(count):
                tasks.start_soon(finish, number)
            for _ in range(5):
                counts.append(len(await client.client_list()) - 1)
        assert max(counts) <= 2 * 4


async def test_connection_of_the_listener_is_cut(redis_store: InRedis) -> None:
    """When the server cuts the listening connection, it is made again, and followers miss nothing (mastra#19122)."""
    async with (
        redis_store.make_context() as here,
        redis_store.make_context() as elsewhere,
        Redis.from_url(redis_store.url, protocol=2) as client,
    ):
        tap = Tap("0 ")
        first = await here.resumable_stream("s", tap)
        follower = await elsewhere.resumable_stream("s", never)
        assert await take(follower, 1) == ["0 "]
        for number in range(1, 10):
            await client.client_kill_filter(_type="pubsub")
            tap.let(f"{number} ")
            assert await take(follower, 1) == [f"{number} "]
        tap.end()
        assert len(await collect(first)) == 10
        assert await collect(follower) == []


async def test_log_that_the_server_lost(redis_store: InRedis) -> None:
    """When the server has lost the log, as by eviction, readers get a clear error, not a shorter text or a hang."""
    async with (
        redis_store.make_context() as here,
        redis_store.make_context() as elsewhere,  # which has nothing in memory
        Redis.from_url(redis_store.url, protocol=2) as client,
    ):
        await collect(await here.resumable_stream("done", factory_of(["a", "b"])))
        await take(await here.resumable_stream("running", Tap("a", "b")), 2)
        for stream_id in ("done", "running"):
            await client.delete(f"{redis_store.prefix}:{{{stream_id}}}:log")
            chunks, error = await collect_until_error(await elsewhere.resume_existing_stream(stream_id))
            assert (chunks, type(error)) == ([], StreamGoneError)


async def test_log_that_the_server_lost_while_it_grew(redis_store: InRedis) -> None:
    """The stream fails with its next chunk: no log is begun anew in the middle, and without an expiry."""
    async with redis_store.make_context() as context, Redis.from_url(redis_store.url, protocol=2) as client:
        tap, log = Tap("a"), f"{redis_store.prefix}:{{s}}:log"
        stream = await context.resumable_stream("s", tap)
        assert await take(stream, 1) == ["a"]
        await client.delete(log)
        tap.end("b")
        chunks, error = await collect_until_error(stream)
        assert (chunks, type(error)) == (["b"], PublisherFailedError)
        with anyio.fail_after(5):
            while await context.has_existing_stream("s") is not StreamState.FAILED:
                await anyio.sleep(0.01)
        assert not await client.exists(log)


async def test_log_with_a_gap(redis_store: InRedis) -> None:
    """When an entry is missing from the middle of a log, readers get chunks from before it, and then an error."""
    limits = Limits(pending_chunks=1)
    async with (
        redis_store.make_context(limits=limits) as context,
        Redis.from_url(redis_store.url, protocol=2) as client,
    ):
        await collect(await context.resumable_stream("s", factory_of("abcdef")))
        log = f"{redis_store.prefix}:{{s}}:log"
        await client.execute_command("LREM", log, 1, await client.lindex(log, 3))
        assert await client.llen(log) == 5
        for start, before in ((0, ["a", "b", "c"]), (3, [])):
            chunks, error = await collect_until_error(await context.resume_existing_stream("s", start_index=start))
            assert type(error) is StreamGoneError
            assert chunks == before[: len(chunks)]
        assert await collect(await context.resume_existing_stream("s", start_index=4)) == ["e", "f"]


async def test_failed_stream_with_a_gap(redis_store: InRedis) -> None:
    """What is missing is told, and not how the stream ended: its chunks did not all come."""
    limits = Limits(pending_chunks=1)
    async with (
        redis_store.make_context(limits=limits) as context,
        Redis.from_url(redis_store.url, protocol=2) as client,
    ):
        tap = Tap("a", "b", "c", ValueError())
        await collect_until_error(await context.resumable_stream("s", tap))
        log = f"{redis_store.prefix}:{{s}}:log"
        await client.execute_command("LREM", log, 1, await client.lindex(log, 1))
        for start in (0, 1):
            _, error = await collect_until_error(await context.resume_existing_stream("s", start_index=start))
            assert type(error) is StreamGoneError
        _, error = await collect_until_error(await context.resume_existing_stream("s", start_index=2))
        assert type(error) is PublisherFailedError


_NONSENSE = {
    "empty": "",
    "text": "nonsense",
    "no time": "0-1 nonsense",
    "payload": "0-1 0\nnonsense",
    "count": "0-2 0\nt\x01\x01a",
    "fewer than none": "0--1 0\nt\x01\x01a",
    "time": f"0-1 {'9' * 400}\nt\x01\x01a",
}


@pytest.mark.parametrize("nonsense", _NONSENSE.values(), ids=_NONSENSE)
async def test_log_that_is_none_of_ours(redis_store: InRedis, nonsense: str) -> None:
    """An entry that something else wrote is a clear error of our tree, and so is a message on our channel."""
    from resumable_stream import BackendError

    async with redis_store.make_context() as context, Redis.from_url(redis_store.url, protocol=2) as client:
        await collect(await context.resumable_stream("s", factory_of(["a"])))
        log = f"{redis_store.prefix}:{{s}}:log"
        await client.delete(log)
        await client.rpush(log, nonsense)
        await client.expire(log, 60)
        with anyio.fail_after(5):
            assert type((await collect_until_error(await context.resume_existing_stream("s")))[1]) is BackendError


async def test_strange_messages_on_the_channel(redis_store: InRedis) -> None:
    """What others publish on a stream's channel does not reach its readers, nor stop the listener."""
    async with (
        redis_store.make_context() as here,
        redis_store.make_context() as elsewhere,
        Redis.from_url(redis_store.url, protocol=2) as client,
    ):
        tap = Tap("a")
        first = await here.resumable_stream("s", tap)
        follower = await elsewhere.resumable_stream("s", never)
        assert await take(follower, 1) == ["a"]
        info = await here.info("s")
        assert info is not None
        for message in (b"nonsense", b"", b"a b c d\n", b"\xff\n\n", f"{info.generation} 1 1 \nnonsense".encode()):
            await client.publish(f"{redis_store.prefix}:{{s}}:push", message)
        tap.end("b")
        assert await collect(first) == ["a", "b"]
        chunks = await collect(follower)
        assert chunks == ["b"]

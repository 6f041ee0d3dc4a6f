"""What users' code, a torn-down loop and a strange store can do to a process, and may not do."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence

import anyio
import pytest
from redis.asyncio import Redis
from typing_extensions import override

from resumable_stream import (
    BackendError,
    ContextClosedError,
    PublisherFailedError,
    ResumableStreamContext,
    StreamGoneError,
    StreamState,
)
from resumable_stream.abc import OnPush
from resumable_stream.backends.memory import MemoryBackend, MemoryStore
from resumable_stream.backends.redis import RedisBackend
from resumable_stream.backends.redis.single import SingleServer
from resumable_stream.testing import FaultyBackend, ManualClock
from resumable_stream.types import Append, Appended, Claim, Push
from tests.stores import InRedis, Store
from tests.streams import Tap, collect, collect_until_error, factory_of, never, take


class Unprintable(Exception):  # noqa: N818  # as users name theirs
    """An exception whose text raises."""

    @override
    def __str__(self) -> str:
        raise ValueError("no text")


class NoException(BaseException):
    """What a library may raise that wants to get past ``except Exception``."""


@pytest.mark.parametrize("raised", [Unprintable(), NoException("x")])
async def test_one_factory_does_not_end_the_others(store: Store, raised: BaseException) -> None:
    """Whatever a factory raises, its stream has failed, and the others go on."""
    async with store.make_context() as context:
        other = Tap("x")
        others = await context.resumable_stream("other", other)
        chunks, error = await collect_until_error(await context.resumable_stream("s", Tap("a", raised)))
        assert chunks == ["a"]
        assert isinstance(error, PublisherFailedError)
        assert error.error_type.endswith(type(raised).__name__)
        other.end("y")
        assert await collect(others) == ["x", "y"]


async def test_stopped_is_not_done(store: Store) -> None:
    """A factory that makes a plain end, or another error, of being stopped does not make its stream done or failed."""

    async def swallows() -> AsyncIterator[str]:
        yield "half"
        try:
            await anyio.sleep_forever()
        except asyncio.CancelledError:
            return

    async def converts() -> AsyncIterator[str]:
        yield "half"
        try:
            await anyio.sleep_forever()
        except asyncio.CancelledError:
            raise RuntimeError("interrupted") from None

    async with store.make_context() as context:
        for stream_id, factory in (("swallows", swallows), ("converts", converts)):
            assert await take(await context.resumable_stream(stream_id, factory), 1) == ["half"]
    async with store.make_context() as context:
        for stream_id in ("swallows", "converts"):
            assert await context.has_existing_stream(stream_id) is StreamState.STOPPED


def test_torn_down_loop_does_not_hang() -> None:
    """A program that ends without leaving its context ends all the same."""
    program = """
import asyncio
from resumable_stream import ResumableStreamContext

async def endless():
    yield "a"
    await asyncio.sleep(3600)

async def main():
    context = await ResumableStreamContext.from_url("memory://").__aenter__()
    stream = await context.resumable_stream("s", endless)
    print(await anext(stream))

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], timeout=30, capture_output=True, text=True, check=True)
    assert done.stdout == "a\n"


async def test_entering_twice(store: Store) -> None:
    """A context that is open cannot be entered again, and goes on."""
    async with store.make_context() as context:
        with pytest.raises(ContextClosedError):
            await context.__aenter__()
        assert await collect(await context.resumable_stream("s", factory_of(["a"]))) == ["a"]


async def test_closing_a_reader_that_waits(store: Store) -> None:
    """Closing a reader ends the read that waits in another task, as the last reader and as one of several."""
    async with store.make_context() as here, store.make_context() as elsewhere:
        await here.resumable_stream("s", Tap("a"))
        for context in (elsewhere, here):
            stream = await context.resumable_stream("s", never)
            assert stream is not None
            assert await take(stream, 1) == ["a"]
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(collect, stream)
                await anyio.wait_all_tasks_blocked()
                await stream.aclose()


async def test_stream_made_anew_before_its_followers_heard() -> None:
    """Deleted and made anew under the same id, before the followers hear of it: old readers learn it, new ones read."""
    store = MemoryStore()
    deaf = FaultyBackend(MemoryBackend(store), on_push=lambda push: [])
    async with (
        ResumableStreamContext(MemoryBackend(store), drain_timeout=0) as here,
        ResumableStreamContext(deaf, drain_timeout=0, lease=600) as elsewhere,
    ):
        await here.resumable_stream("s", Tap("old"))
        old = await elsewhere.resumable_stream("s", never)
        assert await take(old, 1) == ["old"]
        await here.delete("s")
        tap = Tap("new")
        await here.resumable_stream("s", tap)
        new = await elsewhere.resumable_stream("s", never)
        assert type((await collect_until_error(old))[1]) is StreamGoneError
        assert await take(new, 1) == ["new"]


async def test_old_publisher_does_not_take_the_new_streams_pushes() -> None:
    """The publisher of a deleted stream, when it finds out, does not unsubscribe or deafen readers of the new one."""
    store = MemoryStore()
    async with (
        ResumableStreamContext(MemoryBackend(store), drain_timeout=0, lease=600) as here,
        ResumableStreamContext(MemoryBackend(store), drain_timeout=0, lease=600) as elsewhere,
    ):
        old_tap, new_tap = Tap("old"), Tap("new")
        old = await here.resumable_stream("s", old_tap)
        assert await take(old, 1) == ["old"]
        await elsewhere.delete("s")
        await elsewhere.resumable_stream("s", new_tap)
        new = await here.resumable_stream("s", never)
        assert await take(new, 1) == ["new"]
        old_tap.let("refused")
        await old_tap.is_closed.wait()
        new_tap.end("newer")
        assert await collect(new) == ["newer"]
        assert type((await collect_until_error(old))[1]) is StreamGoneError


class Deaf(MemoryBackend):
    """Cannot be subscribed to."""

    @override
    async def subscribe(self, stream_id: str, on_push: OnPush) -> None:
        raise BackendError("no channels")


async def test_followers_without_subscriptions() -> None:
    """Where nothing can be subscribed to, followers read the log from time to time."""
    store = MemoryStore()
    async with (
        ResumableStreamContext(MemoryBackend(store), drain_timeout=0) as here,
        ResumableStreamContext(Deaf(store), drain_timeout=0, lease=0.1) as elsewhere,
    ):
        tap = Tap("a")
        await here.resumable_stream("s", tap)
        follower = await elsewhere.resumable_stream("s", never)
        assert await take(follower, 1) == ["a"]
        tap.let("b")
        assert await take(follower, 1) == ["b"]
        tap.end("c")
        assert await collect(follower) == ["c"]


async def test_user_without_channels(redis_store: InRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user whom the server denies channels follows all the same, and does not storm it with connections."""
    monkeypatch.setattr("resumable_stream.backends.redis.listener._CONFIRM_TIMEOUT", 0.2)
    async with Redis.from_url(redis_store.url, protocol=2) as admin:
        rules = ("on", ">secret", "~*", "resetchannels", "+@all")
        await admin.execute_command("ACL", "SETUSER", "deaf", *rules)
        before = (await admin.info("stats"))["total_connections_received"]
        url = redis_store.url.replace("://", "://deaf:secret@")
        async with (
            redis_store.make_context() as here,
            ResumableStreamContext.from_url(url, key_prefix=redis_store.prefix, lease=0.3) as elsewhere,
        ):
            tap = Tap("a")
            await here.resumable_stream("s", tap)
            follower = await elsewhere.resumable_stream("s", never)
            assert await take(follower, 1) == ["a"]
            tap.end("b")
            assert await collect(follower) == ["b"]
            backend = elsewhere._runtime._backend
            assert isinstance(backend, RedisBackend)
            assert isinstance(backend._servers, SingleServer)
            assert backend._servers._listener is not None
            assert set(backend._servers._listener._subscriptions) <= {f"{redis_store.prefix}:notices".encode()}
        assert (await admin.info("stats"))["total_connections_received"] - before < 20
        await admin.execute_command("ACL", "DELUSER", "deaf")


async def test_health_checks_of_the_users_client(redis_store: InRedis) -> None:
    """A client that checks the health of idle connections does not disturb the one that listens."""
    url = f"{redis_store.url}?health_check_interval=1"
    async with (
        redis_store.make_context() as here,
        ResumableStreamContext.from_url(url, key_prefix=redis_store.prefix) as elsewhere,
    ):
        tap = Tap("a")
        await here.resumable_stream("s", tap)
        await anyio.sleep(1.2)  # the time that makes redis-py check
        follower = await elsewhere.resumable_stream("s", never)
        assert await take(follower, 1) == ["a"]
        tap.end("b")
        assert await collect(follower) == ["b"]


async def test_leaving_while_many_read(redis_store: InRedis) -> None:
    """Reads that are under way when the context is left end, and open no connection again."""
    async with redis_store.make_context() as here:
        await collect(await here.resumable_stream("s", factory_of(["x" * 1000] * 2000)))
        outcomes: list[Exception] = []

        async def read(context: ResumableStreamContext) -> None:
            try:
                while True:
                    await collect(await context.resume_existing_stream("s"))
            except (ContextClosedError, BackendError) as error:
                outcomes.append(error)

        async with anyio.create_task_group() as tasks, redis_store.make_context() as context:
            for _ in range(20):
                tasks.start_soon(read, context)
            await anyio.sleep(0.05)
        assert len(outcomes) == 20


async def test_backend_that_answers_too_little() -> None:
    """A backend whose answers do not fit costs the streams of that call, not the process."""

    class Terse(MemoryBackend):
        @override
        async def append(self, appends: Sequence[Append]) -> list[Appended]:
            return []

    async with ResumableStreamContext(Terse()) as context:
        for stream_id in ("s", "t"):
            _, error = await collect_until_error(await context.resumable_stream(stream_id, Tap("a")))
            assert type(error) is BackendError


async def test_memory_of_ids_that_are_used_again() -> None:
    """An id that is used again and again leaves nothing behind in a store in memory."""
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    for number in range(500):
        store.acquire("s", Claim(f"{number}", lease=1, retention=1, tombstone=1))
        clock.advance(0.5)
        store.delete("s")
    clock.advance(1000)
    assert list(store.scan()) == []
    store.acquire("t", Claim("x", 1, 1, 1))
    assert len(store._checks) == 1


async def test_push_of_an_end_whose_chunks_were_lost() -> None:
    """An end that is pushed before the chunks are here does not end the stream early."""
    store = MemoryStore()

    def without_entries(push: Push | None) -> Sequence[Push | None]:
        return [push._replace(entry=None)] if push else [push]

    backend = FaultyBackend(MemoryBackend(store), on_push=without_entries)
    async with (
        ResumableStreamContext(MemoryBackend(store), drain_timeout=0) as here,
        ResumableStreamContext(backend, drain_timeout=0, lease=600) as elsewhere,
    ):
        tap = Tap()
        await here.resumable_stream("s", tap)
        follower = await elsewhere.resumable_stream("s", never)
        tap.end("a", "b")
        assert await collect(follower) == ["a", "b"]

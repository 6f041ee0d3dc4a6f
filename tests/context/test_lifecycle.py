"""Entering and leaving a context, and what each cancellation leaves behind."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import fakeredis
import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from typing_extensions import override

from resumable_stream import (
    BackendError,
    ContextClosedError,
    InvalidSettingError,
    LimitExceededError,
    Limits,
    ResumableStreamContext,
    StreamState,
)
from resumable_stream.backends.memory import MemoryBackend, MemoryStore
from resumable_stream.types import Acquired, Append, Appended, Claim, Page
from tests.servers import free_port
from tests.stores import InRedis, Store
from tests.streams import Tap, collect, collect_until_error, factory_of, never, take


async def test_leaving_waits_for_running_factories(store: Store) -> None:
    """Promise 2: leaving gives running factories time to come to their end."""
    tap = Tap("a")
    async with anyio.create_task_group() as tasks, store.make_context(drain_timeout=10.0) as context:
        stream = await context.resumable_stream("s", tap)
        assert await take(stream, 1) == ["a"]

        async def end_later() -> None:
            await anyio.wait_all_tasks_blocked()
            tap.end("b")

        tasks.start_soon(end_later)
    assert await collect(stream) == ["b"]
    assert stream is not None
    assert stream.state is StreamState.DONE


async def test_leaving_ends_what_does_not_end(store: Store) -> None:
    """Past the drain timeout, factories are cancelled, their clean-up runs, and the end is recorded: never silently."""
    tap = Tap("a", "b")
    async with store.make_context(drain_timeout=0.05) as context:
        stream = await context.resumable_stream("s", tap)
        assert await take(stream, 2) == ["a", "b"]
    assert tap.is_closed.is_set()
    assert await collect(stream) == []
    async with store.make_context() as context:
        info = await context.info("s")
        assert info is not None
        assert (info.state, info.reason, info.length) == (StreamState.STOPPED, "shutdown", 2)
        assert await collect(await context.resumable_stream("s", never)) == ["a", "b"]


async def test_entering_again(store: Store) -> None:
    """A context that was left can be entered again, also if its drain timed out."""
    context = store.make_context()
    for number in range(3):
        async with context:
            assert await collect(await context.resumable_stream(f"done-{number}", factory_of("abc"))) == list("abc")
            await context.resumable_stream(f"endless-{number}", Tap())


async def test_leaving_wakes_readers_of_streams_that_run_elsewhere(store: Store) -> None:
    """A reader that follows another process's stream learns that its own context was left."""
    async with store.make_context() as elsewhere:
        await elsewhere.resumable_stream("s", Tap("a"))
        async with store.make_context() as context:
            stream = await context.resumable_stream("s", never)
            assert await take(stream, 1) == ["a"]
        assert type((await collect_until_error(stream))[1]) is ContextClosedError


async def test_cancelled_leaving_still_records_the_end(store: Store) -> None:
    """Cancelling the leave cuts the waiting short; the factory's clean-up runs, and the end is recorded."""
    tap = Tap("a")
    with anyio.CancelScope() as scope:
        async with store.make_context(drain_timeout=60.0) as context:
            stream = await context.resumable_stream("s", tap)
            assert await take(stream, 1) == ["a"]
            scope.cancel()
    assert tap.is_closed.is_set()
    async with store.make_context() as context:
        assert await context.has_existing_stream("s") is StreamState.STOPPED


async def test_clean_up_that_hangs_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A factory whose ``finally`` does not come back does not keep the context from being left."""
    monkeypatch.setattr("resumable_stream._engine.run._CLEANUP_TIMEOUT", 0.05)

    async def factory() -> AsyncIterator[str]:
        try:
            yield "a"
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=False):
                await anyio.sleep_forever()

    with anyio.fail_after(5):
        async with store.make_context() as context:
            assert await take(await context.resumable_stream("s", factory), 1) == ["a"]


async def test_clean_up_that_raises_is_not_the_streams_end(store: Store) -> None:
    """What the clean-up of a stopped factory raises does not hide that it was stopped."""

    class Source:
        def __aiter__(self) -> Source:
            return self

        async def __anext__(self) -> str:
            await anyio.sleep_forever()
            return "never"

        async def aclose(self) -> None:
            raise OSError("cannot close")

    async with store.make_context() as context:
        await context.resumable_stream("s", Source)
    async with store.make_context() as context:
        assert await context.has_existing_stream("s") is StreamState.STOPPED


async def test_context_that_is_not_open(store: Store) -> None:
    """Before it is entered, and after it was left, a context refuses everything, and starts nothing."""
    context = store.make_context()
    for _ in range(2):
        with pytest.raises(ContextClosedError):
            await context.resumable_stream("s", never)
        with pytest.raises(ContextClosedError):
            await context.resume_existing_stream("s")
        with pytest.raises(ContextClosedError):
            await context.delete("s")
        with pytest.raises(ContextClosedError):
            context.list_streams()
        async with context:
            pass


async def test_context_can_be_left_by_another_task(store: Store) -> None:
    """A context may be left by another task than the one that entered it, as test fixtures do."""
    context = store.make_context()
    for method in (context.__aenter__, lambda: context.__aexit__(None, None, None)):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(method)


async def test_entering_without_a_server() -> None:
    """A server that cannot be reached is an error on entering, and leaves nothing behind."""
    context = ResumableStreamContext.from_url(f"redis://127.0.0.1:{free_port()}")
    with pytest.raises(BackendError):
        await context.__aenter__()
    with pytest.raises(ContextClosedError):
        await context.info("s")


async def test_client_of_the_user_is_neither_used_nor_closed(redis_store: InRedis) -> None:
    """A client tells which server to use and how; its connections stay its own, whatever it decodes."""
    async with AsyncRedis.from_url(redis_store.url, decode_responses=True, max_connections=1) as client:
        async with ResumableStreamContext(client, key_prefix=redis_store.prefix) as context:
            await collect(await context.resumable_stream("s", factory_of([b"\xff"])))
        assert await client.ping()
        assert await client.exists(f"{redis_store.prefix}:{{s}}:record") == 1


async def test_fakeredis_client() -> None:
    """A client of fakeredis works like one of redis-py: it is what unit tests of applications use."""
    async with ResumableStreamContext(fakeredis.FakeAsyncRedis()) as context:
        assert await collect(await context.resumable_stream("s", factory_of(["a"]))) == ["a"]


async def test_url_from_the_environment(monkeypatch: pytest.MonkeyPatch, redis_store: InRedis) -> None:
    """Without a URL, REDIS_URL says where; without that, streams are in memory."""
    monkeypatch.setenv("REDIS_URL", redis_store.url)
    async with ResumableStreamContext.from_url(key_prefix=redis_store.prefix) as context:
        await collect(await context.resumable_stream("s", factory_of(["a"])))
        monkeypatch.delenv("REDIS_URL")
        async with redis_store.make_context() as other, ResumableStreamContext.from_url() as in_memory:
            assert await other.has_existing_stream("s") is StreamState.DONE
            assert await in_memory.has_existing_stream("s") is None


@pytest.mark.parametrize(
    "url", ["", "localhost:6379", "http://localhost", "redis", "redis://localhost:port", "redis+sentinel://localhost"]
)
def test_bad_urls(url: str) -> None:
    """A URL of another kind, or a malformed one, is refused, and not repeated: it may hold a password."""
    with pytest.raises(InvalidSettingError) as caught:
        ResumableStreamContext.from_url(url or "x")
    assert url == "" or url not in str(caught.value).split()


@pytest.mark.parametrize(
    "settings",
    [
        {"lease": 0},
        {"lease": float("inf")},
        {"lease": "15"},
        {"retention": -1},
        {"retention": 1e17},
        {"retention": float("nan")},
        {"tombstone": None},
        {"drain_timeout": True},
        {"limits": 5},
        {"codec": "json"},
        {"unknown": 1},
    ],
)
def test_bad_settings(settings: dict[str, Any]) -> None:
    """A setting that is unknown, of the wrong type or out of range is refused before any I/O."""
    with pytest.raises((InvalidSettingError, TypeError)):
        ResumableStreamContext.from_url("memory://", **settings)


@pytest.mark.parametrize("backend", [None, 7, Redis(), "http://localhost"])
def test_bad_backends(backend: Any) -> None:
    """What keeps no streams is refused: a blocking client too."""
    with pytest.raises(InvalidSettingError):
        ResumableStreamContext(backend)


@pytest.mark.parametrize("limits", [{"max_chunk_bytes": 0}, {"window_bytes": -1}, {"page_bytes": 1.5}])
def test_bad_limits(limits: dict[str, Any]) -> None:
    """A limit is a whole number, at least 1."""
    with pytest.raises(InvalidSettingError):
        Limits(**limits)


@pytest.mark.parametrize("prefix", ["", "a b", "a{b}", "a*", "a" * 101])
def test_bad_prefixes(prefix: str) -> None:
    """A prefix cannot move the hash tag of a key, nor match more than it is."""
    with pytest.raises(InvalidSettingError):
        ResumableStreamContext.from_url("redis://localhost", key_prefix=prefix)


class SlowAcquire(MemoryBackend):
    """Its `acquire` is carried out, and then answers late."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.is_carried_out = anyio.Event()
        self.may_answer = anyio.Event()

    @override
    async def acquire(self, stream_id: str, claim: Claim) -> Acquired:
        answer = await super().acquire(stream_id, claim)
        self.is_carried_out.set()
        await self.may_answer.wait()
        return answer


async def test_caller_that_leaves_while_it_acquires() -> None:
    """A caller cancelled after the stream was created, and before it knew, leaves a stream that has a publisher."""
    store = MemoryStore()
    backend = SlowAcquire(store)
    async with ResumableStreamContext(backend, drain_timeout=0) as context:
        async with anyio.create_task_group() as request:

            async def handle() -> None:
                await context.resumable_stream("s", factory_of(["a"]))

            request.start_soon(handle)
            await backend.is_carried_out.wait()
            request.cancel_scope.cancel()
        backend.may_answer.set()
        assert await collect(await context.resumable_stream("s", never)) == ["a"]


async def test_leaving_while_a_caller_acquires() -> None:
    """A stream that is acquired while the context is being left is ended, not left running."""
    store = MemoryStore()
    backend = SlowAcquire(store)
    async with anyio.create_task_group() as tasks, ResumableStreamContext(backend, drain_timeout=0) as context:
        tasks.start_soon(context.resumable_stream, "s", Tap("a"))
        await backend.is_carried_out.wait()

        async def answer_later() -> None:
            await anyio.sleep(0.05)
            backend.may_answer.set()

        tasks.start_soon(answer_later)
    assert [info.state for info in store.scan()] == [StreamState.STOPPED]


class GatedAppends(MemoryBackend):
    """Its appends wait for the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = anyio.Event()

    @override
    async def append(self, appends: Sequence[Append]) -> list[Appended]:
        await self.gate.wait()
        return await super().append(appends)


async def test_logged_before_delivered() -> None:
    """Promise 3: not even the first caller sees a chunk before the log has it; what came meanwhile goes together."""
    backend = GatedAppends()
    async with ResumableStreamContext(backend) as context:
        tap = Tap("a", "b")
        stream = await context.resumable_stream("s", tap)
        assert stream is not None
        with anyio.move_on_after(0.05):
            await anext(stream)
        assert stream.index == 0
        backend.gate.set()
        assert await take(stream, 2) == ["a", "b"]
        tap.end()
        assert await collect(stream) == []


class FailingAppends(MemoryBackend):
    """Its appends fail."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    @override
    async def append(self, appends: Sequence[Append]) -> list[Appended]:
        raise self._error


@pytest.mark.parametrize("raised", [BackendError("away"), ZeroDivisionError("a bug")], ids=["away", "bug"])
async def test_store_that_cannot_be_written(raised: Exception) -> None:
    """If the log cannot be written, readers here get an error, the factory is cancelled, and the next one tries."""
    async with ResumableStreamContext(FailingAppends(raised)) as context:
        for stream_id in ("s", "t"):
            tap = Tap("a")
            chunks, error = await collect_until_error(await context.resumable_stream(stream_id, tap))
            assert (chunks, type(error)) == ([], BackendError)
            assert raised in (error, error.__cause__) or str(error) == str(raised)
            with anyio.fail_after(5):
                await tap.is_closed.wait()


async def test_store_that_cannot_be_read() -> None:
    """If the log cannot be read, followers get an error, and nobody else does."""

    class FailingReads(MemoryBackend):
        @override
        async def read(self, stream_id: str, start: int, max_bytes: int) -> Page | None:
            raise ZeroDivisionError("a bug")

    store = MemoryStore()
    async with (
        ResumableStreamContext(MemoryBackend(store)) as here,
        ResumableStreamContext(FailingReads(store)) as elsewhere,
    ):
        tap = Tap()
        first = await here.resumable_stream("s", tap)
        _, error = await collect_until_error(await elsewhere.resumable_stream("s", never))
        assert type(error) is BackendError
        assert await collect(await elsewhere.resumable_stream("own", factory_of(["b"]))) == ["b"]
        tap.end("a")
        assert await collect(first) == ["a"]


async def test_record_that_is_none_of_ours(redis_store: InRedis) -> None:
    """A key of ours that something else wrote is an error of our tree, whatever is in it."""
    async with redis_store.make_context() as context, AsyncRedis.from_url(redis_store.url) as client:
        record = f"{redis_store.prefix}:{{s}}:record"
        await client.set(record, "text", ex=60)
        with pytest.raises(BackendError):
            await context.resumable_stream("s", never)
        await client.delete(record)
        await collect(await context.resumable_stream("s", factory_of(["a"])))
        await client.hset(record, "end", "not JSON")
        with pytest.raises(BackendError):
            await context.info("s")


async def test_error_while_acquiring() -> None:
    """What the store raises on acquiring is raised to the caller; the factory is not called."""

    class FailingAcquire(MemoryBackend):
        @override
        async def acquire(self, stream_id: str, claim: Claim) -> Acquired:
            raise BackendError("away")

    async with ResumableStreamContext(FailingAcquire()) as context:
        for _ in range(3):
            with pytest.raises(BackendError):
                await context.resumable_stream("s", never)


async def test_fenced_publisher_is_cancelled() -> None:
    """A publisher whose lease lapsed is refused by the store, and cancelled; its readers learn that it is lost."""
    from resumable_stream import PublisherLostError
    from tests.stores import InMemory

    store = InMemory()
    async with store.make_context() as context:
        tap = Tap("a")
        stream = await context.resumable_stream("s", tap)
        assert await take(stream, 1) == ["a"]
        await store.advance(3600)
        tap.let("refused")
        chunks, error = await collect_until_error(stream)
        assert (chunks, type(error)) == ([], PublisherLostError)
        with anyio.fail_after(5):
            await tap.is_closed.wait()


async def test_slow_factory_keeps_its_lease(store: Store) -> None:
    """A factory that is silent for longer than the lease does not lose it: the context renews it."""
    async with store.make_context(lease=0.5) as context:  # a busy machine may take a third of a second for itself
        tap = Tap("a")
        stream = await context.resumable_stream("s", tap)
        assert await take(stream, 1) == ["a"]
        await anyio.sleep(1.2)
        assert await context.has_existing_stream("s") is StreamState.RUNNING
        tap.end("b")
        assert await collect(stream) == ["b"]


async def test_dead_publisher_is_noticed(redis_store: InRedis) -> None:
    """Promise 5: when a publisher dies without a word, waiting readers learn it; nobody hangs."""
    from resumable_stream import PublisherLostError
    from resumable_stream.testing.backend_suite.harness import append, create

    async with redis_store.open() as dead, redis_store.make_context(lease=0.3) as context:
        info = await create(dead, "s", lease=0.3)
        await append(dead, info, 0, ["a"])
        stream = await context.resumable_stream("s", never)
        assert await take(stream, 1) == ["a"]
        chunks, error = await collect_until_error(stream)
        assert (chunks, type(error)) == ([], PublisherLostError)


async def test_limit_of_publishers(store: Store) -> None:
    """One stream more than a context may publish is refused and not created; reading goes on, and room is made."""
    async with store.make_context(limits=Limits(max_publishers=2)) as context:
        taps = [Tap("a"), Tap("a")]
        for number, tap in enumerate(taps):
            await context.resumable_stream(f"s{number}", tap)
        with pytest.raises(LimitExceededError) as caught:
            await context.resumable_stream("s2", never)
        assert (caught.value.limit, caught.value.maximum) == ("max_publishers", 2)
        assert await context.has_existing_stream("s2") is None
        assert await take(await context.resumable_stream("s1", never), 1) == ["a"]
        taps[0].end()
        await collect(await context.resume_existing_stream("s0"))
        assert await collect(await context.resumable_stream("s2", factory_of(["b"]))) == ["b"]


async def test_limit_of_publishers_in_a_race(store: Store) -> None:
    """Callers who race cannot get past the limit."""
    taps = [Tap("a") for _ in range(10)]
    refused = 0

    async with store.make_context(limits=Limits(max_publishers=3)) as context:

        async def race(number: int) -> None:
            nonlocal refused
            try:
                await take(await context.resumable_stream(f"s{number}", taps[number]), 1)
            except LimitExceededError:
                refused += 1

        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(race, number)
    assert (refused, sum(tap.calls for tap in taps)) == (7, 3)


@pytest.mark.parametrize("limits", [Limits(max_chunk_bytes=3), Limits(max_stream_bytes=5)])
async def test_chunk_over_a_limit(store: Store, limits: Limits) -> None:
    """A chunk over a limit is not written and fails the stream; what came before it is kept."""
    async with store.make_context(limits=limits) as context:
        chunks, error = await collect_until_error(await context.resumable_stream("s", factory_of(["abc", "üü"])))
        assert chunks == ["abc"]
        assert getattr(error, "error_type", "") == "resumable_stream.exceptions.LimitExceededError"


async def test_limit_of_streams_in_memory() -> None:
    """A store in memory is bounded in the number of streams, and has room again when they have expired."""
    from resumable_stream.testing import ManualClock

    clock = ManualClock()
    context = ResumableStreamContext(MemoryBackend(MemoryStore(max_streams=2, clock=clock)))
    async with context:
        for number in range(2):
            await collect(await context.resumable_stream(f"s{number}", factory_of(["a"])))
        with pytest.raises(LimitExceededError):
            await context.resumable_stream("s2", never)
        clock.advance(3600 + 86400)
        assert await collect(await context.resumable_stream("s2", factory_of(["a"]))) == ["a"]

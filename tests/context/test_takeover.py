"""Promises 5 to 7: lost streams are noticed in time, fenced publishers stay out, and takeovers are not noticed."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from resumable_stream import (
    InvalidFactoryError,
    JSONCodec,
    Limits,
    PublisherFailedError,
    PublisherLostError,
    ResumableStream,
    ResumableStreamContext,
    StreamBackend,
    StreamGoneError,
    StreamInfo,
    StreamRole,
    StreamState,
)
from resumable_stream._core.packing import pack
from resumable_stream.backends.memory import MemoryBackend, MemoryStore
from resumable_stream.testing import FaultyBackend, ManualClock
from resumable_stream.types import Append, AppendStatus, Claim
from tests.stores import InMemory, Store
from tests.streams import Tap, collect, collect_until_error, factory_of, never, take

LEASE = 0.3
PAST = LEASE + 0.05
on_two_stores = pytest.mark.parametrize("store", ["memory", "redis-6.2"], indirect=True)
"""Enough here: what differs between stores, the shipped suite tests over all."""

WHOLE = [f"{index} " for index in range(10)]


async def leave_lost(backend: StreamBackend, count: int = 3, stream_id: str = "s", lease: float = LEASE) -> StreamInfo:
    """Publish the first chunks of `WHOLE`, and die without a word."""
    acquired = await backend.acquire(stream_id, Claim(secrets.token_hex(8), lease, 60.0, 60.0))
    assert acquired.info is not None
    for index in range(count):
        await backend.append([Append(stream_id, acquired.info.generation, 1, index, 1, pack([WHOLE[index]]))])
    return acquired.info


async def lapse(store: Store) -> None:
    """Let the lease of a dead publisher lapse, where time has to be moved. Elsewhere it passes by itself."""
    if isinstance(store, InMemory):
        await store.advance(PAST)


class Continuation:
    """A takeover that goes on with `WHOLE`, and counts its calls."""

    def __init__(self, pause: float = 0.0) -> None:
        self.so_far: list[list[Any]] = []
        self._pause = pause

    def __call__(self, chunks: list[Any]) -> AsyncIterator[Any]:
        """Yield what follows."""
        self.so_far.append(chunks)
        return self._rest(len(chunks))

    async def _rest(self, start: int) -> AsyncIterator[Any]:
        for chunk in WHOLE[start:]:
            await anyio.sleep(self._pause)
            yield chunk


@on_two_stores
async def test_waiting_readers_learn_in_time_that_the_publisher_is_lost(store: Store) -> None:
    """Readers who wait get all chunks, and `PublisherLostError` within the lease and a second (resumable-stream#47)."""
    async with store.open() as dead, store.make_context(lease=LEASE) as context:
        await leave_lost(dead)
        died = time.monotonic()
        streams = [await context.resumable_stream("s", never), await context.resume_existing_stream("s")]
        for stream in streams:
            assert await take(stream, 3) == WHOLE[:3]
        await lapse(store)
        for stream in streams:
            assert await anext_error(stream) is PublisherLostError
        assert time.monotonic() - died < LEASE + 1
        assert stream is not None
        assert stream.state is StreamState.LOST


@on_two_stores
async def test_waiting_readers_learn_in_time_with_a_long_lease(store: Store) -> None:
    """The time to notice does not grow with the readers' own settings: it is the publisher's lease that counts."""
    async with store.open() as dead, store.make_context(lease=30) as context:
        await leave_lost(dead)
        died = time.monotonic()
        stream = await context.resumable_stream("s", never)
        assert await take(stream, 3) == WHOLE[:3]
        await lapse(store)
        assert await anext_error(stream) is PublisherLostError
        assert time.monotonic() - died < LEASE + 1


@on_two_stores
async def test_later_callers_learn_that_the_publisher_is_lost(store: Store) -> None:
    """Who comes after the lease gets all chunks, and then `PublisherLostError`, from any position."""
    async with store.open() as dead, store.make_context() as context:
        await leave_lost(dead)
        await store.advance(PAST)
        for start in range(4):
            chunks, error = await collect_until_error(await context.resumable_stream("s", never, start_index=start))
            assert (chunks, type(error)) == (WHOLE[start:3], PublisherLostError)
        assert await context.has_existing_stream("s") is StreamState.LOST


@on_two_stores
async def test_later_caller_takes_over(store: Store) -> None:
    """A caller who offers it continues a lost stream, from the chunks so far; positions go on without a break."""
    async with store.open() as dead, store.make_context() as context, store.make_context() as elsewhere:
        old = await leave_lost(dead)
        before = await elsewhere.resume_existing_stream("s")
        assert before is not None
        event = await anext(before.events())
        await store.advance(PAST)
        takeover = Continuation()
        stream = await context.resumable_stream("s", never, takeover=takeover)
        assert stream is not None
        assert stream.role is StreamRole.PUBLISHER
        assert await collect(stream) == WHOLE
        assert takeover.so_far == [WHOLE[:3]]
        info = await elsewhere.info("s")
        assert info is not None
        assert (info.generation, info.epoch, info.epoch_start, info.state) == (old.generation, 2, 3, StreamState.DONE)
        assert await collect(await elsewhere.resumable_stream("s", never, after=event.event_id)) == WHOLE[1:]
        assert await collect(await elsewhere.resumable_stream("s", never, skip_characters=9)) == [" ", *WHOLE[5:]]
        events = await elsewhere.resumable_stream("s", never)
        assert events is not None
        assert [index async for _, index, _ in events.events()] == list(range(10))


@on_two_stores
async def test_waiting_readers_notice_only_a_pause(store: Store) -> None:
    """Exactly one of those who wait and offer it continues; all others, also without an offer, read one stream."""
    async with store.open() as dead, store.make_context() as one, store.make_context() as two:
        await leave_lost(dead)
        takeovers = [Continuation() for _ in range(4)]
        streams = [
            await context.resumable_stream("s", never, takeover=takeover)
            for context, takeover in zip((one, one, two, two), takeovers, strict=True)
        ]
        streams += [await one.resume_existing_stream("s"), await two.resumable_stream("s", never)]
        for stream in streams:
            assert await take(stream, 3) == WHOLE[:3]
        await lapse(store)
        for stream in streams:
            assert await collect(stream) == WHOLE[3:]
        assert [takeover.so_far for takeover in takeovers if takeover.so_far] == [[WHOLE[:3]]]


@on_two_stores
async def test_taken_over_twice(store: Store) -> None:
    """A stream that is lost again is continued again; the epochs count up."""
    async with store.open() as dead, store.make_context() as context:
        await leave_lost(dead)
        await store.advance(PAST)
        second = await dead.acquire("s", Claim("dead too", LEASE, 60.0, 60.0, allow_lost=True))
        assert second.is_publisher
        assert second.info is not None
        await dead.append([Append("s", second.info.generation, 2, 3, 2, pack(WHOLE[3:5]))])
        await store.advance(PAST)
        takeover = Continuation()
        assert await collect(await context.resumable_stream("s", never, takeover=takeover)) == WHOLE
        assert takeover.so_far == [WHOLE[:5]]
        info = await context.info("s")
        assert info is not None
        assert info.epoch == 3


@on_two_stores
async def test_takeover_is_not_for_streams_that_ended(store: Store) -> None:
    """A stream that is done, or unknown, is not taken over: the factory runs, or nothing does."""
    async with store.make_context() as context:
        assert await collect(await context.resumable_stream("s", factory_of(["a"]), takeover=never)) == ["a"]
        assert await collect(await context.resumable_stream("s", never, takeover=never)) == ["a"]


@on_two_stores
async def test_takeover_before_the_first_chunk(store: Store) -> None:
    """A stream that was lost before its first chunk is taken over with nothing so far."""
    async with store.open() as dead, store.make_context() as context:
        await leave_lost(dead, count=0)
        await store.advance(PAST)
        takeover = Continuation()
        assert await collect(await context.resumable_stream("s", never, takeover=takeover)) == WHOLE
        assert takeover.so_far == [[]]


@on_two_stores
async def test_offer_ends_with_its_reader(store: Store) -> None:
    """Who has left takes nothing over."""
    async with store.open() as dead, store.make_context() as context:
        await leave_lost(dead)
        offering = await context.resumable_stream("s", never, takeover=never)
        waiting = await context.resumable_stream("s", never)
        assert offering is not None
        await offering.aclose()
        await lapse(store)
        chunks, error = await collect_until_error(waiting)
        assert (chunks, type(error)) == (WHOLE[:3], PublisherLostError)


@on_two_stores
async def test_takeover_that_raises(store: Store) -> None:
    """A takeover that fails fails the stream, after the chunks that were there."""

    def broken(chunks: list[str]) -> AsyncIterator[str]:
        raise OSError("no")

    async with store.open() as dead, store.make_context() as context:
        await leave_lost(dead)
        await store.advance(PAST)
        chunks, error = await collect_until_error(await context.resumable_stream("s", never, takeover=broken))
        assert chunks == WHOLE[:3]
        assert isinstance(error, PublisherFailedError)
        assert error.error_type == "OSError"


@on_two_stores
async def test_takeover_may_be_a_coroutine(store: Store) -> None:
    """As a factory may: a coroutine that returns the chunks."""

    async def takeover(chunks: list[str]) -> AsyncIterator[str]:
        return Continuation()(chunks)

    async with store.open() as dead, store.make_context() as context:
        await leave_lost(dead)
        await store.advance(PAST)
        assert await collect(await context.resumable_stream("s", never, takeover=takeover)) == WHOLE


@on_two_stores
async def test_takeover_of_values(store: Store) -> None:
    """With a codec, the takeover is given values."""
    codec = JSONCodec()
    given: list[list[Any]] = []

    def takeover(values: list[Any]) -> list[Any]:
        given.append(values)
        return [{"n": 2}]

    async with store.open() as dead, store.make_context(codec=codec) as context:
        acquired = await dead.acquire("s", Claim("dead", LEASE, 60.0, 60.0))
        assert acquired.info is not None
        chunk = codec.encode({"n": 1})
        await dead.append([Append("s", acquired.info.generation, 1, 0, 1, pack([chunk]))])
        await store.advance(PAST)
        assert await collect(await context.resumable_stream("s", never, takeover=takeover)) == [{"n": 1}, {"n": 2}]
        assert given == [[{"n": 1}]]


@on_two_stores
async def test_limits_count_over_takeovers(store: Store) -> None:
    """What was logged before counts for the size of the stream, and decides on its type."""
    async with store.open() as dead, store.make_context(limits=Limits(max_stream_bytes=12)) as context:
        for stream_id, rest in (("long", ["3 ", "4 "]), ("bytes", [b"3 "])):
            await leave_lost(dead, stream_id=stream_id)
            await store.advance(PAST)
            stream = await context.resumable_stream(stream_id, never, takeover=Rest(rest))
            chunks, error = await collect_until_error(stream)
            assert chunks == WHOLE[: 4 if stream_id == "long" else 3]
            assert isinstance(error, PublisherFailedError)


class Rest:
    """A takeover that adds what it is told."""

    def __init__(self, chunks: list[Any]) -> None:
        self._chunks = chunks

    def __call__(self, chunks: list[Any]) -> list[Any]:
        """Return it."""
        return self._chunks


@on_two_stores
async def test_no_more_publishers_than_allowed(store: Store) -> None:
    """A context that publishes as many streams as it may takes none over."""
    async with store.open() as dead, store.make_context(limits=Limits(max_publishers=1)) as context:
        await context.resumable_stream("own", Tap())
        await leave_lost(dead)
        waiting = await context.resumable_stream("s", never, takeover=never)
        await store.advance(PAST)
        for stream in (waiting, await context.resumable_stream("s", never, takeover=never)):
            assert type((await collect_until_error(stream))[1]) is PublisherLostError


@pytest.mark.parametrize("takeover", [7, "text"])
async def test_bad_takeovers(takeover: Any) -> None:
    """A takeover is callable."""
    async with ResumableStreamContext.from_url("memory://") as context:
        with pytest.raises(InvalidFactoryError):
            await context.resumable_stream("s", never, takeover=takeover)


async def test_fenced_publisher_learns_it() -> None:
    """Promise 6: a publisher that was frozen past its lease appends nothing, is cancelled, and its readers go on.

    (assistant-ui#7198: a stale producer writes into a stream that is another's.)
    """
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    frozen = FaultyBackend(MemoryBackend(store))
    async with (
        ResumableStreamContext(frozen, drain_timeout=0) as here,
        ResumableStreamContext(MemoryBackend(store), drain_timeout=0) as elsewhere,
    ):
        tap = Tap(*WHOLE[:3])
        stream = await here.resumable_stream("s", tap)
        assert await take(stream, 3) == WHOLE[:3]
        clock.advance(20)
        takeover = Continuation()
        assert await collect(await elsewhere.resumable_stream("s", never, takeover=takeover)) == WHOLE
        tap.let("of the zombie")
        with anyio.fail_after(5):
            await tap.is_closed.wait()
        assert await collect(stream) == WHOLE[3:]
        assert await collect(await here.resume_existing_stream("s")) == WHOLE


async def test_readers_of_a_fenced_publisher_are_looked_after() -> None:
    """They follow the new publisher like those of any other process, though no push of its reaches them."""
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    deaf = FaultyBackend(MemoryBackend(store), on_push=lambda _: [])
    async with (
        ResumableStreamContext(deaf, lease=0.3, drain_timeout=0) as here,
        ResumableStreamContext(MemoryBackend(store), drain_timeout=0) as elsewhere,
    ):
        old, new = Tap("a"), Tap("b")
        stream = await here.resumable_stream("s", old)
        assert await take(stream, 1) == ["a"]
        clock.advance(20)
        await elsewhere.resumable_stream("s", never, takeover=lambda _: new())
        with anyio.fail_after(5):
            await old.is_closed.wait()
            for chunk in "cde":
                new.let(chunk)
                await anyio.sleep(0.2)
            new.end()
            assert await collect(stream) == ["b", "c", "d", "e"]


async def test_chunks_that_the_store_lost() -> None:
    """A reader who saw chunks that a failover lost gets an error, and not what a takeover put in their places."""
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    async with ResumableStreamContext(MemoryBackend(store), lease=0.3, drain_timeout=0) as context:
        backend = MemoryBackend(store)
        await backend.connect(lambda _: None)
        await leave_lost(backend, count=5)
        reader = await context.resume_existing_stream("s")
        assert await take(reader, 5) == WHOLE[:5]
        record = store._records["s"]
        del record.entries[3:]
        record.length = 3
        clock.advance(PAST)
        new = await backend.acquire("s", Claim("new", 60.0, 60.0, 60.0, allow_lost=True))
        assert new.info is not None
        answers = await backend.append([Append("s", new.info.generation, 2, 3, 4, pack(["x"] * 4))])
        assert answers[0].status is AppendStatus.ACCEPTED
        chunks, error = await collect_until_error(reader)
        assert (chunks, type(error)) == ([], StreamGoneError)
        await backend.aclose()


async def anext_error(stream: ResumableStream[Any] | None) -> type[Exception]:
    """The error that the stream ends with, when nothing else comes."""
    chunks, error = await collect_until_error(stream)
    assert chunks == []
    return type(error)

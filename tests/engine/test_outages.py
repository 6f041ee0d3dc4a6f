"""Promise 10: trouble with the store does not break a running answer, loses nothing, and doubles nothing."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from redis.asyncio import Redis
from typing_extensions import Self, override

from resumable_stream import (
    BackendError,
    BackendUnavailableError,
    Limits,
    PublisherFailedError,
    PublisherLostError,
    ResumableStream,
    ResumableStreamContext,
    StreamGoneError,
    StreamRole,
    StreamState,
)
from resumable_stream._core.packing import pack
from resumable_stream.backends.memory import MemoryBackend, MemoryStore
from resumable_stream.testing import FaultyBackend, Hold, ManualClock, TcpProxy, delay, lose_reply, refuse
from resumable_stream.types import Append, Appended, Claim, End
from tests.stores import InRedis
from tests.streams import Tap, collect, collect_until_error, factory_of, never, take

SOON = 5.0


class Processes:
    """Two contexts on one store in memory, which can go away for each of them."""

    def __init__(self, *, clock: ManualClock | None = None, **settings: Any) -> None:
        self.store = MemoryStore(clock=clock) if clock else MemoryStore()
        self.near, self.far = (FaultyBackend(MemoryBackend(self.store)) for _ in range(2))
        self.here, self.elsewhere = (
            ResumableStreamContext(backend, **({"drain_timeout": 0.0} | settings)) for backend in (self.near, self.far)
        )

    async def __aenter__(self) -> Self:
        """Enter both."""
        await self.here.__aenter__()
        await self.elsewhere.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave both."""
        await self.elsewhere.__aexit__(None, None, None)
        await self.here.__aexit__(None, None, None)

    def go_away(self) -> None:
        """The store is away for both."""
        self.near.go_away()
        self.far.go_away()

    def come_back(self) -> None:
        """And back."""
        self.near.come_back()
        self.far.come_back()


async def until(condition: Any) -> None:
    """Wait until something holds."""
    with anyio.fail_after(SOON):
        while not condition():
            await anyio.sleep(0.01)


def held(stream: ResumableStream[Any] | None) -> ResumableStream[Any]:
    """The stream, which there is."""
    assert stream is not None
    return stream


async def test_answer_goes_on_while_the_store_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """Readers here go on and know it; readers elsewhere wait and miss nothing; there is one line in the log."""
    caplog.set_level(logging.INFO, logger="resumable_stream")
    async with Processes() as both:
        tap = Tap("a")
        first, second = [held(await both.here.resumable_stream("s", tap)) for _ in range(2)]
        follower = held(await both.elsewhere.resumable_stream("s", never))
        for stream in (first, second, follower):
            assert await take(stream, 1) == ["a"]
            assert not stream.degraded
        both.go_away()
        tap.let("b", "c")
        for stream in (first, second):
            assert await take(stream, 2) == ["b", "c"]
            assert stream.degraded
        with anyio.move_on_after(0.3):
            await anext(follower)
        assert follower.index == 1
        both.come_back()
        assert await take(follower, 2) == ["b", "c"]
        await until(lambda: not first.degraded)
        tap.end("d")
        assert [await collect(stream) for stream in (first, second, follower)] == [["d"]] * 3
        assert await collect(await both.elsewhere.resumable_stream("s", never)) == ["a", "b", "c", "d"]
    away = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage() for record in away] == [
        "the store is away: streams published here go on, and are logged when it is back"
    ]
    assert any("the store is back" in record.getMessage() for record in caplog.records)


async def test_store_that_does_not_answer() -> None:
    """A store that is paused counts as away after a second; then readers here go on; later all is logged, once."""
    async with Processes() as both:
        tap, hold = Tap("a"), Hold()
        stream = held(await both.here.resumable_stream("s", tap))
        assert await take(stream, 1) == ["a"]
        both.near.plan("append", hold)
        tap.let("b")
        started = time.monotonic()
        assert await take(stream, 1) == ["b"]
        assert 0.9 < time.monotonic() - started < 2.5
        assert stream.degraded
        tap.let("c")
        assert await take(stream, 1) == ["c"]
        hold.release()
        await until(lambda: not stream.degraded)
        tap.end("d")
        assert await collect(stream) == ["d"]
        assert await collect(await both.elsewhere.resumable_stream("s", never)) == ["a", "b", "c", "d"]


async def test_reply_that_is_lost_doubles_nothing() -> None:
    """An append that was carried out, and whose reply is lost, is repeated and not doubled (aegra#441)."""
    async with Processes() as both:
        tap = Tap()
        stream = held(await both.here.resumable_stream("s", tap))
        for number in range(10):
            both.near.plan("append", lose_reply, lose_reply)
            tap.let(f"{number}")
            assert await take(stream, 1) == [f"{number}"]
            await until(lambda: not stream.degraded)
        both.near.plan("append", lose_reply)
        tap.end()
        assert await collect(stream) == []
        whole = [f"{number}" for number in range(10)]
        assert await collect(await both.elsewhere.resumable_stream("s", never)) == whole


async def test_server_that_executed_an_append_and_could_not_say_so(redis_store: InRedis) -> None:
    """The connection is cut after the server executed the append and before its reply: nothing is doubled."""
    port = int(redis_store.url.split(":")[-1].split("/")[0])
    async with TcpProxy("127.0.0.1", port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        async with (
            ResumableStreamContext.from_url(url, key_prefix=redis_store.prefix, drain_timeout=0) as here,
            redis_store.make_context() as elsewhere,
        ):
            tap = Tap("0 ")
            stream = held(await here.resumable_stream("s", tap))
            follower = held(await elsewhere.resumable_stream("s", never))
            whole = [f"{number} " for number in range(6)]
            assert await take(stream, 1) == whole[:1]
            for chunk in whole[1:]:
                lost = proxy.lose_reply_to(b"EVALSHA")
                tap.let(chunk)
                with anyio.fail_after(SOON):
                    await lost.wait()
                assert await take(stream, 1) == [chunk]
            tap.end()
            assert await collect(stream) == []
            assert await collect(follower) == whole
            assert await collect(await elsewhere.resumable_stream("s", never)) == whole


async def test_connections_that_are_cut(redis_store: InRedis) -> None:
    """All connections are cut, again and again: readers here and elsewhere get every chunk once."""
    port = int(redis_store.url.split(":")[-1].split("/")[0])
    async with TcpProxy("127.0.0.1", port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        async with (
            ResumableStreamContext.from_url(url, key_prefix=redis_store.prefix) as here,
            ResumableStreamContext.from_url(url, key_prefix=redis_store.prefix) as elsewhere,
        ):

            async def numbers() -> AsyncIterator[str]:
                for number in range(200):
                    yield f"{number} "
                    await anyio.sleep(0.002)

            stream = await here.resumable_stream("s", numbers)
            follower = await elsewhere.resumable_stream("s", never)
            async with anyio.create_task_group() as tasks:

                async def cut() -> None:
                    for _ in range(4):
                        await anyio.sleep(0.08)
                        await proxy.cut()

                tasks.start_soon(cut)
                assert "".join(await collect(follower)) == "".join(f"{number} " for number in range(200))
            assert len(await collect(stream)) == 200


async def test_outage_longer_than_the_lease() -> None:
    """A publisher that outlived its lease because the store was away goes on under a new epoch, if nobody else did."""
    clock = ManualClock()
    async with Processes(clock=clock) as both:
        tap = Tap("a")
        stream = held(await both.here.resumable_stream("s", tap))
        follower = held(await both.elsewhere.resumable_stream("s", never))
        assert await take(follower, 1) == ["a"]
        both.go_away()
        tap.let("b")
        assert await take(stream, 2) == ["a", "b"]
        await follower_looks(both)
        await until(lambda: follower.degraded)
        clock.advance(100)
        both.come_back()
        assert await take(follower, 1) == ["b"]
        tap.end("c")
        assert await collect(stream) == ["c"]
        assert await collect(follower) == ["c"]
        info = await both.elsewhere.info("s")
        assert info is not None
        assert (info.epoch, info.state) == (2, StreamState.DONE)


async def test_outage_that_followers_heard_of_and_did_not_notice() -> None:
    """Who heard that the store was out of reach gives a publisher time to be back, though no call of their own failed.

    That goes for readers who wait, and for those who ask just then.
    """
    clock = ManualClock()
    async with Processes(clock=clock) as both:
        tap = Tap("a")
        stream = held(await both.here.resumable_stream("s", tap))
        follower = held(await both.elsewhere.resumable_stream("s", never))
        assert await take(follower, 1) == ["a"]
        both.near.go_away()
        tap.let("b")
        assert await take(stream, 2) == ["a", "b"]
        both.elsewhere._runtime._on_notice(None)
        clock.advance(100)
        await follower_looks(both)
        second = held(await both.elsewhere.resume_existing_stream("s"))
        assert await take(second, 1) == ["a"]
        for waiting in (follower, second):
            with anyio.move_on_after(0.6):
                await anext(waiting)
        both.near.come_back()
        tap.end("c")
        for reader in (stream, follower, second):
            assert (await collect(reader))[-1] == "c"


async def test_outage_longer_than_the_lease_after_which_the_reply_was_lost() -> None:
    """The append that was in flight may have been executed before: then it is not made again."""
    clock = ManualClock()
    async with Processes(clock=clock) as both:
        tap = Tap("a")
        stream = held(await both.here.resumable_stream("s", tap))
        assert await take(stream, 1) == ["a"]

        async def execute_and_go_away(call: Any) -> Any:
            await call()
            both.go_away()
            raise BackendUnavailableError("the reply was lost")

        both.near.plan("append", execute_and_go_away)
        tap.let("b")
        assert await take(stream, 1) == ["b"]
        clock.advance(100)
        both.come_back()
        await until(lambda: not stream.degraded)
        tap.end("c")
        assert await collect(stream) == ["c"]
        assert await collect(await both.elsewhere.resumable_stream("s", never)) == ["a", "b", "c"]


async def test_outage_longer_than_the_lease_after_which_the_reply_came() -> None:
    """An append was made before the store fell silent, and its reply comes after the lease: the publisher goes on."""
    clock = ManualClock()
    async with Processes(clock=clock) as both:
        tap = Tap("a")
        stream = held(await both.here.resumable_stream("s", tap))
        assert await take(stream, 1) == ["a"]
        both.near.plan("append", delay(after=2.0))
        tap.let("b")
        assert await take(stream, 1) == ["b"]
        assert stream.degraded
        clock.advance(100)
        await until(lambda: not stream.degraded)
        tap.end("c")
        assert await collect(stream) == ["c"]
        info = await both.elsewhere.info("s")
        assert info is not None
        assert (info.epoch, info.length, info.state) == (2, 3, StreamState.DONE)


async def test_takeover_while_the_publisher_is_cut_off() -> None:
    """Whoever took over meanwhile has the stream: the old factory is cancelled, and what it had not logged is refused.

    Readers in its process who saw such chunks get an error, and not what came in their places; the others go on.
    """
    clock = ManualClock()
    async with Processes(clock=clock) as both:
        tap = Tap("a")
        stream = held(await both.here.resumable_stream("s", tap))
        behind = held(await both.here.resumable_stream("s", never))
        assert await take(stream, 1) == ["a"]
        both.near.go_away()
        tap.let("x", "y")
        assert await take(stream, 2) == ["x", "y"]
        clock.advance(100)
        taken = await both.elsewhere.resumable_stream("s", never, takeover=lambda _: factory_of(["b", "c", "d"])())
        assert await collect(taken) == ["a", "b", "c", "d"]
        both.near.come_back()
        with anyio.fail_after(SOON):
            await tap.is_closed.wait()
        assert type((await collect_until_error(stream))[1]) is StreamGoneError
        chunks, error = await collect_until_error(behind)
        assert (chunks[:1], type(error)) == (["a"], StreamGoneError)
        assert await collect(await both.here.resumable_stream("s", never)) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("count", [1, 2])
async def test_stream_that_another_process_went_on_with_and_died(count: int) -> None:
    """A publisher that was cut off takes back only its own epoch: what others logged meanwhile is not its own."""
    clock = ManualClock()
    async with Processes(clock=clock) as both:
        tap, other = Tap("a"), Tap(*["b", "c"][:count])
        stream = await both.here.resumable_stream("s", tap)
        assert await take(stream, 1) == ["a"]
        both.near.go_away()
        tap.let("x")
        assert await take(stream, 1) == ["x"]
        clock.advance(100)
        taken = await both.elsewhere.resumable_stream("s", never, takeover=lambda _: other())
        assert await take(taken, 1 + count) == ["a", "b", "c"][: 1 + count]
        both.far.go_away()
        clock.advance(100)
        both.near.come_back()
        with anyio.fail_after(SOON):
            await tap.is_closed.wait()
        assert type((await collect_until_error(stream))[1]) is StreamGoneError
        rest = await both.here.resumable_stream("s", never, takeover=lambda so_far: [str(len(so_far))])
        assert await collect(rest) == [*["a", "b", "c"][: 1 + count], str(1 + count)]
        both.far.come_back()


async def test_own_publisher_is_not_taken_over_from() -> None:
    """A caller in the publisher's own process does not take over what that is about to take back."""
    clock = ManualClock()
    async with Processes(clock=clock) as both:
        tap = Tap("a")
        stream = await both.here.resumable_stream("s", tap)
        assert await take(stream, 1) == ["a"]
        both.near.go_away()
        tap.let("b")
        assert await take(stream, 1) == ["b"]
        clock.advance(100)
        async with anyio.create_task_group() as tasks:
            answers: list[list[str]] = []

            async def reload() -> None:
                answers.append(await collect(await both.here.resumable_stream("s", never, takeover=never)))

            tasks.start_soon(reload)
            await anyio.sleep(0.1)
            both.near.come_back()
            await until(lambda: not held(stream).degraded)
            tap.end("c")
        assert answers == [["a", "b", "c"]]
        assert await collect(stream) == ["c"]


async def test_lost_again_after_an_outage() -> None:
    """A publisher that took its stream back, and is frozen later, is taken over like any other."""
    clock = ManualClock()
    async with Processes(clock=clock) as both:
        tap = Tap("a")
        stream = await both.here.resumable_stream("s", tap)
        assert await take(stream, 1) == ["a"]
        both.near.go_away()
        tap.let("b")
        assert await take(stream, 1) == ["b"]
        clock.advance(100)
        both.near.come_back()
        await until(lambda: not held(stream).degraded)
        clock.advance(100)
        taken = await both.elsewhere.resumable_stream("s", never, takeover=lambda _: ["c"])
        assert await collect(taken) == ["a", "b", "c"]
        tap.let("refused")
        assert await collect(stream) == ["c"]


async def test_readers_of_a_fenced_publisher_do_not_wait_for_its_clean_up() -> None:
    """Readers follow the new publisher at once, also if that is in the same process, and the old one's end is late."""
    clock = ManualClock()
    released = anyio.Event()

    async def slow_to_close() -> AsyncIterator[str]:
        try:
            yield "a"
            await anyio.sleep(0.05)
            yield "refused"
            await anyio.sleep(3600)
        finally:
            await released.wait()

    async with Processes(clock=clock) as both:
        stream = await both.here.resumable_stream("s", slow_to_close)
        assert await take(stream, 1) == ["a"]
        clock.advance(100)
        await until(lambda: both.here._runtime._publishers.count == 0)
        tap = Tap("b")
        taken = await both.here.resumable_stream("s", never, takeover=lambda _: tap())
        with anyio.fail_after(1):
            assert await take(taken, 2) == ["a", "b"]
        released.set()
        await anyio.sleep(0.05)
        assert held(taken)._reader.feed.is_published_here
        tap.end("c")
        assert await collect(taken) == ["c"]


@pytest.mark.parametrize("found", ["lost", "away"])
async def test_taken_over_here_and_lost_again(found: str) -> None:
    """What was found out about the publisher elsewhere is forgotten when the stream is taken over here.

    When that publisher is lost in its turn, readers wait for another one as long as they did for this one.
    """
    clock = ManualClock()
    async with (
        Processes(clock=clock, outage_timeout=0.5) as both,
        ResumableStreamContext(MemoryBackend(both.store), drain_timeout=0) as third,
    ):
        await both.here.resumable_stream("s", Tap("a"))
        follower = held(await both.elsewhere.resumable_stream("s", never))
        assert await take(follower, 1) == ["a"]
        feed = follower._reader.feed
        both.near.go_away()
        clock.advance(15.1)  # the lease, and a little: nobody is told yet that the stream is lost
        if found == "away":
            both.far.plan("read", refuse)
        await follower_looks(both)
        await until(lambda: feed.told_at is not None if found == "lost" else feed.away_since is not None)
        tap = Tap("b")
        await both.elsewhere.resumable_stream("s", never, takeover=lambda _: tap())
        assert await take(follower, 1) == ["b"]
        await anyio.sleep(0.6)  # longer than readers wait for a publisher, and for the store
        clock.advance(15.1)
        if found == "away":
            both.far.plan("read", refuse)
        tap.let("refused")
        await until(lambda: not feed.is_published_here)
        await anyio.sleep(0.1)
        await third.resumable_stream("s", never, takeover=lambda _: ["c"])
        assert await collect(follower) == ["c"]
        both.near.come_back()


@pytest.mark.parametrize("error", [BackendError("damaged"), BackendUnavailableError("away")])
async def test_taken_over_here_while_a_read_is_about_to_fail(error: BackendError) -> None:
    """A read of the log that began before is none of the new publisher's."""
    clock, released, is_reached = ManualClock(), anyio.Event(), anyio.Event()

    async def fail(_call: object) -> None:
        is_reached.set()
        await released.wait()
        raise error

    async with Processes(clock=clock) as both:
        await both.here.resumable_stream("s", Tap("a"))
        follower = held(await both.elsewhere.resumable_stream("s", never))
        assert await take(follower, 1) == ["a"]
        both.near.go_away()
        clock.advance(15.1)
        both.far.plan("read", fail)
        await follower_looks(both)
        await is_reached.wait()
        tap = Tap("b")
        await both.elsewhere.resumable_stream("s", never, takeover=lambda _: tap())
        assert await take(follower, 1) == ["b"]
        released.set()
        await anyio.wait_all_tasks_blocked()
        assert not follower.degraded
        tap.end("c")
        assert await collect(follower) == ["c"]
        both.near.come_back()


async def test_window_after_the_publisher_was_cut_off() -> None:
    """Readers here who follow the new publisher are kept no more than others are."""
    clock = ManualClock()
    async with Processes(clock=clock, limits=Limits(window_bytes=500)) as both:
        stream = held(await both.here.resumable_stream("s", Tap("a")))
        assert await take(stream, 1) == ["a"]
        window = stream._reader.feed.window
        both.near.go_away()
        (publisher,) = both.here._runtime._publishers
        for _ in range(2):  # the second time, nothing was appended since the first one
            publisher.renew_lease()
        await until(lambda: stream.degraded)
        assert window.max_bytes > 500
        clock.advance(100)
        tap = Tap("b")
        await both.elsewhere.resumable_stream("s", never, takeover=lambda _: tap())
        both.near.come_back()
        assert await take(stream, 1) == ["b"]
        assert window.max_bytes == 500
        tap.end("c")
        assert await collect(stream) == ["c"]


async def test_stop_during_an_outage_keeps_what_readers_got() -> None:
    """A stop while the store is away is recorded when it is back, with all that readers here got."""
    async with Processes(call_timeout=0.2) as both:
        tap = Tap("a")
        stream = await both.here.resumable_stream("s", tap)
        assert await take(stream, 1) == ["a"]
        both.go_away()
        tap.let("b")
        assert await take(stream, 1) == ["b"]
        assert await both.here.stop("s") is StreamState.RUNNING
        assert await collect(stream) == []
        await anyio.sleep(0.3)
        both.come_back()
        await until(lambda: both.here._runtime._publishers.count == 0)
        assert await collect(await both.elsewhere.resumable_stream("s", never)) == ["a", "b"]
        assert await both.elsewhere.has_existing_stream("s") is StreamState.STOPPED


async def test_taking_back_ends_with_the_publisher() -> None:
    """Nobody acquires a stream for a publisher that is over."""
    clock = ManualClock()
    async with Processes(clock=clock, outage_timeout=0.2) as both:
        tap = Tap("a")
        stream = await both.here.resumable_stream("s", tap)
        assert await take(stream, 1) == ["a"]
        both.near.on_call = lambda method: refuse if method == "acquire" else None
        both.near.plan("append", lose_reply)
        tap.let("b")
        clock.advance(100)
        tap.let("c")
        tap.end()
        await collect(stream)
        await until(lambda: both.here._runtime._publishers.count == 0)
        both.near.on_call = lambda method: None
        await anyio.sleep(0.6)
        info = await both.elsewhere.info("s")
        assert info is not None
        assert (info.epoch, info.state) == (1, StreamState.LOST)


async def test_slow_reads_do_not_keep_a_stream_from_being_lost() -> None:
    """A store whose every read takes longer than what counts as away does not put off the end for ever."""
    clock = ManualClock()
    async with Processes(clock=clock) as both:
        await take(await both.here.resumable_stream("s", Tap("a")), 1)
        follower = await both.elsewhere.resumable_stream("s", never)
        assert await take(follower, 1) == ["a"]
        both.far.on_call = lambda method: delay(after=1.1) if method == "read" else None
        clock.advance(100)
        with anyio.fail_after(10):
            assert type((await collect_until_error(follower))[1]) is PublisherLostError


async def test_takeover_has_the_context_variables_of_its_caller() -> None:
    """As a factory has, also when it runs long after the call."""
    user: ContextVar[str] = ContextVar("user")
    clock = ManualClock()

    async def name(_so_far: list[str]) -> list[str]:
        return [user.get("nobody")]

    async with Processes(clock=clock) as both:
        await take(await both.here.resumable_stream("s", Tap("a")), 1)
        user.set("ada")
        waiting = await both.elsewhere.resumable_stream("s", never, takeover=name)
        assert await take(waiting, 1) == ["a"]
        clock.advance(100)
        await follower_looks(both)
        assert await collect(waiting) == ["ada"]


async def test_acquisition_that_is_answered_after_its_lease() -> None:
    """An answer that comes too late starts nothing: the stream is lost already."""
    clock = ManualClock()
    async with Processes(clock=clock) as both:

        async def answer_late(call: Any) -> Any:
            await call()
            clock.advance(100)
            return await call()

        both.near.plan("acquire", answer_late)
        stream = held(await both.here.resumable_stream("s", never))
        assert stream.role is StreamRole.SUBSCRIBER
        assert type((await collect_until_error(stream))[1]) is PublisherLostError


async def test_end_while_the_store_is_away() -> None:
    """A factory that ends meanwhile ends for the readers here; the end is recorded when the store is back."""
    async with Processes() as both:
        tap = Tap("a")
        stream = await both.here.resumable_stream("s", tap)
        follower = await both.elsewhere.resumable_stream("s", never)
        assert await take(stream, 1) == ["a"]
        both.go_away()
        tap.end("b")
        assert await collect(stream) == ["b"]
        both.come_back()
        assert await collect(follower) == ["a", "b"]
        assert await both.here.has_existing_stream("s") is StreamState.DONE


async def test_more_than_may_be_kept() -> None:
    """Over ``outage_bytes`` the run goes on for its readers here, and the stream has failed, with the reason."""
    limits = Limits(outage_bytes=2000, pending_bytes=400, max_stream_bytes=10**6)
    async with Processes(limits=limits) as both:
        tap = Tap("first ")
        stream = held(await both.here.resumable_stream("s", tap))
        follower = await both.elsewhere.resumable_stream("s", never)
        assert await take(stream, 1) == ["first "]
        both.go_away()
        text = [f"{number:0100}" for number in range(50)]
        tap.let(*text)
        assert await take(stream, 50) == text
        both.come_back()
        chunks, error = await collect_until_error(follower)
        assert isinstance(error, PublisherFailedError)
        assert error.error_type.endswith("LimitExceededError")
        assert "outage_bytes=2000" in error.error_message
        assert chunks == ["first ", *text][: len(chunks)]
        tap.let("more")
        assert await take(stream, 1) == ["more"]
        tap.end("last")
        chunks, error = await collect_until_error(stream)
        assert (chunks, type(error)) == (["last"], PublisherFailedError)
        assert both.here._runtime._allowance.take(2000), "all was given back"
        assert await collect(await both.here.resumable_stream("next", factory_of(["a"]))) == ["a"]


async def test_sources_that_never_wait_do_not_hold_up_the_process() -> None:
    """A source that never waits, while the store is away, lets the readers read and the others run."""

    def endless() -> Any:
        number = 0
        while True:
            number += 1
            yield f"{number} "

    limits = Limits(outage_bytes=50_000, pending_bytes=1000, max_stream_bytes=10**9)
    async with Processes(limits=limits) as both:
        both.near.on_call = lambda method: refuse if method == "append" else None
        stream = held(await both.here.resumable_stream("s", endless))
        await until(lambda: stream.degraded)
        steps = 0
        with anyio.move_on_after(0.2):
            while True:
                await asyncio.sleep(0)
                steps += 1
        assert steps > 20
        await both.here.stop("s")
        both.near.on_call = lambda method: None


async def test_reader_behind_the_window_while_the_store_is_away() -> None:
    """A slow reader here gets what the log does not have from memory, however far it is behind."""
    limits = Limits(window_bytes=500, pending_bytes=200)
    async with Processes(limits=limits) as both:
        tap = Tap("0 ")
        fast = await both.here.resumable_stream("s", tap)
        slow = held(await both.here.resumable_stream("s", never))
        assert await take(fast, 1) == ["0 "]
        both.go_away()
        text = [f"{number} " for number in range(1, 100)]
        for chunk in text:
            tap.let(chunk)
            assert await take(fast, 1) == [chunk]
        assert await take(slow, 100) == ["0 ", *text]
        both.come_back()
        await until(lambda: not slow.degraded)
        assert slow._reader.feed.window.max_bytes == 500
        tap.end()
        assert await collect(slow) == []
        assert await collect(await both.elsewhere.resumable_stream("s", never)) == ["0 ", *text]


async def test_store_that_lost_everything() -> None:
    """A store that comes back empty: the run goes on for its readers here, then everybody gets an error."""
    async with Processes() as both:
        tap = Tap("a")
        stream = await both.here.resumable_stream("s", tap)
        follower = await both.elsewhere.resumable_stream("s", never)
        assert await take(stream, 1) == ["a"]
        assert await take(follower, 1) == ["a"]
        both.go_away()
        both.store._records.clear()
        both.come_back()
        tap.let("b")
        assert await take(stream, 1) == ["b"]
        assert type((await collect_until_error(follower))[1]) is StreamGoneError
        tap.end("c")
        chunks, error = await collect_until_error(stream)
        assert (chunks, type(error)) == (["c"], StreamGoneError)
        assert await both.here.has_existing_stream("s") is None


async def test_store_that_lost_the_last_chunks() -> None:
    """A store that comes back with less than it had: the stream has failed, and is never continued with a gap."""
    async with Processes() as both:
        tap = Tap()
        stream = await both.here.resumable_stream("s", tap)
        for chunk in "abc":
            tap.let(chunk)
            assert await take(stream, 1) == [chunk]
        record = both.store._records["s"]
        record.entries, record.length = record.entries[:1], 1
        tap.let("d")
        assert await take(stream, 1) == ["d"]
        tap.end("e")
        chunks, error = await collect_until_error(stream)
        assert (chunks, type(error)) == (["e"], PublisherFailedError)
        chunks, error = await collect_until_error(await both.elsewhere.resumable_stream("s", never, takeover=never))
        assert chunks == ["a"]
        assert isinstance(error, PublisherFailedError)
        assert "lost" in error.error_message


@pytest.mark.parametrize("kept", [0, 1], ids=["everything", "the last chunks"])
async def test_store_that_lost_chunks_while_the_source_waits(kept: int) -> None:
    """A source that waits for the log to catch up goes on, for its readers here, when the log never will."""
    async with Processes(limits=Limits(pending_chunks=3)) as both:
        tap, hold = Tap(), Hold()
        stream = await both.here.resumable_stream("s", tap)
        for chunk in "ab":
            tap.let(chunk)
            assert await take(stream, 1) == [chunk]
        both.near.plan("append", hold)
        tap.let("c")
        await hold.is_reached.wait()
        tap.end(*"defghij")
        await anyio.wait_all_tasks_blocked()
        if kept:
            record = both.store._records["s"]
            record.entries, record.length = record.entries[:kept], kept
        else:
            both.store._records.clear()
        hold.release()
        chunks, error = await collect_until_error(stream)
        assert (chunks, type(error)) == ([*"cdefghij"], PublisherFailedError if kept else StreamGoneError)


async def test_followers_give_up_in_the_end() -> None:
    """Nobody waits for ever: after ``outage_timeout`` readers elsewhere get an error, those behind the window too."""
    async with Processes(outage_timeout=0.5) as both:
        tap = Tap("a")
        await both.here.resumable_stream("s", tap)
        follower = await both.elsewhere.resumable_stream("s", never)
        assert await take(follower, 1) == ["a"]
        both.far.go_away()
        behind = held(await both.here.resumable_stream("s", never))
        both.far.come_back()
        both.far.go_away()
        await follower_looks(both)
        assert type((await collect_until_error(follower))[1]) is BackendUnavailableError
        assert await take(behind, 1) == ["a"]


async def follower_looks(both: Processes) -> None:
    """Have the follower's hub read the log now, and not in a third of the lease."""
    tasks = both.elsewhere._runtime._tasks
    assert tasks is not None
    for feed in tasks.hub._feeds.values():
        tasks.hub.look(feed)


async def test_calls_while_the_store_is_away() -> None:
    """A call waits for the store, for ``call_timeout`` seconds; then it raises, and nothing was started."""
    async with Processes(call_timeout=0.3) as both:
        both.near.go_away()
        for call in (
            both.here.resumable_stream("s", never),
            both.here.resume_existing_stream("s"),
            both.here.info("s"),
            both.here.stop("s"),
            both.here.delete("s"),
        ):
            with anyio.fail_after(SOON), pytest.raises(BackendUnavailableError):
                await call
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(collect_from, both.here)
            await anyio.sleep(0.1)
            both.near.come_back()


async def collect_from(context: ResumableStreamContext) -> None:
    """Publish and read."""
    assert await collect(await context.resumable_stream("t", factory_of(["a"]))) == ["a"]


async def test_acquisition_whose_reply_is_lost() -> None:
    """A caller whose stream was created, and who could not be told, is asked again and publishes it."""
    async with Processes() as both:
        both.near.plan("acquire", lose_reply, lose_reply)
        assert await collect(await both.here.resumable_stream("s", factory_of(["a"]))) == ["a"]


async def test_part_of_the_store_is_away() -> None:
    """Streams whose part of the store is away go on degraded; the others do not notice."""
    async with Processes() as both:
        taps = {stream_id: Tap() for stream_id in ("sick", "well")}
        streams = {name: held(await both.here.resumable_stream(name, tap)) for name, tap in taps.items()}
        both.near.go_away("sick")
        for number in range(20):
            for name, tap in taps.items():
                tap.let(f"{number}")
                assert await take(streams[name], 1) == [f"{number}"]
        assert streams["sick"].degraded
        assert not streams["well"].degraded
        both.near.come_back()
        await until(lambda: not streams["sick"].degraded)
        for tap in taps.values():
            tap.end()
        whole = [f"{number}" for number in range(20)]
        for name in taps:
            assert await collect(await both.elsewhere.resumable_stream(name, never)) == whole


async def test_key_that_somebody_else_wrote(redis_store: InRedis) -> None:
    """A stream whose key was overwritten fails alone; those that were appended to in the same call go on."""
    async with redis_store.make_context() as context, Redis.from_url(redis_store.url) as client:
        taps = [Tap("a") for _ in range(5)]
        streams = [await context.resumable_stream(f"s{number}", tap) for number, tap in enumerate(taps)]
        for stream in streams:
            assert await take(stream, 1) == ["a"]
        await client.set(f"{redis_store.prefix}:{{s2}}:record", "text", ex=60)
        for tap in taps:
            tap.end("b")
        for number, stream in enumerate(streams):
            if number == 2:
                chunks, error = await collect_until_error(stream)
                assert (chunks, type(error)) == ([], BackendError)
            else:
                assert await collect(stream) == ["b"]


async def test_leaving_while_the_store_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving is bounded in time when the end cannot be recorded; the factory's clean-up runs."""
    monkeypatch.setattr("resumable_stream._engine.publisher._RECORD_TIMEOUT", 0.3)
    both = Processes()
    async with both:
        tap = Tap("a")
        stream = await both.here.resumable_stream("s", tap)
        assert await take(stream, 1) == ["a"]
        both.near.go_away()
        started = time.monotonic()
        await both.here.__aexit__(None, None, None)
        assert time.monotonic() - started < 2
        assert tap.is_closed.is_set()


async def test_leaving_after_an_end_that_cannot_be_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaving is bounded too where the factory has ended already."""
    monkeypatch.setattr("resumable_stream._engine.publisher._RECORD_TIMEOUT", 0.3)
    both = Processes()
    async with both:
        tap = Tap("a")
        stream = await both.here.resumable_stream("s", tap)
        assert await take(stream, 1) == ["a"]
        both.near.go_away()
        tap.end("b")
        assert await collect(stream) == ["b"]
        with anyio.fail_after(2):
            await both.here.__aexit__(None, None, None)


async def test_takeover_that_cannot_read_what_was_logged() -> None:
    """Who took over and cannot read the chunks so far leaves the stream to the next one: nobody's factory failed."""
    clock = ManualClock()
    async with Processes(clock=clock, outage_timeout=0.2) as both:
        await take(await both.here.resumable_stream("s", Tap("a")), 1)
        clock.advance(100)
        both.far.plan("acquire", lambda call: _answer_and_go_away(call, both.far))
        taken = await both.elsewhere.resumable_stream("s", never, takeover=never)
        assert type((await collect_until_error(taken))[1]) is BackendUnavailableError
        both.far.come_back()
        clock.advance(100)
        stream = await both.elsewhere.resumable_stream("s", never, takeover=lambda _: ["b"])
        assert await collect(stream) == ["a", "b"]


async def test_reader_that_polls_while_the_store_is_away() -> None:
    """A reader whose reads are cancelled again and again learns in the end that the store is away."""
    async with Processes(outage_timeout=0.3, limits=Limits(window_bytes=1)) as both:
        await collect(await both.here.resumable_stream("s", factory_of(["a"])))
        reader = held(await both.elsewhere.resumable_stream("s", never))
        both.far.go_away()
        with anyio.fail_after(SOON), pytest.raises(BackendUnavailableError):
            await poll(reader)


async def test_end_that_cannot_be_recorded() -> None:
    """After ``outage_timeout`` nobody tries to record an end any more; the stream is lost with its lease."""
    clock = ManualClock()
    async with Processes(clock=clock, outage_timeout=0.3) as both:
        tap = Tap("a")
        stream = await both.here.resumable_stream("s", tap)
        assert await take(stream, 1) == ["a"]
        both.near.go_away()
        tap.end("b")
        assert await collect(stream) == ["b"]
        await until(lambda: both.here._runtime._publishers.count == 0)
        both.near.come_back()
        clock.advance(100)
        chunks, error = await collect_until_error(await both.elsewhere.resumable_stream("s", never))
        assert (chunks, type(error)) == (["a"], PublisherLostError)


async def test_factory_that_cannot_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A factory that swallows every cancellation is left alone in the end, and its stream has stopped."""
    for name, seconds in (("_CLEANUP_TIMEOUT", 0.05), ("_LAST_TIMEOUT", 0.05)):
        monkeypatch.setattr(f"resumable_stream._engine.run.{name}", seconds)
    gate = asyncio.Event()

    async def stubborn() -> AsyncIterator[str]:
        yield "a"
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue

    async with Processes() as both:
        stream = await both.here.resumable_stream("s", stubborn)
        assert await take(stream, 1) == ["a"]
        await both.here.stop("s")
        with anyio.fail_after(SOON):
            assert await collect(stream) == []
        assert await both.elsewhere.has_existing_stream("s") is StreamState.STOPPED
    gate.set()
    await anyio.sleep(0.05)


async def test_restarted_scripts(redis_store: InRedis) -> None:
    """A server that forgot the scripts gets them again; nobody notices."""
    async with redis_store.make_context() as context, Redis.from_url(redis_store.url) as client:
        tap = Tap("a")
        stream = await context.resumable_stream("s", tap)
        assert await take(stream, 1) == ["a"]
        await client.script_flush()
        tap.end("b")
        assert await collect(stream) == ["b"]
        assert not held(stream).degraded


async def test_keys_expire_from_the_first_command_on(redis_store: InRedis) -> None:
    """A publisher that dies right after its first command, or any later one, leaves nothing that stays."""
    async with redis_store.open() as backend, Redis.from_url(redis_store.url) as client:

        async def check() -> None:
            keys = await client.keys(f"{redis_store.prefix}*")
            assert keys
            assert [await client.pttl(key) > 0 for key in keys] == [True] * len(keys)

        acquired = await backend.acquire("s", Claim("token", 0.05, 60.0, 60.0))
        await check()
        assert acquired.info is not None
        first = Append("s", acquired.info.generation, 1, 0, 1, pack(["a"]))
        for step in (
            lambda: backend.append([first]),
            lambda: backend.append([first._replace(first=1, count=0, payload=b"")]),
            lambda: backend.request_stop("s", "why"),
            lambda: backend.append([first._replace(first=1, end=End(StreamState.DONE))]),
        ):
            await step()
            await check()


async def poll(stream: ResumableStream[Any]) -> None:
    """Ask for the next chunk again and again, with little patience."""
    while True:
        with anyio.move_on_after(0.12):
            await anext(stream)


async def _answer_and_go_away(call: Any, backend: FaultyBackend) -> Any:
    answer = await call()
    asyncio.get_running_loop().call_soon(backend.go_away)
    return answer


class Slow(MemoryBackend):
    """Answers appends late."""

    @override
    async def append(self, appends: Sequence[Append]) -> list[Appended]:
        await anyio.sleep(0.05)
        return await super().append(appends)


async def test_hints_from_callbacks() -> None:
    """A push may come from a callback of the event loop, where no task is running."""
    async with Processes(lease=60) as both:
        tap = Tap("a")
        await both.here.resumable_stream("s", tap)
        follower = await both.elsewhere.resumable_stream("s", never)
        assert await take(follower, 1) == ["a"]
        both.far.go_away()
        tap.let("b")
        asyncio.get_running_loop().call_later(0.1, both.far.come_back)
        assert await take(follower, 1) == ["b"]


async def test_slow_replies() -> None:
    """A store that is slow, and not away, makes nothing degraded."""
    async with ResumableStreamContext(Slow()) as context:
        stream = held(await context.resumable_stream("s", factory_of([f"{number}" for number in range(50)])))
        async for _ in stream:
            assert not stream.degraded

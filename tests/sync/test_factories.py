"""Factories of blocking contexts: where they run, and how they end."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from resumable_stream import Factory, PublisherFailedError, StreamState
from resumable_stream.abc import StreamBackend
from resumable_stream.backends.redis import RedisBackend
from resumable_stream.sync import ResumableStream, ResumableStreamContext
from tests.context.test_takeover import LEASE, WHOLE, leave_lost
from tests.servers import Server
from tests.streams import never
from tests.sync.steering import BlockingTap, wait_until


@pytest.fixture
def context() -> Iterator[ResumableStreamContext]:
    """A context with streams in memory."""
    with ResumableStreamContext.from_url("memory://", lease=2.0, drain_timeout=0.0) as made:
        yield made


def read(stream: ResumableStream[Any] | None) -> list[Any]:
    """Return all chunks to the end."""
    assert stream is not None
    return list(stream)


async def in_the_loop() -> AsyncIterator[str]:
    """Say in which thread it runs."""
    await anyio.lowlevel.checkpoint()
    yield threading.current_thread().name


def in_a_thread() -> Iterator[str]:
    """Likewise."""
    yield threading.current_thread().name


class Made:
    """An object that is a factory."""

    async def __call__(self) -> AsyncIterator[str]:
        """Say in which thread it runs."""
        yield threading.current_thread().name


async def list_in_the_loop() -> list[str]:
    """Return a list."""
    return [threading.current_thread().name]


def with_argument(_given: int) -> AsyncIterator[str]:
    """Return what is asynchronous."""
    return in_the_loop()


LOOP, THREAD = "resumable-stream", "resumable-stream-answer"


@pytest.mark.parametrize(
    ("factory", "where"),
    [
        (in_the_loop, LOOP),
        (partial(in_the_loop), LOOP),
        (Made(), LOOP),
        (list_in_the_loop, LOOP),
        (partial(with_argument, 1), LOOP),
        (lambda: list_in_the_loop(), LOOP),  # what it returns is an awaitable
        (in_a_thread, THREAD),
        (partial(in_a_thread), THREAD),
        (lambda: in_a_thread(), THREAD),  # it is no generator function
        (lambda: [threading.current_thread().name], THREAD),
    ],
)
def test_where_factories_run(context: ResumableStreamContext, factory: Factory[str], where: str) -> None:
    """What is asynchronous runs in the loop; what may block is called, and iterated over, in a thread of its own."""
    assert read(context.resumable_stream("s", factory)) == [where]
    assert read(context.create_new_resumable_stream("new", factory)) == [where]


def test_one_thread_from_call_to_end(context: ResumableStreamContext) -> None:
    """What a factory opens when it is called it can use, and close, when it is iterated over."""

    def rows() -> Iterator[str]:
        connection = sqlite3.connect(":memory:")  # which refuses other threads

        def generator() -> Iterator[str]:
            try:
                for (word,) in connection.execute("SELECT 'a' UNION SELECT 'b'"):
                    yield word
            finally:
                connection.close()

        return generator()

    assert read(context.resumable_stream("s", rows)) == ["a", "b"]


def test_context_variables(context: ResumableStreamContext) -> None:
    """A factory, and what it calls, sees the context variables of its caller, wherever it runs."""
    user: ContextVar[str] = ContextVar("user", default="nobody")
    user.set("ann")

    async def later() -> AsyncIterator[str]:
        yield user.get()

    assert read(context.resumable_stream("plain", lambda: [user.get()])) == ["ann"]
    assert read(context.resumable_stream("async", later)) == ["ann"]


def test_closed_when_stopped(context: ResumableStreamContext) -> None:
    """A factory that is stopped is closed when it next yields, and what it has with a ``close`` is closed, too."""

    class Response:
        is_closed = threading.Event()

        def __iter__(self) -> Iterator[str]:
            return tap()

        def close(self) -> None:
            self.is_closed.set()

    tap = BlockingTap("a")
    stream = context.resumable_stream("s", Response)
    assert stream is not None
    assert next(stream) == "a"
    assert context.stop("s") is StreamState.RUNNING
    tap.let("b")
    assert read(stream) == []
    assert tap.is_closed.is_set()
    assert Response.is_closed.is_set()
    assert stream.state is StreamState.STOPPED


@pytest.mark.parametrize("made", [None, 7, "text", b"bytes", {"a": 1}])
def test_what_makes_no_chunks(context: ResumableStreamContext, made: Any) -> None:
    """What cannot be iterated over, or is one chunk and not many, fails the stream."""
    with pytest.raises(PublisherFailedError, match="InvalidFactoryError"):
        read(context.resumable_stream("s", lambda: made))


@pytest.mark.parametrize("error", [ValueError("x"), StopIteration(), SystemExit(1), KeyboardInterrupt()])
@pytest.mark.parametrize("is_called", [True, False])
def test_what_is_raised(context: ResumableStreamContext, error: BaseException, is_called: bool) -> None:
    """Whatever a factory raises, when it is called or later, fails its stream, and no other."""

    def raises() -> Iterator[str]:
        raise error

    def raises_later() -> Iterator[str]:
        yield "a"
        raise error

    tap = BlockingTap()
    other = context.resumable_stream("other", tap)
    stream = context.resumable_stream("s", raises if is_called else raises_later)
    assert stream is not None
    assert is_called or next(stream) == "a"
    with pytest.raises(PublisherFailedError) as caught:
        next(stream)
    assert caught.value.error_type == ("ValueError" if isinstance(error, ValueError) else "RuntimeError")
    tap.end("b")
    assert read(other) == ["b"]


def test_factory_that_blocks_keeps_its_lease(context: ResumableStreamContext) -> None:
    """While a factory blocks, its lease is renewed."""

    def lease_left() -> float:
        info = context.info("s")
        assert info is not None
        assert info.is_running
        return info.lease_left

    tap = BlockingTap("a")
    stream = context.resumable_stream("s", tap)
    assert stream is not None
    assert next(stream) == "a"
    lowest = lease_left()
    while lease_left() <= lowest:
        lowest = min(lowest, lease_left())
    tap.end("b")
    assert read(stream) == ["b"]


def test_takeovers_may_block(redis_server: Server) -> None:
    """A lost stream is continued by a takeover that blocks, from the chunks so far, here and by who waits for it."""

    def rest(so_far: list[str]) -> Iterator[str]:
        assert threading.current_thread().name == THREAD
        yield from WHOLE[len(so_far) :]

    async def die(backend: StreamBackend, stream_id: str) -> None:
        await backend.connect(lambda _: None)
        try:
            await leave_lost(backend, stream_id=stream_id)
        finally:
            await backend.aclose()

    with ResumableStreamContext.from_url(redis_server.url, key_prefix="lost", lease=LEASE) as context:
        context.call(die, RedisBackend(redis_server.url, key_prefix="lost"), "waits")
        assert read(context.resumable_stream("waits", never, takeover=rest)) == WHOLE
        context.call(die, RedisBackend(redis_server.url, key_prefix="lost"), "later")
        wait_until(lambda: context.has_existing_stream("later") is StreamState.LOST)
        stream = context.resumable_stream("later", never, takeover=rest)
        assert stream is not None
        assert stream.role == "publisher"
        assert read(stream) == WHOLE
        for stream_id in ("waits", "later"):
            assert context.delete(stream_id)

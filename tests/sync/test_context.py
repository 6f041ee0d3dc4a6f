"""Blocking contexts: opening, closing, threads and interrupts."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import fakeredis
import pytest
from redis import Redis
from typing_extensions import Self, override

from resumable_stream import (
    BackendError,
    ContextClosedError,
    InvalidFactoryError,
    InvalidSettingError,
    InvalidStreamIdError,
    JSONCodec,
    StreamExistsError,
    StreamState,
)
from resumable_stream.abc import OnNotice
from resumable_stream.backends.memory import MemoryBackend, MemoryStore
from resumable_stream.sync import ResumableStream, ResumableStreamContext
from resumable_stream.sync.background import BackgroundLoop
from tests.servers import Server, free_port
from tests.streams import factory_of, never
from tests.sync.steering import BlockingTap, InThread, interrupted, wait_until


def opened(stream: ResumableStream[Any] | None) -> ResumableStream[Any]:
    """The stream, which is there."""
    assert stream is not None
    return stream


def our_threads() -> list[threading.Thread]:
    """The loops that run."""
    return [thread for thread in threading.enumerate() if thread.name == "resumable-stream"]


def test_all_methods() -> None:
    """It has what the asynchronous one has, and each waits for its result."""
    with ResumableStreamContext.from_url("memory://", drain_timeout=0.0) as context:
        tap = BlockingTap("a")
        stream = context.create_new_resumable_stream("s", tap)
        assert next(stream) == "a"
        assert stream.role == "publisher"
        assert not stream.degraded
        with pytest.raises(StreamExistsError):
            context.create_new_resumable_stream("s", never)
        assert context.has_existing_stream("s") is StreamState.RUNNING
        assert (context.has_existing_stream("t"), context.info("t"), context.stop("t")) == (None, None, None)
        info = context.info("s")
        assert info is not None
        assert info.length == 1
        assert [listed.stream_id for listed in context.list_streams()] == ["s"]
        assert [(mark.index, mark.count) for mark in context.timeline("s")] == [(0, 1)]
        assert context.readers() == {"s": 1}
        assert context.stop("s", reason="enough") is StreamState.RUNNING
        tap.let("never seen")
        assert list(stream) == []
        assert stream.state is StreamState.STOPPED
        assert context.delete("s")
        assert not context.delete("s")
        assert context.resume_existing_stream("s") is None
        assert context.codec is None
        assert not context.is_leaving
    assert tap.is_closed.is_set()


def test_opens_itself_and_stays_closed() -> None:
    """It opens at its first use; once closed it refuses all, until it is opened again; its streams are still there."""
    context = ResumableStreamContext.from_url("memory://")
    assert our_threads() == []
    assert list(opened(context.resumable_stream("s", lambda: ["a"]))) == ["a"]
    assert len(our_threads()) == 1
    context.open()
    assert len(our_threads()) == 1
    for _ in range(2):
        context.close()
    assert our_threads() == []
    for call in (
        lambda: context.info("s"),
        lambda: context.resumable_stream("s", never),
        context.list_streams,
        lambda: context.timeline("s"),
        context.readers,
        lambda: context.iterate(factory_of("a")()),
    ):
        with pytest.raises(ContextClosedError):
            call()
    for _ in range(2):
        with context:
            assert list(opened(context.resume_existing_stream("s"))) == ["a"]
    ResumableStreamContext.from_url("memory://").close()


def test_without_a_server() -> None:
    """A server that cannot be reached is an error, leaves nothing behind, and is tried again at the next use."""
    context = ResumableStreamContext.from_url(f"redis://127.0.0.1:{free_port()}")
    for call in (context.open, lambda: context.info("s"), context.__enter__):
        with pytest.raises(BackendError):
            call()
        assert our_threads() == []
    context.close()


def test_interrupted_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt while it opens is raised, and leaves nothing behind."""

    class Slow(MemoryBackend):
        @override
        async def connect(self, on_notice: OnNotice) -> None:
            await anyio.sleep_forever()

    context = ResumableStreamContext(Slow)
    with interrupted(BackgroundLoop.start), pytest.raises(KeyboardInterrupt):
        context.open()
    assert our_threads() == []


def test_interrupted_call() -> None:
    """An interrupt cancels the call that waits, and nothing else."""
    cancelled = threading.Event()

    async def wait() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            cancelled.set()

    with ResumableStreamContext.from_url("memory://") as context:
        with interrupted(BackgroundLoop.call), pytest.raises(KeyboardInterrupt):
            context.call(wait)
        assert cancelled.wait(5)
        assert context.info("s") is None


def test_closing_waits_for_running_factories() -> None:
    """Promise 2: closing gives running factories time to come to their end; readers read on meanwhile."""
    context = ResumableStreamContext.from_url("memory://")
    tap = BlockingTap("a")
    stream = opened(context.resumable_stream("s", tap))
    assert next(stream) == "a"
    closing = InThread(context.close)
    wait_until(lambda: context.is_leaving)
    tap.let("b")
    assert next(stream) == "b"
    tap.end("c")
    closing.result()
    assert list(stream) == ["c"]
    assert stream.state is StreamState.DONE


@pytest.mark.parametrize("is_async", [True, False])
def test_interrupted_closing(is_async: bool) -> None:
    """An interrupt cuts the waiting short; clean-ups run, and the end is recorded: never silently."""
    store = MemoryStore()
    tap = BlockingTap("a")

    async def endless() -> AsyncIterator[str]:
        yield "a"
        await anyio.sleep_forever()

    context = ResumableStreamContext(lambda: MemoryBackend(store), drain_timeout=60.0)
    stream = opened(context.resumable_stream("s", endless if is_async else tap))
    assert next(stream) == "a"
    let_go = threading.Timer(0.2, tap.let, ["refused"])
    let_go.start()
    with interrupted(BackgroundLoop.stop), pytest.raises(KeyboardInterrupt):
        context.close()
    let_go.join()
    assert [(info.state, info.reason) for info in store.scan()] == [(StreamState.STOPPED, "shutdown")]
    assert our_threads() == []


def test_interrupted_before_closing_began() -> None:
    """It does so, too, if the loop was busy, and hears of the closing and of the interrupt at the same time."""
    store = MemoryStore()
    goes_on = threading.Event()

    async def endless() -> AsyncIterator[str]:
        yield "a"
        await anyio.sleep_forever()

    async def keep_busy() -> None:
        goes_on.wait(10)

    context = ResumableStreamContext(lambda: MemoryBackend(store), drain_timeout=60.0)
    assert next(opened(context.resumable_stream("s", endless))) == "a"
    loop = context._session.loop()
    loop.tell(keep_busy)

    def go_on_when_interrupted() -> None:
        wait_until(lambda: loop._is_cut_short)
        goes_on.set()

    waiting = InThread(go_on_when_interrupted)
    with interrupted(BackgroundLoop.stop), pytest.raises(KeyboardInterrupt):
        context.close()
    waiting.result()
    assert [(info.state, info.reason) for info in store.scan()] == [(StreamState.STOPPED, "shutdown")]


def test_one_context_for_many_threads(redis_server: Server) -> None:
    """Promise 1: forty threads over two contexts race for one id; one factory runs; all read the same."""
    contexts = [ResumableStreamContext.from_url(redis_server.url, key_prefix="race") for _ in range(2)]
    start = threading.Barrier(40)
    taps = [BlockingTap() for _ in range(40)]

    def race(number: int) -> list[Any]:
        taps[number].end(f"from {number}", "!")
        start.wait()
        return list(opened(contexts[number % 2].resumable_stream("s", taps[number])))

    for attempt in range(5):
        racing = [InThread(lambda number=number: race(number)) for number in range(40)]  # type: ignore[misc]
        texts = [thread.result() for thread in racing]
        (winner,) = (number for number, tap in enumerate(taps) if tap.calls == 1)
        assert texts == [[f"from {winner}", "!"]] * 40
        taps = [BlockingTap() for _ in range(40)]
        assert contexts[attempt % 2].delete("s")
    for context in contexts:
        context.close()


def test_closing_while_threads_use_it() -> None:
    """Whoever uses a context when it is closed gets a result or a clear error; nobody hangs."""
    for _ in range(20):
        context = ResumableStreamContext.from_url("memory://", drain_timeout=0.0)
        context.open()
        outcomes: list[str] = []
        start = threading.Barrier(9)

        def use(number: int, context: ResumableStreamContext, start: threading.Barrier, outcomes: list[str]) -> None:
            start.wait()
            try:
                while True:
                    stream = context.resumable_stream(f"s{number}", lambda: ["a", "b"])
                    outcomes.extend(opened(stream))
            except ContextClosedError:
                outcomes.append("closed")

        using = [
            InThread(lambda number=number, given=(context, start, outcomes): use(number, *given))  # type: ignore[misc]
            for number in range(8)
        ]
        start.wait()
        wait_until(lambda: outcomes)  # noqa: B023  # it is called here
        context.close()
        for thread in using:
            thread.result()
        assert outcomes.count("closed") == 8


def test_bad_input() -> None:
    """Promise 12: what cannot be is refused, as by the asynchronous one."""
    with ResumableStreamContext.from_url("memory://") as context:
        with pytest.raises(InvalidStreamIdError):
            context.resumable_stream("a/b", never)
        bad: Any
        for bad in (None, "text", ["a"]):
            with pytest.raises(InvalidFactoryError):
                context.resumable_stream("s", bad)
        bad = 7
        with pytest.raises(InvalidFactoryError):
            context.resumable_stream("s", never, takeover=bad)
    for backend in (None, 7, Redis(), "http://localhost"):
        with pytest.raises(InvalidSettingError):
            ResumableStreamContext(backend)  # type: ignore[arg-type]
    with pytest.raises(InvalidSettingError):
        ResumableStreamContext.from_url("http://localhost")
    with pytest.raises(InvalidSettingError):
        ResumableStreamContext.from_url("memory://", lease=0)


def test_clients_and_backends(redis_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a backend, what makes one, an asynchronous client, or a URL, of the environment too."""
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    given: list[ResumableStreamContext] = [
        ResumableStreamContext(MemoryBackend()),
        ResumableStreamContext(MemoryBackend),
        ResumableStreamContext(fakeredis.FakeAsyncRedis()),
        ResumableStreamContext.from_url(key_prefix="given", codec=JSONCodec()),
    ]
    for context in given:
        with context:
            assert list(opened(context.resumable_stream("s", lambda: ["a"]))) == ["a"]
            assert context.delete("s")


def test_attached_things_are_entered_before_and_left_after() -> None:
    """What is attached is entered before the context, or by the next call, and left after it, each time."""
    seen: list[str] = []

    class Pool:
        async def __aenter__(self) -> Self:
            seen.append("entered" if not context.is_leaving else "late")
            return self

        async def __aexit__(self, *_: object) -> None:
            seen.append("left")

    async def factory() -> AsyncIterator[str]:
        try:
            yield "a"
            await anyio.sleep_forever()
        finally:
            seen.append("closed")

    context = ResumableStreamContext.from_url("memory://", drain_timeout=0.0)
    pool = Pool()
    assert context.attach(pool)() is pool
    with context:
        assert next(opened(context.resumable_stream("s", factory))) == "a"
        other = context.attach(Pool)
        context.attach(Pool)
        assert seen == ["entered"]
        context.info("s")
        assert seen == ["entered"] * 2
        assert other() is other()
    assert seen == ["entered"] * 2 + ["closed"] + ["left"] * 2
    with context:
        assert seen[5:] == ["entered"] * 2


def test_attached_thing_that_cannot_be_entered() -> None:
    """If it cannot be entered the context is not open, or the call fails; it is tried again by the next one."""

    class Broken:
        attempts = 0

        async def __aenter__(self) -> Self:
            Broken.attempts += 1
            if Broken.attempts < 4:
                raise OSError("no")
            return self

        async def __aexit__(self, *_: object) -> None:
            pass

    context = ResumableStreamContext.from_url("memory://")
    context.attach(Broken)
    for _ in range(2):
        with pytest.raises(OSError, match="no"):
            context.open()
        assert our_threads() == []
    other = ResumableStreamContext.from_url("memory://")
    with other:
        other.attach(Broken)
        with pytest.raises(OSError, match="no"):
            other.info("s")
        assert other.info("s") is None


_SCRIPT = """
import sys, threading, time
from resumable_stream.sync import ResumableStreamContext

context = ResumableStreamContext.from_url(sys.argv[1], key_prefix=sys.argv[2], drain_timeout=float(sys.argv[3]))
goes_on = threading.Event()

def write():
    yield "a"
    goes_on.wait(1.0)
    yield "b"
    goes_on.wait(1.0)
    yield "c"

print(next(context.resumable_stream("s", write)))
if sys.argv[4] == "raise":
    raise SystemExit("over")
"""


@pytest.mark.parametrize(
    ("drain_timeout", "state", "length"), [("20", StreamState.DONE, 3), ("0", StreamState.STOPPED, 1)]
)
@pytest.mark.parametrize("end", ["return", "raise"])
def test_process_that_exits(
    redis_server: Server, drain_timeout: str, state: StreamState, length: int, end: str
) -> None:
    """A process that exits without a word about its context closes it: it waits, and records the ends."""
    arguments = [redis_server.url, f"exit{drain_timeout}{end}", drain_timeout, end]
    done = subprocess.run([sys.executable, "-c", _SCRIPT, *arguments], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("a\n", "over\n" if end == "raise" else "")
    with ResumableStreamContext.from_url(redis_server.url, key_prefix=arguments[1]) as context:
        info = context.info("s")
        assert info is not None
        assert (info.state, info.length) == (state, length)


def test_no_thread_is_started_in_vain() -> None:
    """Making contexts, with all their settings, starts nothing."""
    for _ in range(10):
        ResumableStreamContext.from_url("redis://localhost", lease=1.0, codec=JSONCodec())
    assert our_threads() == []


def test_iterator_that_blocks_does_not_stop_others() -> None:
    """While one factory blocks its thread, others run, and calls are answered."""
    with ResumableStreamContext.from_url("memory://", drain_timeout=0.0) as context:
        blocked = BlockingTap()
        context.resumable_stream("blocked", blocked)

        def quick() -> Iterator[str]:
            yield "a"

        assert list(opened(context.resumable_stream("quick", quick))) == ["a"]
        blocked.end()
        assert list(opened(context.resume_existing_stream("blocked"))) == []

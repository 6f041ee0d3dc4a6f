"""Blocking streams: what is theirs alone. What they share with the asynchronous ones is in `test_same_suite`."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import anyio.lowlevel
import pytest
from typing_extensions import override

from resumable_stream import (
    BlockingCallError,
    ConcurrentReadError,
    ContextClosedError,
    JSONCodec,
    PublisherFailedError,
    StreamState,
)
from resumable_stream.sync import ResumableStream, ResumableStreamContext
from resumable_stream.sync.pulling import Puller
from tests.servers import Server
from tests.streams import factory_of, never
from tests.sync.steering import BlockingTap, InThread, interrupted, wait_until

CHUNKS = [f"{number} " for number in range(1000)]


@pytest.fixture
def context() -> Iterator[ResumableStreamContext]:
    """A context with streams in memory."""
    with ResumableStreamContext.from_url("memory://", drain_timeout=0.0) as made:
        yield made


def opened(stream: ResumableStream[Any] | None) -> ResumableStream[Any]:
    """The stream, which is there."""
    assert stream is not None
    return stream


def is_waiting(stream: ResumableStream[Any]) -> bool:
    """Whether somebody waits for the next block."""
    return stream._blocks._pending is not None


def readers_of(stream: Any) -> int:
    """How many readers a stream has in this process, once the loop has done what it was told."""
    return int(stream._stream._reader.feed.readers)


def settle(context: ResumableStreamContext) -> None:
    """Return when the loop has done what it was told so far."""
    for _ in range(3):
        context.call(anyio.lowlevel.checkpoint)


def test_one_by_one_with_positions_and_in_blocks(context: ResumableStreamContext) -> None:
    """Chunks come one by one, with positions, or as many as are there; the three share one position."""
    assert list(opened(context.resumable_stream("s", lambda: CHUNKS))) == CHUNKS
    stream = opened(context.resume_existing_stream("s"))
    assert (stream.index, stream.event_id) == (0, None)
    assert [next(stream), next(stream)] == CHUNKS[:2]
    event = next(stream.events())
    assert (event.index, event.chunk, stream.index, stream.event_id) == (2, "2 ", 3, event.event_id)
    block = next(stream.blocks())
    assert block.index == 3
    assert [*block.chunks, *stream] == CHUNKS[3:]
    assert (stream.index, stream.state) == (1000, StreamState.DONE)
    assert [*stream, *stream.events(), *stream.blocks()] == []
    assert list(opened(context.resume_existing_stream("s", after=event.event_id))) == CHUNKS[3:]


def test_position_before_the_first_block(context: ResumableStreamContext) -> None:
    """A stream that was resumed knows its position before anything was read."""
    events = list(opened(context.resumable_stream("s", lambda: ["ab", "cd"])).events())
    stream = opened(context.resume_existing_stream("s", after=events[0].event_id))
    assert (stream.index, stream.event_id) == (1, events[0].event_id)
    stream = opened(context.resume_existing_stream("s", skip_characters=3))
    assert (stream.index, next(stream)) == (1, "d")


def test_values() -> None:
    """With a codec chunks are values, or what is logged of them."""
    with ResumableStreamContext.from_url("memory://", codec=JSONCodec()) as context:
        values = [{"a": 1}, [2], "3"]
        assert list(opened(context.resumable_stream("s", lambda: values))) == values
        stream = opened(context.resume_existing_stream("s"))
        assert next(stream) == {"a": 1}
        assert list(next(stream.encoded_blocks()).chunks) == ["[2]", '"3"']
        assert [list(block.chunks) for block in opened(context.resume_existing_stream("s")).blocks()] == [values]


def test_timeout_loses_nothing(context: ResumableStreamContext) -> None:
    """Who waits for so long only gets a `TimeoutError`, and then the next chunk, in each of the ways."""
    tap = BlockingTap("a")
    stream = opened(context.resumable_stream("s", tap))
    assert next(stream) == "a"
    events, blocks = stream.events(timeout=0.02), stream.encoded_blocks(timeout=0.02)
    for waiting in (events, blocks, stream.blocks(timeout=0.0), events):
        with pytest.raises(TimeoutError):
            next(waiting)
    tap.let("b")
    assert next(stream) == "b"
    with pytest.raises(TimeoutError):
        next(blocks)
    tap.end("c")
    assert [event.chunk for event in stream.events(timeout=10)] == ["c"]


def test_interrupt_loses_nothing(context: ResumableStreamContext) -> None:
    """An interrupt while a thread waits is raised at once, and reading may go on."""
    tap = BlockingTap("a")
    stream = opened(context.resumable_stream("s", tap))
    assert next(stream) == "a"
    for _ in range(3):
        with interrupted(Puller.pull), pytest.raises(KeyboardInterrupt):
            next(stream)
    tap.end("b", "c")
    assert list(stream) == ["b", "c"]


class BrokenOff(concurrent.futures.Future[str]):
    """A step that comes to its end just after the first wait for it was broken off."""

    def __init__(self, error: BaseException, end: Callable[[BrokenOff], object]) -> None:
        super().__init__()
        self._error: BaseException | None = error
        self._end = end

    @override
    def result(self, timeout: float | None = None) -> str:
        if self._error is None:
            return super().result(timeout)
        error, self._error = self._error, None
        self._end(self)
        raise error


class Submits:
    """Takes the place of a loop, for one step."""

    is_over = False

    def __init__(self, step: BrokenOff) -> None:
        self._steps = [step]

    def submit(self, _step: object) -> BrokenOff:
        """Return the step."""
        return self._steps.pop()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), concurrent.futures.TimeoutError()])
def test_item_that_comes_after_a_wait_was_broken_off(error: BaseException) -> None:
    """An item that comes while an interrupt or a time-out is on its way up is the next one, and not lost."""
    step = BrokenOff(error, lambda future: future.set_result("b"))
    puller: Puller[str] = Puller(Submits(step), anyio.lowlevel.checkpoint)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else TimeoutError):
        puller.pull(1)
    assert puller.pull(1) == "b"


def test_interrupt_while_the_context_is_closed() -> None:
    """It is raised as what it is, and the next call finds the context closed."""
    step = BrokenOff(KeyboardInterrupt(), lambda future: future.cancel())
    puller: Puller[str] = Puller(Submits(step), anyio.lowlevel.checkpoint)  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        puller.pull()
    with pytest.raises(ContextClosedError):
        puller.pull()


def test_time_out_of_the_step_itself(context: ResumableStreamContext) -> None:
    """What the iterated source raises is its own, and comes once."""

    async def source() -> AsyncIterator[str]:
        yield "a"
        raise TimeoutError("of the source")

    iterator = context.iterate(source())
    assert next(iterator) == "a"
    with pytest.raises(TimeoutError, match="of the source"):
        next(iterator)
    assert list(iterator) == []


def test_forgetting_an_iterator_closes_its_source(context: ResumableStreamContext) -> None:
    """Also one that is no generator."""

    class Source:
        is_closed = False

        def __aiter__(self) -> Source:
            return self

        async def __anext__(self) -> str:
            return "a"

        async def aclose(self) -> None:
            self.is_closed = True

    source = Source()
    iterator = context.iterate(source)
    assert next(iterator) == "a"
    del iterator
    gc.collect()
    settle(context)
    assert source.is_closed


def test_close_ends_a_reader_that_waits(context: ResumableStreamContext) -> None:
    """To close a stream ends what another thread reads of it, and nothing else."""
    tap = BlockingTap("a")
    stream = opened(context.resumable_stream("s", tap))
    assert next(stream) == "a"
    other = opened(context.resume_existing_stream("s", start_index=1))
    waiting: list[tuple[ResumableStream[Any], Any]] = [(stream, stream), (other, other.events())]
    for read, iterator in waiting:
        reading = InThread(partial(list, iterator))
        wait_until(partial(is_waiting, read))
        iterator.close()
        assert reading.result() == []
        iterator.close()
        assert list(iterator) == []
        assert read.index == 1
    tap.end("b")
    assert list(opened(context.resumable_stream("s", never))) == ["a", "b"]


def test_closed_in_the_middle_of_a_block(context: ResumableStreamContext) -> None:
    """What was fetched already is not read any more, and the position stays."""
    list(opened(context.resumable_stream("s", lambda: CHUNKS)))
    with opened(context.resume_existing_stream("s")) as stream:
        assert next(stream) == "0 "
    assert list(stream) == []
    assert stream.index == 1
    assert opened(context.resume_existing_stream("s", after=stream.event_id)).index == 1
    with stream.blocks() as blocks:
        assert list(blocks) == []
    assert repr(stream) == "<ResumableStream 's' subscriber, done, at 1>"


def test_two_threads_reading_one_object(context: ResumableStreamContext) -> None:
    """Two threads at once are refused, in each of the ways; the first is not disturbed."""
    tap = BlockingTap()
    stream = opened(context.resumable_stream("s", tap))
    reading = InThread(lambda: list(stream))
    wait_until(lambda: is_waiting(stream))
    for iterator in (stream, stream.events(), stream.blocks()):
        with pytest.raises(ConcurrentReadError):
            next(iterator)
    tap.end("a", "b")
    assert reading.result() == ["a", "b"]


@pytest.mark.parametrize("is_asked", [False, True])
def test_forgotten_stream_is_released(context: ResumableStreamContext, is_asked: bool) -> None:
    """A stream that nobody holds any more has no reader, also if a step was under way; the factory goes on."""
    tap = BlockingTap("a")
    kept = opened(context.resumable_stream("s", tap))
    assert next(kept) == "a"
    forgotten = opened(context.resume_existing_stream("s", start_index=1))
    if is_asked:
        with pytest.raises(TimeoutError):
            next(forgotten.blocks(timeout=0.0))
    assert readers_of(kept) == 2
    del forgotten
    gc.collect()
    wait_until(lambda: readers_of(kept) == 1)
    tap.end("b")
    assert list(kept) == ["b"]


def test_generator_around_a_stream(context: ResumableStreamContext) -> None:
    """A server of WSGI that closes the generator it was given ends the reader, begun or not."""
    tap = BlockingTap("a")
    kept = opened(context.resumable_stream("s", tap))
    assert next(kept) == "a"

    def response(stream: ResumableStream[str]) -> Iterator[bytes]:
        with stream:
            for chunk in stream:
                yield chunk.encode()

    for is_begun in (True, False):
        body: Any = response(opened(context.resume_existing_stream("s")))
        assert not is_begun or next(body) == b"a"
        assert readers_of(kept) == 2
        body.close()
        del body
        gc.collect()
        wait_until(lambda: readers_of(kept) == 1)
    tap.end()


async def test_not_where_an_event_loop_runs(context: ResumableStreamContext) -> None:
    """What would block an event loop is refused there, and works in a thread; to close a stream never waits."""
    stream = opened(await asyncio.to_thread(context.resumable_stream, "s", lambda: ["a", "b"]))
    for call in (
        lambda: next(stream),
        lambda: context.info("s"),
        lambda: context.resumable_stream("s", never),
        lambda: next(context.list_streams()),
        context.close,
        ResumableStreamContext.from_url("memory://").open,
        lambda: ResumableStreamContext.from_url("memory://").info("s"),
    ):
        with pytest.raises(BlockingCallError, match="to_thread"):
            call()
    assert await asyncio.to_thread(next, stream) == "a"
    stream.close()


def test_not_in_the_loop_of_the_context(context: ResumableStreamContext) -> None:
    """An asynchronous factory that makes a blocking call fails, and does not stop everything."""

    async def factory() -> AsyncIterator[str]:
        yield str(context.info("s"))

    with pytest.raises(PublisherFailedError, match="BlockingCallError"):
        list(opened(context.resumable_stream("s", factory)))


def test_stream_after_its_context(context: ResumableStreamContext) -> None:
    """What there is of a stream in memory is read after the context was closed, too."""
    other = ResumableStreamContext.from_url("memory://", drain_timeout=0.0)
    ended = opened(other.resumable_stream("ended", factory_of(["a", "b"])))
    assert next(ended) == "a"
    tap = BlockingTap("a")
    stopped = opened(other.resumable_stream("stopped", tap))
    assert next(stopped) == "a"
    tap.end()
    other.close()
    assert list(ended) == ["b"]
    assert list(stopped) == []
    stopped.close()


def test_iterating_over_something_else(context: ResumableStreamContext) -> None:
    """An asynchronous iterable is iterated over in the loop, and closed there when the iterator is closed."""
    seen: list[str] = []

    async def letters() -> AsyncIterator[str]:
        try:
            for letter in "abc":
                yield letter
            await anyio.sleep_forever()
        finally:
            await anyio.lowlevel.checkpoint()
            seen.append("closed")

    iterator = context.iterate(letters())
    assert [next(iterator) for _ in range(3)] == ["a", "b", "c"]
    waiting = InThread(lambda: list(iterator))
    wait_until(lambda: not seen)
    with pytest.raises(ConcurrentReadError):
        wait_until(lambda: next(iterator))
    iterator.close()
    assert waiting.result() == []
    settle(context)
    assert seen == ["closed"]
    assert list(iterator) == []
    assert list(context.iterate(factory_of("abc")())) == ["a", "b", "c"]


def test_iterating_when_the_context_is_closed() -> None:
    """Whoever waits for an item when the context is closed is told."""

    async def endless() -> AsyncIterator[str]:
        yield "a"
        await anyio.sleep_forever()

    context = ResumableStreamContext.from_url("memory://")
    iterator = context.iterate(endless())
    assert next(iterator) == "a"
    waiting = InThread(lambda: next(iterator))
    context.close()
    with pytest.raises(ContextClosedError):
        waiting.result()


def test_slow_reader_reads_on_from_the_log(redis_server: Server) -> None:
    """A reader that is far behind gets everything, and holds no more than a block of it."""
    chunks = [f"{number:07} " * 50 for number in range(5000)]
    with ResumableStreamContext.from_url(redis_server.url, key_prefix="slow") as context:
        slow = opened(context.resumable_stream("s", lambda: chunks))
        assert next(slow) == chunks[0]
        assert list(opened(context.resume_existing_stream("s"))) == chunks
        most = 1
        rest = []
        for chunk in slow:
            rest.append(chunk)
            most = max(most, sum(map(len, slow._chunks)))
        assert rest == chunks[1:]
        assert most < 1024 * 1024
        context.delete("s")

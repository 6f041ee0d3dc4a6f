"""One position over one stream."""

from __future__ import annotations

import asyncio
import gc
import math
import weakref
from collections.abc import Coroutine
from typing import Any

import anyio
from typing_extensions import override

from resumable_stream import Limits, ResumableStream, ResumableStreamContext, StreamInfo, StreamState
from resumable_stream._core.packing import pack
from resumable_stream._engine.feed import Feed
from resumable_stream._engine.reader import Reader
from resumable_stream.backends.memory import MemoryBackend
from resumable_stream.types import Append, Claim, End, Page, RawChunk
from tests.streams import Tap, collect, factory_of


def ignore(reader: Reader) -> None:
    """Take it back."""


async def fetched(reader: Reader, deadline: float = math.inf) -> list[RawChunk] | None:
    """What a fetch brings; ``None`` after the last."""
    try:
        return await reader.fetch(lambda _stop, chunks: chunks, deadline)
    except StopAsyncIteration:
        return None


async def test_reader_that_the_log_brought_past_the_window() -> None:
    """A reader that a page of the log brought past blocks that were dropped since reads on, and does not just end."""
    backend = MemoryBackend()
    await backend.acquire("s", Claim("gen", 60, 60, 60))
    for index in range(4):
        await backend.append([Append("s", "gen", 1, index, 1, pack([str(index)]))])
    info = StreamInfo("s", "gen", 1, StreamState.RUNNING, 2, 0.0, None, is_readable=True)
    feed = Feed(info, Limits(window_bytes=1))
    feed.readers = 1
    reader = Reader(backend, feed, 0, page_bytes=1000, outage_timeout=1, give_back=ignore)
    chunks: list[object] = []
    with anyio.fail_after(5):
        while len(chunks) < 4:  # the page has all four, though the feed has heard of two
            chunks += await fetched(reader) or []
        with anyio.move_on_after(0.01):
            await fetched(reader)
        for index in range(2, 5):  # now the feed hears of them, and of one more, and drops each for the next
            feed.offer(index, [str(index)], 1)
        feed.finish(End(StreamState.DONE))
        while more := await fetched(reader):
            chunks += more
    assert chunks == list("01234")


def make_reader() -> Reader:
    """A reader at the start of a stream that has nothing yet."""
    info = StreamInfo("s", "gen", 1, StreamState.RUNNING, 0, 0.0, None, is_readable=True)
    return Reader(MemoryBackend(), Feed(info, Limits()), 0, page_bytes=1000, outage_timeout=1, give_back=ignore)


async def test_what_is_there_comes_before_the_word_that_nothing_is() -> None:
    """However late it is, chunks that are there come first; a block without any comes only if there are none."""
    reader = make_reader()
    past = anyio.current_time() - 1
    reader.feed.offer(0, ["a"], 1)
    assert await fetched(reader, past) == ["a"]
    assert await fetched(reader, past) == []
    reader.feed.call(reader)  # nobody waits
    waiting = asyncio.ensure_future(fetched(reader, anyio.current_time() + 0.01))
    await asyncio.sleep(0)
    reader.feed.offer(1, ["b"], 1)
    reader._on_alarm()
    assert await waiting == ["b"]


async def test_readers_that_leave_while_all_are_called() -> None:
    """The garbage collector may close readers in the midst of that: the others are called nevertheless."""
    reader = make_reader()
    others = [
        Reader(MemoryBackend(), reader.feed, 0, page_bytes=1000, outage_timeout=1, give_back=ignore) for _ in range(3)
    ]

    class Collecting(asyncio.Future[None]):
        """As if the collector came just then."""

        @override
        def set_result(self, result: None) -> None:
            for other in others[:2]:
                other.close()
            super().set_result(result)

    reader.feed._waiting[object()] = Collecting()
    waiting = [asyncio.ensure_future(fetched(each)) for each in (reader, *others)]
    await asyncio.sleep(0)
    reader.feed.offer(0, ["a"], 1)
    assert await asyncio.gather(*waiting) == [["a"], None, None, ["a"]]


async def test_alarm_of_an_earlier_read_is_not_set_anew_for_one_without_a_deadline() -> None:
    """It would be set for ever."""
    reader = make_reader()
    with anyio.move_on_after(0.001):
        await fetched(reader, anyio.current_time() + 60)
    waiting = asyncio.ensure_future(fetched(reader))
    await asyncio.sleep(0)
    reader._on_alarm()
    assert reader._alarm is None
    reader.feed.offer(0, ["a"], 1)
    assert await waiting == ["a"]


async def test_a_read_that_was_broken_off_is_forgotten() -> None:
    """A stream that is forgotten after its read was cancelled, or closed, leaves nothing behind, long as it may run."""
    async with ResumableStreamContext(MemoryBackend(), drain_timeout=0) as context:
        for break_off in (_cancel, _close):
            stream = await context.resumable_stream("s", Tap())
            assert stream is not None
            seen = weakref.ref(stream._reader)
            await break_off(anext(stream))
            del stream
            for _ in range(3):  # it is given back on the loop
                gc.collect()
                await asyncio.sleep(0)
            assert seen() is None


async def _cancel(read: Coroutine[Any, Any, str]) -> None:
    with anyio.move_on_after(0.01):
        await read


async def _close(read: Coroutine[Any, Any, str]) -> None:
    read.send(None)
    read.close()  # which is no cancellation


async def test_first_page_is_a_small_one() -> None:
    """Whoever joins late has something soon, and the rest in pages of the size that is set."""
    asked: list[int] = []

    class Asked(MemoryBackend):
        @override
        async def read(self, stream_id: str, start: int, max_bytes: int) -> Page | None:
            asked.append(max_bytes)
            return await super().read(stream_id, start, max_bytes)

    limits = Limits(page_bytes=64 * 1024, pending_bytes=1024)
    whole = ["x" * 1000] * 200
    async with ResumableStreamContext(Asked(), limits=limits) as context:
        assert await collect(await context.resumable_stream("s", factory_of(whole))) == whole
        asked.clear()
        assert await collect(await context.resume_existing_stream("s")) == whole
        first, *others = asked
        assert (first, set(others)) == (32 * 1024, {64 * 1024})


def test_a_stream_that_was_not_made() -> None:
    """What could not be made, for want of a loop, is forgotten without a complaint."""
    made = ResumableStream.__new__(ResumableStream)
    made.__del__()

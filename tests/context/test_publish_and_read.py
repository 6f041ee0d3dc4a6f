"""Publishing and reading, over every store."""

from __future__ import annotations

import copy
import gc
import json
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from typing import Any

import anyio
import pytest
from typing_extensions import override

from resumable_stream import (
    ConcurrentReadError,
    Factory,
    InvalidFactoryError,
    InvalidStreamIdError,
    JSONCodec,
    PublisherFailedError,
    ResumableStreamContext,
    StreamExistsError,
    StreamGoneError,
    StreamRole,
    StreamState,
)
from resumable_stream.backends.memory import MemoryBackend
from resumable_stream.types import Acquired, Claim
from tests.stores import Store
from tests.streams import Tap, collect, collect_until_error, factory_of, never, take


async def test_first_caller_publishes_later_ones_subscribe(store: Store) -> None:
    """The first caller's factory runs; a later one's does not, here and elsewhere; all get all chunks."""
    async with store.make_context() as here, store.make_context() as elsewhere:
        tap = Tap("Hello")
        first = await here.resumable_stream("s", tap)
        second = await here.resumable_stream("s", never)
        third = await elsewhere.resumable_stream("s", never)
        assert first is not None
        assert second is not None
        assert third is not None
        assert [stream.role for stream in (first, second, third)] == ["publisher", "subscriber", "subscriber"]
        assert first.role is StreamRole.PUBLISHER
        assert [await take(stream, 1) for stream in (first, second, third)] == [["Hello"]] * 3
        assert [stream.state for stream in (first, second, third)] == [StreamState.RUNNING] * 3
        tap.end(" ", "world")
        assert [await collect(stream) for stream in (first, second, third)] == [[" ", "world"]] * 3
        assert [stream.state for stream in (first, second, third)] == [StreamState.DONE] * 3
        assert tap.calls == 1


async def test_exactly_one_factory_runs(store: Store) -> None:
    """Promise 1: however many callers race, exactly one factory runs, and all read the same."""
    taps = [Tap() for _ in range(30)]
    texts: list[list[str]] = []

    async def race(number: int) -> None:
        taps[number].end(f"from {number}", "!")
        texts.append(await collect(await contexts[number % 3].resumable_stream("s", taps[number])))

    async with store.make_context() as a, store.make_context() as b, store.make_context() as c:
        contexts = (a, b, c)
        async with anyio.create_task_group() as tasks:
            for number in range(30):
                tasks.start_soon(race, number)
    winners = [number for number, tap in enumerate(taps) if tap.calls]
    assert len(winners) == 1
    assert texts == [[f"from {winners[0]}", "!"]] * 30


async def test_ended_stream_is_replayed(store: Store) -> None:
    """A stream that is done is replayed to whoever comes later, also after its publisher's process has gone."""
    async with store.make_context() as gone:
        await collect(await gone.resumable_stream("s", factory_of(["a", "b"])))
    async with store.make_context() as context:
        assert await collect(await context.resumable_stream("s", never)) == ["a", "b"]
        assert await collect(await context.resume_existing_stream("s")) == ["a", "b"]


async def test_chunks_come_as_they_were_made(store: Store) -> None:
    """Boundaries, empty chunks, emoji, lone surrogates and line breaks survive, for the first caller and for others."""
    chunks = ["", "a", "", "\r\n\n", "👩‍👩‍👧", "\ud83d", "\ude00", "\x00", "x" * 70_000, "Ω" * 300]
    async with store.make_context() as here, store.make_context() as elsewhere:
        assert await collect(await here.resumable_stream("s", factory_of(chunks))) == chunks
        assert await collect(await elsewhere.resumable_stream("s", never)) == chunks


async def test_bytes(store: Store) -> None:
    """Chunks of bytes come as bytes."""
    chunks = [b"\xff\x00", b"", bytes(range(256))]
    async with store.make_context() as context:
        assert await collect(await context.resumable_stream("s", factory_of(chunks))) == chunks
        assert await collect(await context.resumable_stream("s", never)) == chunks


async def test_json(store: Store) -> None:
    """With the JSON codec chunks are values, and each reader gets objects of its own."""
    values = [{"type": "text", "delta": "ü\n"}, [1, 2.5, None, True], "text", 0]
    async with store.make_context(codec=JSONCodec()) as here, store.make_context(codec=JSONCodec()) as elsewhere:
        first = await collect(await here.resumable_stream("s", factory_of(values)))
        second = await collect(await elsewhere.resumable_stream("s", never))
    assert first == second == values
    assert first[0] is not second[0]
    assert first[0] is not values[0]


async def test_value_that_is_no_json(store: Store) -> None:
    """A value that the codec refuses fails the stream; what came before it stays."""
    async with store.make_context(codec=JSONCodec()) as context:
        chunks, error = await collect_until_error(await context.resumable_stream("s", factory_of([1, object(), 2])))
    assert chunks == [1]
    assert isinstance(error, PublisherFailedError)
    assert error.error_type == "TypeError"


async def test_events_and_blocks(store: Store) -> None:
    """Chunks come one by one, with positions, or as many as are there; the three share one position."""
    async with store.make_context() as context:
        await collect(await context.resumable_stream("s", factory_of("abcdefgh")))
        stream = await context.resume_existing_stream("s")
        assert stream is not None
        assert (stream.index, stream.event_id) == (0, None)
        assert await take(stream, 2) == ["a", "b"]
        event_id, index, chunk = await anext(stream.events())
        assert (index, chunk, stream.index, stream.event_id) == (2, "c", 3, event_id)
        block = await anext(stream.blocks())
        assert (block.index, list(block.chunks)) == (3, list("defgh"))
        assert stream.event_id == block.event_id
        assert [event async for event in stream.events()] == []
        assert [block async for block in stream.blocks()] == []
        assert await collect(await context.resume_existing_stream("s", after=event_id)) == list("defgh")
        assert await collect(await context.resume_existing_stream("s", after=block.event_id)) == []


async def test_failed_factory(store: Store) -> None:
    """Promise 5: readers of a failed stream get all its chunks, and then type and message of what was raised."""

    async def factory() -> AsyncIterator[str]:
        yield "a"
        raise LookupError("no such model: é")

    async with store.make_context() as here, store.make_context() as elsewhere:
        first, later = await here.resumable_stream("s", factory), await elsewhere.resumable_stream("s", never)
        for stream in (first, later, await elsewhere.resumable_stream("s", never)):
            chunks, error = await collect_until_error(stream)
            assert chunks == ["a"]
            assert isinstance(error, PublisherFailedError)
            assert (error.stream_id, error.error_type, error.error_message) == ("s", "LookupError", "no such model: é")
            assert stream is not None
            assert stream.state is StreamState.FAILED
            again = await collect_until_error(stream)
            assert (again[0], type(again[1]), str(again[1])) == ([], type(error), str(error))
        info = await elsewhere.info("s")
        assert info is not None
        assert (info.state, info.error_type, info.length) == (StreamState.FAILED, "LookupError", 1)


async def test_local_readers_get_the_original_exception(store: Store) -> None:
    """Where the factory raised, the reader's error names the original exception as its cause."""
    original = ValueError("x")
    async with store.make_context() as context:
        tap = Tap("a", original)
        _, error = await collect_until_error(await context.resumable_stream("s", tap))
        assert error.__cause__ is original


async def test_failure_is_logged_without_text(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """That a factory failed is logged once, with the type of its exception; texts are for who turns on debugging."""
    caplog.set_level("INFO", logger="resumable_stream")
    async with store.make_context() as context:
        await collect_until_error(await context.resumable_stream("s", Tap("a", ValueError("the user's words"))))
    assert caplog.messages == ["the factory of stream s raised ValueError"]
    assert "words" not in caplog.text


async def test_long_error_messages_are_cut(store: Store) -> None:
    """Of an exception's text, 2,000 characters are kept."""
    async with store.make_context() as context:
        _, error = await collect_until_error(await context.resumable_stream("s", Tap(ValueError("x" * 10_000))))
    assert isinstance(error, PublisherFailedError)
    assert error.error_message == "x" * 2000


async def test_cancelled_error_of_the_factory(store: Store) -> None:
    """A factory that awaits something cancelled has failed; its stream does not stay running, nor do others end."""

    async def factory() -> AsyncIterator[str]:
        yield "a"
        raise anyio.get_cancelled_exc_class()

    async with store.make_context() as context:
        other = Tap("x")
        others = await context.resumable_stream("other", other)
        chunks, error = await collect_until_error(await context.resumable_stream("s", factory))
        assert chunks == ["a"]
        assert isinstance(error, PublisherFailedError)
        assert error.error_type.endswith("CancelledError")
        other.end("y")
        assert await collect(others) == ["x", "y"]


async def test_nothing_yielded(store: Store) -> None:
    """A factory that yields nothing makes a stream that is done and empty."""
    async with store.make_context() as context:
        assert await collect(await context.resumable_stream("s", factory_of([]))) == []
        assert await collect(await context.resumable_stream("s", never)) == []
        assert await context.has_existing_stream("s") is StreamState.DONE


async def test_kinds_of_factories(store: Store) -> None:
    """A factory may return an async iterable, a plain one, or an awaitable of one of them."""

    async def coroutine() -> AsyncIterator[str]:
        return factory_of(["a", "b"])()

    async def of_a_list() -> list[str]:
        return ["a", "b"]

    def generator() -> Iterator[str]:
        yield "a"
        yield "b"

    async with store.make_context() as context:
        factories: list[Factory[str]] = [factory_of(["a", "b"]), coroutine, of_a_list, generator, lambda: ("a", "b")]
        for number, factory in enumerate(factories):
            assert await collect(await context.resumable_stream(f"s{number}", factory)) == ["a", "b"]


@pytest.mark.parametrize("made", [None, 7, "text", b"bytes", {"a": 1}])
async def test_factory_that_makes_something_else(store: Store, made: Any) -> None:
    """What cannot be iterated over, or is one chunk and not many, fails the stream with a clear error."""
    async with store.make_context() as context:
        chunks, error = await collect_until_error(await context.resumable_stream("s", lambda: made))
        assert chunks == []
        assert isinstance(error, PublisherFailedError)
        assert error.error_type == "resumable_stream.exceptions.InvalidFactoryError"


async def test_factory_that_raises_at_once(store: Store) -> None:
    """A factory that raises when it is called fails the stream, and not the caller."""

    def factory() -> AsyncIterator[str]:
        raise OSError("no network")

    async with store.make_context() as context:
        _, error = await collect_until_error(await context.resumable_stream("s", factory))
        assert isinstance(error, PublisherFailedError)
        assert error.error_type == "OSError"


@pytest.mark.parametrize("chunk", [7, None, {"a": 1}, b"bytes"])
async def test_chunk_of_the_wrong_type(store: Store, chunk: object) -> None:
    """It is not written, the chunks before it are kept, the factory is closed, and other streams go on."""
    async with store.make_context() as context:
        healthy = Tap("x")
        healthy_stream = await context.resumable_stream("healthy", healthy)
        tap = Tap("a", chunk, "never")
        chunks, error = await collect_until_error(await context.resumable_stream("s", tap))
        assert chunks == ["a"]
        assert isinstance(error, PublisherFailedError)
        assert error.error_type == "resumable_stream.exceptions.InvalidChunkError"
        assert tap.is_closed.is_set()
        healthy.end("y")
        assert await collect(healthy_stream) == ["x", "y"]


async def test_create_new(store: Store) -> None:
    """A new stream is published; an id that is taken is an error, and the factory is not called."""
    async with store.make_context() as context:
        assert await collect(await context.create_new_resumable_stream("s", factory_of(["a"]))) == ["a"]
        with pytest.raises(StreamExistsError) as caught:
            await context.create_new_resumable_stream("s", never)
        assert caught.value.stream_id == "s"


async def test_resume_existing(store: Store) -> None:
    """An unknown stream is `None`; a running one is followed."""
    async with store.make_context() as here, store.make_context() as elsewhere:
        assert await elsewhere.resume_existing_stream("s") is None
        assert await elsewhere.has_existing_stream("s") is None
        assert await elsewhere.info("s") is None
        tap = Tap("a")
        await here.resumable_stream("s", tap)
        stream = await elsewhere.resume_existing_stream("s")
        assert await elsewhere.has_existing_stream("s") is StreamState.RUNNING
        tap.end("b")
        assert await collect(stream) == ["a", "b"]


async def test_list_streams(store: Store) -> None:
    """Streams are listed with their states."""
    async with store.make_context() as context:
        await context.resumable_stream("running", Tap("a"))
        await collect(await context.resumable_stream("done", factory_of(["a", "b"])))
        listed = {info.stream_id: (info.state, info.length) async for info in context.list_streams()}
        assert listed["done"] == (StreamState.DONE, 2)
        assert listed["running"][0] is StreamState.RUNNING
        assert len(listed) == 2


async def test_delete(store: Store) -> None:
    """Deleting cancels the factory, tells the readers, and frees the id."""
    async with store.make_context() as here, store.make_context() as elsewhere:
        tap = Tap("a")
        local = await here.resumable_stream("s", tap)
        remote = await elsewhere.resumable_stream("s", never)
        assert [await take(local, 1), await take(remote, 1)] == [["a"], ["a"]]
        assert await elsewhere.delete("s") is True
        assert await elsewhere.delete("s") is False
        tap.let("refused")
        for stream in (local, remote):
            chunks, error = await collect_until_error(stream)
            assert type(error) is StreamGoneError
            # A publisher that learns of it by the refusal hands on what it has to its own readers.
            assert chunks == [] or (stream is local and chunks == ["refused"])
        with anyio.fail_after(5):
            await tap.is_closed.wait()
        assert await collect(await here.resumable_stream("s", factory_of(["new"]))) == ["new"]


async def test_request_does_not_own_the_run(store: Store) -> None:
    """Promise 2: a caller that is cancelled, or forgets its stream, changes nothing for the run and other readers."""
    tap = Tap("a")
    async with store.make_context() as context:
        async with anyio.create_task_group() as request:

            async def handle() -> None:
                await collect(await context.resumable_stream("s", tap))

            request.start_soon(handle)
            other = await context.resumable_stream("s", tap)
            assert await take(other, 1) == ["a"]
            request.cancel_scope.cancel()
        forgotten = await context.resumable_stream("s", never)
        del forgotten
        gc.collect()
        tap.end("b")
        assert await collect(other) == ["b"]
        assert tap.calls == 1


async def test_factory_sees_the_context_variables_of_its_caller(store: Store) -> None:
    """What a request put into context variables, such as a trace id, is there in its factory."""
    variable = ContextVar("variable", default="none")

    async def factory() -> AsyncIterator[str]:
        yield variable.get()

    async with store.make_context() as context:
        variable.set("of the request")
        assert await collect(await context.resumable_stream("s", factory)) == ["of the request"]


async def test_cancelled_read_loses_nothing(store: Store) -> None:
    """Reading goes on after a read was cancelled, with the next chunk, in each of the three ways."""
    async with store.make_context() as here, store.make_context() as elsewhere:
        tap = Tap()
        streams = [await here.resumable_stream("s", tap), await elsewhere.resumable_stream("s", never)]
        iterators: list[Any] = []
        for stream in streams:
            assert stream is not None
            iterators += [stream, stream.events(), stream.blocks()]
            for iterator in iterators[-3:]:
                with anyio.move_on_after(0.02):
                    await anext(iterator)
        tap.end("a", "b", "c")
        for whole, events, blocks in (iterators[:3], iterators[3:]):
            assert await anext(whole) == "a"
            assert (await anext(events)).chunk == "b"
            assert (await anext(blocks)).chunks == ["c"]


async def test_closed_reader(store: Store) -> None:
    """A closed reader ends at once, keeps its position, and may be closed twice; the stream goes on."""
    async with store.make_context() as context:
        tap = Tap("a", "b")
        stream = await context.resumable_stream("s", tap)
        assert stream is not None
        async with stream:
            assert await take(stream, 1) == ["a"]
        await stream.aclose()
        assert await collect(stream) == []
        assert stream.index == 1
        tap.end()
        assert await collect(await context.resumable_stream("s", never)) == ["a", "b"]


async def test_two_tasks_reading_one_object(store: Store) -> None:
    """Two tasks at once are refused; the first is not disturbed."""
    async with store.make_context() as context:
        tap = Tap()
        stream = await context.resumable_stream("s", tap)
        assert stream is not None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(collect, stream)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(ConcurrentReadError):
                await anext(stream)
            tap.end("a")
        assert "subscriber" not in repr(stream)
        assert repr(stream) == "<ResumableStream 's' publisher, done, at 1>"


class NoBackend(MemoryBackend):
    """Fails at whatever it is asked for."""

    @override
    async def acquire(self, stream_id: str, claim: Claim) -> Acquired:
        raise AssertionError("the store was asked")

    @override
    async def delete(self, stream_id: str) -> bool:
        raise AssertionError("the store was asked")


@pytest.mark.parametrize("stream_id", ["", "a/b", "{a}", "a" * 257, None, 7])
async def test_bad_ids(stream_id: Any) -> None:
    """Promise 12: an id that is none is refused by every method, before any I/O."""
    async with ResumableStreamContext(NoBackend()) as context:
        for call in (
            lambda: context.resumable_stream(stream_id, never),
            lambda: context.create_new_resumable_stream(stream_id, never),
            lambda: context.resume_existing_stream(stream_id),
            lambda: context.has_existing_stream(stream_id),
            lambda: context.info(stream_id),
            lambda: context.delete(stream_id),
        ):
            with pytest.raises(InvalidStreamIdError):
                await call()


@pytest.mark.parametrize("factory", [None, "text", ["a"], factory_of(["a"])()])
async def test_factory_that_is_not_callable(factory: Any) -> None:
    """A factory that cannot be called is refused, before any I/O: a generator in place of its function too."""
    async with ResumableStreamContext(NoBackend()) as context:
        for method in (context.resumable_stream, context.create_new_resumable_stream):
            with pytest.raises(InvalidFactoryError):
                await method("s", factory)


async def test_blocks_can_be_had_as_they_are_logged(store: Store) -> None:
    """Encoded blocks have what the codec wrote, with the same positions; both forms share one position."""
    values = [{"word": "ä"}, {"word": "b"}, {"word": "c"}]
    async with store.make_context(codec=JSONCodec()) as context:
        stream = await context.resumable_stream("s", factory_of(values))
        assert await take(stream, 1) == values[:1]
        assert stream is not None
        encoded: list[Any] = []
        async for block in stream.encoded_blocks():
            assert block.index == len(encoded) + 1
            encoded += block.chunks
        assert encoded == ['{"word":"b"}', '{"word":"c"}']
        assert block.event_id == stream.event_id


async def test_chunk_that_the_codec_cannot_read(store: Store) -> None:
    """It is an error each time that it is read, and nothing is lost: what is logged can be had as it is."""
    async with store.make_context() as context:
        await collect(await context.resumable_stream("s", factory_of(["1", "{", "2"])))
    async with store.make_context(codec=JSONCodec()) as context:
        stream = await context.resume_existing_stream("s")
        assert stream is not None
        for _ in range(2):
            with pytest.raises(json.JSONDecodeError):
                await anext(stream.blocks())
        assert (stream.index, await anext(stream)) == (0, 1)
        for read in (stream.__anext__, stream.blocks().__anext__, stream.__anext__):
            with pytest.raises(json.JSONDecodeError):
                await read()
        assert (await anext(stream.encoded_blocks()))[1:] == (1, ["{", "2"])


async def test_iterators_keep_their_stream(store: Store) -> None:
    """A stream that is only read as blocks, or as events, is not forgotten."""
    for kind in ("blocks", "encoded_blocks", "events"):
        async with store.make_context() as here, store.make_context() as elsewhere:
            tap = Tap()
            await here.resumable_stream(kind, tap)
            stream = await elsewhere.resume_existing_stream(kind)
            iterator: Any = getattr(stream, kind)()
            del stream
            tap.let("a")
            assert list((await anext(iterator))[-1]) == ["a"]
            gc.collect()
            await anyio.sleep(0.01)  # it would be given back on the loop
            tap.end("b")
            with anyio.fail_after(5):  # nobody would tell it
                assert list((await anext(iterator))[-1]) == ["b"]


async def test_context_says_whether_it_is_being_left(store: Store) -> None:
    """A factory that is cancelled because the context is left can know that; before and after, it is not being left."""
    seen: list[bool] = []
    context = store.make_context()

    async def factory() -> AsyncIterator[str]:
        seen.append(context.is_leaving)
        try:
            yield "a"
            await anyio.sleep_forever()
        finally:
            seen.append(context.is_leaving)

    async with context:
        await take(await context.resumable_stream("s", factory), 1)
    assert [*seen, context.is_leaving] == [False, True, False]


async def test_a_stream_is_one_position() -> None:
    """It cannot be copied: it would be given back twice, and its readers would be miscounted."""
    async with ResumableStreamContext(MemoryBackend()) as context:
        stream = await context.resumable_stream("s", factory_of(["a"]))
        with pytest.raises(TypeError, match="cannot be copied"):
            copy.copy(stream)
        assert await collect(stream) == ["a"]

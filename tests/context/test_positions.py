"""Starting in the middle, over every store."""

from __future__ import annotations

from typing import Any

import pytest

from resumable_stream import InvalidPositionError, JSONCodec
from tests.stores import Store
from tests.streams import Tap, collect, factory_of, never, take

CHUNKS = ["Hel", "", "lo, ", "wörld", "👋", "!"]
TEXT = "".join(CHUNKS)


@pytest.mark.parametrize("is_running", [True, False])
async def test_every_position_of_every_form(store: Store, is_running: bool) -> None:
    """Promise 4: for each position, what was seen and what a resume yields are the whole stream; live and ended."""
    async with store.make_context() as here, store.make_context() as elsewhere:
        tap = Tap(*CHUNKS)
        if not is_running:
            tap.end()
        first = await here.resumable_stream("s", tap)
        assert first is not None
        events = [await anext(first.events()) for _ in CHUNKS]
        positions: list[tuple[str, dict[str, Any]]] = [
            *(("".join(CHUNKS[:index]), {"start_index": index}) for index in range(len(CHUNKS) + 1)),
            *(("".join(CHUNKS[:-count]), {"start_index": -count}) for count in range(1, len(CHUNKS) + 1)),
            ("", {"start_index": -100}),
            *((TEXT[:count], {"skip_characters": count}) for count in range(len(TEXT) + 1)),
            *(("".join(CHUNKS[: index + 1]), {"after": event_id}) for event_id, index, _ in events),
        ]
        streams = []
        for context in (here, elsewhere):
            for seen, position in positions:
                streams.append((seen, await context.resume_existing_stream("s", **position)))
                if position != {}:
                    streams.append((seen, await context.resumable_stream("s", never, **position)))
        tap.end()
        for seen, stream in streams:
            assert seen + "".join(await collect(stream)) == TEXT


async def test_index_of_a_chunk_that_was_partly_skipped(store: Store) -> None:
    """The rest of a chunk has the chunk's index and event id."""
    async with store.make_context() as context:
        await collect(await context.resumable_stream("s", factory_of(CHUNKS)))
        whole = await context.resume_existing_stream("s")
        rest = await context.resume_existing_stream("s", skip_characters=4)
        assert whole is not None
        assert rest is not None
        events = [event async for event in whole.events()]
        first = await anext(rest.events())
        assert (first.index, first.chunk, first.event_id) == (2, "o, ", events[2].event_id)


@pytest.mark.parametrize(
    "position",
    [
        {"start_index": 7},
        {"start_index": 10**12},
        {"skip_characters": len(TEXT) + 1},
        {"after": "0-0"},
        {"after": "nonsense"},
        {"start_index": 0, "skip_characters": 0},
        {"start_index": "1"},
        {"skip_characters": -1},
    ],
)
@pytest.mark.parametrize("is_running", [True, False])
async def test_bad_positions(store: Store, position: dict[str, Any], is_running: bool) -> None:
    """Promise 12: a position that cannot be is a clear error, and harms neither the stream nor its readers."""
    async with store.make_context() as here, store.make_context() as elsewhere:
        tap = Tap(*CHUNKS)
        if not is_running:
            tap.end()
        reader = await here.resumable_stream("s", tap)
        assert await take(reader, len(CHUNKS)) == CHUNKS
        for context in (here, elsewhere):
            with pytest.raises(InvalidPositionError):
                await context.resume_existing_stream("s", **position)
            with pytest.raises(InvalidPositionError):
                await context.resumable_stream("s", never, **position)
        tap.end()
        assert await collect(reader) == []
        assert await collect(await elsewhere.resumable_stream("s", never)) == CHUNKS


@pytest.mark.parametrize("position", [{"start_index": 1}, {"skip_characters": 1}, {"after": "abc-0"}])
async def test_position_in_a_stream_that_does_not_exist(store: Store, position: dict[str, Any]) -> None:
    """Who has seen something of an unknown stream is wrong: nothing is created, the factory is not called."""
    async with store.make_context() as context:
        with pytest.raises(InvalidPositionError):
            await context.resumable_stream("s", never, **position)
        assert await context.has_existing_stream("s") is None
        assert await context.resume_existing_stream("s", **position) is None


@pytest.mark.parametrize("position", [{"start_index": 0}, {"start_index": -5}, {"skip_characters": 0}])
async def test_the_start_of_a_new_stream(store: Store, position: dict[str, Any]) -> None:
    """A position that is the start fits a stream that is made by this call."""
    async with store.make_context() as context:
        assert await collect(await context.resumable_stream("s", factory_of(["a"]), **position)) == ["a"]


async def test_event_id_of_an_older_stream(store: Store) -> None:
    """An event id of a deleted stream is recognised when the name is used again."""
    async with store.make_context() as context:
        old = await context.resumable_stream("s", factory_of(["a", "b"]))
        assert old is not None
        await collect(old)
        await context.delete("s")
        await collect(await context.resumable_stream("s", factory_of(["c", "d"])))
        with pytest.raises(InvalidPositionError, match="older stream"):
            await context.resume_existing_stream("s", after=old.event_id)


async def test_only_text_has_characters(store: Store) -> None:
    """Characters of bytes and of JSON values cannot be skipped."""
    async with store.make_context() as context, store.make_context(codec=JSONCodec()) as of_json:
        await collect(await context.resumable_stream("bytes", factory_of([b"abc"])))
        await collect(await of_json.resumable_stream("json", factory_of([1, 2])))
        with pytest.raises(InvalidPositionError):
            await context.resume_existing_stream("bytes", skip_characters=1)
        with pytest.raises(InvalidPositionError):
            await of_json.resume_existing_stream("json", skip_characters=1)


async def test_joining_while_chunks_come(store: Store) -> None:
    """Twenty readers who join one after the other, while chunks come, all get all of them (resumable-stream#41)."""
    async with store.make_context() as here, store.make_context() as elsewhere:
        tap = Tap()
        streams = [await here.resumable_stream("s", tap)]
        for number in range(20):
            tap.let(*(f"{number}.{part} " for part in range(5)))
            streams.append(await elsewhere.resumable_stream("s", never))
            streams.append(await here.resumable_stream("s", never))
        tap.end("the end")
        whole = [f"{number}.{part} " for number in range(20) for part in range(5)] + ["the end"]
        for stream in streams:
            assert await collect(stream) == whole

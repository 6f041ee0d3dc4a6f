"""Promise 9: what remains of a stream after its end."""

from __future__ import annotations

import pytest

from resumable_stream import StreamExistsError, StreamGoneError, StreamState
from tests.stores import InMemory, Store
from tests.streams import Tap, collect, factory_of, never, take


async def test_retention_then_tombstone_then_free() -> None:
    """For the retention it is read; for the tombstone the factory is not run again; then the id is free."""
    store = InMemory()
    async with store.make_context(retention=100, tombstone=1000) as context:
        await collect(await context.resumable_stream("s", factory_of(["a"])))
        await store.advance(99)
        assert await collect(await context.resumable_stream("s", never, start_index=0)) == ["a"]
        await store.advance(1)
        assert await context.resumable_stream("s", never) is None
        assert await context.resumable_stream("s", never, start_index=1) is None
        assert await context.resume_existing_stream("s") is None
        assert await context.has_existing_stream("s") is StreamState.DONE
        with pytest.raises(StreamExistsError):
            await context.create_new_resumable_stream("s", never)
        await store.advance(1000)
        assert await context.has_existing_stream("s") is None
        assert await collect(await context.resumable_stream("s", factory_of(["again"]))) == ["again"]


async def test_no_retention(store: Store) -> None:
    """With retention 0 a stream is `None` as soon as it is done, but those who read it get all of it."""
    async with store.make_context(retention=0) as here, store.make_context(retention=0) as elsewhere:
        tap = Tap("a")
        readers = [await here.resumable_stream("s", tap)]
        readers += [await context.resumable_stream("s", never) for context in (here, elsewhere)]
        tap.end("b")
        assert await collect(readers[0]) == ["a", "b"]
        assert await here.resumable_stream("s", never) is None
        assert await elsewhere.resume_existing_stream("s") is None
        assert await elsewhere.has_existing_stream("s") is StreamState.DONE
        assert [await collect(reader) for reader in readers[1:]] == [["a", "b"]] * 2


async def test_reader_that_is_slower_than_the_retention() -> None:
    """A reader that comes back when the chunks are gone gets a clear error, not a shorter text."""
    store = InMemory()
    async with store.make_context(retention=10) as context:
        await collect(await context.resumable_stream("s", factory_of(["a", "b", "c"])))
        stream = await context.resume_existing_stream("s", start_index=1)
        await store.advance(10_000)
        with pytest.raises(StreamGoneError):
            await take(stream, 1)

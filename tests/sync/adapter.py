"""The asynchronous API over the blocking twin, so that the tests of the one are tests of the other."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from typing_extensions import Self, override

from resumable_stream import StreamBackend, sync
from resumable_stream.backends.redis import RedisBackend
from tests.stores import InRedis
from tests.streams import Tap

T = TypeVar("T")

_END: Any = object()


class Threads:
    """Runs each call in a thread, of which there are enough."""

    def __init__(self) -> None:
        self._limiter = anyio.CapacityLimiter(200)

    async def run(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Return what it returns. A cancelled call goes on by itself."""
        made = partial(call, *args, **kwargs)
        return await anyio.to_thread.run_sync(made, abandon_on_cancel=True, limiter=self._limiter)


class BlockingStore(InRedis):
    """A real server, over which contexts are blocking ones."""

    def __init__(self, url: str, *, factories_block: bool) -> None:
        super().__init__(url)
        self._bridged = blocking if factories_block else asynchronous

    @override
    def make_context(self, **settings: Any) -> Any:
        context = sync.ResumableStreamContext(self.make_backend, **({"drain_timeout": 0.0} | settings))
        return BlockingContext(context, self._bridged)

    @override
    def make_backend(self) -> StreamBackend:
        return RedisBackend(self.url, key_prefix=self.prefix)


class BlockingContext:
    """What looks like a context, and calls a blocking one in threads."""

    def __init__(self, context: sync.ResumableStreamContext, bridged: Callable[[Any], Any]) -> None:
        self._context = context
        self._bridged = bridged
        self._threads = Threads()

    async def __aenter__(self) -> Self:
        await self._threads.run(self._context.open)
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            await self._threads.run(self._context.close)

    @property
    def is_leaving(self) -> bool:
        """Whether it is being left."""
        return self._context.is_leaving

    async def resumable_stream(
        self, stream_id: Any, factory: Any, *, takeover: Any = None, **position: Any
    ) -> BlockingStream | None:
        """Publish or read."""
        call = partial(self._context.resumable_stream, takeover=takeover, **position)
        return self._adapted(await self._threads.run(call, stream_id, self._bridged(factory)))

    async def create_new_resumable_stream(self, stream_id: Any, factory: Any) -> BlockingStream | None:
        """Publish."""
        call = self._context.create_new_resumable_stream
        return self._adapted(await self._threads.run(call, stream_id, self._bridged(factory)))

    async def resume_existing_stream(self, stream_id: Any, **position: Any) -> BlockingStream | None:
        """Read."""
        return self._adapted(await self._threads.run(self._context.resume_existing_stream, stream_id, **position))

    async def list_streams(self) -> AsyncIterator[Any]:
        """Describe all."""
        listed = await self._threads.run(self._context.list_streams)
        while (info := await self._threads.run(next, listed, _END)) is not _END:
            yield info

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        return partial(self._threads.run, getattr(self._context, name))

    def _adapted(self, stream: sync.ResumableStream[Any] | None) -> BlockingStream | None:
        return None if stream is None else BlockingStream(stream, self._threads)


class BlockingStream:
    """What looks like a stream, and reads a blocking one in threads."""

    def __init__(self, stream: Any, threads: Threads) -> None:
        self._stream = stream
        self._threads = threads

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        item = await self._threads.run(next, self._stream, _END)
        if item is _END:
            raise StopAsyncIteration
        return item

    def events(self) -> BlockingStream:
        """Iterate with positions."""
        return BlockingStream(self._stream.events(), self._threads)

    def blocks(self) -> BlockingStream:
        """Iterate over all that is there."""
        return BlockingStream(self._stream.blocks(), self._threads)

    def encoded_blocks(self) -> BlockingStream:
        """Iterate over all that is there, as it is logged."""
        return BlockingStream(self._stream.encoded_blocks(), self._threads)

    async def aclose(self) -> None:
        """Stop reading: that never waits."""
        self._stream.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Steps:
    """The steps of a tap, which are made in the loop of the test, whoever waits for them."""

    def __init__(self, tap: Tap) -> None:
        self._loop = asyncio.get_running_loop()
        self._tap = tap
        self._iterator: Any = None
        self._turn = asyncio.Lock()

    def next(self) -> concurrent.futures.Future[Any]:
        """Get the next chunk, or the mark of the end."""
        return asyncio.run_coroutine_threadsafe(self._next(), self._loop)

    def close(self) -> concurrent.futures.Future[None]:
        """Close it, when it has come to rest."""
        return asyncio.run_coroutine_threadsafe(self._close(), self._loop)

    async def _next(self) -> Any:
        async with self._turn:
            if self._iterator is None:
                self._iterator = self._tap()
            return await anext(self._iterator, _END)

    async def _close(self) -> None:
        async with self._turn:
            if self._iterator is not None:
                await self._iterator.aclose()


def asynchronous(factory: Any) -> Any:
    """Return a factory for any loop that makes what a tap makes in this one. Others are what they are."""
    if not isinstance(factory, Tap):
        return factory
    steps = _Steps(factory)

    async def chunks() -> AsyncIterator[Any]:
        try:
            while (chunk := await asyncio.wrap_future(steps.next())) is not _END:
                yield chunk
        finally:
            await asyncio.wrap_future(steps.close())

    return chunks


def blocking(factory: Any) -> Any:
    """Return a factory that blocks its thread until a tap lets something out. Others are what they are."""
    if not isinstance(factory, Tap):
        return factory
    steps = _Steps(factory)

    def chunks() -> Iterator[Any]:
        try:
            while (chunk := steps.next().result()) is not _END:
                yield chunk
        finally:
            steps.close().result()

    return chunks

"""The stores that tests run over, each as a harness for the shipped suite."""

from __future__ import annotations

import uuid
from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
import fakeredis
from redis.asyncio import Redis
from typing_extensions import override

from resumable_stream import ResumableStreamContext, StreamBackend
from resumable_stream.backends.memory import MemoryBackend, MemoryStore
from resumable_stream.backends.redis import RedisBackend
from resumable_stream.testing import BackendHarness, ManualClock


class Store(BackendHarness):
    """One empty store, for as many backends as a test wants."""

    @abstractmethod
    def make_backend(self) -> StreamBackend:
        """Return a new backend, not yet connected."""

    def make_context(self, **settings: Any) -> ResumableStreamContext:
        """Return a new context, not yet entered: what another process would have. It does not wait when it is left."""
        return ResumableStreamContext(self.make_backend(), **({"drain_timeout": 0.0} | settings))

    @override
    def open(self) -> AbstractAsyncContextManager[StreamBackend]:
        return _connected(self.make_backend())

    async def check_clean(self) -> None:
        """Fail if something was left behind."""


@asynccontextmanager
async def _connected(backend: StreamBackend) -> AsyncIterator[StreamBackend]:
    try:
        await backend.connect()
        yield backend
    finally:
        await backend.aclose()


class InMemory(Store):
    """The reference implementation, with a clock that is moved."""

    lease = 10.0

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(clock=self.clock)

    @override
    def make_backend(self) -> StreamBackend:
        return MemoryBackend(self.store)

    @override
    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


class InFakeRedis(Store):
    """What users' unit tests run over."""

    def __init__(self) -> None:
        self.server = fakeredis.FakeServer()

    @override
    def make_backend(self) -> StreamBackend:
        return RedisBackend(fakeredis.FakeAsyncRedis(server=self.server))


class InRedis(Store):
    """A real server, of which a test gets a prefix of its own."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.prefix = f"test:{uuid.uuid4().hex}"

    @override
    def make_backend(self) -> StreamBackend:
        return RedisBackend(self.url, key_prefix=self.prefix)

    @override
    async def check_clean(self) -> None:
        async with Redis.from_url(self.url, protocol=2) as client:
            async for key in client.scan_iter(count=1000):
                assert await client.pttl(key) != -1, f"{key!r} has no expiry"
            await client.flushdb()
            with anyio.fail_after(5):  # a closed connection takes the server a moment to notice
                while len(await client.client_list()) > 1:
                    await anyio.sleep(0.01)

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
from resumable_stream.abc import OnNotice
from resumable_stream.backends.memory import MemoryBackend, MemoryStore
from resumable_stream.backends.redis import RedisBackend
from resumable_stream.testing import BackendHarness, ManualClock
from resumable_stream.testing.backend_suite.harness import ignore
from tests.servers import ClusterSet, SentinelSet


class Store(BackendHarness):
    """One empty store, for as many backends as a test wants."""

    @abstractmethod
    def make_backend(self) -> StreamBackend:
        """Return a new backend, not yet connected."""

    def make_context(self, **settings: Any) -> ResumableStreamContext:
        """Return a new context, not yet entered: what another process would have. It does not wait when it is left."""
        return ResumableStreamContext(self.make_backend(), **({"drain_timeout": 0.0} | settings))

    @override
    def open(self, on_notice: OnNotice = ignore) -> AbstractAsyncContextManager[StreamBackend]:
        return connected(self.make_backend(), on_notice)

    async def check_clean(self) -> None:
        """Fail if something was left behind."""


@asynccontextmanager
async def connected(backend: StreamBackend, on_notice: OnNotice = ignore) -> AsyncIterator[StreamBackend]:
    """Connect a backend, and close it in the end."""
    try:
        await backend.connect(on_notice)
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
            await _check_server(client)


class InSentinel(InRedis):
    """A real server that is the master of a set, found by way of Sentinels."""

    def __init__(self, servers: SentinelSet) -> None:
        super().__init__(servers.url)
        self.servers = servers

    @override
    async def check_clean(self) -> None:
        async with Redis(port=self.servers.master.port, protocol=2) as client:
            await _check_server(client)


class InCluster(InRedis):
    """A real Cluster, which has to be found first."""

    lease = 1.0

    def __init__(self, servers: ClusterSet) -> None:
        super().__init__(servers.url)
        self.servers = servers

    @override
    async def check_clean(self) -> None:
        for member in self.servers.members:
            async with Redis(port=member.port, protocol=2) as client:
                if (await client.role())[0] == b"master":
                    await _check_server(client)


async def _check_server(client: Redis) -> None:
    """Fail if a key would stay for good, or a connection is left, and leave no key behind."""
    async for key in client.scan_iter(count=1000):
        assert await client.pttl(key) != -1, f"{key!r} has no expiry"
    await client.flushall()
    with anyio.fail_after(5):  # a closed connection takes the server a moment to notice
        while len(await users_of(client)) > 1:
            await anyio.sleep(0.01)


async def users_of(client: Redis) -> list[dict[str, str]]:
    """The connections of applications to a server: not those of replicas, Sentinels, and nodes that gave it keys."""
    return [
        one
        for one in await client.client_list()
        if one["flags"][0] not in "SM" and not one["name"].startswith("sentinel-") and one["cmd"] != "restore-asking"
    ]

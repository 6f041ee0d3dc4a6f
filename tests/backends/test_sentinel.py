"""The backend on a set of servers that Sentinels watch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.sentinel import Sentinel

from resumable_stream import BackendError, BackendUnavailableError, StreamBackend, StreamInfo
from resumable_stream.backends.redis import RedisBackend, sentinel
from resumable_stream.backends.redis.connections import Address, Connections
from resumable_stream.testing.backend_suite.harness import Pushes, append, chunks_of, create
from resumable_stream.types import AppendStatus
from tests.conftest import SET_SERVER, GetSentinels
from tests.servers import Member, SentinelSet
from tests.stores import InSentinel, connected, users_of

SOON = 20.0


@pytest.fixture
def servers(sentinels_of: GetSentinels) -> SentinelSet:
    """The running set."""
    return sentinels_of(SET_SERVER)


@pytest.fixture
async def store(servers: SentinelSet) -> AsyncIterator[InSentinel]:
    """The set as a store."""
    made = InSentinel(servers)
    yield made
    await made.check_clean()


@pytest.fixture
async def broken_store(servers: SentinelSet) -> AsyncIterator[InSentinel]:
    """The set as a store whose master the test replaces."""
    made = InSentinel(servers)
    yield made
    await asyncio.to_thread(servers.repair)
    await made.check_clean()


async def append_patiently(backend: StreamBackend, info: StreamInfo, first: int, text: str) -> None:
    """Repeat an append until it is accepted."""
    with anyio.fail_after(SOON):
        while True:
            try:
                answer = await append(backend, info, first, [text])
            except BackendUnavailableError:
                await anyio.sleep(0.05)
            else:
                assert answer.status is AppendStatus.ACCEPTED
                return


async def test_killed_master(servers: SentinelSet, broken_store: InSentinel) -> None:
    """When the master dies, appends, reads and subscriptions go on at the new one, with what was confirmed."""
    master = servers.master
    notices: list[str | None] = []
    # What is not confirmed by the replica is lost with the master.
    backend = RedisBackend(servers.url, key_prefix=broken_store.prefix, wait_replicas=1, wait_timeout=0.5)
    async with connected(backend), broken_store.open(notices.append) as other:
        info = await create(backend)
        pushes = Pushes()
        await other.subscribe("s", pushes)
        for number in range(5):
            await append(backend, info, number, [f"{number}"])
        await pushes.wait_for(5)
        backend._servers._replicas = backend._servers._replicas._replace(number=0)  # type: ignore[attr-defined]
        failover = asyncio.create_task(asyncio.to_thread(servers.wait_for_failover, master))
        master.kill()
        for number in range(5, 10):
            await append_patiently(backend, info, number, f"{number}")
        await failover
        with anyio.fail_after(SOON):
            while None not in pushes.received:
                await anyio.sleep(0.01)
        assert chunks_of(await other.read("s", 0, 1000)) == [f"{number}" for number in range(10)]
        known = len(pushes.received)
        await append(backend, info, 10, ["10"])
        await pushes.wait_for(known + 1)
        await backend.request_stop("s", "x")
        with anyio.fail_after(SOON):
            while not notices:
                await anyio.sleep(0.01)


async def test_replaced_master(servers: SentinelSet, broken_store: InSentinel) -> None:
    """A master that was replaced, and does not know it yet, is left at once: what it takes is lost later."""
    master = servers.master
    async with broken_store.open() as backend, broken_store.open() as other:
        info = await create(backend)
        await append(backend, info, 0, ["0"])
        pushes = Pushes()
        await other.subscribe("s", pushes)
        servers.sentinels[0].ask("SENTINEL", "FAILOVER", servers.service)
        await asyncio.to_thread(servers.wait_for_failover, master)
        assert master.ask("ROLE")[0] == "master"
        await pushes.wait_for(1)
        await append(backend, info, 1, ["1"])
        for one in (backend, other):
            assert chunks_of(await one.read("s", 0, 1000)) == ["0", "1"]
        async with Redis(port=master.port, protocol=2) as client:
            with anyio.fail_after(SOON):
                while len(await users_of(client)) > 1:
                    await anyio.sleep(0.01)
        await pushes.wait_for(2)
        assert pushes.received[0] is None


async def test_switch_that_was_not_heard(servers: SentinelSet, store: InSentinel) -> None:
    """When the Sentinel that was listened to was away, the master is looked up, and left if it is another."""
    master, replica = servers.master, servers.other(servers.master)
    async with store.open() as backend:
        info = await create(backend)
        switches = 0

        def count() -> None:
            nonlocal switches
            switches += 1

        watch = backend._servers._master  # type: ignore[attr-defined]
        watch._on_switched = count
        for address, expected in ((master.address, 0), (replica.address, 1)):
            watch._address = Address(*address)
            watch._listener.reconnect()
            await anyio.sleep(0.3)
            assert switches == expected
        await append(backend, info, 0, ["0"])


async def test_hanging_master(servers: SentinelSet, broken_store: InSentinel) -> None:
    """A master that hangs, its connections open, is left for the new one."""
    master = servers.master
    backend = RedisBackend(servers.url, key_prefix=broken_store.prefix, wait_replicas=1)
    async with connected(backend):
        info = await create(backend)
        await append(backend, info, 0, ["0"])
        backend._servers._replicas = backend._servers._replicas._replace(number=0)  # type: ignore[attr-defined]
        master.pause()
        try:
            with anyio.fail_after(SOON):  # it is waited for an answer meanwhile
                await append_patiently(backend, info, 1, "1")
            assert chunks_of(await backend.read("s", 0, 1000)) == ["0", "1"]
        finally:
            master.resume()


async def test_client_of_the_users(servers: SentinelSet, store: InSentinel) -> None:
    """A client that a `Sentinel` made is taken for where it leads; its connections, and it, are not used or closed."""
    hosts = [member.address for member in servers.sentinels]
    manager = Sentinel(hosts, min_other_sentinels=2, socket_timeout=1.0)
    async with manager.master_for(servers.service, protocol=2, decode_responses=True) as client:
        async with connected(RedisBackend(client, key_prefix=store.prefix)) as backend:
            info = await create(backend)
            await append(backend, info, 0, ["0"])
            assert chunks_of(await backend.read("s", 0, 1000)) == ["0"]
        assert client.connection_pool._available_connections == []
        assert await client.ping()
    blind = Sentinel(hosts, min_other_sentinels=3).master_for(servers.service)
    with pytest.raises(BackendUnavailableError):
        async with connected(RedisBackend(blind, key_prefix=store.prefix)):
            pass
    for sentinel_client in manager.sentinels:
        await sentinel_client.aclose()


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda url: url.replace("/main/", "/unknown/"), BackendUnavailableError),
        (lambda url: url.replace("://", "://nobody:wrong@"), BackendError),
        (lambda url: url + "?sentinel_username=nobody&sentinel_password=wrong", BackendError),
        (lambda url: url.split("/main")[0].split(":")[0] + "://127.0.0.1:1/main", BackendUnavailableError),
    ],
)
async def test_sets_that_are_not_found(servers: SentinelSet, change: Any, kind: type[Exception]) -> None:
    """A set that no Sentinel knows is unavailable. A password that is wrong, there or at the master, stays wrong."""
    with pytest.raises(BackendError) as caught:
        async with connected(RedisBackend(change(servers.url))):
            pass
    assert type(caught.value) is kind


async def test_sentinels_that_are_away(servers: SentinelSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sentinels that do not answer cost a moment, and the one that does is asked first from then on."""
    monkeypatch.setattr(sentinel, "_ASK_TIMEOUT", 0.2)
    hanging, working, refusing = servers.sentinels[0], servers.sentinels[1], Address("127.0.0.1", 1)
    addresses = [refusing, Address(*hanging.address), Address(*working.address)]
    asked: list[Address] = []
    connections = Connections.of_pool(ConnectionPool())

    def sentinel_at(address: Address) -> Any:
        async def connect() -> Any:
            asked.append(address)
            return await connections.connect(address)

        return connect

    master = sentinel.SentinelMaster([sentinel_at(address) for address in addresses], servers.service, connections)
    hanging.pause()
    try:
        for _ in range(2):
            await (await master.connect()).disconnect()
    finally:
        hanging.resume()
    assert asked == [*addresses, addresses[2]]


async def test_master_that_does_not_say_what_it_is(servers: SentinelSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that freezes right after it was connected to is not waited for without end."""
    monkeypatch.setattr(sentinel, "REPLY_TIMEOUT", 0.2)

    class Frozen(Connections):
        async def connect(self, address: Address | None = None) -> AbstractConnection:
            connection = await super().connect(address)
            await asyncio.to_thread(servers.master.pause)
            return connection

    class Led(sentinel.SentinelMaster):
        async def _find(self) -> Address:
            return Address(*servers.master.address)

    pool = ConnectionPool()
    led = Led([], servers.service, Frozen(pool.connection_class, pool.connection_kwargs))
    try:
        with pytest.raises(TimeoutError), anyio.fail_after(5):
            await led.connect()
    finally:
        servers.master.resume()


async def test_sentinel_that_has_not_heard(servers: SentinelSet) -> None:
    """A server that is a replica is not taken for the master, whatever a Sentinel says."""
    replica: Member = servers.other(servers.master)
    connections = Connections.of_pool(ConnectionPool())

    class Misled(sentinel.SentinelMaster):
        async def _find(self) -> Address:
            return Address(*replica.address)

    with pytest.raises(Exception, match="not the master"):
        await Misled([], servers.service, connections).connect()

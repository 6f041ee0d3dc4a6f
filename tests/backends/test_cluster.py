"""The backend on a Cluster."""

from __future__ import annotations

import asyncio
import itertools
import warnings
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode

from resumable_stream import BackendError, BackendUnavailableError, StreamBackend, StreamInfo
from resumable_stream.backends.redis import RedisBackend
from resumable_stream.backends.redis.connections import Address
from resumable_stream.backends.redis.layout import decode_layout, slot_of
from resumable_stream.testing.backend_suite.harness import Pushes, append, chunks_of, create, make_append
from resumable_stream.types import AppendStatus, Page
from tests.conftest import REAL_SERVERS, SET_SERVER, GetCluster, GetServer
from tests.servers import ClusterSet, Member, binaries
from tests.stores import InCluster, connected, users_of

SOON = 20.0


@pytest.fixture
def servers(cluster_of: GetCluster) -> ClusterSet:
    """The running Cluster."""
    return cluster_of(SET_SERVER)


@pytest.fixture
async def store(servers: ClusterSet) -> AsyncIterator[InCluster]:
    """The Cluster as a store."""
    made = InCluster(servers)
    yield made
    await asyncio.to_thread(servers.repair)
    await made.check_clean()


@pytest.fixture(params=REAL_SERVERS)
async def each_store(request: pytest.FixtureRequest, cluster_of: GetCluster) -> AsyncIterator[InCluster]:
    """Clusters of all servers there are: Redis 6.2 has no sharded channels."""
    made = InCluster(cluster_of(request.param))
    yield made
    await made.check_clean()


def stream_at(servers: ClusterSet, member: Member) -> str:
    """A stream id whose slot a member has, and no other stream of the test."""
    candidates = (f"stream{next(_numbers)}" for _ in itertools.count())
    return next(stream_id for stream_id in candidates if servers.owner_of(slot_of(f"{{{stream_id}}}")) is member)


_numbers = itertools.count()


async def append_patiently(backend: StreamBackend, info: StreamInfo, first: int, text: str) -> None:
    """Repeat an append until it is accepted."""
    with anyio.fail_after(SOON):
        while True:
            with suppress(BackendUnavailableError):
                answer = await append(backend, info, first, [text])
                if answer.status is not AppendStatus.UNAVAILABLE:
                    break
            await anyio.sleep(0.05)
    assert answer.status is AppendStatus.ACCEPTED


async def connections_to(servers: ClusterSet) -> list[int]:
    """How many connections applications have to each master, but for the one that asks."""
    numbers: list[int] = []
    for master in servers.masters:
        async with Redis(port=master.port, protocol=2) as client:
            numbers.append(len(await users_of(client)) - 1)
    return numbers


async def test_connections_are_constant(store: InCluster) -> None:
    """However many streams there are, each master has four connections of a backend, and one of them one more."""
    async with store.open() as backend:

        async def work(number: int) -> None:
            info = await create(backend, f"s{number}")
            await backend.subscribe(f"s{number}", lambda push: None)
            await backend.read(f"s{number}", 0, 1000)
            await backend.request_stop(info.stream_id, "x")

        async with anyio.create_task_group() as tasks:
            for number in range(60):
                tasks.start_soon(work, number)
        infos = [await create(backend, f"t{number}") for number in range(20)]
        answers = await backend.append([make_append(info, 0, ["a"]) for info in infos])
        assert {answer.status for answer in answers} == {AppendStatus.ACCEPTED}
        assert sorted(await connections_to(store.servers)) == [4, 4, 5]


async def test_killed_master(servers: ClusterSet, store: InCluster) -> None:
    """A master that dies makes only its own streams wait; appends, reads and pushes go on at the one in its place."""
    master, other_master, _ = servers.masters
    lost_id, kept_id = stream_at(servers, master), stream_at(servers, other_master)
    notices: list[str | None] = []
    async with store.open(notices.append) as backend, store.open(notices.append) as reader:
        lost, kept = await create(backend, lost_id), await create(backend, kept_id)
        pushes = Pushes()
        await reader.subscribe(lost_id, pushes)
        await append(backend, lost, 0, ["0"])
        await pushes.wait_for(1)
        assert master.has_replica_in_step
        master.kill()
        failover = asyncio.create_task(asyncio.to_thread(servers.wait_for_failover, slot_of(f"{{{lost_id}}}"), master))
        position = 0
        while not failover.done():
            # In between all of it is down: unless told otherwise, it is for as long as a slot has no master.
            with anyio.fail_after(1.5), suppress(BackendUnavailableError):
                both = await backend.append([make_append(lost, 1, ["1"]), make_append(kept, position, ["x"])])
                position += both[1].status is AppendStatus.ACCEPTED
            await anyio.sleep(0.01)
        assert position > 10
        await append_patiently(backend, lost, 1, "1")
        assert chunks_of(await reader.read(lost_id, 0, 1000)) == ["0", "1"]
        with anyio.fail_after(SOON):
            while None not in pushes.received:
                await anyio.sleep(0.01)
        known = len(pushes.received)
        await append(backend, lost, 2, ["2"])
        await pushes.wait_for(known + 1)
        assert {info.stream_id async for info in reader.scan()} == {lost_id, kept_id}
        await backend.request_stop(kept_id, "x")
        with anyio.fail_after(SOON):
            while notices.count(kept_id) < 2:
                await anyio.sleep(0.01)


async def test_hanging_master(servers: ClusterSet, store: InCluster) -> None:
    """A master that hangs, its connections open, holds up the others' streams for a moment, once."""
    master, other_master, _ = servers.masters
    lost_id, kept_id = stream_at(servers, master), stream_at(servers, other_master)
    for member in servers.members:
        member.ask("CONFIG", "SET", "cluster-require-full-coverage", "no")
    async with store.open() as backend:
        lost, kept = await create(backend, lost_id), await create(backend, kept_id)
        await backend.append([make_append(lost, 0, ["0"]), make_append(kept, 0, ["x"])])
        assert master.has_replica_in_step
        master.pause()
        try:
            failover = asyncio.create_task(
                asyncio.to_thread(servers.wait_for_failover, slot_of(f"{{{lost_id}}}"), master)
            )
            durations: list[float] = []
            position = 1
            while not failover.done():
                started = anyio.current_time()
                both = await backend.append([make_append(lost, 1, ["1"]), make_append(kept, position, ["x"])])
                durations.append(anyio.current_time() - started)
                assert both[1].status is AppendStatus.ACCEPTED
                position += 1
                await anyio.sleep(0.01)
            assert position > 20  # only the first waited for it
            await failover
            await append_patiently(backend, lost, 1, "1")
        finally:
            master.resume()
        assert max(durations) < 1.2
        assert sum(duration > 0.5 for duration in durations) <= 2
        assert chunks_of(await backend.read(lost_id, 0, 1000)) == ["0", "1"]
    for member in servers.members:
        member.ask("CONFIG", "SET", "cluster-require-full-coverage", "yes")


async def test_slot_that_moves(each_store: InCluster) -> None:
    """While a slot moves to another master, and after it, appends, reads and pushes go on; followers look once."""
    servers = each_store.servers
    source, target, _ = servers.masters
    stream_id = stream_at(servers, source)
    slot = slot_of(f"{{{stream_id}}}")
    async with each_store.open() as backend, each_store.open() as reader, each_store.open() as follower:
        info = await create(backend, stream_id)
        pushes = Pushes()
        await follower.subscribe(stream_id, pushes)  # and makes no call that would tell it of the move
        length = 0

        async def append_and_read() -> None:
            nonlocal length
            length += 1
            assert (await append(backend, info, length - 1, ["x"])).status is AppendStatus.ACCEPTED
            assert len(chunks_of(await reader.read(stream_id, 0, 1000))) == length

        await append_and_read()
        await asyncio.to_thread(servers.begin_move, slot, target)
        await append_and_read()
        await asyncio.to_thread(servers.move_keys, slot, source, target)
        await append_and_read()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(asyncio.to_thread, servers.finish_move, slot, source, target)
            for _ in range(20):
                await append_and_read()
                await anyio.sleep(0.01)
        layout = backend._servers._discovery.layout  # type: ignore[attr-defined]
        assert layout.owners[slot] == target.address  # it is not redirected for ever
        is_sharded = follower._servers.push_command == "SPUBLISH"  # type: ignore[attr-defined]
        with anyio.fail_after(SOON):
            while is_sharded and None not in pushes.received:
                await anyio.sleep(0.01)
        await append_and_read()
        with anyio.fail_after(SOON):
            while not any(push is not None and push.length == length for push in pushes.received):
                await anyio.sleep(0.01)
        await follower.unsubscribe(stream_id)
        known = len(pushes.received)
        await append_and_read()
        await follower.read(stream_id, 0, 0)
        assert len(pushes.received) == known
        assert [info.stream_id async for info in reader.scan()] == [stream_id]


async def two_at_the_first_master(
    backend: StreamBackend, servers: ClusterSet
) -> tuple[Member, Member, int, StreamInfo, StreamInfo]:
    """Return a master, another one, the slot of a stream that the first one has, that stream, and one more there."""
    source, target, _ = servers.masters
    moving, staying = [await create(backend, stream_at(servers, source)) for _ in range(2)]
    return source, target, slot_of(f"{{{moving.stream_id}}}"), moving, staying


async def test_keys_that_are_on_two_nodes(store: InCluster) -> None:
    """Where a stream's keys are partly here and partly there, it is unavailable, and no other is; then it goes on."""
    servers = store.servers
    async with store.open() as backend:
        source, target, slot, info, other = await two_at_the_first_master(backend, servers)
        await backend.append([make_append(info, 0, ["0"]), make_append(other, 0, ["x"])])
        await asyncio.to_thread(servers.begin_move, slot, target)
        await asyncio.to_thread(servers.move_keys, slot, source, target, number=1)
        answers = await backend.append([make_append(info, 1, ["1"]), make_append(other, 1, ["y"])])
        assert [answer.status for answer in answers] == [AppendStatus.UNAVAILABLE, AppendStatus.ACCEPTED]
        with pytest.raises(BackendUnavailableError), anyio.fail_after(2):
            await backend.read(info.stream_id, 0, 1000)
        pages: list[Page | None] = []

        async def read() -> None:
            pages.append(await backend.read(info.stream_id, 0, 1000))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await anyio.sleep(0.05)
            assert pages == []
            await asyncio.to_thread(servers.move_keys, slot, source, target)
        assert chunks_of(pages[0]) == ["0"]
        await asyncio.to_thread(servers.finish_move, slot, source, target)
        await append_patiently(backend, info, 1, "1")
        assert chunks_of(await backend.read(info.stream_id, 0, 1000)) == ["0", "1"]


async def test_slot_that_nobody_takes(store: InCluster) -> None:
    """While two masters send everybody to each other, the streams there are unavailable, and no other is."""
    servers = store.servers
    async with store.open() as backend:
        source, target, slot, info, other = await two_at_the_first_master(backend, servers)
        await asyncio.to_thread(servers.begin_move, slot, target)
        await asyncio.to_thread(servers.move_keys, slot, source, target)
        source.ask("CLUSTER", "SETSLOT", slot, "NODE", target.ask("CLUSTER", "MYID"))  # and not yet the target
        answers = await backend.append([make_append(info, 0, ["0"]), make_append(other, 0, ["x"])])
        assert [answer.status for answer in answers] == [AppendStatus.UNAVAILABLE, AppendStatus.ACCEPTED]
        with pytest.raises(BackendUnavailableError):
            await backend.append([make_append(info, 0, ["0"])])
        await asyncio.to_thread(servers.finish_move, slot, source, target)
        await append_patiently(backend, info, 0, "0")
        assert chunks_of(await backend.read(info.stream_id, 0, 1000)) == ["0"]


async def test_node_that_refuses_this_user(store: InCluster) -> None:
    """Streams on other nodes are appended to; that of the node which refuses fails when it is repeated by itself."""
    servers = store.servers
    refusing, other_master, _ = servers.masters
    async with store.open() as backend:
        info, other = [await create(backend, stream_at(servers, member)) for member in (refusing, other_master)]
        refusing.ask("ACL", "SETUSER", "default", "-evalsha", "-eval")
        try:
            answers = await backend.append([make_append(info, 0, ["0"]), make_append(other, 0, ["x"])])
            assert [answer.status for answer in answers] == [AppendStatus.UNAVAILABLE, AppendStatus.ACCEPTED]
            with pytest.raises(BackendError) as caught:
                await backend.append([make_append(info, 0, ["0"])])
            assert type(caught.value) is BackendError
        finally:
            refusing.ask("ACL", "SETUSER", "default", "+evalsha", "+eval")
        assert (await append(backend, info, 0, ["0"])).status is AppendStatus.ACCEPTED


async def test_listing_while_slots_move(store: InCluster) -> None:
    """A stream that moves, while streams are listed, to a node that was listed already, is listed all the same."""
    servers = store.servers
    async with store.open() as backend:
        first, last, _ = servers.masters
        stream_ids = [stream_at(servers, first), stream_at(servers, last)]
        for stream_id in stream_ids:
            await create(backend, stream_id)
        listed: list[str] = []
        async for info in backend.scan():
            listed.append(info.stream_id)
            if len(listed) == 1:
                for stream_id in set(stream_ids) - set(listed):
                    slot = slot_of(f"{{{stream_id}}}")
                    target = servers.owner_of(slot_of(f"{{{listed[0]}}}"))
                    source = await asyncio.to_thread(servers.begin_move, slot, target)
                    await asyncio.to_thread(servers.finish_move, slot, source, target)
        assert sorted(listed) == sorted(stream_ids)


async def test_waiting_for_replicas(servers: ClusterSet, store: InCluster) -> None:
    """With ``wait_replicas``, only the streams whose replica is away wait for it."""
    master, other_master, _ = servers.masters
    backend = RedisBackend(servers.url, key_prefix=store.prefix, wait_replicas=1, wait_timeout=0.2)
    replica_port = int(master.ask("ROLE")[2][0][1])
    replica = next(member for member in servers.members if member.port == replica_port)
    async with connected(backend):
        infos = [await create(backend, stream_at(servers, member)) for member in (master, other_master)]
        answers = await backend.append([make_append(info, 0, ["a"]) for info in infos])
        assert [answer.status for answer in answers] == [AppendStatus.ACCEPTED] * 2
        replica.pause()
        try:
            answers = await backend.append([make_append(info, 1, ["b"]) for info in infos])
        finally:
            replica.resume()
        assert [answer.status for answer in answers] == [AppendStatus.UNAVAILABLE, AppendStatus.ACCEPTED]
        await append_patiently(backend, infos[0], 1, "b")


async def test_scripts_that_were_forgotten(store: InCluster) -> None:
    """Nodes whose cache of scripts was emptied are sent their texts, once for all appends."""
    async with store.open() as backend:
        infos = [await create(backend, f"s{number}") for number in range(12)]
        for number in range(3):
            for master in store.servers.masters:
                master.ask("SCRIPT", "FLUSH")
            answers = await backend.append([make_append(info, number, ["a"]) for info in infos])
            assert [answer.status for answer in answers] == [AppendStatus.ACCEPTED] * 12


async def test_client_of_the_users(store: InCluster) -> None:
    """A client of a Cluster is taken for where it leads, used or not; its connections are not used, and not closed."""
    servers = store.servers
    nodes = [ClusterNode(*member.address) for member in servers.members[1:3]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer versions of redis-py have another word for it
        client = RedisCluster(startup_nodes=nodes, decode_responses=True, read_from_replicas=True)
    for is_used in (False, True):
        async with connected(RedisBackend(client, key_prefix=store.prefix)) as backend:
            info = await create(backend, f"s{is_used}")
            await append(backend, info, 0, ["0"])
            assert chunks_of(await backend.read(info.stream_id, 0, 1000)) == ["0"]
            settings = backend._servers._connections._settings  # type: ignore[attr-defined]
            assert "redis_connect_func" not in settings  # it would make a master that became a replica answer
        assert (client.get_nodes() == []) is not is_used
        await client.ping()
    await client.aclose()


async def test_addresses_that_lead_nowhere(store: InCluster, tmp_path: Path) -> None:
    """One address that works is enough, after one where nobody is, and after a node that is in no Cluster any more."""
    alone = Member(binaries()[SET_SERVER], tmp_path, "--cluster-enabled", "yes", "--save", "")
    alone.start()
    try:
        hosts = f"127.0.0.1:1,127.0.0.1:{alone.port},127.0.0.1:{store.servers.members[2].port}"
        async with connected(RedisBackend(f"redis+cluster://{hosts}", key_prefix=store.prefix)) as backend:
            await create(backend)
        with pytest.raises(BackendUnavailableError):
            async with connected(RedisBackend(f"redis+cluster://127.0.0.1:{alone.port}")):
                pass
    finally:
        alone.kill()


async def test_node_of_the_notices_is_taken_out(store: InCluster) -> None:
    """Notices are not listened for at a node that is in the Cluster no more, though it may still answer."""
    notices: list[str | None] = []
    async with store.open(notices.append) as backend:
        await create(backend)
        discovery = backend._servers._discovery  # type: ignore[attr-defined]
        discovery.anywhere = Address("127.0.0.1", 1)
        backend._servers._on_change()  # type: ignore[attr-defined]
        with anyio.fail_after(SOON):
            while discovery.anywhere not in discovery.layout.masters:
                await anyio.sleep(0.01)
            while not notices:
                await backend.request_stop("s", "x")
                await anyio.sleep(0.01)


async def test_what_is_no_cluster(server_of: GetServer) -> None:
    """A server that is no node of a Cluster will not become one; one that is away may come."""
    port = server_of(SET_SERVER).port
    for url, kind in ((f"127.0.0.1:{port}", BackendError), ("127.0.0.1:1", BackendUnavailableError)):
        with pytest.raises(BackendError) as caught:
            async with connected(RedisBackend(f"redis+cluster://{url}")):
                pass
        assert type(caught.value) is kind


def test_layouts() -> None:
    """Nodes are where they say, where we asked if they do not, and elsewhere if the user says so."""
    asked = Address("asked", 1)
    reply = [[0, 5, [b"10.0.0.1", 7000, b"id", []], [b"", 7001, b"id"]], [7, 16383, [None, 7002], [b"?", 7003]]]
    layout = decode_layout(reply, asked, None)
    assert layout.owners[:8] == [Address("10.0.0.1", 7000)] * 6 + [None, Address("asked", 7002)]
    assert len(layout.owners) == 16384
    assert layout.masters == [Address("10.0.0.1", 7000), Address("asked", 7002)]
    assert layout.replicas == [Address("asked", 7001), Address("asked", 7003)]
    moved = layout.with_owner(6, Address("new", 1))
    assert moved.owners == [*layout.owners[:6], Address("new", 1), *layout.owners[7:]]
    assert moved.masters == [*layout.masters, Address("new", 1)]
    remapped = decode_layout(reply, asked, lambda address: (address[0], address[1] + 1))
    assert remapped.masters == [Address("10.0.0.1", 7001), Address("asked", 7003)]

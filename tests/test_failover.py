"""Live streams while a master fails over, and while a slot moves: over real Sentinels and a real Cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any, NamedTuple

import anyio
import pytest
from redis.crc import key_slot
from typing_extensions import Self

from resumable_stream import (
    PublisherFailedError,
    ResumableStream,
    ResumableStreamContext,
    StreamGoneError,
)
from resumable_stream.backends.redis import RedisBackend
from tests.conftest import SET_SERVER, GetCluster, GetSentinels
from tests.servers import ClusterSet, SentinelSet
from tests.stores import InCluster, InRedis, InSentinel
from tests.streams import never

COUNT = 400
WHOLE = [f"{number} " for number in range(COUNT)]
STREAMS = 12
PATIENCE = 60.0


async def numbers() -> AsyncIterator[str]:
    """Count, for some eight seconds: longer than a failover."""
    for chunk in WHOLE:
        yield chunk
        await anyio.sleep(0.02)


class Reading(NamedTuple):
    """What a reader got, and the error that came then, if one did."""

    chunks: list[str]
    error: Exception | None


async def read(stream: ResumableStream[Any] | None) -> Reading:
    """Read to the end, or to an error."""
    assert stream is not None
    chunks: list[str] = []
    try:
        with anyio.fail_after(PATIENCE):
            async for chunk in stream:
                chunks.append(chunk)
    except (StreamGoneError, PublisherFailedError) as error:
        return Reading(chunks, error)
    return Reading(chunks, None)


async def read_all(*streams: ResumableStream[Any] | None) -> list[Reading]:
    """Read all of them at once."""
    return await asyncio.gather(*map(read, streams))


class Live:
    """Streams that are published in one process, and followed in another."""

    def __init__(self, make_context: Callable[[], ResumableStreamContext]) -> None:
        self._make_context = make_context
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start them, and wait until they flow."""
        self.here, self.elsewhere = [await self._stack.enter_async_context(self._make_context()) for _ in range(2)]
        self.local = [await self.here.resumable_stream(f"s{number}", numbers) for number in range(STREAMS)]
        self.followers = [await self.elsewhere.resumable_stream(f"s{number}", never) for number in range(STREAMS)]
        self.reading = asyncio.create_task(read_all(*self.local, *self.followers))
        await anyio.sleep(1)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Leave both processes."""
        self.reading.cancel()
        await asyncio.wait([self.reading])
        await self._stack.aclose()

    async def readings(self) -> tuple[list[Reading], list[Reading]]:
        """What the readers here, and elsewhere, got in the end."""
        readings = await self.reading
        return readings[:STREAMS], readings[STREAMS:]


@pytest.fixture
def sentinels(sentinels_of: GetSentinels) -> SentinelSet:
    """The running set."""
    return sentinels_of(SET_SERVER)


@pytest.fixture
def cluster(cluster_of: GetCluster) -> ClusterSet:
    """The running Cluster."""
    return cluster_of(SET_SERVER)


def waiting_for_replicas(store: InRedis) -> ResumableStreamContext:
    """A context whose appends count when a replica has them."""
    backend = RedisBackend(store.url, key_prefix=store.prefix, wait_replicas=1, wait_timeout=0.5)
    return ResumableStreamContext(backend, drain_timeout=0, call_timeout=30)


async def test_sentinels_fail_over_without_loss(sentinels: SentinelSet) -> None:
    """With ``wait_replicas``, a failover in the middle of live streams loses and doubles nothing, for nobody."""
    store = InSentinel(sentinels)
    async with Live(lambda: waiting_for_replicas(store)) as live:
        old = sentinels.master
        old.kill()
        await asyncio.to_thread(sentinels.wait_for_failover, old)
        await asyncio.to_thread(sentinels.repair)  # else there would be no replica to wait for
        for readings in await live.readings():
            assert readings == [Reading(WHOLE, None)] * STREAMS
    await store.check_clean()


async def test_sentinels_fail_over(sentinels: SentinelSet) -> None:
    """Without it, the last moments may be lost: then there is a clear error, after a true prefix, and never a gap.

    Readers in the publisher's process get everything in any case.
    """
    store = InSentinel(sentinels)
    async with Live(lambda: store.make_context(call_timeout=30)) as live:
        old = sentinels.master
        old.kill()
        await asyncio.to_thread(sentinels.wait_for_failover, old)
        local, followers = await live.readings()
        assert [reading.chunks for reading in local] == [WHOLE] * STREAMS
        check_prefixes(followers)
        check_prefixes(await read_all(*[await live.elsewhere.resume_existing_stream(f"s{n}") for n in range(STREAMS)]))
    await asyncio.to_thread(sentinels.repair)
    await store.check_clean()


async def test_cluster_fails_over(cluster: ClusterSet) -> None:
    """A master of a Cluster dies: its streams go on at its replica, or say that they cannot; others do not notice."""
    store = InCluster(cluster)
    async with Live(lambda: store.make_context(call_timeout=30)) as live:
        slots = {number: key_slot(f"s{number}".encode()) for number in range(STREAMS)}
        old = cluster.owner_of(slots[0])
        struck = [number for number, slot in slots.items() if cluster.owner_of(slot) is old]
        assert 0 < len(struck) < STREAMS
        old.kill()
        await anyio.sleep(0.7)
        assert [number for number in range(STREAMS) if degraded(live.local[number])] in ([], struck)
        await asyncio.to_thread(cluster.wait_for_failover, slots[0], old)
        local, followers = await live.readings()
        assert [reading.chunks for reading in local] == [WHOLE] * STREAMS
        check_prefixes([followers[number] for number in struck])
        spared = [number for number in range(STREAMS) if number not in struck]
        assert [followers[number] for number in spared] == [Reading(WHOLE, None)] * len(spared)
    old.start()
    await asyncio.to_thread(cluster.wait_until_whole)
    await store.check_clean()


async def test_slot_moves(cluster: ClusterSet) -> None:
    """A slot moves to another master in the middle of its stream: nothing is lost, nobody notices."""
    store = InCluster(cluster)
    async with Live(store.make_context) as live:
        slot = key_slot(b"s3")
        target = next(master for master in cluster.masters if master is not cluster.owner_of(slot))
        source = await asyncio.to_thread(cluster.begin_move, slot, target)
        await anyio.sleep(0.3)
        await asyncio.to_thread(cluster.move_keys, slot, source, target, number=1)
        await anyio.sleep(0.3)
        await asyncio.to_thread(cluster.finish_move, slot, source, target)
        for readings in await live.readings():
            assert readings == [Reading(WHOLE, None)] * STREAMS
    await asyncio.to_thread(give_back, cluster, slot, source, target)
    await store.check_clean()


def check_prefixes(readings: list[Reading]) -> None:
    """Each is whole and without an error, or a true prefix and then an error."""
    for chunks, error in readings:
        assert chunks == WHOLE[: len(chunks)]
        assert error is not None or len(chunks) == COUNT


def degraded(stream: ResumableStream[Any] | None) -> bool:
    """Whether it says so."""
    assert stream is not None
    return stream.degraded


def give_back(cluster: ClusterSet, slot: int, source: Any, target: Any) -> None:
    """Move a slot back to where it was."""
    cluster.begin_move(slot, source)
    cluster.finish_move(slot, target, source)

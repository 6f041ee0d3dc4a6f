"""Connections that break, replies that are lost, and networks that fall silent."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import anyio

from resumable_stream import StreamState
from resumable_stream.backends.redis.scripts import SCRIPTS
from resumable_stream.testing.proxy import TcpProxy

from ..canon import Spec
from ..processes import Reading, WorkerProcess
from ..redis_server import FORGETFUL
from ..stage import LOCAL_PAUSE, STYLES, Stage, staged
from ..tally import Tally

_STREAMS = 8
_FAULTS_AT_ONCE = 4


class _Net:
    """A publisher and two followers, each behind a proxy."""

    def __init__(self, workers: Sequence[WorkerProcess], proxies: Sequence[TcpProxy]) -> None:
        self.publisher, *self.followers = workers
        self.proxies = proxies
        self.publishers_proxy = proxies[0]


@asynccontextmanager
async def _net(stage: Stage, lease: float) -> AsyncIterator[_Net]:
    async with AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(TcpProxy("127.0.0.1", stage.server.port)) for _ in range(3)]
        workers = [await stage.worker(f"redis://127.0.0.1:{proxy.port}/0", lease=lease) for proxy in proxies]
        yield _Net(workers, proxies)
        for worker in workers:
            worker.terminate()
        for worker in workers:
            await stage.in_time("leaving", worker.exit_code())


async def cut_connections(seed: int, rounds: int) -> Tally:
    """All connections of a process, or of all, are reset; new ones work at once, or are refused for up to a second.

    Time: the longest pause that a reader had.
    """
    rng = random.Random(seed)
    async with staged(*FORGETFUL) as stage, _net(stage, lease=5.0) as net:
        while stage.tally.rounds < rounds:
            specs, readings = await _play_streams(stage, rng, net, "follow")
            for _ in range(min(rounds - stage.tally.rounds, _FAULTS_AT_ONCE)):
                await anyio.sleep(rng.uniform(0, 0.7))
                await _cut(rng, rng.choice([net.proxies[:1], net.proxies[1:2], net.proxies[2:], net.proxies]))
                stage.tally.rounds += 1
            await _judge_ridden_out(stage, specs, readings)
    return stage.tally


async def _cut(rng: random.Random, proxies: Sequence[TcpProxy]) -> None:
    is_long = rng.random() < 0.5
    for proxy in proxies:
        await (proxy.refuse() if is_long else proxy.cut())
    if is_long:
        await anyio.sleep(rng.uniform(0, 1.0))
        for proxy in proxies:
            await proxy.accept()


async def lose_replies(seed: int, rounds: int) -> Tally:
    """The server executes an append, and its reply is lost with the connection.

    Time: the longest pause that a reader had.
    """
    rng = random.Random(seed)
    append = SCRIPTS["append"].sha.encode()
    async with staged(*FORGETFUL) as stage, _net(stage, lease=5.0) as net:
        while stage.tally.rounds < rounds:
            specs, readings = await _play_streams(stage, rng, net, "follow")
            for _ in range(min(rounds - stage.tally.rounds, _FAULTS_AT_ONCE * 3)):
                await anyio.sleep(rng.uniform(0, 0.15))
                await stage.in_time("losing a reply", net.publishers_proxy.lose_reply_to(append).wait())
                stage.tally.rounds += 1
            await _judge_ridden_out(stage, specs, readings)
    return stage.tally


async def silence(seed: int, rounds: int) -> Tally:
    """A network says nothing and closes nothing for a while, shorter than the lease.

    Time: the longest pause of a local reader.
    """
    rng = random.Random(seed)
    async with staged(*FORGETFUL) as stage, _net(stage, lease=15.0) as net:
        while stage.tally.rounds < rounds:
            specs, readings = await _play_streams(stage, rng, net, "follow")
            await anyio.sleep(rng.uniform(0, 1.2))
            await _stall(rng.choice(net.proxies), rng.choice((rng.uniform(0.2, 2.0), rng.uniform(5.5, 7.0))))
            stage.tally.rounds += 1
            await _judge_ridden_out(stage, specs, readings)
    return stage.tally


async def silence_past_lease(seed: int, rounds: int) -> Tally:
    """The publisher's network is silent for longer than its lease; nobody takes over.

    Those who follow may be told that the publisher is lost, which it is to them; the stream is done in the end. Time:
    the longest pause of a local reader.
    """
    rng = random.Random(seed)
    async with staged(*FORGETFUL) as stage, _net(stage, lease=1.0) as net:
        while stage.tally.rounds < rounds:
            specs, readings = await _play_streams(stage, rng, net, "follow")
            await _stall_publisher(stage, rng, net)
            await stage.all_over(readings)
            stage.note_waits(_local(readings), LOCAL_PAUSE)
            await stage.judge_streams(
                specs, readings, {StreamState.DONE}, also={"PublisherLostError"}, is_local_ahead=True
            )
    return stage.tally


async def silence_and_takeover(seed: int, rounds: int) -> Tally:
    """The publisher's network is silent for longer than its lease; others take over.

    Readers in the publisher's process, who may have seen what was never logged, are told. Time: the longest pause of a
    reader elsewhere.
    """
    rng = random.Random(seed)
    async with staged(*FORGETFUL) as stage, _net(stage, lease=1.0) as net:
        while stage.tally.rounds < rounds:
            specs, readings = await _play_streams(stage, rng, net, "offer")
            await _stall_publisher(stage, rng, net)
            await stage.all_over(readings)
            stage.note_waits([reading for reading in readings if not reading.is_local])
            await stage.judge_streams(
                specs, readings, {StreamState.DONE}, also_local={"StreamGoneError"}, is_local_ahead=True
            )
            await stage.are_closed(net.publisher)
    return stage.tally


async def _stall_publisher(stage: Stage, rng: random.Random, net: _Net) -> None:
    await anyio.sleep(rng.uniform(0, 1.2))
    await _stall(net.publishers_proxy, rng.choice((rng.uniform(1.5, 4.0), rng.uniform(5.5, 7.0))))
    stage.tally.rounds += 1


async def _stall(proxy: TcpProxy, seconds: float) -> None:
    proxy.stall()
    try:
        await anyio.sleep(seconds)
    finally:
        proxy.resume()


async def _play_streams(stage: Stage, rng: random.Random, net: _Net, role: str) -> tuple[list[Spec], list[Reading]]:
    specs = stage.specs(_STREAMS, length=100, pace=0.03)
    readings = [net.publisher.read(spec, "publish") for spec in specs]
    await stage.are_running(net.publisher, specs)
    readings += [worker.read(spec, role, style=rng.choice(STYLES)) for spec in specs for worker in net.followers]
    return specs, readings


async def _judge_ridden_out(stage: Stage, specs: Sequence[Spec], readings: Sequence[Reading]) -> None:
    await stage.all_over(readings)
    stage.note_waits(readings)
    await stage.judge_streams(specs, readings, {StreamState.DONE})


def _local(readings: Sequence[Reading]) -> list[Reading]:
    return [reading for reading in readings if reading.is_local]

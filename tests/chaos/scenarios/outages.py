"""A server that is killed, comes back with or without its data, or pauses."""

from __future__ import annotations

import random
from collections.abc import Sequence

import anyio
from redis.asyncio import Redis

from resumable_stream import StreamState

from ..canon import Spec
from ..processes import Reading, WorkerProcess
from ..redis_server import DURABLE, FORGETFUL
from ..stage import LOCAL_PAUSE, STYLES, Stage, staged
from ..tally import Tally

_STREAMS = 50
_LEASES = (2.0, 15.0)
"""Shorter than some of the outages, and longer than all."""
_PAUSE = 3.0

Crew = Sequence[WorkerProcess]
"""Who publishes, and who follows."""


class _Crews:
    """The processes of one lease, started when they are first asked for."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._of: dict[float, Crew] = {}

    async def of(self, lease: float) -> Crew:
        """Return those of a lease."""
        if lease not in self._of:
            self._of[lease] = await self._stage.workers(3, lease=lease)
        return self._of[lease]


async def restart_durable(seed: int, rounds: int) -> Tally:
    """``kill -9`` of a server that keeps its data, and its restart. Time: the longest pause of a local reader."""
    rng = random.Random(seed)
    async with staged(*DURABLE) as stage:
        crews = _Crews(stage)
        while stage.tally.rounds < rounds:
            specs, readings = await _play_streams(stage, rng, await crews.of(rng.choice(_LEASES)), _STREAMS)
            for _ in range(min(rounds - stage.tally.rounds, 2)):
                await _restart(stage, rng)
            await _judge_ridden_out(stage, specs, readings)
    return stage.tally


async def restart_forgetful(seed: int, rounds: int) -> Tally:
    """``kill -9`` of a server that keeps nothing, and its restart. Time: the longest pause of a local reader."""
    rng = random.Random(seed)
    async with staged(*FORGETFUL) as stage:
        crews = _Crews(stage)
        while stage.tally.rounds < rounds:
            _, readings = await _play_streams(stage, rng, await crews.of(rng.choice(_LEASES)), _STREAMS)
            await _restart(stage, rng)
            await stage.all_over(readings)
            stage.note_waits(_local(readings), LOCAL_PAUSE)
            # "none" is what those get who ask anew, and "done" is right for those who had everything.
            remote_ends = ("StreamGoneError", "none", "done")
            stage.judge_prefixes(readings, ends=remote_ends, local_ends=("StreamGoneError", "done"))
    return stage.tally


async def restart_stale(seed: int, rounds: int) -> Tally:
    """``kill -9`` of a server that comes back with what it had some time before, as after a failover without waiting.

    Time: the longest pause of a local reader.
    """
    rng = random.Random(seed)
    async with staged(*FORGETFUL) as stage:
        crews = _Crews(stage)
        while stage.tally.rounds < rounds:
            specs, readings = await _play_streams(stage, rng, await crews.of(rng.choice(_LEASES)), _STREAMS // 5)
            await anyio.sleep(rng.uniform(0, 1.2))
            async with Redis.from_url(stage.server.url, protocol=2) as client:
                await client.save()
            await _restart(stage, rng)
            await stage.all_over(readings)
            stage.note_waits(_local(readings), LOCAL_PAUSE)
            # Streams that had ended since may be back as lost ones. Who asks anew, from behind a chunk that is gone, is
            # told that there is no such position.
            far_ends = ("StreamGoneError", "InvalidPositionError", "PublisherFailedError", "PublisherLostError", "done")
            stage.judge_prefixes(readings, ends=far_ends, local_ends=("PublisherFailedError", "done"))
            await stage.forget(specs)
    return stage.tally


async def pause_server(seed: int, rounds: int) -> Tally:
    """SIGSTOP of the server for three seconds, shorter or longer than the lease, then SIGCONT.

    Time: the longest pause of a local reader.
    """
    rng = random.Random(seed)
    async with staged(*FORGETFUL) as stage:
        crews = _Crews(stage)
        while stage.tally.rounds < rounds:
            crew = await crews.of(_LEASES[stage.tally.rounds % len(_LEASES)])
            specs, readings = await _play_streams(stage, rng, crew, _STREAMS // 5)
            await anyio.sleep(rng.uniform(0, 1.2))
            stage.server.pause()
            await anyio.sleep(_PAUSE)
            stage.server.resume()
            stage.tally.rounds += 1
            await _judge_ridden_out(stage, specs, readings)
    return stage.tally


async def _play_streams(stage: Stage, rng: random.Random, crew: Crew, count: int) -> tuple[list[Spec], list[Reading]]:
    publisher, *followers = crew
    specs = stage.specs(count, length=100, pace=0.04)
    readings = [publisher.read(spec, "publish") for spec in specs]
    await stage.are_running(publisher, specs)
    readings += [follower.read(spec, "follow", style=rng.choice(STYLES)) for spec in specs for follower in followers]
    return specs, readings


async def _restart(stage: Stage, rng: random.Random) -> None:
    await anyio.sleep(rng.uniform(0, 1.2))
    await stage.server.kill()
    await anyio.sleep(rng.uniform(0, 1.0) if rng.random() < 0.5 else rng.uniform(2.5, 3.0))
    await stage.server.start()
    stage.tally.rounds += 1


async def _judge_ridden_out(stage: Stage, specs: Sequence[Spec], readings: Sequence[Reading]) -> None:
    await stage.all_over(readings)
    stage.note_waits(_local(readings), LOCAL_PAUSE)
    await stage.judge_streams(specs, readings, {StreamState.DONE})


def _local(readings: Sequence[Reading]) -> list[Reading]:
    return [reading for reading in readings if reading.is_local]

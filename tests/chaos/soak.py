"""Many streams for a while: is everything delivered, and does anything grow?

Part of ``python -m tests.chaos``, and alone with ``--soak``. It needs ``/proc``, so Linux.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from os import sysconf
from pathlib import Path
from typing import NamedTuple

import anyio
from redis.asyncio import Redis

from .processes import WorkerProcess
from .redis_server import FORGETFUL
from .stage import Stage, staged
from .tally import Tally

CHUNKS_PER_SECOND = 20
"""Of each stream."""
WINDOW_BYTES = 8 * 1024
"""So small that all windows are full when the first sample is taken."""

_RETENTION = 1.0
_FORGET_TIMEOUT = 120.0
"""Seconds. Entries outlive the retention by a minute, for readers who joined before."""
_MOMENTS = {"after a quarter": 0.25, "after a half": 0.25, "near the end": 0.4}
"""When to count, and which part of the time passes before."""
_NAME = "soak"
_MOST_GROWTH = 1.1
"""What the allocator may keep for itself."""
_MOST_CONNECTIONS = 8
"""Four for each process."""


class Sample(NamedTuple):
    """What there is at one moment. Pairs are of the publisher's and of the follower's process."""

    moment: str
    resident_bytes: tuple[int, int]
    tasks: tuple[int, int]
    connections: int
    """Of both processes together, to the server."""
    keys: int


@dataclass
class Soak:
    """What came of it."""

    streams: int
    seconds: float
    """That it should take: how long each stream is."""
    took: float
    """Seconds from the first factory to the end of the last reader."""
    tally: Tally
    samples: list[Sample]


async def soak(streams: int, seconds: float) -> Soak:
    """Publish so many streams in one process and follow them all in another, for so long."""
    async with staged(*FORGETFUL) as stage:
        url = f"{stage.server.url}?client_name={_NAME}"
        limits = {"window_bytes": WINDOW_BYTES}
        publisher = await stage.worker(url, retention=_RETENTION, limits=limits)
        follower = await stage.worker(url, retention=_RETENTION, limits=limits)
        count = _Counter(url, publisher, follower)
        await count.sample("before")
        started = time.monotonic()
        specs = stage.specs(streams, length=round(seconds * CHUNKS_PER_SECOND), pace=1 / CHUNKS_PER_SECOND)
        for spec in specs:
            publisher.read(spec, "publish", style="absent")
        await stage.are_running(publisher, specs)
        readings = [follower.read(spec, "follow") for spec in specs]
        for moment, part in _MOMENTS.items():
            await anyio.sleep(seconds * part)
            await count.sample(moment)
        await stage.all_over(readings, within=2 * seconds)
        took = max(reading.ending.at for reading in readings if reading.ending is not None) - started
        await count.sample("after the end")
        stage.note_waits(readings)
        stage.judge_prefixes(readings, ends=("done",), local_ends=())
        stage.tally.streams = streams
        _check_growth(stage, count.samples)
        await stage.in_time("forgetting", count.until_no_keys(), _FORGET_TIMEOUT)
        await count.sample("after the retention")
        stage.check(count.samples[-1].tasks == count.samples[0].tasks, "tasks are left")
    return Soak(streams, seconds, took, stage.tally, count.samples)


def _check_growth(stage: Stage, samples: list[Sample]) -> None:
    """Compare the first sample of full load with all later ones."""
    _, full, *later = samples
    for sample in later:
        for before, after in zip(full.resident_bytes, sample.resident_bytes, strict=True):
            stage.check(after < before * _MOST_GROWTH, f"{sample.moment}: {after:,} bytes instead of {before:,}")
        stage.check(sample.connections <= _MOST_CONNECTIONS, f"{sample.moment}: {sample.connections} connections")
        stage.check(sample.keys <= 2 * stage.tally.streams, f"{sample.moment}: {sample.keys} keys")


class _Counter:
    """Counts what might grow."""

    def __init__(self, url: str, publisher: WorkerProcess, follower: WorkerProcess) -> None:
        self.samples: list[Sample] = []
        self._url = url
        self._publisher = publisher
        self._follower = follower

    async def sample(self, moment: str) -> None:
        """Count now."""
        tasks = (await self._publisher.count_tasks(), await self._follower.count_tasks())
        resident = (_resident_bytes(self._publisher.pid), _resident_bytes(self._follower.pid))
        async with Redis.from_url(self._url, client_name="counter", protocol=2) as client:
            connections = sum(about["name"] == _NAME for about in await client.client_list())
            self.samples.append(Sample(moment, resident, tasks, connections, await client.dbsize()))

    async def until_no_keys(self) -> None:
        """Wait until the server has forgotten all streams."""
        async with Redis.from_url(self._url, client_name="counter", protocol=2) as client:
            while await client.dbsize():
                await anyio.sleep(0.5)


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * sysconf("SC_PAGE_SIZE")

"""Streams that somebody stops, and processes that leave."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence

import anyio

from resumable_stream import StreamState

from ..canon import Spec
from ..processes import WorkerProcess
from ..redis_server import DURABLE, FORGETFUL
from ..stage import STYLES, Stage, in_lanes, staged
from ..tally import Tally

_LEASE = 2.0
_DRAIN = 0.5


async def stop_streams(seed: int, rounds: int) -> Tally:
    """Streams are stopped, by their own process or another, while all is well or the server or the publisher is away.

    Time: from the answer to the call until the last reader has come to the end.
    """
    rng = random.Random(seed)
    kinds = [_stop_elsewhere, _stop_here, _stop_at_once, _stop_and_kill, _kill_and_stop, _stop_in_outage]
    async with staged(*DURABLE) as stage:
        others = await stage.workers(2, lease=_LEASE)
        publisher = await stage.worker(lease=_LEASE)
        while stage.tally.rounds < rounds:
            if not publisher.is_alive:
                publisher = await stage.worker(lease=_LEASE)
            kind = kinds[stage.tally.rounds % len(kinds)]
            await _stop_some(stage, rng, kind, publisher, others)
            stage.tally.rounds += 1
    return stage.tally


class _Scene:
    """Some streams that are to be stopped."""

    def __init__(
        self, stage: Stage, rng: random.Random, publisher: WorkerProcess, others: Sequence[WorkerProcess]
    ) -> None:
        self.stage = stage
        self.rng = rng
        self.publisher = publisher
        self.others = others
        self.specs: list[Spec] = stage.specs(4, length=1000)

    async def stop(self, caller: WorkerProcess) -> None:
        """Ask for the end of all streams, again while they do not exist yet."""
        async with anyio.create_task_group() as tasks:
            for spec in self.specs:
                tasks.start_soon(self._stop_one, caller, spec)

    async def _stop_one(self, caller: WorkerProcess, spec: Spec) -> None:
        await self.stage.in_time(f"stopping {spec.stream_id}", self._stop_when_there(caller, spec))

    async def _stop_when_there(self, caller: WorkerProcess, spec: Spec) -> None:
        state = None
        while state is None:
            state, error = await caller.stop(spec.stream_id, reason=spec.stream_id)
            if error is not None:
                self.stage.wrong_end(f"stopping {spec.stream_id} raised {error}")
                return


async def _stop_some(
    stage: Stage,
    rng: random.Random,
    kind: Callable[[_Scene], Awaitable[None]],
    publisher: WorkerProcess,
    others: Sequence[WorkerProcess],
) -> None:
    scene = _Scene(stage, rng, publisher, others)
    readings = [publisher.read(spec, "publish") for spec in scene.specs]
    if kind is not _stop_at_once:
        await stage.are_running(publisher, scene.specs)
        readings += [other.read(spec, "follow", style=rng.choice(STYLES)) for spec in scene.specs for other in others]
        await anyio.sleep(rng.uniform(0, 0.8))
    await kind(scene)
    stopped_at = time.monotonic()
    await stage.all_over(readings)
    ends = [reading.ending.at for reading in readings if reading.ending is not None]
    stage.tally.worst = max([stage.tally.worst, *(at - stopped_at for at in ends)])
    lost = {"PublisherLostError"} if kind is _kill_and_stop else set()
    logs = await stage.judge_streams(scene.specs, readings, {StreamState.STOPPED}, also=lost)
    for name, log in logs.items():
        stage.check(log.info.reason == name, f"{name} was stopped for {log.info.reason!r}")
    if publisher.is_alive:
        await stage.are_closed(publisher)


async def _stop_elsewhere(scene: _Scene) -> None:
    await scene.stop(scene.others[0])


async def _stop_here(scene: _Scene) -> None:
    await scene.stop(scene.publisher)


async def _stop_at_once(scene: _Scene) -> None:
    """Not knowing whether the stream exists yet."""
    await scene.stop(scene.others[0])


async def _stop_and_kill(scene: _Scene) -> None:
    await scene.stop(scene.others[0])
    scene.publisher.kill()
    await scene.stage.in_time("dying", scene.publisher.exit_code())


async def _kill_and_stop(scene: _Scene) -> None:
    scene.publisher.kill()
    await scene.stage.in_time("dying", scene.publisher.exit_code())
    await anyio.sleep(scene.rng.uniform(0, 2 * _LEASE))
    await scene.stop(scene.others[0])


async def _stop_in_outage(scene: _Scene) -> None:
    server = scene.stage.server
    await server.kill()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(scene.stop, scene.rng.choice((scene.publisher, scene.others[0])))
        await anyio.sleep(scene.rng.uniform(0, 1.5))
        await server.start()


async def leave(seed: int, rounds: int) -> Tally:
    """SIGTERM to the publisher's process, which leaves its context; half of the time a second one cancels that.

    Time: until the process has ended.
    """
    async with staged(*FORGETFUL) as stage:

        async def lane(rng: random.Random, numbers: Iterator[int]) -> None:
            followers = await stage.workers(2, lease=_LEASE)
            for _ in numbers:
                await _leave_one(stage, rng, followers)

        await in_lanes(seed, rounds, lane)
    return stage.tally


async def _leave_one(stage: Stage, rng: random.Random, followers: Sequence[WorkerProcess]) -> None:
    leaver = await stage.worker(lease=_LEASE, drain_timeout=rng.choice((0.0, _DRAIN)))
    specs = [*stage.specs(3, length=1000), *stage.specs(1, length=rng.randint(10, 50))]
    readings = [leaver.read(spec, "publish") for spec in specs]
    is_early = rng.random() < 0.2  # perhaps before there is a stream
    if is_early:
        await anyio.sleep(rng.uniform(0, 0.01))
    else:
        await stage.are_running(leaver, specs)
        readings += [other.read(spec, "follow", style=rng.choice(STYLES)) for spec in specs for other in followers]
        await anyio.sleep(rng.uniform(0, 0.8))
    asked_at = leaver.terminate()
    if rng.random() < 0.5:
        await anyio.sleep(rng.uniform(0, 2 * _DRAIN))
        leaver.terminate()
    await stage.in_time("leaving", leaver.exit_code())
    stage.tally.worst = max(stage.tally.worst, time.monotonic() - asked_at)
    stage.check(leaver.has_left, "the process did not leave its context")
    infos = [await stage.judge.info(spec.stream_id) for spec in specs]
    stage.check(not any(info and info.is_running for info in infos), "a stream was left running")
    await stage.all_over(readings)
    specs = [spec for spec, info in zip(specs, infos, strict=True) if info is not None]
    logs = await stage.judge_streams(
        specs, readings, {StreamState.STOPPED, StreamState.DONE}, also_local={"ContextClosedError"}
    )
    for name, log in logs.items():
        is_right = log.info.state is StreamState.DONE or log.info.reason == "shutdown"
        stage.check(is_right, f"{name} was stopped for {log.info.reason!r}")
    await stage.are_closed(leaver)
    stage.tally.rounds += 1

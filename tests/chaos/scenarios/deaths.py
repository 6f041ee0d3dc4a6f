"""Publishers that die, fall asleep, are told to stop, or leave."""

from __future__ import annotations

import random
from collections.abc import Iterator

import anyio

from resumable_stream import StreamState

from ..canon import Spec
from ..processes import Reading, WorkerProcess
from ..redis_server import FORGETFUL
from ..stage import STYLES, Stage, in_lanes, staged
from ..tally import Tally

_LEASE = 1.0


async def kill_publisher(seed: int, rounds: int) -> Tally:
    """``kill -9`` of the publisher's process; nobody takes over. Time: until readers elsewhere know."""
    async with staged(*FORGETFUL) as stage:

        async def lane(rng: random.Random, numbers: Iterator[int]) -> None:
            followers = await stage.workers(2, lease=_LEASE)
            for _ in numbers:
                await _kill_one(stage, rng, followers)

        await in_lanes(seed, rounds, lane)
    return stage.tally


async def _kill_one(stage: Stage, rng: random.Random, followers: list[WorkerProcess]) -> None:
    victim = await stage.worker(lease=_LEASE)
    specs = [*stage.specs(3, length=1000), *stage.specs(1, length=10)]
    readings = [victim.read(spec, "publish", tells=True) for spec in specs]
    if rng.random() < 0.2:
        killed_at = await _kill_early(stage, rng, victim)
        specs = [spec for spec in specs if await stage.judge.info(spec.stream_id)]
        readings += _follow(rng, specs, followers)
    else:
        await stage.are_running(victim, specs)
        readings += _follow(rng, specs, followers)
        await anyio.sleep(rng.uniform(0, 1.2))
        killed_at = victim.kill()
    await stage.all_over(readings)
    await stage.in_time("dying", victim.exit_code())
    stage.check_notice(readings, killed_at, _LEASE)
    await stage.judge_streams(specs, readings, {StreamState.LOST, StreamState.DONE})
    stage.tally.rounds += 1


async def _kill_early(stage: Stage, rng: random.Random, victim: WorkerProcess) -> float:
    """Perhaps before there is a stream."""
    await anyio.sleep(rng.uniform(0, 0.01))
    killed_at = victim.kill()
    await stage.in_time("dying", victim.exit_code())
    return killed_at


def _follow(rng: random.Random, specs: list[Spec], followers: list[WorkerProcess]) -> list[Reading]:
    return [follower.read(spec, "follow", style=rng.choice(STYLES)) for spec in specs for follower in followers]


async def kill_publisher_with_takeover(seed: int, rounds: int) -> Tally:
    """``kill -9`` of the publisher's process, at times of its successor's too; all others offer to take over.

    Time: the longest pause that a reader had.
    """
    async with staged(*FORGETFUL) as stage:

        async def lane(rng: random.Random, numbers: Iterator[int]) -> None:
            waiting = await stage.workers(2, lease=_LEASE)
            for _ in numbers:
                waiting = await _kill_and_take_over(stage, rng, numbers, waiting)

        await in_lanes(seed, rounds, lane)
    return stage.tally


async def _kill_and_take_over(
    stage: Stage, rng: random.Random, numbers: Iterator[int], waiting: list[WorkerProcess]
) -> list[WorkerProcess]:
    """Return who waits in the next round."""
    victim, later = await stage.workers(2, lease=_LEASE)
    specs = stage.specs(4, length=100)
    readings = [victim.read(spec, "publish", tells=True) for spec in specs]
    if rng.random() < 0.8:
        await stage.are_running(victim, specs)
    readings += [worker.read(spec, "offer", style=rng.choice(STYLES)) for spec in specs for worker in waiting]
    await anyio.sleep(rng.uniform(0, 1.2))
    victim.kill()
    stage.tally.rounds += 1
    await anyio.sleep(rng.uniform(0, 2.0))
    readings += [later.read(spec, "offer", style=rng.choice(STYLES)) for spec in specs]
    kills_another = rng.random() < 0.3 and next(numbers, None) is not None
    if kills_another:
        await anyio.sleep(rng.uniform(0, 1.5))
        waiting[0].kill()
        stage.tally.rounds += 1
        waiting = [waiting[1], later]
    await stage.all_over(readings)
    stage.note_waits(readings)
    logs = await stage.judge_streams(specs, readings, {StreamState.DONE})
    for spec in specs:
        if spec.stream_id in logs and not kills_another:
            continued, epoch = len(stage.runs_of(spec)), logs[spec.stream_id].info.epoch
            stage.check(epoch - 1 <= continued <= epoch, f"{spec.stream_id}: {continued} runs in {epoch} epochs")
    if not kills_another:
        later.kill()
    return waiting


async def pause_publisher(seed: int, rounds: int) -> Tally:
    """SIGSTOP of the publisher's process past its lease, then SIGCONT. Time: until readers elsewhere know."""
    async with staged(*FORGETFUL) as stage:

        async def lane(rng: random.Random, numbers: Iterator[int]) -> None:
            sleeper, *followers = await stage.workers(3, lease=_LEASE)
            for _ in numbers:
                await _pause_one(stage, rng, sleeper, followers)

        await in_lanes(seed, rounds, lane)
    return stage.tally


async def _pause_one(stage: Stage, rng: random.Random, sleeper: WorkerProcess, followers: list[WorkerProcess]) -> None:
    specs = stage.specs(4, length=1000)
    local = [sleeper.read(spec, "publish") for spec in specs]
    await stage.are_running(sleeper, specs)
    remote = _follow(rng, specs, followers)
    await anyio.sleep(rng.uniform(0, 0.8))
    paused_at = sleeper.pause()
    await stage.all_over(remote)
    stage.check_notice(remote, paused_at, _LEASE)
    await anyio.sleep(rng.uniform(0, 1.5) if rng.random() < 0.8 else rng.uniform(3, 5))
    logged = {spec: await stage.judge.info(spec.stream_id) for spec in specs}
    sleeper.resume()
    await stage.all_over(local)
    await stage.are_closed(sleeper)
    logs = await stage.judge_streams(specs, [*local, *remote], {StreamState.LOST})
    for spec, before in logged.items():
        after = logs.get(spec.stream_id)
        is_same = before is not None and after is not None and before.length == after.info.length
        stage.check(is_same, f"{spec.stream_id} grew after its publisher was lost")
    stage.tally.rounds += 1


async def pause_publisher_with_takeover(seed: int, rounds: int) -> Tally:
    """SIGSTOP of the publisher's process until others took over, or nearly, then SIGCONT.

    Time: the longest pause that a reader elsewhere had.
    """
    async with staged(*FORGETFUL) as stage:

        async def lane(rng: random.Random, numbers: Iterator[int]) -> None:
            sleeper, *waiting = await stage.workers(3, lease=_LEASE)
            for _ in numbers:
                await _pause_and_take_over(stage, rng, sleeper, waiting)

        await in_lanes(seed, rounds, lane)
    return stage.tally


async def _pause_and_take_over(
    stage: Stage, rng: random.Random, sleeper: WorkerProcess, waiting: list[WorkerProcess]
) -> None:
    specs = stage.specs(4, length=120)
    local = [sleeper.read(spec, "publish") for spec in specs]
    await stage.are_running(sleeper, specs)
    remote = [worker.read(spec, "offer", style=rng.choice(STYLES)) for spec in specs for worker in waiting]
    await anyio.sleep(rng.uniform(0, 0.8))
    sleeper.pause()
    if rng.random() < 0.4:
        await anyio.sleep(_LEASE * rng.uniform(0.8, 1.3))  # about when it is lost
    else:
        await stage.until("taking over", lambda: all(stage.takeovers_of(spec) for spec in specs))
        await anyio.sleep(rng.uniform(0, 2.0))
    sleeper.resume()
    await stage.all_over([*local, *remote])
    await stage.are_closed(sleeper)
    stage.note_waits(remote)
    logs = await stage.judge_streams(
        specs, [*local, *remote], {StreamState.DONE}, also_local={"StreamGoneError", "PublisherLostError"}
    )
    for log in logs.values():
        writers = [writer for writer, _ in log.evidence.segments]
        stage.check(len(writers) == len(set(writers)), f"{log.info.stream_id}: a fenced publisher wrote: {writers}")
    stage.tally.rounds += 1

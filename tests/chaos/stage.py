"""What a scenario plays on: a server, worker processes, a watcher of keys, and a judge of what came of it."""

from __future__ import annotations

import random
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from math import inf
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import anyio

from resumable_stream import (
    PublisherError,
    ResumableStream,
    ResumableStreamContext,
    StreamInfo,
    StreamState,
)

from .canon import Evidence, Spec, until
from .processes import Ending, Reading, Run, WorkerProcess
from .redis_server import RedisServer
from .tally import Tally
from .watcher import Watcher

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds after which what has not come to its end hangs."""
PROMPTNESS = 1.0
"""How much later than its lease a lost publisher is noticed at the latest, in seconds: promised to processes that get
their turn on the processor."""

LOCAL_PAUSE = 2.0
"""How long readers in the publisher's process wait at most, in seconds, when the server falls silent. One passes before
that is noticed."""
_RECORD_TIMEOUT = 10.0
_LANES = 3
_ROUNDS_PER_LANE = 5
"""So few rounds are not worth another lane, with processes of its own."""

STYLES = ("plain", "blocks", "reloading")

_END_OF = {
    StreamState.DONE: "done",
    StreamState.STOPPED: "stopped",
    StreamState.LOST: "PublisherLostError",
    StreamState.FAILED: "PublisherFailedError",
}
_SETTINGS = {"retention": 300.0, "tombstone": 0.0, "call_timeout": 20.0, "outage_timeout": 40.0, "drain_timeout": 0.0}


class Log(NamedTuple):
    """A stream as it stands in the log in the end."""

    info: StreamInfo
    evidence: Evidence

    @property
    def end(self) -> str:
        """What its readers come to."""
        return _END_OF.get(self.info.state, "running")


class Stage:
    """One scenario's processes, and its counts. Made by `staged`."""

    def __init__(self, server: RedisServer, judge: ResumableStreamContext, tally: Tally, watcher: Watcher) -> None:
        self.server: RedisServer = server
        self.judge: ResumableStreamContext = judge
        self.tally: Tally = tally
        self._watcher = watcher
        self._exits = AsyncExitStack()
        self._workers: list[WorkerProcess] = []
        self._count = 0
        self._changed = anyio.Event()

    async def worker(self, url: str | None = None, **settings: Any) -> WorkerProcess:
        """Start a process with a context; it is killed at the end of the scenario at the latest."""
        name = f"w{len(self._workers)}"
        worker = WorkerProcess(name, url or self.server.url, self._on_news, **(_SETTINGS | settings))
        self._workers.append(worker)
        with anyio.fail_after(PATIENCE):
            await self._exits.enter_async_context(worker)
        return worker

    async def workers(self, count: int, **settings: Any) -> list[WorkerProcess]:
        """Start some processes."""
        return [await self.worker(**settings) for _ in range(count)]

    def specs(self, count: int, length: int, pace: float = 0.02) -> list[Spec]:
        """Return new streams."""
        self._count += count
        return [Spec(f"s{number}", length, pace) for number in range(self._count - count, self._count)]

    async def in_time(self, what: str, wait: Awaitable[T], seconds: float = PATIENCE) -> T | None:
        """Wait for something; if that takes too long, it hangs."""
        with anyio.move_on_after(seconds):
            return await wait
        self.tally.hangs += 1
        self.note(f"{what} hangs")
        return None

    async def all_over(self, readings: Iterable[Reading], within: float = PATIENCE) -> None:
        """Wait until all readers have come to their end; those that do not in so many seconds hang."""
        with anyio.move_on_after(within):
            for reading in readings:
                await reading.is_over.wait()
            return
        for reading in readings:
            if not reading.is_over.is_set():
                self.tally.hangs += 1
                self.note(f"a reader of {reading.spec.stream_id} hangs")

    async def until(self, what: str, condition: Callable[[], bool]) -> None:
        """Wait until something is true of what factories did; if that takes too long, it hangs."""
        await self.in_time(what, self._until(condition))

    async def are_running(self, worker: WorkerProcess, specs: Iterable[Spec]) -> None:
        """Wait until a worker has called the factories of these streams."""
        wanted = {spec.stream_id for spec in specs}
        await self.until("publishing", lambda: wanted <= {run.stream_id for run in worker.runs})

    async def are_closed(self, worker: WorkerProcess) -> None:
        """Wait until the ``finally`` of each factory that a worker has called was run."""
        await self.until("closing", lambda: {run.writer for run in worker.runs} <= worker.closed)

    def runs_of(self, spec: Spec) -> list[Run]:
        """Return all calls of factories and takeovers of a stream, in whatever process."""
        return [run for worker in self._workers for run in worker.runs if run.stream_id == spec.stream_id]

    def takeovers_of(self, spec: Spec) -> list[Run]:
        """Return the calls that took a stream over."""
        return [run for run in self.runs_of(spec) if run.kind == "takeover"]

    async def judge_streams(
        self,
        specs: Sequence[Spec],
        readings: Sequence[Reading],
        states: Collection[StreamState],
        *,
        also: Collection[str] = (),
        also_local: Collection[str] = (),
        is_local_ahead: bool = False,
    ) -> dict[str, Log]:
        """Compare what readers got with what is logged, and count; then forget the streams.

        Args:
            specs: The streams.
            readings: Their readers, all of them over. Those whose process was killed are left out.
            states: In which the streams may be.
            also: Ends that a reader may come to although the stream came to another. It has a true prefix then.
            also_local: The same for readers in the publisher's process.
            is_local_ahead: Whether those may have chunks that were never logged, as the server was away.
        """
        logs: dict[str, Log] = {}
        for spec in specs:
            await self._wait_for_state(spec, states)
            log = await self.in_time("reading the log", self._read_log(spec))
            if log is None:
                self.wrong_end(f"{spec.stream_id} is not there")
                continue
            logs[spec.stream_id] = log
            self.tally.streams += 1
            self._judge_log(spec, log, states)
            for reading in readings:
                if reading.spec == spec:
                    self._judge_reading(
                        reading,
                        log,
                        also=also_local if reading.is_local else also,
                        may_be_ahead=is_local_ahead and reading.is_local,
                    )
        await self.forget(specs)
        return logs

    def judge_prefixes(
        self, readings: Sequence[Reading], *, ends: Collection[str], local_ends: Collection[str]
    ) -> None:
        """Count what readers got of streams that the server has forgotten. The local one of each has to have it all."""
        for reading in readings:
            ending = reading.ending
            if ending is None:
                continue
            self._count_reading(ending)
            self.tally.streams += reading.is_local
            allowed = local_ends if reading.is_local else ends
            if ending.end not in allowed:
                self.wrong_end(f"a reader of {reading.spec.stream_id} came to {ending.end}")
            if ending.count < reading.spec.length and (reading.is_local or ending.end == "done"):
                self.tally.lost += reading.spec.length - ending.count
                self.note(f"a reader of {reading.spec.stream_id} got {ending.count} of {reading.spec.length} chunks")

    async def forget(self, specs: Iterable[Spec]) -> None:
        """Delete streams, so that the watcher has less to look at."""
        for spec in specs:
            await self.in_time("deleting", self.judge.delete(spec.stream_id))

    def check_notice(self, readings: Iterable[Reading], since: float, lease: float) -> None:
        """Note how long it took readers to learn that a publisher is lost."""
        for reading in readings:
            if reading.ending is None or reading.ending.end != "PublisherLostError":
                continue
            took = reading.ending.at - since
            self.tally.worst = max(self.tally.worst, took)
            if took > lease + PROMPTNESS + reading.ending.lag:
                self.tally.late += 1
                self.note(f"a reader of {reading.spec.stream_id} learned after {took:.2f} s")

    def note_waits(self, readings: Iterable[Reading], at_most: float = inf) -> None:
        """Note how long readers had to wait between two chunks, and count who had to wait too long."""
        for reading in readings:
            if reading.ending is None:
                continue
            waited = reading.ending.longest_wait
            self.tally.worst = max(self.tally.worst, waited)
            if waited > at_most + reading.ending.lag:
                self.tally.late += 1
                self.note(f"a reader of {reading.spec.stream_id} waited for {waited:.2f} s")

    def check(self, is_right: bool, problem: str) -> None:
        """Count something that is not right."""
        if not is_right:
            self.wrong_end(problem)

    def wrong_end(self, problem: str) -> None:
        """Count something that came to another end than it should have."""
        self.tally.wrong_ends += 1
        self.note(problem)

    def note(self, problem: str) -> None:
        """Tell people what was wrong."""
        self.tally.notes.append(problem)

    async def close(self) -> None:
        """End all processes, and count what they complained of."""
        await self._exits.aclose()
        for worker in self._workers:
            self.check(not worker.complaints, f"{worker.name} complained: {worker.complaints}")
            self.check(not worker.hanging, f"{worker.hanging} readers of {worker.name} went on after it was left")

    def _on_news(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()
        self._watcher.prompt()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()

    async def _wait_for_state(self, spec: Spec, states: Collection[StreamState]) -> None:
        """Wait, if need be: a reader may know the end of a stream before it is recorded."""
        with anyio.move_on_after(_RECORD_TIMEOUT):
            while await self.judge.has_existing_stream(spec.stream_id) not in states:
                await anyio.sleep(0.05)

    async def _read_log(self, spec: Spec) -> Log | None:
        info = await self.judge.info(spec.stream_id)
        stream: ResumableStream[str] | None = await self.judge.resume_existing_stream(spec.stream_id)
        if info is None or stream is None:
            return None
        evidence = Evidence(spec.stream_id)
        async with stream:
            try:
                async for chunk in stream:
                    evidence.take(chunk)
            except PublisherError:
                pass  # the info says so, too
        return Log(info, evidence)

    def _judge_log(self, spec: Spec, log: Log, states: Collection[StreamState]) -> None:
        evidence = log.evidence
        self._count_faults(evidence)
        state = log.info.state
        self.check(state in states, f"{spec.stream_id} is {state.value}")
        self.check(evidence.count == log.info.length, f"{spec.stream_id} has {evidence.count} of {log.info.length}")
        if state is StreamState.DONE:
            self.tally.lost += spec.length - evidence.count
            self.check(evidence.count == spec.length, f"{spec.stream_id} is done after {evidence.count} chunks")
        runs = self.runs_of(spec)
        self.check(sum(run.kind == "factory" for run in runs) <= 1, f"the factory of {spec.stream_id} ran twice")
        self.check(all(run.is_true for run in runs), f"a takeover of {spec.stream_id} was given another text")
        self.check(len(runs) <= log.info.epoch, f"{spec.stream_id} was continued twice in an epoch")

    def _judge_reading(self, reading: Reading, log: Log, *, also: Collection[str], may_be_ahead: bool) -> None:
        ending = reading.ending
        if ending is None:
            if reading.seen > log.evidence.count and not may_be_ahead:
                self.tally.wrong += 1
                self.note(f"a reader of {reading.spec.stream_id} saw {reading.seen} of {log.evidence.count} chunks")
            return
        self._count_reading(ending)
        name, logged = reading.spec.stream_id, log.evidence
        if ending.end == log.end:
            missing = logged.count - ending.count
            self.tally.lost += max(0, missing)
            if missing > 0:
                self.note(f"a reader of {name} came to {ending.end} after {ending.count} of {logged.count} chunks")
        elif ending.end not in also:
            self.wrong_end(f"a reader of {name}, which is {log.info.state.value}, came to {ending.end}")
        is_prefix = ending.count <= logged.count and ending.segments == until(logged.segments, ending.count)
        if not is_prefix and not may_be_ahead:
            self.tally.wrong += 1
            self.note(f"a reader of {name} got {ending.count} {ending.segments}, not {logged.count} {logged.segments}")

    def _count_reading(self, ending: Ending) -> None:
        self.tally.readers += 1
        self.tally.chunks += ending.count
        self._count_faults(ending)

    def _count_faults(self, found: Ending | Evidence) -> None:
        self.tally.lost += found.lost
        self.tally.doubled += found.doubled
        self.tally.reordered += found.reordered
        self.tally.wrong += found.wrong


@asynccontextmanager
async def staged(*options: str) -> AsyncIterator[Stage]:
    """A stage with a server of its own, which is started with these options."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        async with (
            RedisServer(Path(folder), options) as server,
            ResumableStreamContext.from_url(server.url, **_SETTINGS) as judge,  # type: ignore[arg-type]  # all are numbers
            anyio.create_task_group() as tasks,
        ):
            watcher = Watcher(server.url, tally)
            stage = Stage(server, judge, tally, watcher)
            tasks.start_soon(watcher.run)
            try:
                yield stage
            finally:
                with anyio.CancelScope(shield=True):
                    await stage.close()
                tasks.cancel_scope.cancel()


Lane = Callable[[random.Random, Iterator[int]], Coroutine[Any, Any, None]]


async def in_lanes(seed: int, rounds: int, lane: Lane) -> None:
    """Play rounds, many of them beside each other: each lane takes the next round when it is through with one."""
    numbers = iter(range(rounds))
    async with anyio.create_task_group() as tasks:
        for number in range(min(_LANES, 1 + rounds // _ROUNDS_PER_LANE)):
            tasks.start_soon(lane, random.Random(f"{seed}/{number}"), numbers)

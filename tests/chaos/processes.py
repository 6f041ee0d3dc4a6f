"""The worker processes as their parent sees them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import anyio
from typing_extensions import Self

from .canon import Spec
from .environment import ENVIRONMENT

_ROOT = Path(__file__).parent.parent.parent
_LINE_LIMIT = 1024 * 1024


class Run(NamedTuple):
    """One call of a factory, or of what takes a stream over."""

    stream_id: str
    kind: str
    """``"factory"`` or ``"takeover"``."""
    writer: str
    first: int
    """How many chunks a takeover was given."""
    is_true: bool
    """Whether those were the first chunks of the stream."""


@dataclass(frozen=True)
class Ending:
    """How a reader came to its end, and what it had got by then."""

    end: str
    """The state of the stream, the type of the error, or "none" for no stream."""
    at: float
    """On the clock that all processes of a machine share."""
    longest_wait: float
    """Between two chunks, in seconds."""
    lag: float
    """For how many seconds its process waited for the processor meanwhile."""
    count: int
    lost: int
    doubled: int
    reordered: int
    wrong: int
    segments: list[tuple[str, int]]


@dataclass
class Reading:
    """One reader in a worker process."""

    spec: Spec
    is_local: bool
    """Whether it asked to publish the stream, and so is most often where the publisher is."""
    seen: int = 0
    """How many chunks it said that it has, if it was told to say."""
    ending: Ending | None = None
    is_over: anyio.Event = field(default_factory=anyio.Event)
    """Set too when its process has ended: then there is no ending."""

    def vanish(self) -> None:
        """Take note that there is nobody any more who reads."""
        self.is_over.set()


class Answer(NamedTuple):
    """What a call in a worker process returned or raised."""

    result: Any
    error: str | None


class WorkerProcess:
    """A process with one context. An async context manager; leaving it kills the process, whatever state it is in.

    Args:
        name: Of its own.
        url: Of the server.
        on_news: Called when a factory was called or closed, and when the process has ended.
        settings: Of the context.
    """

    def __init__(self, name: str, url: str, on_news: Callable[[], None], **settings: Any) -> None:
        self.name: str = name
        self.runs: list[Run] = []
        """All calls of factories and takeovers, in their order."""
        self.closed: set[str] = set()
        """The writers whose ``finally`` has run."""
        self.complaints: list[str] = []
        """What it wrote to its error output, which should be nothing."""
        self.has_left: bool = False
        """Whether it said that it left its context in good order."""
        self.hanging: int = 0
        """Readers and calls that went on after the context was left."""
        self._settings = json.dumps({"name": name, "url": url, **settings})
        self._on_news = on_news
        self._readings: dict[int, Reading] = {}
        self._answers: dict[int, asyncio.Future[Answer]] = {}
        self._number = 0
        self._is_ready = anyio.Event()
        self._pumps: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        command = [sys.executable, "-W", "error", "-m", "tests.chaos.worker", self._settings]
        self._process = await asyncio.create_subprocess_exec(
            *command, cwd=_ROOT, env=ENVIRONMENT, limit=_LINE_LIMIT, stdin=pipe, stdout=pipe, stderr=pipe
        )
        self._pumps = [asyncio.create_task(self._hear()), asyncio.create_task(self._hear_complaints())]
        await self._is_ready.wait()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()
        with anyio.CancelScope(shield=True):
            await self.exit_code()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended, as far as is known."""
        return self._process.returncode is None

    def read(self, spec: Spec, role: str, *, style: str = "plain", tells: bool = False) -> Reading:
        """Have a stream read to its end.

        Args:
            spec: The stream.
            role: ``"publish"`` it, ``"follow"`` it, or ``"offer"`` to take it over, too.
            style: ``"plain"``, in ``"blocks"``, ``"reloading"``: asking again and again from where it was, or
                ``"absent"``: not reading at all.
            tells: Whether to say at once what came.
        """
        reading = Reading(spec, is_local=role == "publish")
        self._number += 1
        self._readings[self._number] = reading
        self._order("read", number=self._number, spec=spec, role=role, style=style, tells=tells)
        if self._is_over():
            reading.vanish()
        return reading

    async def stop(self, stream_id: str, reason: str) -> Answer:
        """Have its context stop a stream."""
        return await self._ask("stop", stream_id=stream_id, reason=reason)

    async def count_tasks(self) -> int:
        """Return how many asyncio tasks it has."""
        answer = await self._ask("count_tasks")
        return int(answer.result)

    def kill(self) -> float:
        """Kill it without a warning, and return when."""
        self._signal(signal.SIGKILL)
        return time.monotonic()

    def pause(self) -> float:
        """Stop it in its tracks, and return when."""
        self._signal(signal.SIGSTOP)
        return time.monotonic()

    def resume(self) -> float:
        """Let it go on, and return when."""
        self._signal(signal.SIGCONT)
        return time.monotonic()

    def terminate(self) -> float:
        """Ask it to leave its context and end, and return when."""
        self._signal(signal.SIGTERM)
        return time.monotonic()

    async def exit_code(self) -> int:
        """Wait until it has ended and all that it said was heard."""
        code = await self._process.wait()
        await asyncio.gather(*self._pumps)
        return code

    async def _ask(self, what: str, **details: Any) -> Answer:
        """Have something done. If the process ends meanwhile, that is the error."""
        self._number += 1
        number = self._number
        self._answers[number] = asyncio.get_running_loop().create_future()
        self._order(what, number=number, **details)
        if self._is_over():
            return Answer(None, "gone")
        try:
            return await self._answers[number]
        finally:
            del self._answers[number]

    def _signal(self, number: signal.Signals) -> None:
        # Not by the process object, which would take the exit code away from the event loop, if there is one.
        if self.is_alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _is_over(self) -> bool:
        return bool(self._pumps) and self._pumps[0].done()

    def _order(self, what: str, **details: Any) -> None:
        assert self._process.stdin is not None, "piped"
        if not self._process.stdin.is_closing():
            self._process.stdin.write(json.dumps({"do": what, **details}).encode() + b"\n")

    async def _hear(self) -> None:
        assert self._process.stdout is not None, "piped"
        async for line in self._process.stdout:
            if line.endswith(b"\n"):  # else it was killed in the middle of a word
                said = json.loads(line)
                getattr(self, f"_on_{said.pop('event')}")(**said)
        for reading in self._readings.values():
            reading.vanish()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_result(Answer(None, "gone"))
        self._is_ready.set()
        self._on_news()

    async def _hear_complaints(self) -> None:
        assert self._process.stderr is not None, "piped"
        async for line in self._process.stderr:
            self.complaints.append(line.decode(errors="replace").rstrip())

    def _on_ready(self) -> None:
        self._is_ready.set()

    def _on_run(self, **details: Any) -> None:
        self.runs.append(Run(**details))
        self._on_news()

    def _on_closed(self, stream_id: str, writer: str) -> None:
        del stream_id
        self.closed.add(writer)
        self._on_news()

    def _on_seen(self, number: int, count: int) -> None:
        self._readings[number].seen = count

    def _on_over(self, number: int, segments: list[list[Any]], **details: Any) -> None:
        reading = self._readings[number]
        reading.ending = Ending(segments=[(writer, first) for writer, first in segments], **details)
        reading.is_over.set()

    def _on_answer(self, number: int, result: Any, error: str | None) -> None:
        self._answers[number].set_result(Answer(result, error))

    def _on_left(self, hanging: int) -> None:
        self.has_left, self.hanging = True, hanging

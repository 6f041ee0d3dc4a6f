"""The program of every contestant in Python: it takes orders, and does them with the contestant.

An order is a line of JSON, ``{"id": 1, "do": "publish", ...}``. What is said of it is one, too: events such as
``{"id": 1, "event": "joined"}``, and at last ``{"id": 1, "result": ...}`` or ``{"id": 1, "error": "..."}``. Orders are
carried out side by side. When its standard input ends, so does the program.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .readers import Reading, read, summary
from .sources import Gates, Spec, chunks_of, run

Factory = Callable[[], AsyncIterator[str]]
Join = Callable[[int], Awaitable[AsyncIterator[str]]]

_JOINING_AT_A_TIME = 32
_LINE_LIMIT = 1024 * 1024


class Contestant(Protocol):
    """What a contestant has to be able to do."""

    async def open(self, url: str) -> None:
        """Connect to a server."""

    async def close(self) -> None:
        """Let go of it."""

    async def publish(self, stream_id: str, factory: Factory) -> AsyncIterator[str]:
        """Begin a stream, and return what its first caller reads."""

    async def follow(self, stream_id: str, *, in_blocks: bool) -> AsyncIterator[str]:
        """Join a stream, and return what a follower reads."""

    async def special(self, do: str, **details: Any) -> Any:
        """Do what only this contestant can do."""


@dataclass(frozen=True)
class How:
    """How streams are read."""

    is_stamped: bool
    warm_up: int
    """How many of the first stamps of each reader do not count."""
    limit: float
    """Seconds for all."""
    reads: bool = True
    """Whether they are read, and not only joined."""
    enough: int = 0
    """Characters after which to leave; 0: none."""
    every: float = 0.0
    """Seconds from one who joins to the next."""


class Server:
    """Takes orders for a contestant."""

    def __init__(self, contestant: Contestant) -> None:
        self._contestant = contestant
        self._gates = Gates()

    async def serve(self, url: str) -> None:
        """Take orders until there are no more."""
        await self._contestant.open(url)
        self._say({"id": 0, "event": "ready"})
        tasks: set[asyncio.Task[None]] = set()
        reader = await _standard_input()
        while line := await reader.readline():
            order = json.loads(line)
            if order["do"] == "close":
                await self._contestant.close()
                self._say({"id": order["id"], "result": None})
                return
            task = asyncio.ensure_future(self._carry_out(**order))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _carry_out(self, id: int, do: str, **details: Any) -> None:  # noqa: A002  # as the order calls it
        try:
            own = getattr(self, f"_do_{do}", None)
            if own is None:
                result = await self._contestant.special(do, **details)
            else:
                result = await own(lambda event: self._say({"id": id, "event": event}), **details)
        except Exception as error:  # noqa: BLE001  # it is what the order was answered with
            self._say({"id": id, "error": _told(error)})
        else:
            self._say({"id": id, "result": result})

    def _say(self, what: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()

    async def _do_open_gate(self, _say: Callable[[str], None], gate: str, tag: str) -> None:
        self._gates.open(gate, tag)

    async def _do_usage(self, _say: Callable[[str], None]) -> dict[str, float]:
        return {"cpu": time.process_time(), "resident": _resident_bytes()}

    async def _do_pause(self, _say: Callable[[str], None], seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def _do_publish(
        self,
        say: Callable[[str], None],
        streams: Sequence[str],
        source: dict[str, Any],
        reads: bool = True,
        warm_up: int = 20,
        limit: float = 120.0,
    ) -> dict[str, Any]:
        """Publish streams, and read each as its first caller does."""
        specs = [_phased(source, number / len(streams)) for number in range(len(streams))]
        chunks_of(specs[0].count, specs[0].size)  # made beforehand: that does not count
        started = time.perf_counter()

        def publish(number: int) -> Awaitable[AsyncIterator[str]]:
            return self._contestant.publish(streams[number], lambda: run(specs[number], self._gates))

        how = How(specs[0].stamped, warm_up, limit, reads=reads)
        found = await _Readers(say, publish, how).read(len(streams))
        found["taken"] = found["ended"] - started
        return found

    async def _do_follow(
        self,
        say: Callable[[str], None],
        streams: Sequence[str],
        stamped: bool = False,
        in_blocks: bool = False,
        every: float = 0.0,
        warm_up: int = 20,
        enough: int = 0,
        limit: float = 120.0,
    ) -> dict[str, Any]:
        """Follow streams, the same ones perhaps, joining them at once or one after each pause."""

        def follow(number: int) -> Awaitable[AsyncIterator[str]]:
            return self._contestant.follow(streams[number], in_blocks=in_blocks)

        how = How(stamped, warm_up, limit, enough=enough, every=every)
        return await _Readers(say, follow, how).read(len(streams))


class _Readers:
    """Many readers at once. Says "joined" when all have joined, "first" when all have a chunk, or failed."""

    def __init__(self, say: Callable[[str], None], join: Join, how: How) -> None:
        self._say = say
        self._join = join
        self._how = how
        self._places = asyncio.Semaphore(_JOINING_AT_A_TIME)
        self._missing: dict[str, set[int]] = {}

    async def read(self, count: int) -> dict[str, Any]:
        """Return what all have got at the end, or when the time is over."""
        readings = [Reading() for _ in range(count)]
        self._missing = {event: set(range(count)) for event in ("joined", "first")}
        tasks = [asyncio.ensure_future(self._read_one(number, reading)) for number, reading in enumerate(readings)]
        _, unfinished = await asyncio.wait(tasks, timeout=self._how.limit)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return summary(readings, self._how.warm_up)

    async def _read_one(self, number: int, reading: Reading) -> None:
        try:
            await asyncio.sleep(self._how.every * number)
            async with self._places:
                reading.started = time.perf_counter()
                stream = await self._join(number)
            self._have("joined", number)
            if self._how.reads:
                await read(
                    stream,
                    reading,
                    is_stamped=self._how.is_stamped,
                    enough=self._how.enough,
                    on_first=lambda: self._have("first", number),
                )
        except asyncio.CancelledError:
            reading.failure = f"no end within {self._how.limit:g} s"
            raise
        except Exception as error:  # noqa: BLE001  # it is what is reported
            reading.failure = _told(error)
        finally:
            self._have("joined", number)
            self._have("first", number)

    def _have(self, event: str, number: int) -> None:
        missing = self._missing[event]
        if number in missing:
            missing.remove(number)
            if not missing:
                self._say(event)


def _phased(source: dict[str, Any], share: float) -> Spec:
    spec = Spec(**source)
    return Spec(**{**source, "phase": spec.phase + spec.gap * share})


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200]


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def _standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=_LINE_LIMIT)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def main(contestant: Callable[[], Contestant]) -> None:
    """Run the program."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--uvloop", action="store_true")
    options = parser.parse_args()
    if options.uvloop:
        import uvloop

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    else:
        loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(Server(contestant()).serve(options.url))

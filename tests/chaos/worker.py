"""The processes that the chaos happens to: each has one context, and is steered by lines of JSON.

Run as ``python -m tests.chaos.worker '{"name": …, "url": …}'``; all other settings are those of the context. It takes
one order a line, and says one event a line, until its input ends or SIGTERM comes. Then it leaves its context; another
SIGTERM cancels that.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from resumable_stream import Limits, ResumableStream, ResumableStreamContext, ResumableStreamError, StreamState

from .canon import Evidence, Spec, is_canonical, make_chunk

_PACES = (0, 0, 0, 1, 4)
"""Chunks come in bursts, as those of most models do."""
_LAG_INTERVAL = 0.05
_READERS_TIMEOUT = 10.0
"""Seconds in which the readers of a context that was left have to end."""


class Worker:
    """Reads, publishes and asks as it is told."""

    def __init__(self, context: ResumableStreamContext, name: str, lag: Lag) -> None:
        self._context = context
        self._lag = lag
        self._name = name
        self._runs = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, orders: asyncio.StreamReader) -> None:
        """Take orders until there are no more."""
        does: dict[str, Callable[..., Coroutine[Any, Any, None]]]
        does = {"read": self._read, "stop": self._stop, "count_tasks": self._count_tasks}
        while line := await orders.readline():
            order = json.loads(line)
            task = asyncio.create_task(does[order.pop("do")](**order))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def wait_for_readers(self) -> None:
        """Wait until all readers and calls have come to their end, after the context was left."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=_READERS_TIMEOUT)
        say("left", hanging=len(self._tasks))

    async def _stop(self, number: int, stream_id: str, reason: str) -> None:
        result: StreamState | None = None
        error: str | None = None
        try:
            result = await self._context.stop(stream_id, reason=reason)
        except Exception as raised:  # noqa: BLE001  # a task boundary: the parent says which is right
            error = repr(raised)
        say("answer", number=number, result=result, error=error)

    async def _count_tasks(self, number: int) -> None:
        say("answer", number=number, result=len(asyncio.all_tasks()), error=None)

    async def _read(self, number: int, spec: list[Any], role: str, style: str, tells: bool) -> None:
        reading = _Reading(number, Spec(*spec), tells)
        lag_before = self._lag.total
        try:
            end = await reading.read(self._opener(reading.spec, role), style)
        except ResumableStreamError as error:
            end = type(error).__name__
        except Exception as error:  # noqa: BLE001  # a task boundary: whatever it is, it is no end that a stream has
            end = repr(error)
        say(
            "over",
            number=number,
            end=end,
            at=time.monotonic(),
            longest_wait=reading.longest_wait,
            lag=self._lag.total - lag_before,
            **reading.evidence.to_dict(),
        )

    def _opener(self, spec: Spec, role: str) -> Callable[..., Awaitable[ResumableStream[str] | None]]:
        def factory() -> AsyncIterator[str]:
            return self._make(spec, 0, "factory", is_true=True)

        def takeover(chunks: list[str]) -> AsyncIterator[str]:
            return self._make(spec, len(chunks), "takeover", is_true=is_canonical(spec.stream_id, chunks))

        async def open_stream(**position: Any) -> ResumableStream[str] | None:
            if role == "follow":
                return await self._context.resume_existing_stream(spec.stream_id, **position)
            offered = takeover if role == "offer" else None
            return await self._context.resumable_stream(spec.stream_id, factory, takeover=offered, **position)

        return open_stream

    async def _make(self, spec: Spec, first: int, kind: str, *, is_true: bool) -> AsyncIterator[str]:
        self._runs += 1
        writer = f"{self._name}.{self._runs}"
        say("run", stream_id=spec.stream_id, kind=kind, writer=writer, first=first, is_true=is_true)
        moments = random.Random(f"{spec.stream_id}/{first}")
        due = anyio.current_time()
        try:
            for index in range(first, spec.length):
                yield make_chunk(spec.stream_id, index, writer)
                due += spec.pace * moments.choice(_PACES)
                await anyio.sleep_until(due)
        finally:
            try:
                await checkpoint()  # a clean-up may await, and is cancelled itself if the end was near
            finally:
                say("closed", stream_id=spec.stream_id, writer=writer)


class Lag:
    """Measures for how long this process had to wait for its turn on the processor."""

    def __init__(self) -> None:
        self.total: float = 0.0
        """In seconds, since the beginning."""

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due = time.monotonic() + _LAG_INTERVAL
            await anyio.sleep(_LAG_INTERVAL)
            self.total += time.monotonic() - due


class _Reading:
    """One reader, and what it got."""

    def __init__(self, number: int, spec: Spec, tells: bool) -> None:
        self.spec = spec
        self.evidence = Evidence(spec.stream_id)
        self.longest_wait: float = 0.0
        """Seconds between two chunks, at the worst."""
        self._number = number
        self._tells = tells
        self._last: float | None = None

    async def read(self, open_stream: Callable[..., Awaitable[ResumableStream[str] | None]], style: str) -> str:
        """Read to the end; return the state of the stream, "none" if there is none, or "absent" to go away at once."""
        moments = random.Random(f"{self.spec.stream_id}/{self._number}")
        position: dict[str, Any] = {}
        while True:
            stream = await open_stream(**position)
            if stream is None:
                return "none"
            async with stream:
                if style == "absent":
                    return style
                seen = moments.randint(1, 15) if style == "reloading" else sys.maxsize
                if await self._read_some(stream, seen, in_blocks=style == "blocks"):
                    return stream.state.value
                position = {"after": stream.event_id} if moments.random() < 0.5 else {"start_index": stream.index}

    async def _read_some(self, stream: ResumableStream[str], count: int, *, in_blocks: bool) -> bool:
        """Read so many chunks at most; return whether the stream ended."""
        if in_blocks:
            async for block in stream.blocks():
                for at, chunk in enumerate(block.chunks):
                    self._take(block.index + at, chunk)
            return True
        async for _, index, chunk in stream.events():
            self._take(index, chunk)
            count -= 1
            if count == 0:
                return False
        return True

    def _take(self, index: int, chunk: str) -> None:
        if index != self.evidence.count:
            self.evidence.wrong += 1  # it is not where the library says
        self.evidence.take(chunk)
        now = time.monotonic()
        if self._last is not None:
            self.longest_wait = max(self.longest_wait, now - self._last)
        self._last = now
        if self._tells:
            say("seen", number=self._number, count=self.evidence.count)


def say(event: str, **details: Any) -> None:
    """Tell the parent what happened."""
    sys.stdout.write(json.dumps({"event": event, **details}) + "\n")
    sys.stdout.flush()


async def _serve(worker: Worker) -> None:
    loop, orders = asyncio.get_running_loop(), asyncio.StreamReader(limit=1024 * 1024)
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    say("ready")
    try:
        await worker.serve(orders)
    finally:
        pipe.close()


async def main(name: str, url: str, limits: dict[str, int] | None = None, **settings: float) -> None:
    """Serve until the end of the input or SIGTERM, then leave."""
    loop = asyncio.get_running_loop()
    context = ResumableStreamContext.from_url(url, limits=Limits(**(limits or {})), **settings)  # type: ignore[arg-type]  # which setting is which, the parent knows
    await context.__aenter__()
    lag = Lag()
    measuring = asyncio.create_task(lag.run())
    worker = Worker(context, name, lag)
    serving = asyncio.create_task(_serve(worker))
    loop.add_signal_handler(signal.SIGTERM, serving.cancel)
    with suppress(asyncio.CancelledError):
        await serving
    leaving = asyncio.create_task(context.__aexit__(None, None, None))
    loop.add_signal_handler(signal.SIGTERM, leaving.cancel)
    with suppress(asyncio.CancelledError):
        await leaving
    await worker.wait_for_readers()
    measuring.cancel()


if __name__ == "__main__":
    logging.getLogger("resumable_stream").setLevel(logging.CRITICAL)  # what else is said is a complaint
    asyncio.run(main(**json.loads(sys.argv[1])))

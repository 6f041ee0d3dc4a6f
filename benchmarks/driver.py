"""The programs of contestants, as the benchmark sees them."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
from typing_extensions import Self

_ROOT = Path(__file__).parent.parent
_LINE_LIMIT = 16 * 1024 * 1024
_START_TIMEOUT = 30.0
_CLOSE_TIMEOUT = 3.0


class DriverError(Exception):
    """A contestant could not do what it was told to: it said so, or its process ended."""


class Order:
    """Something that a driver was told to do."""

    def __init__(self) -> None:
        self._events: dict[str, asyncio.Event] = {}
        self._result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        # It may be that nobody asks any more: then an error is nobody's.
        self._result.add_done_callback(lambda future: future.exception())

    async def said(self, event: str) -> None:
        """Wait for an event.

        Raises:
            DriverError: The order has failed, or come to its end without that.
        """
        waiting = asyncio.ensure_future(self._event(event).wait())
        try:
            await asyncio.wait([waiting, self._result], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if not self._event(event).is_set():
            raise DriverError(f"no {event!r}, but the result {await self._result!r}"[:500])

    async def result(self) -> Any:
        """Wait for the result.

        Raises:
            DriverError: It has failed.
        """
        return await asyncio.shield(self._result)

    def take(self, event: str | None = None, result: Any = None, error: str | None = None) -> None:
        """Hear what the driver says of it."""
        if event is not None:
            self._event(event).set()
        elif not self._result.done():
            if error is None:
                self._result.set_result(result)
            else:
                self._result.set_exception(DriverError(error))

    def _event(self, name: str) -> asyncio.Event:
        return self._events.setdefault(name, asyncio.Event())


class Driver:
    """A process of a contestant. An async context manager; leaving it ends the process, whatever state it is in."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._orders: dict[int, Order] = {}
        self._last_words: deque[str] = deque(maxlen=5)
        self._number = 0

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def __aenter__(self) -> Self:
        ready = self._orders[0] = Order()
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *self._command, cwd=_ROOT, stdin=pipe, stdout=pipe, stderr=pipe, limit=_LINE_LIMIT
        )
        self._pumps = [asyncio.create_task(self._hear()), asyncio.create_task(self._hear_complaints())]
        try:
            with anyio.fail_after(_START_TIMEOUT):
                await ready.said("ready")
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            self.kill()
            await self._process.wait()
            for pump in self._pumps:
                pump.cancel()
            await asyncio.gather(*self._pumps, return_exceptions=True)

    def order(self, do: str, **details: Any) -> Order:
        """Tell it to do something."""
        self._number += 1
        order = self._orders[self._number] = Order()
        assert self._process.stdin is not None, "piped"
        self._process.stdin.write(json.dumps({"id": self._number, "do": do, **details}).encode() + b"\n")
        if all(pump.done() for pump in self._pumps):
            order.take(error=self._end())
        return order

    async def call(self, do: str, **details: Any) -> Any:
        """Tell it to do something, and wait for the result."""
        return await self.order(do, **details).result()

    async def close(self) -> None:
        """Let it end by itself, if it does so soon."""
        with suppress(DriverError, TimeoutError, ConnectionError), anyio.fail_after(_CLOSE_TIMEOUT):
            await self.call("close")

    def kill(self) -> None:
        """End it without a warning. May be called twice."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()

    async def _hear(self) -> None:
        assert self._process.stdout is not None, "piped"
        async for line in self._process.stdout:
            if line.startswith(b"{") and line.endswith(b"\n"):
                said = json.loads(line)
                self._orders[said.pop("id")].take(**said)
        await self._process.wait()
        await asyncio.wait([self._pumps[1]])
        for order in self._orders.values():
            order.take(error=self._end())

    async def _hear_complaints(self) -> None:
        assert self._process.stderr is not None, "piped"
        async for line in self._process.stderr:
            if text := line.decode(errors="replace").strip():
                self._last_words.append(text)

    def _end(self) -> str:
        return f"its process ended with {self._process.returncode}: {' / '.join(self._last_words)}"[:400]

"""A Redis server that is killed, restarted and paused."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import anyio
from typing_extensions import Self

from tests.servers import binaries, free_port

from .environment import ENVIRONMENT

_NAMES = ("redis-server", "valkey-9", "redis-6.2")
_START_TIMEOUT = 30.0

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")
"""Options of a server that keeps all that it has accepted."""
FORGETFUL = ("--appendonly", "no")
"""Options of a server that keeps nothing."""


class RedisServer:
    """A server of our own, on one port for all its lives. An async context manager; leaving it kills the process.

    Args:
        folder: Where it keeps its data.
        options: Of its command line.
    """

    def __init__(self, folder: Path, options: Sequence[str]) -> None:
        self.port: int = free_port()
        self._folder = folder
        self._options = options
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            await self.kill()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        """Start it with what it kept, and wait until it answers."""
        settings = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self._folder)]
        with (self._folder / "server.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                _binary(), *settings, *self._options, env=ENVIRONMENT, stdout=log, stderr=log
            )
        with anyio.fail_after(_START_TIMEOUT):
            while not await self._answers():
                await anyio.sleep(0.01)

    async def kill(self) -> None:
        """Kill it without a warning."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            await process.wait()

    def pause(self) -> None:
        """Stop it in its tracks."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "it runs"
        os.kill(self._process.pid, number)

    async def _answers(self) -> bool:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                writer.write(b"PING\r\n")
                return (await reader.readline()).startswith(b"+PONG")
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
        return False


def _binary() -> Path:
    found = binaries()
    return next(found[name] for name in _NAMES if name in found)


def describe_server() -> str:
    """Return name and version of the server that is used."""
    text = subprocess.run([_binary(), "--version"], capture_output=True, text=True, check=True).stdout
    name, _, rest = text.partition(" server v=")
    return f"{name} {rest.split()[0]}"

"""A Node process with the npm package `resumable-stream`, as the tests see it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

__all__ = ["ENTRIES", "NODE", "Peer", "install_package", "peer"]

NODE = Path(__file__).parents[1] / "interop" / "node"
ENTRIES = {"node-redis": "resumable-stream", "ioredis": "resumable-stream/ioredis"}

_TIMEOUT = 60.0


def install_package() -> None:
    """Install the package and the two clients of Redis that it works with, unless that was done."""
    if not (NODE / "node_modules").exists():
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=NODE, check=True)


class Told:
    """What one listener in Node was told."""

    def __init__(self) -> None:
        self.text = ""
        self.length = 0
        """Of a text that is not told, to its end, in UTF-16 units."""
        self.pieces = 0
        self.longest = 0
        """Length of its longest piece, in UTF-16 units."""
        self.end: str | None = None
        self._changed = anyio.Event()

    def add(self, words: dict[str, Any]) -> None:
        """Take one line."""
        self.text += words.get("text", "")
        self.length = words.get("length", self.length)
        self.pieces += words.get("pieces", 0)
        self.longest = max(self.longest, words.get("longest", 0))
        self.end = words.get("end")
        self._changed.set()
        self._changed = anyio.Event()

    async def has(self, text: str) -> None:
        """Return when that is the text."""
        with anyio.fail_after(_TIMEOUT):
            while self.text != text:
                await self._changed.wait()

    async def to_the_end(self) -> str:
        """Return the text when it has ended, as it should."""
        with anyio.fail_after(_TIMEOUT):
            while self.end is None:
                await self._changed.wait()
        assert self.end == "end", self.end
        return self.text


class Peer:
    """The process. `call` has it do one thing; what listeners are told comes by itself."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.told: defaultdict[str, Told] = defaultdict(Told)
        self._process = process
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._listeners = 0

    async def call(self, todo: str, **words: Any) -> Any:
        """Have something done, and return what came of it.

        Raises:
            RuntimeError: An error came of it.
        """
        number = len(self._answers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"call": number, "todo": todo} | words).encode() + b"\n")
        with anyio.fail_after(_TIMEOUT):
            words = await answer
        if "error" in words:
            raise RuntimeError(words["error"])
        return words["result"]

    async def follow(self, stream_id: str, **words: Any) -> Told:
        """Follow a stream that runs."""
        self._listeners += 1
        listener = f"listener {self._listeners}"
        assert await self.call("follow", id=stream_id, listener=listener, **words) == "stream"
        return self.told[listener]

    async def kill(self) -> None:
        """End it without a word. May be called twice."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def listen(self) -> None:
        """Hear what it says."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            words = json.loads(line)
            if "listener" in words:
                self.told[words["listener"]].add(words)
            else:
                self._answers[words["call"]].set_result(words)


@asynccontextmanager
async def peer(entry: str, url: str, key_prefix: str, *, watchdog: int = 300) -> AsyncIterator[Peer]:
    """Start a process that uses an entry point of the package, and end it in the end."""
    install_package()
    settings = {"entry": ENTRIES[entry], "keyPrefix": key_prefix, "watchdog": watchdog}
    process = await asyncio.create_subprocess_exec(
        "node",
        "peer.mjs",
        json.dumps(settings),
        cwd=NODE,
        env=os.environ | {"REDIS_URL": url},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=64 * 1024 * 1024,
    )
    made = Peer(process)
    listening = asyncio.create_task(made.listen())  # no group of tasks: fixtures are left by another task
    try:
        yield made
    finally:
        await made.kill()
        await listening

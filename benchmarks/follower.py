"""The other process: follows one stream, and prints what it found.

It prints one word a line, so that its parent can wait for it: "joined" when it has asked for the stream, "ready" when
it hears what is published; and at last a line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio

from resumable_stream import ResumableStream, ResumableStreamContext

from .bare import connected, subscribe
from .stamps import age

_TIMEOUT = 90.0
"""It ends by itself after that many seconds, whatever becomes of its parent."""

_ROOT = Path(__file__).parent.parent


class Follower:
    """The process, as its parent sees it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def says(self, word: str) -> None:
        """Wait for a line."""
        line = await self._read_line()
        if line != word:
            raise RuntimeError(f"the follower said {line!r} instead of {word!r}")

    async def result(self) -> Any:
        """Wait for what it found."""
        return json.loads(await self._read_line())

    async def _read_line(self) -> str:
        assert self._process.stdout is not None, "piped"
        return (await self._process.stdout.readline()).decode().strip()


@asynccontextmanager
async def follower(kind: str, port: int, name: str, *, use_uvloop: bool) -> AsyncIterator[Follower]:
    """Start the process, and end it on leaving."""
    command = [sys.executable, "-m", "benchmarks.follower", kind, str(port), name]
    options = ["--uvloop"] if use_uvloop else []
    process = await asyncio.create_subprocess_exec(
        *command, *options, cwd=_ROOT, stdout=asyncio.subprocess.PIPE, limit=1024 * 1024
    )
    try:
        yield Follower(process)
    finally:
        if process.returncode is None:
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.wait()


async def _follow_text(port: int, stream_id: str) -> dict[str, Any]:
    async with _joined(port, stream_id) as stream:
        chunks = [chunk async for chunk in stream]
        ended = time.perf_counter()
    return {"ended": ended, "sha256": hashlib.sha256("".join(chunks).encode()).hexdigest()}


async def _follow_stamps(port: int, stream_id: str) -> list[float]:
    async with _joined(port, stream_id) as stream:
        return [age(chunk) async for chunk in stream]


async def _follow_bare(port: int, channel: str) -> list[float]:
    async with connected(port) as connection:
        contents = subscribe(connection, channel)
        await anext(contents)
        _say("ready")
        return [age(content) async for content in contents]


@asynccontextmanager
async def _joined(port: int, stream_id: str) -> AsyncIterator[ResumableStream[str]]:
    async with ResumableStreamContext.from_url(f"redis://127.0.0.1:{port}/0") as context:
        stream = await context.resume_existing_stream(stream_id)
        assert stream is not None, "the parent made it"
        _say("joined")
        # The first chunk is made after that, so it can only come by way of the subscription.
        await anext(stream)
        _say("ready")
        yield stream


def _say(word: str) -> None:
    print(word, flush=True)


_KINDS: dict[str, Callable[[int, str], Awaitable[Any]]] = {
    "text": _follow_text,
    "stamps": _follow_stamps,
    "bare": _follow_bare,
}


async def _main(kind: str, port: int, name: str) -> None:
    with anyio.fail_after(_TIMEOUT):
        found = await _KINDS[kind](port, name)
    _say(json.dumps(found))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=_KINDS)
    parser.add_argument("port", type=int)
    parser.add_argument("name")
    parser.add_argument("--uvloop", action="store_true")
    given = parser.parse_args()
    anyio.run(_main, given.kind, given.port, given.name, backend_options={"use_uvloop": given.uvloop})

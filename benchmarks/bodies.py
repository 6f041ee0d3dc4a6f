"""Count the instructions that a chunk costs a server of many answers, from the source to the frame that is sent.

Run it from the root of the repository: ``python -m benchmarks.bodies``. It needs valgrind. All streams have a chunk at
the same time, so appends are shared as they are on a busy server. What sends frames is left out, and so is the garbage
collector, which comes when it will.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
from collections.abc import AsyncIterator
from typing import Any

import anyio

from resumable_stream import ResumableStreamContext
from resumable_stream.http import stream_response
from resumable_stream.protocols.sse import encode_event

from . import valgrind
from .contestants.bare_log import BareLog
from .stage import server

_KINDS = {
    "plain": "events without the library",
    "floor": "each chunk logged by a bare append",
    "chunks": "resumable, chunk by chunk",
    "events": "resumable, as an event stream",
}
_STREAMS = 50
_FEW, _MANY = 5, 45
"""Chunks of each stream. The difference is what chunks cost, without the beginning and the end of the process."""


class _Gate:
    """Lets a chunk of every stream out, and waits until all were read."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []
        self._all_wait = asyncio.Event()
        self._unread = 0
        self._all_read = asyncio.Event()

    async def wait(self) -> None:
        """Wait for the next chunk's turn."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        if len(self._waiting) == _STREAMS:
            self._all_wait.set()
        await turn

    def read(self) -> None:
        """One was read."""
        self._unread -= 1
        if not self._unread:
            self._all_read.set()

    async def let(self) -> None:
        """Let one of each out, as soon as all are waiting."""
        await self._all_wait.wait()
        self._all_wait.clear()
        waiting, self._waiting = self._waiting, []
        self._unread = len(waiting)
        self._all_read.clear()
        for turn in waiting:
            turn.set_result(None)
        await self._all_read.wait()


def _compare() -> None:
    print(f"{_STREAMS} streams, a chunk of each at a time; instructions of the process, a chunk:")
    with server() as (port, _):
        url = f"redis://127.0.0.1:{port}"
        _instructions("events", url, 1)  # modules are compiled, where that has not been done
        for kind, name in _KINDS.items():
            few, many = (_instructions(kind, url, chunks) for chunks in (_FEW, _MANY))
            print(f"  {name:32} {(many - few) / (_MANY - _FEW) / _STREAMS:10,.0f}")


def _instructions(kind: str, url: str, chunks: int) -> int:
    return valgrind.instructions("benchmarks.bodies", url, kind, chunks)


async def _answer(url: str, kind: str, chunks: int) -> None:
    gc.disable()
    gate = _Gate()

    async def source() -> AsyncIterator[str]:
        for number in range(chunks):
            await gate.wait()
            yield f"{number:020}"

    async def send(frames: AsyncIterator[Any]) -> None:
        async for _ in frames:
            gate.read()

    async def frames() -> Any:
        name = secrets.token_hex(8)
        if kind == "plain":
            return _events(source())
        if kind == "floor":
            return _events(await log.publish_apart(name, source))
        stream = await context.create_new_resumable_stream(name, source)
        return stream if kind == "chunks" else stream_response(stream).body

    log = BareLog()
    await log.open(url)
    # Without a linger, as one round of chunks comes right after the other.
    async with (
        ResumableStreamContext.from_url(url, retention=1, tombstone=0, linger=0) as context,
        anyio.create_task_group() as tasks,
    ):
        for _ in range(_STREAMS):
            tasks.start_soon(send, await frames())
        for _ in range(chunks):
            await gate.let()
    await log.close()


async def _events(chunks: AsyncIterator[str]) -> AsyncIterator[bytes]:
    name, index = secrets.token_hex(8), 0
    async for chunk in chunks:
        yield encode_event(chunk, event_id=f"{name}-{index}")
        index += 1


if __name__ == "__main__":
    valgrind.main(__doc__, _KINDS, _answer, _compare)

"""How the suite gets at a store, and what its tests have in common."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio

from ..._core.packing import pack, unpack
from ...abc import OnNotice, StreamBackend
from ...types import Acquired, Append, Appended, Claim, End, Page, Push, StreamInfo, StreamState

DONE = End(StreamState.DONE)
ENOUGH = 1024 * 1024


def ignore(stream_id: str | None) -> None:
    """Hear a notice and do nothing."""


class BackendHarness(ABC):
    """How the suite gets at a store. One harness is one empty store."""

    lease: float = 0.5
    """A lease that is short for the store, in seconds. The suite waits several of them, and a busy machine makes at
    least two calls within one."""

    @abstractmethod
    def open(self, on_notice: OnNotice = ignore) -> AbstractAsyncContextManager[StreamBackend]:
        """Return a connected backend on the store. The suite opens several, as several processes would."""

    async def advance(self, seconds: float) -> None:
        """Let the store's clock pass so many seconds. Without a clock that can be moved: wait."""
        await anyio.sleep(seconds)


class Pushes:
    """Collects what is pushed."""

    def __init__(self) -> None:
        self.received: list[Push | None] = []
        self._came = anyio.Event()

    def __call__(self, push: Push | None) -> None:
        """Take a push."""
        self.received.append(push)
        self._came.set()

    async def wait_for(self, count: int) -> None:
        """Return when there were so many."""
        with anyio.fail_after(10):
            while len(self.received) < count:
                self._came = anyio.Event()
                await self._came.wait()


def make_claim(token: str | None = None, **changes: Any) -> Claim:
    """A claim with a fresh token and long times, or others."""
    return Claim(token or secrets.token_hex(8), lease=60.0, retention=60.0, tombstone=60.0)._replace(**changes)


def info_of(answer: Acquired) -> StreamInfo:
    """The stream that an answer describes."""
    assert answer.info is not None
    return answer.info


async def create(backend: StreamBackend, stream_id: str = "s", **changes: Any) -> StreamInfo:
    """Create a stream, on terms that `make_claim` makes."""
    answer = await backend.acquire(stream_id, make_claim(**changes))
    assert answer.is_publisher
    return info_of(answer)


def make_append(info: StreamInfo, first: int, chunks: list[str], end: End | None = None) -> Append:
    """An append of the stream's owner."""
    payload = pack(chunks) if chunks else b""
    return Append(info.stream_id, info.generation, info.epoch, first, len(chunks), payload, end)


async def append(
    backend: StreamBackend, info: StreamInfo, first: int, chunks: list[str], end: End | None = None
) -> Appended:
    """Make one append."""
    (answer,) = await backend.append([make_append(info, first, chunks, end)])
    return answer


async def state_of(backend: StreamBackend) -> StreamState:
    """The state of stream "s"."""
    page = await backend.read("s", 0, 0)
    assert page is not None
    return page.info.state


def chunks_of(page: Page | None) -> list[str | bytes]:
    """All chunks of a page."""
    assert page is not None
    return [chunk for entry in page.entries for chunk in unpack(entry.payload, entry.count)]


def firsts_of(page: Page | None) -> list[int]:
    """The first index of each entry of a page."""
    assert page is not None
    return [entry.first for entry in page.entries]


async def cancel_after(checkpoints: int, call: Any) -> None:
    """Start a call, and cancel it after so many steps of the event loop."""
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await call

        tasks.start_soon(run)
        for _ in range(checkpoints):
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()

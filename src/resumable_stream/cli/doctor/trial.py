"""Publishes a stream, reads it, and removes it: do scripts run, do pushes arrive, and how long does it take?"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress

import anyio

from ..._core.packing import pack
from ...backends.redis import RedisBackend
from ...exceptions import BackendError
from ...types import Append, AppendStatus, Claim, Push
from ..options import Store
from .findings import Finding, Level
from .places import Place

_ROUNDS = 50
_PATIENCE = 5.0  # for all rounds together
_PUSH_PATIENCE = 2.0
_CLEANING = 5.0
_SLOW_PING, _SLOW_APPEND = 0.05, 0.1
_HEAR = "Let the user publish to and hear the channels. Without, readers wait for what they could have at once."


async def ping(place: Place) -> Finding:
    """How far is the server?

    Raises:
        RedisError, OSError: It cannot be reached.
    """
    times: list[float] = []
    start = time.monotonic()
    while len(times) < _ROUNDS and time.monotonic() - start < _PATIENCE:
        began = time.perf_counter()
        await place.connection.execute(("PING",))
        times.append(time.perf_counter() - began)
    return _latency("ping", times, _SLOW_PING, "Run the application nearer to the server.")


async def stream(place: Place, store: Store) -> list[Finding]:
    """Publish a stream, as the library does it, and follow it."""
    backend = RedisBackend(store.url, key_prefix=store.key_prefix)
    try:
        await backend.connect(lambda _: None)
        try:
            return await _publish(backend, place.probe_id)
        finally:
            with anyio.CancelScope(shield=True):
                await _clean(backend, place.probe_id)
    except BackendError as error:
        return [Finding("scripts", Level.PROBLEM, str(error), "See the other problems, and the server's log.")]
    finally:
        with anyio.CancelScope(shield=True):
            await backend.aclose()


async def _clean(backend: RedisBackend, stream_id: str) -> None:
    with anyio.move_on_after(_CLEANING), suppress(BackendError):  # what cannot be removed expires
        await backend.delete(stream_id)


async def _publish(backend: RedisBackend, stream_id: str) -> list[Finding]:
    generation = uuid.uuid4().hex
    await backend.acquire(stream_id, Claim(generation, lease=15.0, retention=1.0, tombstone=0.0))
    pushed, refusal = _Pushed(), ""
    try:
        await backend.subscribe(stream_id, pushed.take)
    except BackendError as error:
        refusal = str(error)
    times = await _append(backend, stream_id, generation)
    return [
        await _read(backend, stream_id, len(times)),
        _latency("append", times, _SLOW_APPEND, "See ping; with a fast one, the server is busy."),
        Finding("pushes", Level.PROBLEM, refusal, _HEAR) if refusal else await pushed.finding(len(times)),
    ]


async def _read(backend: RedisBackend, stream_id: str, expected: int) -> Finding:
    page = await backend.read(stream_id, 0, 1024 * 1024)
    if page is not None and page.info.length == expected == sum(entry.count for entry in page.entries):
        return Finding("scripts", Level.OK, f"published and read {expected} chunks")
    advice = "Does something else delete or evict keys?"
    return Finding("scripts", Level.PROBLEM, "not all chunks of a stream were there to be read", advice)


async def _append(backend: RedisBackend, stream_id: str, generation: str) -> list[float]:
    times: list[float] = []
    start = time.monotonic()
    while len(times) < _ROUNDS and time.monotonic() - start < _PATIENCE:
        append = Append(stream_id, generation, 1, len(times), 1, pack(["chunk"]))
        began = time.perf_counter()
        (appended,) = await backend.append([append])
        times.append(time.perf_counter() - began)
        if appended.status is not AppendStatus.ACCEPTED:
            raise BackendError(f"an append was answered with {appended.status.value!r}")
    return times


class _Pushed:
    """The pushes that arrived."""

    def __init__(self) -> None:
        self._indexes: set[int] = set()
        self._arrived = asyncio.Event()

    def take(self, push: Push | None) -> None:
        """Take note of a push; ``None`` says that some may have been lost."""
        if push is not None and push.entry is not None:
            self._indexes.add(push.entry.first)
            self._arrived.set()

    async def finding(self, expected: int) -> Finding:
        """Wait a moment for those that are under way, and return what arrived."""
        with anyio.move_on_after(_PUSH_PATIENCE):
            while len(self._indexes) < expected:
                self._arrived.clear()
                await self._arrived.wait()
        found = f"{len(self._indexes)} of {expected} arrived"
        if len(self._indexes) == expected:
            return Finding("pushes", Level.OK, found)
        level = Level.WARNING if self._indexes else Level.PROBLEM
        return Finding("pushes", level, found, _HEAR)


def _latency(check: str, times: Sequence[float], slow: float, advice: str) -> Finding:
    ordered = sorted(times)
    median, high = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
    found = f"p50 {median * 1000:.2f} ms, p99 {high * 1000:.2f} ms"
    # One that was late may have been our own fault.
    return Finding(check, Level.WARNING, found, advice) if median > slow else Finding(check, Level.OK, found)

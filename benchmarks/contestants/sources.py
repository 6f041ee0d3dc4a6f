"""What is published: chunks whose text is known beforehand, or that say when they were made."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import lru_cache

STAMP_LENGTH = 20

JOINED, GO, RELEASE = "joined", "go", "release"
"""The gates that a source waits at: before its first chunk, before its second, and after its last."""


@dataclass(frozen=True)
class Spec:
    """A source, as an order names it."""

    count: int
    size: int = 20
    """Characters of a chunk."""
    gap: float = 0.0
    """Seconds from one burst to the next; 0: as fast as it is asked."""
    burst: int = 1
    """Chunks that come together."""
    phase: float = 0.0
    """Seconds until the beginning. Of many sources each gets its share of one gap: they come in turns."""
    stamped: bool = False
    """Whether chunks say when they were made. Only with a gap."""
    gated: bool = False
    """Whether one chunk comes when the followers have joined, and the others when these have got that one."""
    waiting: bool = False
    """Whether it waits for the word to begin."""
    held: bool = False
    """Whether it waits for the word to end."""
    tag: str = ""
    """Whose gates it waits at."""


class Gates:
    """What sources wait for. A gate that has been opened stays open, so that it does not matter who comes first."""

    def __init__(self) -> None:
        self._events: dict[str, asyncio.Event] = {}

    async def wait(self, name: str, tag: str) -> None:
        """Wait at a gate."""
        await self._event(name, tag).wait()

    def open(self, name: str, tag: str) -> None:
        """Open a gate."""
        self._event(name, tag).set()

    def _event(self, name: str, tag: str) -> asyncio.Event:
        return self._events.setdefault(f"{name} {tag}", asyncio.Event())


async def run(spec: Spec, gates: Gates) -> AsyncIterator[str]:
    """Yield the chunks."""
    chunks = chunks_of(spec.count, spec.size)
    if spec.gated:
        await gates.wait(JOINED, spec.tag)
        yield greeting(spec.size)
    if spec.gated or spec.waiting:
        await gates.wait(GO, spec.tag)
    if not spec.gap:
        for chunk in chunks:
            yield chunk
    else:
        started = time.perf_counter() + spec.phase
        for number, chunk in enumerate(chunks):
            if number % spec.burst == 0:
                due = started + spec.gap * (number // spec.burst + 1)
                await asyncio.sleep(due - time.perf_counter())
            yield stamp() if spec.stamped else chunk
    if spec.held:
        await gates.wait(RELEASE, spec.tag)


def greeting(size: int) -> str:
    """Return the chunk that a gated source begins with."""
    return "0" * size


def stamp() -> str:
    """Return the time. CLOCK_MONOTONIC on Linux: the same clock for all processes, those of Node too."""
    return f"{time.perf_counter_ns():0{STAMP_LENGTH}}"


@lru_cache(maxsize=2)
def chunks_of(count: int, size: int) -> list[str]:
    """Return chunks that all differ, as far as they are long enough."""
    return [f"{number:0{size}}"[-size:] for number in range(count)]


def digest(text: str) -> str:
    """Return what two equal texts have in common."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@lru_cache(maxsize=64)
def expected_digest(spec: Spec) -> str:
    """Return the digest of what a follower gets of a source without stamps."""
    first = greeting(spec.size) if spec.gated else ""
    return digest(first + "".join(chunks_of(spec.count, spec.size)))

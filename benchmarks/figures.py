"""What is measured, each figure by a function of its own.

Where two things are compared, their samples alternate, so that what else the machine does meets both.
"""

from __future__ import annotations

import gc
import hashlib
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import anyio

from resumable_stream import ResumableStream, ResumableStreamContext, StreamState
from resumable_stream._core.packing import pack
from resumable_stream.backends.redis import RedisBackend
from resumable_stream.backends.redis.keys import Keys
from resumable_stream.types import Append, AppendStatus, Claim, End

from . import bare
from .follower import follower
from .stamps import GAP, WARM_UP, percentile, stamp

_CHUNK_BYTES = 20
_PREFIX = "resumable-stream"  # the default

Sampler = Callable[[], Awaitable[float]]


@dataclass(frozen=True)
class Plan:
    """How much is measured, and on which server."""

    port: int
    use_uvloop: bool
    published: int = 200_000
    """Chunks of one publishing sample."""
    replayed: int = 100_000
    """Chunks of one replay."""
    stamped: int = 600
    """Chunks of one latency sample."""
    repeats: int = 7
    """Samples of each figure."""
    latency_repeats: int = 3

    @property
    def url(self) -> str:
        """The server's."""
        return f"redis://127.0.0.1:{self.port}/0"


class Figure(NamedTuple):
    """One row of the table: what was measured several times."""

    name: str
    unit: str
    samples: list[float]


async def measure_publishing(plan: Plan) -> list[Figure]:
    """A publisher whose only reader is its first caller, and its source by itself."""
    chunks = _make_chunks(plan.published)

    async def read_source() -> float:
        started = time.perf_counter()
        async for _ in _iterate(chunks):
            pass
        return _rate(plan.published, started)

    async def publish() -> float:
        async with _context(plan) as context:
            started = time.perf_counter()
            stream = await context.create_new_resumable_stream(_new_name(), lambda: _iterate(chunks))
            async for _ in stream:
                pass
            rate = _rate(plan.published, started)
            await _check_length(context, stream.stream_id, plan.published)
        return rate

    floor, published = await _alternate(plan.repeats, read_source, publish)
    return [
        Figure("1 the source by itself", "M chunks/s", floor),
        Figure("1 published, read by the first caller", "M chunks/s", published),
    ]


async def measure_following(plan: Plan) -> list[Figure]:
    """A publisher as fast as it can, and a follower in another process, until that has the last chunk."""
    chunks = _make_chunks(plan.published)
    expected = hashlib.sha256("".join(chunks).encode()).hexdigest()

    async def follow() -> float:
        joined, ready = anyio.Event(), anyio.Event()
        async with _context(plan) as context:
            source = _gated(joined, ready, _iterate(chunks))
            stream = await context.create_new_resumable_stream(_new_name(), lambda: source)
            async with follower("text", plan.port, stream.stream_id, use_uvloop=plan.use_uvloop) as other:
                await other.says("joined")
                joined.set()
                await other.says("ready")
                started = time.perf_counter()
                ready.set()
                found = await other.result()
        if found["sha256"] != expected:
            raise RuntimeError("the follower got another text")
        return _rate(plan.published, started, found["ended"])

    (followed,) = await _alternate(plan.repeats, follow)
    return [Figure("2 to a follower in another process", "M chunks/s", followed)]


async def measure_latency(plan: Plan) -> list[Figure]:
    """From the source to a follower in another process, one chunk at a time; and the same by bare publish/subscribe."""
    ours: list[list[float]] = []
    theirs: list[list[float]] = []
    for _ in range(plan.latency_repeats):
        ours.append(await _ages_of_chunks(plan))
        theirs.append(await _ages_of_messages(plan))
    medians = [percentile(ages, 50) for ages in ours]
    bare_medians = [percentile(ages, 50) for ages in theirs]
    ratios = [ours / bare for ours, bare in zip(medians, bare_medians, strict=True)]
    return [
        Figure("3 one way, p50", "ms", medians),
        Figure("3 one way, p99", "ms", [percentile(ages, 99) for ages in ours]),
        Figure("3 bare PUBLISH to SUBSCRIBE, p50", "ms", bare_medians),
        Figure("3 bare PUBLISH to SUBSCRIBE, p99", "ms", [percentile(ages, 99) for ages in theirs]),
        Figure("3 p50 to bare p50", "times", ratios),
    ]


async def measure_replay(plan: Plan) -> list[Figure]:
    """All of a finished stream, as it was written at full speed, and as it looks after a slow source."""
    chunks = _make_chunks(plan.replayed)
    fast, slow = _new_name(), _new_name()
    async with _context(plan) as context:
        async for _ in await context.create_new_resumable_stream(fast, lambda: _iterate(chunks)):
            pass
        await _log_one_by_one(plan, slow, chunks)
        return [
            *await _replay(plan, context, fast, "packed log", bare_page=16),
            *await _replay(plan, context, slow, "one per entry", bare_page=1000),
        ]


async def measure_import(plan: Plan) -> list[Figure]:
    """What importing the package costs a process that has anyio already, and one that has asyncio too."""
    samples = [await _time_imports() for _ in range(plan.repeats)]
    return [
        Figure("5 import anyio", "ms", [others for others, _, _ in samples]),
        Figure("5 import resumable_stream, minus anyio", "ms", [loop + own for _, loop, own in samples]),
        Figure("5 import resumable_stream, minus asyncio too", "ms", [own for _, _, own in samples]),
    ]


async def _ages_of_chunks(plan: Plan) -> list[float]:
    joined, ready = anyio.Event(), anyio.Event()
    async with _context(plan) as context:
        source = _gated(joined, ready, _stamps(plan.stamped + WARM_UP))
        stream = await context.create_new_resumable_stream(_new_name(), lambda: source)
        async with follower("stamps", plan.port, stream.stream_id, use_uvloop=plan.use_uvloop) as other:
            await other.says("joined")
            joined.set()
            await other.says("ready")
            ready.set()
            ages: list[float] = await other.result()
    return ages


async def _ages_of_messages(plan: Plan) -> list[float]:
    channel = _new_name()
    async with follower("bare", plan.port, channel, use_uvloop=plan.use_uvloop) as other:
        await other.says("ready")
        await bare.publish_stamps(plan.port, channel, plan.stamped + WARM_UP)
        ages: list[float] = await other.result()
    return ages


async def _replay(
    plan: Plan, context: ResumableStreamContext, stream_id: str, name: str, *, bare_page: int
) -> list[Figure]:
    key = Keys(_PREFIX).of(stream_id).log

    async def by_chunk() -> float:
        return await _time_replay(plan, context, stream_id, _count_chunks)

    async def by_block() -> float:
        return await _time_replay(plan, context, stream_id, _count_in_blocks)

    async def by_hand() -> float:
        started = time.perf_counter()
        await bare.read_log(plan.port, key, bare_page)
        return (time.perf_counter() - started) * 1e3

    chunks, blocks, theirs = await _alternate(plan.repeats, by_chunk, by_block, by_hand)
    return [
        Figure(f"4 replay, {name}, chunk by chunk", "ms", chunks),
        Figure(f"4 replay, {name}, in blocks", "ms", blocks),
        Figure(f"4 replay, {name}, bare XRANGE, not unpacked", "ms", theirs),
    ]


async def _time_replay(
    plan: Plan,
    context: ResumableStreamContext,
    stream_id: str,
    count_all: Callable[[ResumableStream[str]], Awaitable[int]],
) -> float:
    started = time.perf_counter()
    stream = await context.resume_existing_stream(stream_id)
    assert stream is not None, "just written"
    count = await count_all(stream)
    taken = time.perf_counter() - started
    if count != plan.replayed:
        raise RuntimeError(f"replayed {count} chunks of {plan.replayed}")
    return taken * 1e3


async def _count_chunks(stream: ResumableStream[str]) -> int:
    count = 0
    async for _ in stream:
        count += 1
    return count


async def _count_in_blocks(stream: ResumableStream[str]) -> int:
    count = 0
    async for block in stream.blocks():
        count += len(block.chunks)
    return count


async def _log_one_by_one(plan: Plan, stream_id: str, chunks: Iterable[str]) -> None:
    backend = RedisBackend(plan.url)
    await backend.connect(lambda _stream_id: None)
    try:
        acquired = await backend.acquire(stream_id, Claim(secrets.token_hex(8), lease=15, retention=600, tombstone=600))
        assert acquired.info is not None, "the claim allows to create it"
        append = Append(stream_id, acquired.info.generation, acquired.info.epoch, first=0)
        for chunk in chunks:
            append = append._replace(first=append.stop, count=1, payload=pack([chunk]))
            (answer,) = await backend.append([append])
            assert answer.status is AppendStatus.ACCEPTED, answer
        await backend.append([append._replace(first=append.stop, count=0, payload=b"", end=End(StreamState.DONE))])
    finally:
        await backend.aclose()


async def _time_imports() -> tuple[float, float, float]:
    """Import anyio, asyncio and the package in a fresh process; return how long each took after those before it."""
    script = (
        "from time import perf_counter; times = [perf_counter()]; "
        "import anyio; times.append(perf_counter()); "
        "import asyncio; times.append(perf_counter()); "
        "import resumable_stream; times.append(perf_counter()); "
        "print(*times)"
    )
    finished = await anyio.run_process([sys.executable, "-c", script])
    start, first, second, end = (float(word) * 1e3 for word in finished.stdout.split())
    return first - start, second - first, end - second


async def _alternate(repeats: int, *samplers: Sampler) -> list[list[float]]:
    """Take a sample of each in turn, ``repeats`` times, after one that does not count; return those of each."""
    samples: list[list[float]] = [[] for _ in samplers]
    for turn in range(repeats + 1):
        for taken, sampler in zip(samples, samplers, strict=True):
            gc.collect()
            sample = await sampler()
            if turn:
                taken.append(sample)
    return samples


def _context(plan: Plan) -> ResumableStreamContext:
    # A run that is broken off does not wait for long.
    return ResumableStreamContext.from_url(plan.url, drain_timeout=1)


async def _check_length(context: ResumableStreamContext, stream_id: str, length: int) -> None:
    info = await context.info(stream_id)
    if info is None or info.length != length:
        raise RuntimeError(f"not all is logged: {info}")


async def _gated(joined: anyio.Event, ready: anyio.Event, chunks: AsyncIterator[str]) -> AsyncIterator[str]:
    """One chunk when the follower has joined, and the others when it has got that one."""
    await joined.wait()
    yield "-" * _CHUNK_BYTES
    await ready.wait()
    async for chunk in chunks:
        yield chunk


async def _iterate(chunks: Iterable[str]) -> AsyncIterator[str]:
    for chunk in chunks:
        yield chunk


async def _stamps(count: int) -> AsyncIterator[str]:
    for _ in range(count):
        await anyio.sleep(GAP)
        yield stamp()


def _make_chunks(count: int) -> list[str]:
    return [f"{index:0{_CHUNK_BYTES}}" for index in range(count)]


def _new_name() -> str:
    return secrets.token_hex(8)


def _rate(count: int, started: float, ended: float | None = None) -> float:
    """Million chunks in a second."""
    return count / ((ended or time.perf_counter()) - started) / 1e6

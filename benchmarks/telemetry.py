"""Measure what an observer costs, with a real SDK of OpenTelemetry behind it, on a Redis started for that.

Run it from the root of the repository: ``python -m benchmarks.telemetry``. With and without come in turns, so what else
the machine does meets both, and without comes twice, which tells what is noise. What is compared is the processor time
of this process.
"""

from __future__ import annotations

import argparse
import gc
import secrets
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from resumable_stream import Observer, ResumableStreamContext
from resumable_stream.telemetry import OpenTelemetryObserver

from .stage import server

_SECONDS, _GAP, _STREAMS = 4.0, 0.02, 80
_BURST = 200_000

Work = Callable[[ResumableStreamContext], Awaitable[int]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=12)
    options = parser.parse_args()
    with server() as (port, _):
        anyio.run(_measure, f"redis://127.0.0.1:{port}", options.turns)


async def _measure(url: str, turns: int) -> None:
    # The application has one SDK for as long as it lives.
    observer = OpenTelemetryObserver(TracerProvider(), MeterProvider([InMemoryMetricReader()]))
    for name, work in ((f"{_STREAMS} streams of {1 / _GAP:.0f} chunks/s", _many), ("one stream, unbridled", _one)):
        await _cost(url, work, observer)
        costs: dict[str, list[float]] = {"without": [], "without, again": [], "with": []}
        for number in range(turns):
            for kind in [*costs][number % 3 :] + [*costs][: number % 3]:
                costs[kind].append(await _cost(url, work, observer if kind == "with" else None))
        print(f"{name}, {turns} turns:")
        for kind, found in costs.items():
            ratios = sorted(one / other for one, other in zip(found, costs["without"], strict=True))
            low, high = ratios[turns // 4], ratios[-1 - turns // 4]
            print(f"  {kind:15} {statistics.median(found):7.3f} µs of processor time a chunk")
            print(f"      to that without, turn by turn: {statistics.median(ratios):.3f}, half {low:.3f} to {high:.3f}")


async def _cost(url: str, work: Work, observer: Observer | None) -> float:
    gc.collect()
    async with ResumableStreamContext.from_url(url, observer=observer, retention=1, tombstone=0) as context:
        before = time.process_time()
        chunks = await work(context)
        return (time.process_time() - before) / chunks * 1e6


async def _many(context: ResumableStreamContext) -> int:
    """Streams as models make them, each with its reader."""
    chunks = round(_SECONDS / _GAP)

    def source(number: int) -> Callable[[], AsyncIterator[str]]:
        async def paced() -> AsyncIterator[str]:
            due = anyio.current_time() + _GAP * number / _STREAMS
            for _ in range(chunks):
                due += _GAP
                await anyio.sleep_until(due)
                yield "twenty characters ok"

        return paced

    async def follow(number: int) -> None:
        stream = await context.create_new_resumable_stream(f"{secrets.token_hex(6)}", source(number))
        assert sum([1 async for _ in stream]) == chunks

    async with anyio.create_task_group() as tasks:
        for number in range(_STREAMS):
            tasks.start_soon(follow, number)
    return chunks * _STREAMS


async def _one(context: ResumableStreamContext) -> int:
    """One stream, as fast as it can be."""

    async def unbridled() -> AsyncIterator[str]:
        for _ in range(_BURST):
            yield "twenty characters ok"

    stream = await context.create_new_resumable_stream(f"{secrets.token_hex(6)}", unbridled)
    assert sum([1 async for _ in stream]) == _BURST
    return _BURST


if __name__ == "__main__":
    main()

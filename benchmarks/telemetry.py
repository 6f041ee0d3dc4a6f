"""Count the instructions that an observer costs, with a real SDK of OpenTelemetry behind it, and a Redis.

Run it from the root of the repository: ``python -m benchmarks.telemetry``. It needs valgrind. Seconds would drown in
the noise of most machines; instructions are the same each time, to a thousandth. Those of the system are not counted.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence

import anyio
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import NoOpTracerProvider
from typing_extensions import override

from resumable_stream import Observer, ResumableStreamContext
from resumable_stream.telemetry import OpenTelemetryObserver

from . import valgrind
from .stage import server

_KINDS = ("without", "one that does nothing", "metrics", "metrics and spans")
_CHUNKS = 200
_FEW, _MANY = 2, 12
"""Answers. The difference is what answers cost, without the beginning and the end of the process."""


def _compare() -> None:
    print(f"answers of {_CHUNKS} chunks, each by itself, read by the first caller; instructions of the process:")
    with server() as (port, _):
        url = f"redis://127.0.0.1:{port}"
        _instructions(_KINDS[-1], url, 1)  # modules are compiled, where that has not been done
        costs = {kind: _count(kind, url) for kind in _KINDS}
    for kind, cost in costs.items():
        print(f"  {kind:22} {cost / _CHUNKS:10,.0f} a chunk  {cost / costs['without'] - 1:+7.2%}")


def _count(kind: str, url: str) -> float:
    """Return how many instructions an answer takes."""
    few, many = (_instructions(kind, url, answers) for answers in (_FEW, _MANY))
    return (many - few) / (_MANY - _FEW)


def _instructions(kind: str, url: str, answers: int) -> int:
    return valgrind.instructions("benchmarks.telemetry", url, kind, answers)


class _Nowhere(SpanExporter):
    """Takes spans, and does nothing with them: what a real exporter costs is not ours to say."""

    @override
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


async def _make_answers(url: str, kind: str, number: int) -> None:
    reader, tracers = InMemoryMetricReader(), TracerProvider()
    tracers.add_span_processor(BatchSpanProcessor(_Nowhere()))
    observer: Observer | None = None
    if kind == "one that does nothing":
        observer = Observer()
    elif kind.startswith("metrics"):
        has_spans = kind.endswith("spans")
        observer = OpenTelemetryObserver(tracers if has_spans else NoOpTracerProvider(), MeterProvider([reader]))
    async with ResumableStreamContext.from_url(url, observer=observer, retention=1, tombstone=0) as context:
        for _ in range(number):
            await _answer(context)
    reader.collect()


async def _answer(context: ResumableStreamContext) -> None:
    """Publish chunks, each when the one before it was read."""
    was_read = anyio.Event()

    async def words() -> AsyncIterator[str]:
        nonlocal was_read
        for _ in range(_CHUNKS):
            was_read = anyio.Event()
            yield "twenty characters ok"
            await was_read.wait()

    async for _ in await context.create_new_resumable_stream(secrets.token_hex(6), words):
        was_read.set()


if __name__ == "__main__":
    valgrind.main(__doc__, _KINDS, _make_answers, _compare)

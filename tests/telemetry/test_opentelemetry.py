"""What arrives at a real SDK of OpenTelemetry."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from resumable_stream import PublisherFailedError, ResumableStreamContext
from resumable_stream.backends.memory import MemoryBackend
from resumable_stream.telemetry import OpenTelemetryObserver
from resumable_stream.testing.faults import FaultyBackend
from tests.stores import Store

PAGE = Path(__file__).parents[2] / "docs" / "telemetry.md"


class Collected:
    """An SDK that keeps what it gets."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self._reader = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.observer = OpenTelemetryObserver(self.tracers, MeterProvider([self._reader]))

    def all_spans(self) -> Sequence[ReadableSpan]:
        """Those that have ended."""
        return self._exporter.get_finished_spans()

    def spans(self, name: str) -> list[ReadableSpan]:
        """Those of one kind."""
        return [span for span in self.all_spans() if span.name == f"resumable_stream {name}"]

    def metrics(self) -> dict[str, Any]:
        """By name: the points by their attributes."""
        data = self._reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: {tuple((point.attributes or {}).values()): point for point in metric.data.data_points}
            for of_resource in data.resource_metrics
            for of_scope in of_resource.scope_metrics
            for metric in of_scope.metrics
        }

    def units(self) -> dict[str, str]:
        """Of the metrics."""
        data = self._reader.get_metrics_data()
        assert data is not None
        scopes = (scope for resource in data.resource_metrics for scope in resource.scope_metrics)
        return {metric.name: metric.unit or "" for scope in scopes for metric in scope.metrics}


async def abc() -> AsyncIterator[str]:
    """Three chunks."""
    for chunk in "abc":
        yield chunk


async def broken() -> AsyncIterator[str]:
    """An error."""
    yield "x"
    raise RuntimeError("secret")


async def never() -> AsyncIterator[str]:
    """A chunk, and then silence."""
    yield "x"
    await anyio.Event().wait()


async def test_spans(store: Store) -> None:
    """Publishing, reading and stop requests are spans under the one that was current, with ids, counts and states."""
    collected = Collected()
    tracer = collected.tracers.get_tracer("application")
    async with store.make_context(observer=collected.observer) as context:
        with tracer.start_as_current_span("request") as request:
            stream = await context.resumable_stream("s", abc)
            assert stream is not None
            assert [chunk async for chunk in stream] == ["a", "b", "c"]
        failing = await context.resumable_stream("f", broken)
        assert failing is not None
        with pytest.raises(PublisherFailedError):
            [chunk async for chunk in failing]
        await context.resumable_stream("n", never)
        await context.stop("n", reason="enough")
    spans = {span.attributes["resumable_stream.id"]: span for span in collected.spans("publish") if span.attributes}
    done, failed, stopped = spans["s"], spans["f"], spans["n"]
    assert done.attributes == {
        "resumable_stream.id": "s",
        "resumable_stream.epoch": 1,
        "resumable_stream.state": "done",
        "resumable_stream.chunks": 3,
    }
    assert done.parent is not None
    assert done.parent.span_id == request.get_span_context().span_id
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.attributes is not None
    assert failed.attributes["error.type"] == "RuntimeError"
    assert stopped.attributes is not None
    assert stopped.attributes["resumable_stream.state"] == "stopped"
    assert [dict(span.attributes or {}) for span in collected.spans("stop")] == [
        {"resumable_stream.id": "n", "resumable_stream.reason": "enough"}
    ]
    assert len(collected.spans("read")) == 3
    assert all("secret" not in span.to_json() for span in [*spans.values()])


async def test_metrics(store: Store) -> None:
    """Streams, chunks, appends and readers are counted; what goes on now is as it is when metrics are collected."""
    collected = Collected()
    async with store.make_context(observer=collected.observer) as context:
        stream = await context.resumable_stream("s", abc)
        assert stream is not None
        assert [chunk async for chunk in stream] == ["a", "b", "c"]
        again = await context.resume_existing_stream("s")
        running = await context.resumable_stream("n", never)
        assert running is not None
        assert await anext(running) == "x"
        now = collected.metrics()
        assert now["resumable_stream.publishers"][()].value == 1
        assert again is not None
        await again.aclose()
    found = collected.metrics()
    assert found["resumable_stream.chunks"][()].value == 4
    assert found["resumable_stream.appends"][()].value >= 2
    assert found["resumable_stream.append.duration"][()].count >= 1
    assert found["resumable_stream.append.duration"][()].bucket_counts[-1] == 0, "none took longer than five seconds"
    assert found["resumable_stream.append.duration"][()].explicit_bounds[0] < 0.001
    assert found["resumable_stream.streams.started"][False,].value == 2
    assert {key: point.value for key, point in found["resumable_stream.streams.ended"].items()} == {
        ("done",): 1,
        ("stopped",): 1,
    }
    assert found["resumable_stream.replay.length"][()].sum == 3
    assert found["resumable_stream.publishers"][()].value == 0
    assert found["resumable_stream.readers"][()].value == 0
    assert found["resumable_stream.reader.lag"][()].value == 0


async def test_examples_of_metrics() -> None:
    """What is counted and timed when a publisher is over has the trace of its span for an example."""
    collected = Collected()
    async with ResumableStreamContext(MemoryBackend(), observer=collected.observer) as context:
        assert [chunk async for chunk in await context.create_new_resumable_stream("s", abc)] == ["a", "b", "c"]
    (span,) = collected.spans("publish")
    metrics = collected.metrics()
    for name in ("streams.ended", "publish.duration"):
        (point,) = metrics[f"resumable_stream.{name}"].values()
        assert [example.span_id for example in point.exemplars] == [span.context.span_id]


async def test_outage() -> None:
    """How long streams went on without the store is counted when it is back."""
    collected = Collected()
    backend = FaultyBackend(MemoryBackend())
    async with ResumableStreamContext(backend, observer=collected.observer) as context:
        backend.go_away()
        backend.come_back()
        stream = await context.resumable_stream("s", abc)
        assert stream is not None
        backend.go_away()
        assert await anext(stream) == "a"
        assert collected.metrics()["resumable_stream.degraded"][()].value == 1
        backend.come_back()
        assert [chunk async for chunk in stream] == ["b", "c"]
        with anyio.fail_after(20):
            while "resumable_stream.degraded.duration" not in collected.metrics():
                await anyio.sleep(0.01)
    assert collected.metrics()["resumable_stream.degraded.duration"][()].value > 0


async def test_all_that_is_emitted_is_documented(store: Store) -> None:
    """The page lists each span, and each metric with its unit, and nothing else."""
    collected = Collected()
    collected.observer.on_store_back(1.0)
    async with store.make_context(observer=collected.observer) as context:
        await context.resumable_stream("s", never)
        await context.stop("s")
    row = re.compile(r"^\| `(resumable_stream\.[a-z._]+)` \| [^|]+ \| `([^`]+)` \|", re.MULTILINE)
    listed = dict(row.findall(PAGE.read_text()))
    assert listed == collected.units()
    spans = re.findall(r"^\| `(resumable_stream [a-z]+)` \|", PAGE.read_text(), re.MULTILINE)
    assert sorted(spans) == sorted({span.name for span in collected.all_spans()})


async def test_context_that_is_entered_again() -> None:
    """What one context has logged counts once, also if it is entered again."""
    collected = Collected()
    context = ResumableStreamContext(MemoryBackend(), observer=collected.observer)
    for number in (1, 2):
        async with context:
            stream = await context.create_new_resumable_stream(f"s{number}", abc)
            assert [chunk async for chunk in stream] == ["a", "b", "c"]
            assert collected.metrics()["resumable_stream.chunks"][()].value == 3 * number
        assert collected.metrics()["resumable_stream.chunks"][()].value == 3 * number

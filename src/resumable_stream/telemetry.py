"""Traces and metrics for OpenTelemetry, by its API alone: which SDK gets them is the application's choice.

Needs the extra ``otel``. What is emitted is listed in the guide, and is a part of the public interface.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import Lock
from typing import NamedTuple

try:
    from opentelemetry import metrics, trace
except ImportError as _error:
    raise ImportError("telemetry needs OpenTelemetry: pip install 'resumable-stream-context[otel]'") from _error
from typing_extensions import override

from .observer import Activity, Observer, Publishing, Reading, Sample
from .types import StreamState

__all__ = ["OpenTelemetryObserver"]

_NAME = "resumable_stream"
_APPEND_SECONDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
_PUBLISH_SECONDS = (0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
_REPLAYED_CHUNKS = (0, 1, 10, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 100_000)
_TIMED = 64
"""Of so many appends one is timed. Recording a duration costs more than all else that is counted for an append."""


class _Contexts(NamedTuple):
    """Those that are entered, and what was logged by those that were left."""

    samples: tuple[Sample, ...]
    chunks_before: int

    def now(self) -> list[Activity]:
        """Return what goes on in each."""
        return [sample() for sample in self.samples]

    @property
    def chunks(self) -> int:
        """How many chunks were logged by all."""
        return self.chunks_before + sum(now.chunks for now in self.now())


class OpenTelemetryObserver(Observer):
    """Makes spans of publishing, reading and stop requests, and metrics of all that a context does.

    Give it to `ResumableStreamContext` as ``observer``. One serves several contexts. Ids of streams are on spans, and
    never on metrics, which would grow with each; the text of chunks is nowhere.

    Args:
        tracer_provider: Gets the spans. ``None``: the global one.
        meter_provider: Gets the metrics. ``None``: the global one.
    """

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer(_NAME, tracer_provider=tracer_provider)
        self._spans: dict[Publishing | Reading, trace.Span] = {}
        # Replaced as a whole: metrics are collected in another thread, which is to see one state or the other.
        self._contexts = _Contexts((), 0)
        self._changing_contexts = Lock()  # those without async have an event loop in a thread each
        self._appends = 0
        self._make_instruments(metrics.get_meter(_NAME, meter_provider=meter_provider))

    @override
    def on_entered(self, sample: Sample) -> None:
        with self._changing_contexts:
            samples, chunks = self._contexts
            self._contexts = _Contexts((*samples, sample), chunks - sample().chunks)  # it may have been entered before

    @override
    def on_left(self, sample: Sample) -> None:
        with self._changing_contexts:
            samples, chunks = self._contexts
            self._contexts = _Contexts(tuple(one for one in samples if one is not sample), chunks + sample().chunks)

    @override
    def on_publishing(self, publishing: Publishing) -> None:
        attributes: dict[str, str | int] = {
            "resumable_stream.id": publishing.stream_id,
            "resumable_stream.epoch": publishing.epoch,
        }
        self._spans[publishing] = self._tracer.start_span("resumable_stream publish", attributes=attributes)
        self._started.add(1, {"resumable_stream.takeover": publishing.epoch > 1})

    @override
    def on_published(
        self, publishing: Publishing, state: StreamState | None, error_type: str, chunks: int, seconds: float
    ) -> None:
        ending = {"resumable_stream.state": "ceded" if state is None else state.value}
        span = self._spans.pop(publishing)
        span.set_attributes({**ending, "resumable_stream.chunks": chunks})
        if state is StreamState.FAILED:
            span.set_attribute("error.type", error_type)
            span.set_status(trace.StatusCode.ERROR)
        span.end()
        context = trace.set_span_in_context(span)  # so that examples of these metrics lead to the trace
        self._ended.add(1, ending, context)
        self._publish_duration.record(seconds, ending, context)

    @override
    def on_appended(self, streams: int, seconds: float) -> None:
        # A plain number, which is asked for when metrics are collected.
        if self._appends % _TIMED == 0:
            self._append_duration.record(seconds)
        self._appends += 1

    @override
    def on_reading(self, reading: Reading) -> None:
        attributes: dict[str, str | int] = {
            "resumable_stream.id": reading.stream_id,
            "resumable_stream.index": reading.index,
            "resumable_stream.replayed": reading.behind,
        }
        self._spans[reading] = self._tracer.start_span("resumable_stream read", attributes=attributes)
        self._replay.record(reading.behind)

    @override
    def on_read(self, reading: Reading, chunks: int, seconds: float) -> None:
        span = self._spans.pop(reading)
        span.set_attribute("resumable_stream.chunks", chunks)
        span.end()

    @override
    def on_stop_requested(self, stream_id: str, reason: str) -> None:
        attributes = {"resumable_stream.id": stream_id, "resumable_stream.reason": reason}
        self._tracer.start_span("resumable_stream stop", attributes=attributes).end()
        self._stops.add(1)

    @override
    def on_store_back(self, seconds: float) -> None:
        self._away.add(seconds)

    def _make_instruments(self, meter: metrics.Meter) -> None:
        self._started = meter.create_counter(
            f"{_NAME}.streams.started", "{stream}", "Streams whose publisher this process became"
        )
        self._ended = meter.create_counter(
            f"{_NAME}.streams.ended", "{stream}", "Streams whose publisher here is over, by how they ended"
        )
        self._publish_duration = meter.create_histogram(
            f"{_NAME}.publish.duration",
            "s",
            "How long streams were published here",
            explicit_bucket_boundaries_advisory=_PUBLISH_SECONDS,
        )
        self._append_duration = meter.create_histogram(
            f"{_NAME}.append.duration",
            "s",
            f"How long the store took for an append; one in {_TIMED} is timed",
            explicit_bucket_boundaries_advisory=_APPEND_SECONDS,
        )
        self._replay = meter.create_histogram(
            f"{_NAME}.replay.length",
            "{chunk}",
            "Chunks that were there before a reader came, and that it had not seen",
            explicit_bucket_boundaries_advisory=_REPLAYED_CHUNKS,
        )
        self._stops = meter.create_counter(f"{_NAME}.stops", "{request}", "Requests to stop a stream")
        self._away = meter.create_counter(
            f"{_NAME}.degraded.duration", "s", "How long streams had to do without the store"
        )
        meter.create_observable_counter(
            f"{_NAME}.appends", [_observe(lambda: self._appends)], "{call}", "Calls that appended to the log"
        )
        meter.create_observable_counter(
            f"{_NAME}.chunks", [_observe(lambda: self._contexts.chunks)], "{chunk}", "Chunks logged"
        )
        for name, unit, what, gauge in (
            ("publishers", "{stream}", "Streams that are published here now", lambda now: now.publishers),
            ("readers", "{reader}", "Readers that are open here now", lambda now: now.readers),
            ("degraded", "{stream}", "Streams that go on without the store now", lambda now: now.degraded),
        ):
            meter.create_observable_up_down_counter(f"{_NAME}.{name}", [self._sum_of(gauge)], unit, what)
        meter.create_observable_gauge(
            f"{_NAME}.reader.lag",
            [_observe(lambda: max([0, *(now.lag for now in self._contexts.now())]))],
            "{chunk}",
            "How many chunks the slowest reader here is behind",
        )

    def _sum_of(self, part: Callable[[Activity], int]) -> _Callback:
        return _observe(lambda: sum(map(part, self._contexts.now())))


_Callback = Callable[[metrics.CallbackOptions], Iterable[metrics.Observation]]


def _observe(count: Callable[[], int]) -> _Callback:
    return lambda _options: [metrics.Observation(count())]

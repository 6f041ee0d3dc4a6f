"""What a context tells of what it does: for metrics, traces and logs of the application's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from .types import StreamState

__all__ = ["Activity", "Observer", "Publishing", "Reading", "Sample"]


@dataclass(frozen=True, eq=False)
class Publishing:
    """One publisher of a stream, from becoming it to being over. Each is an object of its own, to be a key."""

    stream_id: str
    epoch: int
    """1: the stream is new. More: it was taken over."""
    first: int
    """How many chunks there were before."""


@dataclass(frozen=True, eq=False)
class Reading:
    """One reader of a stream, from opening to closing. Each is an object of its own, to be a key."""

    stream_id: str
    index: int
    """Of the first chunk that it asks for."""
    behind: int
    """How many chunks were there already: so many it replays, and follows then."""


class Activity(NamedTuple):
    """What goes on in a context at one moment."""

    publishers: int
    readers: int
    lag: int
    """How many chunks the slowest reader is behind what this process has heard of; 0 without readers."""
    degraded: int
    """How many of the streams that are published here go on without the store, which is away."""
    chunks: int
    """How many chunks publishers here have logged, since the context was made. It never becomes less."""


Sample: TypeAlias = Callable[[], Activity]
"""Returns what goes on now. May be called from any thread, and at any time."""


class Observer:
    """Is told what a context does. Override what you want to know: each method here does nothing.

    All are called on the event loop, in between of its work: they must not block, and should be quick. Nothing is
    called for each chunk: the most frequent call is one for each append, in which the chunks of many streams travel
    together. What one raises is logged, the first time, and else ignored. No text of a chunk is ever handed out.

    One observer may serve several contexts.
    """

    def on_entered(self, sample: Sample) -> None:
        """A context was entered. ``sample`` tells at any time what goes on in it."""

    def on_left(self, sample: Sample) -> None:
        """The context was left. Its readers and publishers were told to be over before that."""

    def on_publishing(self, publishing: Publishing) -> None:
        """This process became the publisher of a stream. Called in the contextvars of the call that made it so."""

    def on_published(
        self, publishing: Publishing, state: StreamState | None, error_type: str, chunks: int, seconds: float
    ) -> None:
        """A publisher is over. In no order with what else is told of its end, and in no particular contextvars.

        Args:
            publishing: Which one.
            state: How the stream ended. ``None``: it did not end here, as it was deleted, is somebody else's, or the
                store could not be told.
            error_type: For ``FAILED``: the type of what the factory raised.
            chunks: How many it made.
            seconds: For how long it was the publisher.
        """

    def on_appended(self, streams: int, seconds: float) -> None:
        """The store has answered an append.

        How many chunks are logged is not told each time: it is in what `on_entered` hands out.

        Args:
            streams: How many streams had a part in it: chunks, or just the renewal of a lease.
            seconds: From sending it to the answer.
        """

    def on_reading(self, reading: Reading) -> None:
        """A reader was opened. Called in the contextvars of the call that did it."""

    def on_read(self, reading: Reading, chunks: int, seconds: float) -> None:
        """A reader is over: it came to the end, was closed, or was forgotten.

        Args:
            reading: Which one.
            chunks: How many it was handed, those that it had to skip included.
            seconds: For how long it was open.
        """

    def on_stop_requested(self, stream_id: str, reason: str) -> None:
        """Somebody in this process asked for a stream's end. Called in the contextvars of that call."""

    def on_store_away(self) -> None:
        """The store does not take appends any more. Streams that are published here go on without it."""

    def on_store_back(self, seconds: float) -> None:
        """The store has taken all that it missed, or the context was left, so many seconds after `on_store_away`."""

"""Calls the observer, so that nothing it does can harm a stream."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..observer import Activity, Observer, Publishing, Reading, Sample
from ..types import StreamInfo

if TYPE_CHECKING:  # it is told about them by those that they are made of
    from .publisher import Publisher
    from .reader import Reader

_logger = logging.getLogger("resumable_stream")


class Reporter:
    """Tells an observer, if there is one, what happens, and keeps account of what it was told."""

    def __init__(self, observer: Observer | None) -> None:
        self.is_observed: bool = observer is not None
        """Whether anybody listens. Else nothing is kept of what is told: that would be four objects for each stream."""
        self.chunks: int = 0
        """How many chunks were logged. Counted by who logs them, and not told: that would be once for each append."""
        self._observer = observer or Observer()
        self._complained: set[str] = set()
        self._publishing: dict[Publisher, tuple[Publishing, float]] = {}
        self._reading: dict[Reader, tuple[Reading, float]] = {}
        self._away_since: float | None = None
        self._sample: Sample = self._count  # the same object each time: it is a key
        self._is_entered = False

    def entered(self) -> None:
        """The context was entered."""
        self._is_entered = True
        self._tell(self._observer.on_entered, self._sample)

    def left(self) -> None:
        """The context was left, and whoever reads gets no more."""
        for publisher in list(self._publishing):  # that nobody saw to the end
            self.published(publisher)
        for reader in list(self._reading):
            self.read(reader)
        self.store_back()  # nobody waits for it any more
        if self._is_entered:
            self._is_entered = False
            self._tell(self._observer.on_left, self._sample)

    def publishing(self, publisher: Publisher, info: StreamInfo) -> None:
        """A stream is published here from now on."""
        if not self.is_observed:
            return
        publishing = Publishing(info.stream_id, info.epoch, info.length)
        self._publishing[publisher] = publishing, time.monotonic()
        self._tell(self._observer.on_publishing, publishing)

    def published(self, publisher: Publisher) -> None:
        """It is so no more. May be called twice."""
        publishing, since = self._publishing.pop(publisher, (None, 0.0))
        if publishing is None:
            return
        end, chunks = publisher.recorded_end, publisher.length - publishing.first
        state, error_type = (None, "") if end is None else (end.state, end.error_type)
        self._tell(self._observer.on_published, publishing, state, error_type, chunks, time.monotonic() - since)

    def appended(self, streams: int, seconds: float) -> None:
        """The store has answered an append."""
        try:  # as `_tell` does, which takes twice as long: this is on the way of each lone chunk
            self._observer.on_appended(streams, seconds)
        except Exception as error:  # noqa: BLE001  # as there
            self._complain("on_appended", error)

    def reading(self, reader: Reader, length: int) -> None:
        """A reader was opened, when so many chunks were there."""
        if not self.is_observed:
            return
        reading = Reading(reader.feed.stream_id, reader.index, max(length - reader.index, 0))
        self._reading[reader] = reading, time.monotonic()
        self._tell(self._observer.on_reading, reading)

    def read(self, reader: Reader) -> None:
        """A reader is over. May be called twice."""
        reading, since = self._reading.pop(reader, (None, 0.0))
        if reading is not None:
            chunks = reader.index - reading.index
            self._tell(self._observer.on_read, reading, chunks, time.monotonic() - since)

    def stop_requested(self, stream_id: str, reason: str) -> None:
        """Somebody asked for a stream's end."""
        self._tell(self._observer.on_stop_requested, stream_id, reason)

    def store_away(self) -> None:
        """The store does not answer. May be called again and again."""
        if self._away_since is None:
            self._away_since = time.monotonic()
            self._tell(self._observer.on_store_away)

    def store_back(self) -> None:
        """The store answers, and has all. May be called again and again."""
        if self._away_since is not None:
            away_since, self._away_since = self._away_since, None
            self._tell(self._observer.on_store_back, time.monotonic() - away_since)

    def _count(self) -> Activity:
        # Possibly in another thread: lists are made in one step, which no other thread can interrupt.
        publishers, readers = list(self._publishing), list(self._reading)
        lags = [reader.feed.window.stop - reader.index for reader in readers]
        return Activity(
            publishers=len(publishers),
            readers=len(readers),
            lag=max([0, *lags]),
            degraded=sum(publisher.feed.is_degraded for publisher in publishers),
            chunks=self.chunks,
        )

    def _tell(self, method: Callable[..., None], *args: Any) -> None:
        try:
            method(*args)
        except Exception as error:  # noqa: BLE001  # whatever it is, no stream is to suffer
            self._complain(method.__name__, error)

    def _complain(self, name: str, error: Exception) -> None:
        if name not in self._complained:
            self._complained.add(name)
            _logger.error("%s of the observer raised, and is not reported again", name, exc_info=error)

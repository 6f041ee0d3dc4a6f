"""The one task of a process that appends to the log."""

from __future__ import annotations

from collections import deque
from typing import Protocol

import anyio

from ..abc import StreamBackend
from ..exceptions import BackendError
from ..types import Append, Appended
from .failures import backend_error

_MAX_APPENDS = 256
_MAX_BYTES = 1024 * 1024


class Appender(Protocol):
    """Something that has appends to make, one at a time."""

    def take_append(self) -> Append:
        """Return the append to make now."""

    def on_appended(self, answer: Appended) -> None:
        """Learn what became of it."""

    def on_unreachable(self, error: BackendError) -> None:
        """Learn that it is not known what became of it."""


class Flusher:
    """Sends what is ready, for all streams together, as soon as what was sent before is answered.

    There is no timer: what comes alone goes at once, and what comes while an append is in flight goes together.
    """

    def __init__(self, backend: StreamBackend) -> None:
        self._backend = backend
        self._ready: deque[Appender] = deque()
        self._wake: anyio.Event | None = None
        self._is_closed = False

    def schedule(self, appender: Appender) -> None:
        """Have its append taken and made. To be called again only after it was answered."""
        if self._is_closed:
            appender.on_unreachable(_closed())
            return
        self._ready.append(appender)
        if self._wake is not None:
            self._wake.set()
            self._wake = None

    async def run(self) -> None:
        """Append until cancelled. Whoever waits then, or comes later, is told that it is too late."""
        try:
            while True:
                while not self._ready:
                    self._wake = anyio.Event()
                    await self._wake.wait()
                await self._flush()
        finally:
            self._is_closed = True
            while self._ready:
                self._ready.popleft().on_unreachable(_closed())

    async def _flush(self) -> None:
        appenders: list[Appender] = []
        appends: list[Append] = []
        size = 0
        while self._ready and len(appends) < _MAX_APPENDS and size < _MAX_BYTES:
            appender = self._ready.popleft()
            append = appender.take_append()
            appenders.append(appender)
            appends.append(append)
            size += len(append.payload)
        failure = _closed()
        try:
            answered = list(zip(appenders, await self._backend.append(appends), strict=True))
        except Exception as error:  # noqa: BLE001  # a task boundary: if this task dies, no stream can be written
            failure = backend_error(error, "append")
        else:
            for appender, answer in answered:
                appender.on_appended(answer)
            appenders.clear()
        finally:  # cancelled, too
            for appender in appenders:
                appender.on_unreachable(failure)


def _closed() -> BackendError:
    return BackendError("the context was left")

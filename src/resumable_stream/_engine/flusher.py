"""The tasks of a process that append to the log."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from typing import Protocol

import anyio

from .._core.backoff import Backoff
from ..abc import StreamBackend
from ..exceptions import BackendError, BackendUnavailableError
from ..types import Append, Appended, AppendStatus, Limits
from .failures import backend_error
from .reporter import Reporter

_logger = logging.getLogger("resumable_stream")

_ACCEPTED, _UNAVAILABLE = AppendStatus.ACCEPTED, AppendStatus.UNAVAILABLE
"""Looked up once: some Pythons take long to find a member of an enumeration."""
_CALLS = 2
"""How many are under way at the same time, beside a repeated one: while the store works at one, the next is made."""
_MAX_APPENDS = 128
_MAX_BYTES = 1024 * 1024
_MANY_CHUNKS = 128
_MANY_BYTES = 32 * 1024
"""What has that many is worth a call of its own: no other waits for more to come."""
_TICK = 0.25
_PATIENCE = 4
"""Ticks without an answer after which the store counts as away. Ticks and not seconds: see `Flusher.watch`."""
_FROZEN = 1.0
"""Seconds between two ticks that say that the process was frozen."""


class Appender(Protocol):
    """Something that has appends to make, one at a time."""

    def take_append(self) -> Append:
        """Return the append to make now."""

    def on_appended(self, answer: Appended) -> None:
        """Learn what became of it."""

    def on_unavailable(self) -> None:
        """Learn that the store is away. The append is repeated until it is back."""

    def on_unsure(self) -> None:
        """Learn that the append is repeated, although it may not have been the store that was away."""

    def on_unreachable(self, error: BackendError) -> None:
        """Learn that it is not known what became of the append, and that it is not repeated."""


class Flusher:
    """Sends what is ready, for all streams together.

    What comes alone goes at once, and so does what comes early after it: a chunk that is late is not to make the next
    one late. Where one early call follows another, or enough calls are under way, what comes goes together: sending,
    answering, and telling others cost much the same for one chunk and for ten. Of one stream there is one append under
    way. What could not be sent is repeated by a task of its own, so that a part of the store that is away holds up no
    other.

    Args:
        backend: Where to.
        limits: Bounds of what a publisher collects.
        linger: How many seconds after a call the next one is early, unless that was a large one.
        on_trouble: Called again and again while the store does not answer.
        on_recovery: Called when it does so again.
        reporter: Is told of appends, and of outages.
    """

    def __init__(
        self,
        backend: StreamBackend,
        limits: Limits,
        *,
        linger: float,
        on_trouble: Callable[[], None],
        on_recovery: Callable[[], None],
        reporter: Reporter,
    ) -> None:
        self._backend = backend
        self._linger = linger
        # Sources that are held back until the log has caught up do not wait for anything else.
        self._many_chunks = min(_MANY_CHUNKS, limits.pending_chunks)
        self._many_bytes = min(_MANY_BYTES, limits.pending_bytes)
        self._on_trouble = on_trouble
        self._on_recovery = on_recovery
        self._reporter = reporter
        self._ready: deque[Appender] = deque()
        self._unavailable: dict[Appender, Append] = {}
        self._backoff = Backoff()
        self._turn = asyncio.Lock()
        self._wake = asyncio.Event()
        self._wake_retry: anyio.Event | None = None
        self._early_until = -math.inf
        self._was_early = False
        self._calls_under_way = 0
        self._unanswered_ticks = 0
        self._ticked_at = self._awake_since = -math.inf
        self._is_in_trouble = False
        self._is_closed = False

    def schedule(self, appender: Appender) -> None:
        """Have its append taken and made. To be called again only after it was answered."""
        if self._is_closed:
            appender.on_unreachable(_closed())
            return
        self._ready.append(appender)
        self._wake.set()

    def withdraw(self, appender: Appender) -> None:
        """Repeat its append no more."""
        self._unavailable.pop(appender, None)

    async def run(self) -> None:
        """Append until cancelled. Whoever waits then, or comes later, is told that it is too late."""
        try:
            async with anyio.create_task_group() as calls:
                for _ in range(_CALLS):
                    calls.start_soon(self._flush_in_turn)
        finally:
            self._is_closed = True
            waiting = [*self._ready, *self._unavailable]
            self._ready.clear()
            self._unavailable.clear()
            for appender in waiting:
                appender.on_unreachable(_closed())

    async def retry(self) -> None:
        """Repeat what the store was away for, until cancelled."""
        while True:
            while not self._unavailable:
                self._wake_retry = anyio.Event()
                await self._wake_retry.wait()
            await anyio.sleep(self._backoff.next_delay())
            await self._repeat()

    async def watch(self) -> None:
        """Notice a store that does not answer, until cancelled, and tell it from a process that was frozen itself.

        A call that was under way then fails, too, but not because the store was away: the publishers of such a process
        are to be refused like all who lost their lease.
        """
        self._ticked_at = time.monotonic()
        while True:
            await anyio.sleep(_TICK)
            self._note_tick()
            if self._calls_under_way:
                self._unanswered_ticks += 1
                if self._unanswered_ticks > _PATIENCE:
                    self._note_trouble()
                    self._on_trouble()

    async def _flush_in_turn(self) -> None:
        """Send what is ready, while others wait for answers, until cancelled."""
        while True:
            async with self._turn:
                while not self._ready:
                    self._wake.clear()
                    await self._wake.wait()
                early_by = self._early_until - time.monotonic()
                if early_by > 0 and self._was_early:
                    await asyncio.sleep(early_by)
                sent_at = time.monotonic()
                appenders, appends = self._take(sent_at, is_early=early_by > 0)
            await self._flush(appenders, appends, sent_at)

    async def _flush(self, appenders: list[Appender], appends: list[Append], sent_at: float) -> None:
        failure = _closed()
        self._calls_under_way += 1
        try:
            answers = await self._backend.append(appends)
            _check_number(answers, appends)
        except BackendUnavailableError:
            for appender, append in zip(appenders, appends, strict=True):
                self._repeat_later(appender, append, is_sure=self._was_awake_since(sent_at))
            appenders.clear()
        except Exception as error:  # noqa: BLE001  # a task boundary: if this task dies, no stream can be written
            failure = backend_error(error, "append")
        else:
            self._on_answers(appenders, appends, answers, sent_at)
            appenders.clear()
        finally:  # cancelled, too
            self._calls_under_way -= 1
            self._unanswered_ticks = 0
            for appender in appenders:
                appender.on_unreachable(failure)

    def _take(self, sent_at: float, *, is_early: bool) -> tuple[list[Appender], list[Append]]:
        """Return what one call takes, and note until when the next one is early."""
        appenders: list[Appender] = []
        appends: list[Append] = []
        size = chunks = 0
        while self._ready and len(appends) < _MAX_APPENDS and size < _MAX_BYTES:
            appender = self._ready.popleft()
            append = appender.take_append()
            appenders.append(appender)
            appends.append(append)
            size += len(append.payload)
            chunks += append.count
        if chunks >= self._many_chunks or size >= self._many_bytes or self._ready:
            self._early_until = sent_at
        elif chunks:  # a lease that is renewed holds up nobody
            self._early_until = sent_at + self._linger
            self._was_early = is_early
        return appenders, appends

    def _on_answers(
        self, appenders: Sequence[Appender], appends: Sequence[Append], answers: Sequence[Appended], sent_at: float
    ) -> None:
        has_answered = False
        for appender, append, answer in zip(appenders, appends, answers, strict=True):
            status = answer.status
            if status is _UNAVAILABLE:
                self._repeat_later(appender, append, is_sure=self._was_awake_since(sent_at))
                continue
            has_answered = True
            if status is _ACCEPTED:
                self._reporter.chunks += append.count
            appender.on_appended(answer)
        if has_answered:
            self._report(appends, sent_at)
        if self._is_in_trouble and not self._unavailable:
            self._note_recovery()

    async def _repeat(self) -> None:
        """Repeat what is oldest, as far as it fits in one call."""
        repeated = dict(islice(self._unavailable.items(), _fitting(self._unavailable.values())))
        if not repeated:
            return
        sent_at = time.monotonic()
        try:
            answers = await self._backend.append(list(repeated.values()))
            _check_number(answers, repeated)
        except BackendUnavailableError:
            answers = [Appended(AppendStatus.UNAVAILABLE)] * len(repeated)
        except Exception as error:  # noqa: BLE001  # a task boundary, as above
            for appender in repeated:
                if self._unavailable.pop(appender, None) is not None:
                    appender.on_unreachable(backend_error(error, "append"))
            return
        for appender, answer in zip(repeated, answers, strict=True):
            self._on_repeated(appender, answer, sent_at)
        if all(answer.status is AppendStatus.UNAVAILABLE for answer in answers):
            return
        self._report(repeated, sent_at)
        if not self._unavailable:
            self._note_recovery()

    def _on_repeated(self, appender: Appender, answer: Appended, sent_at: float) -> None:
        append = self._unavailable.pop(appender, None)
        if append is None:
            return  # withdrawn meanwhile
        if answer.status is not AppendStatus.UNAVAILABLE:
            self._backoff.reset()
            if answer.status is AppendStatus.ACCEPTED:
                self._reporter.chunks += append.count
            appender.on_appended(answer)
            return
        self._unavailable[appender] = append  # behind the others: it may be away for long
        if self._was_awake_since(sent_at):
            self._note_trouble()
            appender.on_unavailable()

    def _repeat_later(self, appender: Appender, append: Append, *, is_sure: bool) -> None:
        self._unavailable[appender] = append
        if is_sure:
            appender.on_unavailable()
            self._note_trouble()
        else:
            appender.on_unsure()
        if self._wake_retry is not None:
            self._wake_retry.set()
            self._wake_retry = None

    def _note_tick(self) -> None:
        now = time.monotonic()
        if now - self._ticked_at > _FROZEN:
            self._awake_since = now
        self._ticked_at = now

    def _was_awake_since(self, moment: float) -> bool:
        """Whether this process was not frozen since then."""
        return moment >= self._awake_since and time.monotonic() - self._ticked_at <= _FROZEN

    def _report(self, appends: Collection[object], sent_at: float) -> None:
        if self._reporter.is_observed:
            self._reporter.appended(len(appends), time.monotonic() - sent_at)

    def _note_trouble(self) -> None:
        if not self._is_in_trouble:
            self._is_in_trouble = True
            _logger.warning("the store is away: streams published here go on, and are logged when it is back")
            self._reporter.store_away()

    def _note_recovery(self) -> None:
        self._is_in_trouble = False
        self._backoff.reset()
        _logger.info("the store is back")
        self._reporter.store_back()
        self._on_recovery()


def _fitting(appends: Iterable[Append]) -> int:
    """Return how many of them one call takes: one at least."""
    size = count = 0
    for append in appends:
        if count == _MAX_APPENDS or size >= _MAX_BYTES:
            break
        size += len(append.payload)
        count += 1
    return count


def _check_number(answers: Collection[Appended], appends: Collection[object]) -> None:
    """See whether a backend has answered all there was: before anybody learns anything."""
    if len(answers) != len(appends):
        raise BackendError("the backend did not answer each append")


def _closed() -> BackendError:
    return BackendError("the context was left")

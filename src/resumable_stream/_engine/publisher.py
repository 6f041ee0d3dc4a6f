"""What drives one factory into the log."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

import anyio
from anyio.lowlevel import checkpoint

from .._core.allowance import Allowance
from .._core.outbox import Outbox
from ..exceptions import BackendError, LimitExceededError, StreamGoneError
from ..types import Append, Appended, AppendStatus, End, Limits, RawChunk, StreamInfo, StreamState
from .feed import Feed
from .flusher import Flusher
from .run import Run, name_of

_logger = logging.getLogger("resumable_stream")

_ACCEPTED = AppendStatus.ACCEPTED  # some Pythons take long to find a member of an enumeration
_RECORD_TIMEOUT = 5.0


class PublisherHost(Protocol):
    """What publishers are run by."""

    def on_over(self, publisher: Publisher) -> None:
        """Nothing more can be appended. Comes before readers learn an end that is recorded, and perhaps twice."""

    def on_cut_off(self, publisher: Publisher) -> None:
        """Somebody else may have the stream, whose readers here are to follow that."""

    def on_lease_lapsed(self, publisher: Publisher) -> None:
        """The lease lapsed because the store was away. The answer is `Publisher.on_acquired`."""

    def on_unrecorded(self, publisher: Publisher) -> None:
        """The run is over, and its end is not recorded without more ado: `Publisher.see_to_end` is to be called."""

    def on_finished(self, publisher: Publisher) -> None:
        """The run is over, and its end is recorded. Not where `Publisher.see_to_end` is called: that returns then."""


class Publisher:
    """Runs a factory, logs its chunks, hands them to the readers here once they are logged, and records the end.

    While the store is away it hands them on at once, keeps them, and logs them when the store is back. If it cannot
    keep them all, or the store comes back without the log, the run goes on for the readers here, and has failed for all
    others.

    Args:
        info: The stream, as it was acquired.
        factory: What makes the chunks.
        encode: Turns what the factory yields into chunks; ``None`` if it yields chunks.
        feed: Gets what is logged.
        flusher: Makes the appends.
        limits: Bounds of chunks and of what is pending.
        allowance: What all publishers may keep together while the store is away.
        host: Is told what happens.
    """

    def __init__(
        self,
        info: StreamInfo,
        factory: Callable[[], Any],
        encode: Callable[[Any], RawChunk] | None,
        feed: Feed,
        flusher: Flusher,
        limits: Limits,
        allowance: Allowance,
        host: PublisherHost,
    ) -> None:
        self.feed = feed
        self.feed.owner = self
        self._encode = encode
        self._flusher = flusher
        self._host = host
        self._limits = limits
        self._outbox = Outbox(info, limits, allowance)
        self._run = Run(info.stream_id, factory, self._pump, self._take_end)
        self._is_appending = False
        self._was_renewed = True
        self._has_news = False
        self._asks_for_news = False
        self._was_unavailable = self._is_repeated = False
        self._is_degraded = False
        self._is_cut_off = False
        self.recorded_end: End | None = None
        """How the stream ended, once the store has taken that from this publisher."""
        self._failure: End | StreamGoneError | None = None
        """What the stream has come to in the store, although the run goes on."""
        self._reason = ""
        self._end: End | None = None
        """What the run has come to, once it is over."""
        self._is_leaving = False
        self._is_seen_to = False
        """Whether there is a task that records the end, or was."""
        self._recording: anyio.CancelScope | None = None
        self._answered: anyio.Event | None = None

    def start(self) -> None:
        """Call the factory, in a task of its own. What it raises is recorded, whatever that is."""
        self._run.start()

    async def see_to_end(self, record_timeout: float) -> None:
        """Record the end. To be called where that does not happen by itself.

        Args:
            record_timeout: For how many seconds to try.
        """
        assert self._end is not None, "the run is over"
        if self._is_leaving:
            record_timeout = min(record_timeout, _RECORD_TIMEOUT)
        with anyio.move_on_after(record_timeout, shield=True) as self._recording:
            await self._record(self._end)
        if self._recording.cancelled_caught:
            _logger.warning("the store is away: the end of stream %s is not recorded", self.feed.stream_id)
        self._flusher.withdraw(self)
        self._outbox.drop_backlog()
        self._is_cut_off = True

    def stop(self, reason: str) -> None:
        """Cancel the factory, keep what it made, and end as ``STOPPED``. Without effect after the end, or twice."""
        if self._run.stop() and not self._reason:
            self._reason = reason

    def leave(self, reason: str = "shutdown") -> None:
        """Stop, as the context is being left; do not try for long to record the end, whatever it is."""
        self.stop(reason)
        self._is_leaving = True
        if self._recording is not None:
            self._recording.deadline = min(self._recording.deadline, anyio.current_time() + _RECORD_TIMEOUT)
        self._wake()

    def give_way(self) -> None:
        """Leave the stream to whoever takes it over, without a word."""
        self._cut_off()

    @property
    def is_over(self) -> bool:
        """Whether nothing is appended any more."""
        return self._is_cut_off

    @property
    def epoch(self) -> int:
        """Under which it appends."""
        return self._outbox.epoch

    @property
    def length(self) -> int:
        """How many chunks the stream has with those that are not logged yet."""
        return self._outbox.stop

    def resume(self, chunks: list[RawChunk]) -> None:
        """Take note of what was logged before, if this publisher took the stream over."""
        self._outbox.resume(chunks)

    def renew_lease(self) -> None:
        """Append nothing, unless something was appended since the last call."""
        if not self._was_renewed:
            self._schedule()
        self._was_renewed = False

    def on_notice(self) -> None:
        """Ask the store what the news is: somebody wants a stop, took over, or deleted the stream."""
        self._has_news = True
        if isinstance(self._failure, StreamGoneError):
            self._cut_off()
        else:
            self._schedule()

    def degrade(self) -> None:
        """Take note that the store does not answer: hand on what it has not logged, from now on without waiting."""
        if not self._is_appending or self._is_degraded or self._is_cut_off:
            return
        self._was_unavailable = True
        self._is_degraded = self.feed.is_degraded = True
        self.feed.window.max_bytes = max(self._limits.window_bytes, self._limits.outage_bytes)  # the log has it not
        self._outbox.watch(True)
        self._hand_on_unlogged()
        self._wake()

    def take_append(self) -> Append:
        """Return the append to make now."""
        self._was_renewed = True
        self._asks_for_news = self._has_news
        return self._outbox.take()

    def on_appended(self, answer: Appended) -> None:
        """Hand on what is logged, or act on a refusal."""
        self._is_appending = False
        if self._is_cut_off:
            return
        if answer.status is _ACCEPTED:
            self._on_accepted(answer.stop_reason)
        else:
            self._on_refused(answer)
        if self._answered is not None or self._end is not None:
            self._wake()

    def on_acquired(self, info: StreamInfo | None) -> None:
        """Go on under a new epoch. ``None``: somebody else has the stream."""
        self._is_appending = False
        if self._is_cut_off:
            return
        if info is None:
            self._cut_off()
        elif self._outbox.retract(info):
            self.feed.epoch = info.epoch
            self._schedule()
        else:
            self._give_up_log(_lost_chunks(), info.length)
        self._wake()

    def on_unsure(self) -> None:
        """The append is repeated, as it may not have been made."""
        self._is_repeated = True
        self._wake()

    def on_unavailable(self) -> None:
        """The store is away, and the append is repeated until it is back."""
        self._is_repeated = True
        self.degrade()
        self._was_unavailable = True

    def on_unreachable(self, error: BackendError) -> None:
        """Give up: the log cannot be written."""
        self._is_appending = False
        if not self._is_cut_off:
            self.feed.fail(error)
            self._cut_off()

    def _on_accepted(self, stop_reason: str) -> None:
        batch = self._outbox.acknowledge()
        # What was accepted before the lease lapsed is accepted again after that, and the first answer may come as late:
        # the next one will tell.
        self._was_unavailable = self._was_unavailable and (self._is_repeated or self._is_degraded)
        self._is_repeated = False
        if batch.chunks:
            self.feed.offer(batch.first, batch.chunks, batch.size)
        if self.feed.is_degraded:
            self._recover()
        if batch.end is not None:
            self._on_end_recorded(batch.end)
        if stop_reason:
            self.stop(stop_reason)
        if self._asks_for_news:  # else the answer may be older than the news
            self._has_news = False
        if self._outbox.has_more or (self._has_news and batch.end is None):
            self._schedule()

    def _on_end_recorded(self, end: End) -> None:
        self.recorded_end = end
        if self._failure is None:
            self._host.on_over(self)
            self.feed.finish(end)

    def _on_refused(self, answer: Appended) -> None:
        if answer.status is AppendStatus.FENCED and self._was_unavailable:
            self._is_appending = True  # until it is known whether we still may
            self._host.on_lease_lapsed(self)
        elif answer.status is AppendStatus.MISPLACED:
            self._give_up_log(_lost_chunks(), answer.length)
        elif answer.status is AppendStatus.GONE and not self._has_news:
            self._give_up_log(StreamGoneError(self.feed.stream_id))
        elif answer.status is AppendStatus.UNUSABLE:
            self.on_unreachable(BackendError("what the store has under this id is no stream"))
        else:
            self._cut_off()

    def _recover(self) -> None:
        """The store answers: what comes now is handed on when it is logged."""
        if self._is_degraded:
            self._is_degraded = False
            self._outbox.watch(False)
        if self.feed.is_degraded and self._failure is None and self._outbox.logged >= self.feed.window.stop:
            self.feed.is_degraded = False
            self.feed.window.max_bytes = self._limits.window_bytes

    def _take_end(self, end: End | None) -> None:
        # The stream must not stay "running", whoever has cancelled the factory. And whatever a factory made of being
        # stopped, its stream is not done.
        if end is None and not self._reason:
            self._is_leaving = True
        if end is None or self._reason:
            end = End(StreamState.STOPPED, reason=self._reason or "cancelled")
        if self.feed.owner is self:
            self.feed.cause = self._run.error
        self._end = end
        if self._failure is None and not self._is_cut_off:
            self._outbox.finish(end)
            self._schedule()
        self._wake()

    def _look_at_end(self) -> None:
        """See to the end, if the run is over: most are simply recorded, and need no task for that."""
        if self._end is None or self._is_seen_to:
            return
        is_store_in_trouble = self._is_degraded or self._is_repeated or self._was_unavailable
        if is_store_in_trouble or self._failure or self._is_cut_off or self._is_leaving:
            self._is_seen_to = True
            self._host.on_unrecorded(self)
        elif self._is_recorded():
            self._is_seen_to = self._is_cut_off = True
            self._host.on_finished(self)

    async def _pump(self, chunks: Any) -> None:
        put, encode = self._outbox.put, self._encode
        async for chunk in chunks:
            needs_care = put(chunk if encode is None else encode(chunk))
            if not self._is_appending:
                self._schedule()
            if needs_care:
                await self._care()

    async def _care(self) -> None:
        """Wait until the log has caught up; if it cannot, hand on what it does not have."""
        if not (self._is_degraded or self._failure):
            await self._until(lambda: not self._outbox.is_full or self._is_degraded or self._failure)
        if self._is_degraded and not self._failure and not self._outbox.roll():
            self._give_up_log(_no_room(self._outbox.allowance))
        if self._is_degraded or self._failure:
            self._hand_on_unlogged()
            await checkpoint()  # a source that never waits is not to keep the readers from reading

    def _hand_on_unlogged(self) -> None:
        if self._is_cut_off:
            return  # the readers follow somebody else
        for first, chunks, size in self._outbox.unlogged_from(self.feed.window.stop):
            self.feed.offer(first, chunks, size)
        if self._failure:
            self._outbox.discard()

    def _give_up_log(self, failure: End | StreamGoneError, logged: int | None = None) -> None:
        """Log no more chunks. The run goes on for the readers here; all others are told what became of the stream."""
        if self._failure is not None:
            self._cut_off()  # and not even that can be recorded
            return
        _logger.warning("stream %s goes on for its readers here alone", self.feed.stream_id)
        self._hand_on_unlogged()
        self._failure = failure
        self._is_degraded = False
        self.feed.is_degraded = True
        self.feed.window.max_bytes = self._limits.window_bytes
        self._outbox.give_up(failure if isinstance(failure, End) else None, logged)
        if self._outbox.has_more:
            self._schedule()

    async def _record(self, end: End) -> None:
        if self._failure is None and not self._is_cut_off:
            await self._until(lambda: self._is_recorded() or self._is_degraded or self._failure)
            if self._is_degraded and not self._is_cut_off:
                self._hand_on_unlogged()
                self.feed.finish(end)
                await self._until(lambda: self._is_recorded() or self._failure)
        if self._failure is not None and not self._is_cut_off:
            self._hand_on_unlogged()
            self._host.on_over(self)
            self._tell_failure(self._failure)
            await self._until(self._is_recorded)

    def _tell_failure(self, failure: End | StreamGoneError) -> None:
        if isinstance(failure, End):
            self.feed.finish(failure)
        else:
            self.feed.fail(failure)

    def _is_recorded(self) -> bool:
        return not self._is_appending and not self._outbox.has_more

    async def _until(self, condition: Callable[[], object]) -> None:
        while not (self._is_cut_off or condition()):
            self._answered = anyio.Event()
            await self._answered.wait()

    def _schedule(self) -> None:
        if self._failure is not None and not self._outbox.has_more:
            return
        if not self._is_appending and not self._is_cut_off:
            self._is_appending = True
            self._flusher.schedule(self)

    def _cut_off(self) -> None:
        """Nothing can be appended any more."""
        self._is_cut_off = True
        self._host.on_over(self)
        self._host.on_cut_off(self)
        self._run.stop()
        self._wake()

    def _wake(self) -> None:
        """Have those look again who wait for a change."""
        if self._answered is not None:
            self._answered.set()
            self._answered = None
        self._look_at_end()


def _no_room(allowance: Allowance) -> End:
    error = LimitExceededError("outage_bytes", allowance.total)
    return End(StreamState.FAILED, name_of(type(error)), str(error))


def _lost_chunks() -> End:
    return End(StreamState.FAILED, name_of(StreamGoneError), "the store lost chunks that it had accepted")

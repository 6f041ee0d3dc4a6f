"""The task that drives one factory into the log."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Any

import anyio

from .._core.outbox import Outbox
from .._core.window import Block
from ..exceptions import BackendError
from ..types import Append, Appended, AppendStatus, End, Limits, RawChunk, StreamInfo, StreamState
from .feed import Feed
from .flusher import Flusher
from .source import opened_source

_logger = logging.getLogger("resumable_stream")

_MAX_MESSAGE = 2000
_RECORD_TIMEOUT = 5.0


class Publisher:
    """Runs a factory, logs its chunks, hands them to the readers here once they are logged, and records the end.

    Args:
        info: The stream, as it was acquired.
        factory: What makes the chunks.
        encode: Turns what the factory yields into chunks; ``None`` if it yields chunks.
        feed: Gets what is logged.
        flusher: Makes the appends.
        limits: Bounds of chunks and of what is pending.
        on_over: Called once the end is recorded, or cannot be, before any reader learns it.
    """

    def __init__(
        self,
        info: StreamInfo,
        factory: Callable[[], Any],
        encode: Callable[[Any], RawChunk] | None,
        feed: Feed,
        flusher: Flusher,
        limits: Limits,
        on_over: Callable[[Publisher], None],
    ) -> None:
        self.feed = feed
        self._factory = factory
        self._encode = encode
        self._flusher = flusher
        self._on_over = on_over
        self._outbox = Outbox(info, limits)
        self._is_appending = False
        self._was_renewed = True
        self._is_cut_off = False
        self._scope = anyio.CancelScope()
        self._reason = ""
        self._answered: anyio.Event | None = None

    async def run(self) -> None:
        """Publish until the end. Never raises what the factory raised, whatever that is: it is recorded."""
        end: End | None = None
        try:
            with self._scope:
                end = await self._produce()
        finally:
            # Also when this task is cancelled from outside: the stream must not stay "running". And whatever a factory
            # made of being stopped, its stream is not done.
            if end is None or self._reason:
                end = End(StreamState.STOPPED, reason=self._reason or "cancelled")
            with anyio.move_on_after(_RECORD_TIMEOUT if end.state is StreamState.STOPPED else None, shield=True):
                await self._record(end)

    def stop(self, reason: str) -> None:
        """Cancel the factory, keep what it made, and end as ``STOPPED``."""
        self._reason = reason
        self._scope.cancel()

    def renew_lease(self) -> None:
        """Append nothing, unless something was appended since the last call."""
        if not self._was_renewed:
            self._schedule()
        self._was_renewed = False

    def take_append(self) -> Append:
        """Return the append to make now."""
        self._was_renewed = True
        return self._outbox.take()

    def on_appended(self, answer: Appended) -> None:
        """Hand on what is logged; give up if it was refused."""
        self._is_appending = False
        append, batch = self._outbox.acknowledge()
        if answer.status is not AppendStatus.ACCEPTED:
            self._cut_off()
        else:
            if batch.chunks:
                self.feed.offer(Block(batch.first, batch.chunks), batch.size)
            if append.end is not None:
                self._on_over(self)
                self.feed.finish(append.end)
            if self._outbox.has_more:
                self._schedule()
        self._wake()

    def on_unreachable(self, error: BackendError) -> None:
        """Give up: the log cannot be written."""
        self._cut_off()
        self.feed.fail(error)
        self._wake()

    async def _produce(self) -> End:
        try:
            async with opened_source(self._factory) as chunks:
                await self._pump(chunks)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a task boundary: one factory must not end the other publishers
            if isinstance(error, anyio.get_cancelled_exc_class()) and _is_cancelled():
                raise
            return self._failed(error)
        return End(StreamState.DONE)

    def _failed(self, error: BaseException) -> End:
        self.feed.cause = error
        name = _name_of(type(error))
        # The type alone: an exception's text, like a traceback, may quote what was streamed.
        _logger.warning("the factory of stream %s raised %s", self.feed.stream_id, name)
        _logger.debug("the factory of stream %s raised", self.feed.stream_id, exc_info=error)
        return End(StreamState.FAILED, name, _text_of(error)[:_MAX_MESSAGE])

    async def _pump(self, chunks: Any) -> None:
        put, encode = self._outbox.put, self._encode
        async for chunk in chunks:
            is_full = put(chunk if encode is None else encode(chunk))
            if not self._is_appending:
                self._schedule()
            if is_full:
                await self._until(lambda: not self._outbox.is_full)

    async def _record(self, end: End) -> None:
        if self._is_cut_off:
            return
        self._outbox.finish(end)
        self._schedule()
        await self._until(lambda: not self._is_appending and not self._outbox.has_more)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not (self._is_cut_off or condition()):
            self._answered = anyio.Event()
            await self._answered.wait()

    def _schedule(self) -> None:
        if not self._is_appending and not self._is_cut_off:
            self._is_appending = True
            self._flusher.schedule(self)

    def _cut_off(self) -> None:
        """Nothing can be appended any more."""
        self._is_cut_off = True
        self._on_over(self)
        self._scope.cancel()

    def _wake(self) -> None:
        if self._answered is not None:
            self._answered.set()
            self._answered = None


def _name_of(error: type[BaseException]) -> str:
    return error.__qualname__ if error.__module__ == "builtins" else f"{error.__module__}.{error.__qualname__}"


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # the user's code, at the worst moment
        return ""


def _is_cancelled() -> bool:
    """Whether this task is being cancelled, and not just its factory awaiting something that was."""
    if anyio.current_effective_deadline() == -math.inf:
        return True
    cancelling = getattr(asyncio.current_task(), "cancelling", None)  # from Python 3.11 on
    return cancelling is not None and cancelling() > 0

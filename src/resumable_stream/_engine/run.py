"""One run of a factory, in a task of its own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from ..types import End, StreamState
from .source import OpenedSource

_logger = logging.getLogger("resumable_stream")

_MAX_MESSAGE = 2000
_CLEANUP_TIMEOUT = 5.0
_LAST_TIMEOUT = 1.0


class Run:
    """Calls a factory, pumps what it makes, and says how that ended.

    It has a task of its own so that it can be cancelled once, as asyncio does: its ``finally`` blocks may await, for a
    few seconds. A factory that does not even come to its end then is left alone. Nobody waits for it in another task:
    there may be thousands.

    Args:
        factory: What makes the chunks.
        pump: Called with the iterator over them, for as long as they come.
        on_over: Called once, with how it ended. ``None``: it was stopped.
    """

    def __init__(
        self,
        stream_id: str,
        factory: Callable[[], Any],
        pump: Callable[[Any], Awaitable[None]],
        on_over: Callable[[End | None], None],
    ) -> None:
        self.error: BaseException | None = None
        """What the factory raised."""
        self._stream_id = stream_id
        self._factory = factory
        self._pump = pump
        self._on_over: Callable[[End | None], None] | None = on_over
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_stopped = False

    def start(self) -> None:
        """Begin. It goes on by itself."""
        self._task = asyncio.create_task(self._produce(), name=f"factory of stream {self._stream_id}")
        self._task.add_done_callback(self._on_done)
        if self._is_stopped:  # before this, or in its first step, which some event loops take at once
            self._task.cancel()

    def stop(self) -> bool:
        """Cancel the factory. False: it was stopped before, or is at its end."""
        if self._is_stopped or self._on_over is None:
            return False
        self._is_stopped = True
        if self._task is not None:
            self._task.cancel()
        self._timer = asyncio.get_running_loop().call_later(_CLEANUP_TIMEOUT, self._insist)
        return True

    async def _produce(self) -> None:
        try:
            async with OpenedSource(self._factory) as chunks:
                await self._pump(chunks)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a task boundary: one factory must not end the other publishers
            if isinstance(error, asyncio.CancelledError) and (self._is_stopped or is_being_cancelled()):
                raise
            self._end(self._failed(error))
        else:
            self._end(End(StreamState.DONE))  # at once, so that it goes with the last chunk

    def _failed(self, error: BaseException) -> End:
        self.error = error
        name = name_of(type(error))
        # The type alone: an exception's text, like a traceback, may quote what was streamed.
        _logger.warning("the factory of stream %s raised %s", self._stream_id, name)
        _logger.debug("the factory of stream %s raised", self._stream_id, exc_info=error)
        return End(StreamState.FAILED, name, _text_of(error)[:_MAX_MESSAGE])

    def _on_done(self, task: asyncio.Task[None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not task.cancelled():
            task.exception()  # one that ends the program, if any: the event loop has raised it already
        self._end(None)

    def _insist(self) -> None:
        assert self._task is not None, "started"
        _logger.warning("the clean-up of the factory of stream %s takes too long", self._stream_id)
        self._task.cancel()
        self._timer = asyncio.get_running_loop().call_later(_LAST_TIMEOUT, self._abandon)

    def _abandon(self) -> None:
        _logger.error("the factory of stream %s cannot be cancelled, and is left alone", self._stream_id)
        self._end(None)

    def _end(self, end: End | None) -> None:
        on_over, self._on_over = self._on_over, None
        if on_over is not None:  # the first time
            on_over(end)


def name_of(error: type[BaseException]) -> str:
    """Return the name under which an exception is recorded."""
    return error.__qualname__ if error.__module__ == "builtins" else f"{error.__module__}.{error.__qualname__}"


def _text_of(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001  # the user's code, at the worst moment
        return ""


def is_being_cancelled() -> bool | None:
    """Whether this task is, and not just its factory awaiting something that was. ``None``: Python 3.10 cannot tell."""
    cancelling = getattr(asyncio.current_task(), "cancelling", None)
    return None if cancelling is None else cancelling() > 0

"""What an application has going on beside a publisher."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import anyio

_logger = logging.getLogger("resumable_stream")

_ENTER_TIMEOUT = 5.0
_LEAVE_TIMEOUT = 5.0


class Companion:
    """Enters a context manager of the application's, and leaves it when the publisher is over.

    Whatever it does, the stream goes on: what it raises is logged, and it is waited for a few seconds only.

    Args:
        stream_id: Of the stream.
        make: Returns the context manager.
    """

    def __init__(self, stream_id: str, make: Callable[[str], AbstractAsyncContextManager[object]]) -> None:
        self._stream_id = stream_id
        self._make = make
        self._has_entered = anyio.Event()
        self._is_over = anyio.Event()
        self._scope = anyio.CancelScope()

    async def run(self) -> None:
        """Enter, wait for the end, and leave."""
        try:
            with self._scope:
                async with self._make(self._stream_id):
                    self._has_entered.set()
                    await self._is_over.wait()
            if self._scope.cancelled_caught:
                _logger.warning("gave up waiting for the companion of stream %s", self._stream_id)
        except Exception as error:  # the user's code, at a task boundary
            _logger.warning("the companion of stream %s raised %s", self._stream_id, type(error).__name__)
            _logger.debug("the companion of stream %s raised", self._stream_id, exc_info=error)
        finally:
            self._has_entered.set()

    async def entered(self) -> None:
        """Return when it is there, or will not be, or takes too long."""
        with anyio.move_on_after(_ENTER_TIMEOUT):
            await self._has_entered.wait()

    def leave(self) -> None:
        """The publisher is over."""
        self._is_over.set()
        self._scope.deadline = anyio.current_time() + _LEAVE_TIMEOUT

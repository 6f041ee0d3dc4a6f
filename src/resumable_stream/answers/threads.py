"""Blocking generators, read from an event loop."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Generic, TypeVar

import anyio

from ..exceptions import InvalidFactoryError, InvalidSettingError

__all__ = ["in_thread"]

_T = TypeVar("_T")
_logger = logging.getLogger("resumable_stream")


def in_thread(factory: Callable[[], Iterable[_T]], *, ahead: int = 64, patience: float = 5.0) -> AsyncIterator[_T]:
    """Run a blocking generator in a thread of its own, and return what it yields as an async iterator.

    The items come in order. What is ready at once wakes the event loop once. The generator is ahead of its reader by a
    bounded number of items, and then waits. What it raises is raised to the reader, after the items before it. It runs
    with the context variables of the caller, and begins when the iterator is first asked for an item.

    **Stopping.** When the reader stops (it leaves the loop and closes the iterator, it is cancelled, or it forgets
    about the iterator), the generator is closed in its thread, so that its ``finally`` runs there. Python cannot
    interrupt a thread: a generator that is blocked is closed when it goes on. The reader waits for that as long as
    ``patience`` says, and then leaves the thread to itself, with a warning in the log. It ends when the generator next
    yields or raises, and does not keep the process from exiting. So give what blocks a timeout.

    Args:
        factory: Makes the generator, or another iterable; it is called in the thread. What has a ``close`` is closed.
        ahead: How many items may wait for the reader, at least 1. Those that the reader has taken do not count.
        patience: How long the reader waits for a generator that it has stopped, in seconds.

    Raises:
        InvalidFactoryError: The factory cannot be called; or, while reading, it made no iterable.
        InvalidSettingError: A number is out of range.
    """
    if not callable(factory):
        raise InvalidFactoryError(f"a factory is a callable, not {type(factory).__name__}")
    if ahead < 1 or patience < 0:
        raise InvalidSettingError("a generator may be ahead by 1 item or more, and patience is not negative")
    return _read(factory, contextvars.copy_context(), ahead, patience)


async def _read(
    factory: Callable[[], Iterable[_T]], context: contextvars.Context, ahead: int, patience: float
) -> AsyncIterator[_T]:
    handover: _Handover[_T] = _Handover(ahead)
    thread = threading.Thread(
        target=context.run, args=(_run, factory, handover), name="resumable-stream-answer", daemon=True
    )
    thread.start()
    try:
        while items := await handover.take():
            for item in items:
                yield item
    finally:
        handover.stop()
        with anyio.move_on_after(patience, shield=True):
            await handover.over.wait()
        if handover.over.is_set():
            thread.join()  # it has nothing left to do
        else:
            _logger.warning("a blocking generator was stopped %g s ago and is blocked still", patience)
    if handover.error is not None:
        raise handover.error


def _run(factory: Callable[[], Iterable[_T]], handover: _Handover[_T]) -> None:
    """Do the work of the thread."""
    error: BaseException | None = None
    try:
        _hand_over(factory, handover)
    except BaseException as raised:  # noqa: BLE001  # it is raised to the reader, whatever it is
        error = raised
    handover.end(error)


def _hand_over(factory: Callable[[], Iterable[_T]], handover: _Handover[_T]) -> None:
    made: Any = factory()
    if not isinstance(made, Iterable):
        raise InvalidFactoryError(f"a blocking factory makes an iterable, not {type(made).__name__}")
    iterator = iter(made)
    try:
        for item in iterator:
            if not handover.put(item):
                break
    finally:
        for closed in (iterator, made):
            close: Any = getattr(closed, "close", None)
            if callable(close):
                close()


class _Handover(Generic[_T]):
    """Where items pass from a thread to an event loop. Made in the loop."""

    def __init__(self, limit: int) -> None:
        self.over = asyncio.Event()
        """Set when the thread is about to end."""
        self.error: BaseException | None = None
        """What the generator raised."""
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        self._changed = threading.Condition()
        self._items: list[_T] = []
        self._ready = asyncio.Event()
        self._is_waiting = False
        self._is_stopped = False

    def put(self, item: _T) -> bool:
        """Hand an item over, when there is room. Returns whether the reader wants more. Called in the thread."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_stopped or len(self._items) < self._limit)
            if self._is_stopped:
                return False
            self._items.append(item)
            wakes, self._is_waiting = self._is_waiting, False
        if wakes:
            self._call(self._ready.set)
        return True

    def end(self, error: BaseException | None) -> None:
        """Say that nothing follows. Called in the thread."""
        if error is not None and self._is_stopped:
            _logger.warning("a blocking generator failed after it was stopped: %s", type(error).__name__)
        self.error = error
        self._call(self._ended)

    def _ended(self) -> None:
        self.over.set()
        self._ready.set()

    def _call(self, function: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(function)
        except RuntimeError:  # the loop is closed, and the reader gone with it
            self.stop()

    async def take(self) -> list[_T]:
        """Return the items that are ready, or wait for some; none: there are no more. Called in the loop."""
        while True:
            with self._changed:
                items, self._items = self._items, []
                if items:
                    self._changed.notify()
                if items or self.over.is_set():
                    return items
                self._ready.clear()
                self._is_waiting = True
            await self._ready.wait()

    def stop(self) -> None:
        """Say that the reader wants no more."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify()

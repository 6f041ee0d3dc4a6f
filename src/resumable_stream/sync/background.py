"""An event loop in a thread of its own, and what forking and exiting mean for it."""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import logging
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from ..exceptions import BlockingCallError, ContextClosedError

__all__ = ["BackgroundLoop", "check_may_block"]

T = TypeVar("T")

_PATIENCE = 5.0

_logger = logging.getLogger("resumable_stream")

_running: set[BackgroundLoop] = set()
"""Those of this process, to be stopped when it exits."""
_inherited: list[BackgroundLoop] = []
"""Those of the process that this one was forked from. They are kept, and never touched: to close, or to collect, what
they own would take sockets from that process."""


class BackgroundLoop:
    """Runs an event loop for as long as something is entered in it.

    All methods may be called by any thread. The thread is a daemon: it does not keep the process from exiting, which
    stops the loop as `stop` does.

    Args:
        scope: Makes what is entered when the loop starts, and left before it stops.
    """

    def __init__(self, scope: Callable[[], AbstractAsyncContextManager[Any]]) -> None:
        self._scope = scope
        # Collecting garbage can end in `tell`, at any point of any thread: also where this thread holds the lock.
        self._lock = threading.RLock()
        self._opened: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._failure: BaseException | None = None
        self._closed: str | None = None
        self._is_cut_short = False
        self._is_entered = False
        self._ended = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="resumable-stream", daemon=True)

    @property
    def is_open(self) -> bool:
        """Whether the scope is entered, and calls are taken."""
        return self._is_entered and self._closed is None

    @property
    def is_over(self) -> bool:
        """Whether it takes no calls any more."""
        return self._closed is not None

    def start(self) -> None:
        """Start the thread, and return when the scope is entered. Raises what entering raises, and nothing is left."""
        check_may_block()
        _stop_at_exit(self)
        try:
            self._start_thread()
            self._opened.result()
        except BaseException:
            self._cut_short()
            self._wait_for_thread(_PATIENCE)  # no longer, as an interrupt may come before there is one
            _running.discard(self)
            raise

    def stop(self) -> None:
        """Leave the scope, and return when the thread has ended. Raises what leaving raises.

        An interrupt cancels what leaving waits for, and is raised when that has come to its end; another one is raised
        at once.
        """
        check_may_block()
        self.tell(self._leave)
        try:
            self._wait_for_thread()
        except BaseException:
            self._cut_short()
            self._wait_for_thread()
            raise
        finally:
            _running.discard(self)
        if self._failure is not None:
            raise self._failure

    def call(self, call: Callable[[], Awaitable[T]]) -> T:
        """Run something in the loop, and wait for what it returns or raises. An interrupt cancels it.

        Raises:
            BlockingCallError: This thread runs an event loop.
            ContextClosedError: This loop takes no calls, or stopped meanwhile.
        """
        check_may_block()
        future = self.submit(call)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise ContextClosedError("the context was closed meanwhile") from None
        finally:
            future.cancel()
            del future  # which has the error, which has this frame

    def submit(self, call: Callable[[], Awaitable[T]]) -> concurrent.futures.Future[T]:
        """Run something in the loop.

        Raises:
            ContextClosedError: This loop takes no calls.
        """
        with self._lock:
            if self._closed is not None or self._loop is None:
                raise ContextClosedError(self._closed or "the context is not open yet")
            return asyncio.run_coroutine_threadsafe(_awaited(call), self._loop)

    def tell(self, call: Callable[[], Awaitable[Any]]) -> None:
        """Run something in the loop some time soon, if it still takes calls. Never waits: works in any place."""
        with self._lock:
            if self._closed is None:
                self.submit(call)

    def wait_for_end(self) -> None:
        """Return when the thread of a loop that is over has ended: then what lived in it is nobody's.

        Raises:
            ContextClosedError: It has not ended here, but in the process that this one was forked from.
        """
        if self in _inherited:
            raise ContextClosedError(self._closed)
        self._ended.wait()

    def inherit(self) -> None:
        """Take note that the process was forked: this one has no such thread."""
        self._lock = threading.RLock()
        self._closed = "it was opened before the process forked, and is that process's own"
        _running.discard(self)
        _inherited.append(self)

    def _cut_short(self) -> None:
        with self._lock:
            self._is_cut_short = True
            if self._loop is not None and self._closed is None:
                self._loop.call_soon_threadsafe(self._task.cancel)

    async def _leave(self) -> None:
        self._leaving.set()

    def _wait_for_thread(self, timeout: float | None = None) -> None:
        # `join` alone will not do: an interrupt has it believe that the thread has ended.
        if self._ended.wait(timeout) and self._thread.is_alive():
            self._thread.join()

    def _start_thread(self) -> None:
        try:
            self._thread.start()
        except RuntimeError as error:
            self._ended.set()
            raise ContextClosedError("the process is exiting") from error

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        finally:
            self._ended.set()

    async def _main(self) -> None:
        task = asyncio.current_task()
        assert task is not None, "it runs"
        with self._lock:
            self._loop, self._task, self._leaving = asyncio.get_running_loop(), task, asyncio.Event()
            if self._is_cut_short:
                task.cancel()
        try:
            async with self._scope():
                self._is_entered = True
                self._opened.set_result(None)
                await self._wait_to_leave(task)
        except BaseException as error:  # noqa: BLE001  # a thread's boundary: who started or stopped it gets it
            self._failure = error
        with self._lock:
            self._closed = "the context was closed"
        await asyncio.sleep(0)  # what was submitted before that is a task then, so it is cancelled, and nobody hangs
        if not self._opened.done():
            self._opened.set_exception(self._failure or ContextClosedError(self._closed))

    async def _wait_to_leave(self, task: asyncio.Task[Any]) -> None:
        try:
            await self._leaving.wait()
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_soon(task.cancel)  # once more, for what leaving waits for
            raise


def check_may_block() -> None:
    """Raise an error in a thread that must not wait, as its event loop would.

    Raises:
        BlockingCallError: See there.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise BlockingCallError(
        "this call would block the event loop of its thread: use resumable_stream.ResumableStreamContext there, "
        "or call it by asyncio.to_thread"
    )


async def _awaited(call: Callable[[], Awaitable[T]]) -> T:
    return await call()


def _stop_at_exit(loop: BackgroundLoop) -> None:
    _running.add(loop)
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        # Such a process runs these, and not what `atexit` has. Once for each loop is too often, and does no harm.
        Finalize(None, _stop_all, exitpriority=100)


def _stop_all() -> None:
    for loop in list(_running):
        try:
            loop.stop()
        except Exception as error:  # noqa: BLE001  # the process ends, whatever that is
            _logger.warning("closing a context at the process's exit raised %s", type(error).__name__)


def _disinherit_all() -> None:
    for loop in list(_running):
        loop.inherit()


atexit.register(_stop_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disinherit_all)

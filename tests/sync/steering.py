"""Factories that block until a test lets something out, and interrupts."""

from __future__ import annotations

import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_END = object()


class BlockingTap:
    """A factory that blocks its thread until the test lets something out."""

    def __init__(self, *chunks: Any) -> None:
        self._chunks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.calls = 0
        self.threads: list[str] = []
        self.is_closed = threading.Event()
        self.let(*chunks)

    def let(self, *chunks: Any) -> None:
        """Yield these. An exception is raised instead."""
        for chunk in chunks:
            self._chunks.put(chunk)

    def end(self, *chunks: Any) -> None:
        """Yield these and end."""
        self.let(*chunks, _END)

    def __call__(self) -> Iterator[Any]:
        """Yield what is let out."""
        self.calls += 1
        try:
            while (chunk := self._chunks.get(timeout=30)) is not _END:
                self.threads.append(threading.current_thread().name)
                if isinstance(chunk, BaseException):
                    raise chunk
                yield chunk
        finally:
            self.is_closed.set()


@contextmanager
def interrupted(function: Callable[..., Any]) -> Iterator[None]:
    """Send this thread, which is the main one, an interrupt as Ctrl-C does, once it waits within a function."""
    me = threading.main_thread().ident
    assert threading.get_ident() == me

    def is_waiting() -> bool:
        frame: Any = sys._current_frames()[me]
        waits = frame.f_code.co_name in ("wait", "join", "_wait_for_tstate_lock")
        while frame is not None and frame.f_code is not function.__code__:
            frame = frame.f_back
        return waits and frame is not None

    def interrupt() -> None:
        wait_until(is_waiting)
        signal.pthread_kill(me, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def wait_until(is_so: Callable[[], object], timeout: float = 10.0) -> None:
    """Return when something is so that another thread or process does, and tells nobody."""
    deadline = time.monotonic() + timeout
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.002)


class InThread:
    """Runs a call in a thread, and keeps what becomes of it."""

    def __init__(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._outcome: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._outcome = self._call()
        except BaseException as error:  # noqa: BLE001  # for whom it may concern
            self._error = error

    def result(self, timeout: float = 15.0) -> Any:
        """Return what it returned, or raise what it raised."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise TimeoutError("the thread hangs")
        if self._error is not None:
            raise self._error
        return self._outcome

"""The asynchronous context behind a blocking one: opened when it is needed, in each process anew."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Generic, TypeVar

from ..context import ResumableStreamContext as AsyncContext
from ..exceptions import ContextClosedError
from .background import BackgroundLoop, check_may_block

__all__ = ["PerProcess", "Session"]

M = TypeVar("M", bound=AbstractAsyncContextManager[Any])


class PerProcess(Generic[M]):
    """Something with connections, of which no two processes may share one.

    Args:
        value: It, not yet entered.
        make: Makes another one; ``None``: there can be no other.
    """

    def __init__(self, value: M, make: Callable[[], M] | None) -> None:
        self.is_touched: bool = False
        """Whether it may have connections."""
        self.is_entered: bool = False
        self._value: M | None = value
        self._make = make
        self._lock = threading.RLock()

    def get(self) -> M:
        """Return the one of this process.

        Raises:
            ContextClosedError: It was entered by the process that this one was forked from, and there is no other.
        """
        with self._lock:
            if self._value is None:
                if self._make is None:
                    raise ContextClosedError(
                        "the process forked while this was open, with a backend or a chat store that cannot be opened "
                        "twice: pass a callable that makes one"
                    )
                self._value = self._make()
            return self._value

    def forget(self) -> None:
        """Take note that the process was forked. What its parent has opened stays with the loop, which is kept."""
        self._lock = threading.RLock()
        if self.is_touched:
            self.is_touched = self.is_entered = False
            self._value = None


class Session:
    """Owns the loop, the context in it, and what is to be entered before that and left after.

    Args:
        context: That.
        make: Makes another one for a process that is forked; ``None``: there can be no other.
    """

    def __init__(self, context: AsyncContext, make: Callable[[], AsyncContext] | None) -> None:
        self.context: PerProcess[AsyncContext] = PerProcess(context, make)
        self._attached: list[tuple[object, PerProcess[Any]]] = []
        """With what was given for each."""
        self._stack = AsyncExitStack()
        self._loop: BackgroundLoop | None = None
        self._lock = threading.RLock()
        self._is_closed = False
        _sessions.add(self)

    def attach(self, given: M | Callable[[], M]) -> PerProcess[M]:
        """Have something entered before the context, and left after it. If the context is open, with the next call."""
        with self._lock:
            for known, attached in self._attached:
                if known is given:
                    return attached
            new: PerProcess[M] = PerProcess(given(), given) if callable(given) else PerProcess(given, None)
            self._attached.append((given, new))
            return new

    def open(self) -> BackgroundLoop:
        """Open the context, unless it is open.

        Raises:
            BackendError, ChatStoreError: A store cannot be reached. Nothing is left behind, and it may be tried again.
        """
        check_may_block()
        with self._lock:
            if self._loop is None or self._loop.is_over:
                self.context.get()  # before a thread is started for nothing
                self._loop = BackgroundLoop(self._scope)
                try:
                    self._loop.start()
                except BaseException:
                    self._loop = None
                    raise
            self._is_closed = False
            return self._loop

    def loop(self) -> BackgroundLoop:
        """Return the loop, and open the context if that was not done yet.

        Raises:
            ContextClosedError: It was closed.
        """
        loop = self._loop
        if loop is None or not loop.is_open:
            check_may_block()
            with self._lock:  # which is waited for while another thread opens it
                if self._is_closed:
                    raise ContextClosedError("the context was closed: open it again, or make another one")
                loop = self.open()
        if not all(attached.is_entered for _, attached in self._attached):
            with self._lock:
                loop.call(self._enter_attached)
        return loop

    def close(self) -> None:
        """Close the context, if it is open."""
        check_may_block()
        with self._lock:
            self._is_closed = True
            try:
                if self._loop is not None:
                    self._loop.stop()
            finally:
                self._loop = None

    def forget(self) -> None:
        """Take note that the process was forked: begin anew."""
        self._lock = threading.RLock()
        self._loop = None
        self._is_closed = False
        self._stack = AsyncExitStack()
        for owned in self._owned():
            owned.forget()

    def _owned(self) -> list[PerProcess[Any]]:
        return [self.context, *(attached for _, attached in self._attached)]

    @asynccontextmanager
    async def _scope(self) -> AsyncIterator[None]:
        self._entering = asyncio.Lock()
        try:
            async with AsyncExitStack() as self._stack:
                await self._enter_attached()
                self.context.is_touched = True
                async with self.context.get():
                    yield
        finally:
            for owned in self._owned():
                owned.is_touched = owned.is_entered = False

    async def _enter_attached(self) -> None:
        async with self._entering:
            for _, attached in list(self._attached):
                if not attached.is_entered:
                    attached.is_touched = True
                    await self._stack.enter_async_context(attached.get())
                    attached.is_entered = True


_sessions: weakref.WeakSet[Session] = weakref.WeakSet()


def _forget_all() -> None:
    for session in list(_sessions):
        session.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)

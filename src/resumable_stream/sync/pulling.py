"""Getting items from the loop, one call after the other."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Iterator, Sequence
from types import TracebackType
from typing import Any, Generic, TypeVar

from typing_extensions import Self

from ..exceptions import ConcurrentReadError, ContextClosedError
from .background import BackgroundLoop, check_may_block

__all__ = ["BlockingIterator", "Puller", "Turn", "iterate"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Puller(Generic[T]):
    """Runs a step in the loop, and waits for it: again and again.

    A step that was not waited for to its end, because of an interrupt or a timeout, goes on, and the next call waits
    for it: no item is lost.
    """

    def __init__(self, loop: BackgroundLoop, step: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._loop = loop
        self._step = step
        self._pending: concurrent.futures.Future[T] | None = None
        self._is_dropped = False

    def pull(self, timeout: float | None = None) -> T:
        """Return what the step returns, or raise what it raises.

        Raises:
            TimeoutError: It did not come in time.
            BlockingCallError, ContextClosedError: See there.
        """
        check_may_block()
        if self._pending is None:
            if self._loop.is_over:
                return self._result_without_loop()
            self._pending = self._loop.submit(self._step)
        pending = self._pending
        if self._is_dropped:  # just now, maybe: by who saw no step under way
            pending.cancel()
        try:
            item = self._result_of(pending, timeout)
            self._pending = None
            return item
        finally:
            del pending  # which has the error, which has this frame

    def _result_of(self, pending: concurrent.futures.Future[T], timeout: float | None) -> T:
        """Wait for a step. It is over only with its own outcome: it may come to its end after a wait was broken off."""
        if self._loop.is_over and not pending.done():
            raise ContextClosedError("the context was closed, or the process has forked")
        try:
            return pending.result(timeout)
        except concurrent.futures.CancelledError:
            self._pending = None
            raise ContextClosedError("the context was closed meanwhile") from None
        except BaseException as error:
            if pending.done() and not pending.cancelled() and pending.exception() is error:
                self._pending = None
            elif isinstance(error, concurrent.futures.TimeoutError):
                raise TimeoutError("nothing came in time") from None
            raise
        finally:
            del pending

    def _result_without_loop(self) -> T:
        """Run a step of which nobody has to wait for anything: such as for what came before the loop stopped."""
        self._loop.wait_for_end()
        coroutine = self._step()
        try:
            coroutine.send(None)
        except StopIteration as end:
            result: T = end.value
            return result
        finally:
            coroutine.close()
        raise ContextClosedError("the context was closed")

    def drop(self) -> None:
        """Cancel the step that is under way, and any later one. Never waits."""
        self._is_dropped = True
        pending = self._pending
        if pending is not None:
            pending.cancel()

    def __del__(self) -> None:
        self.drop()


class BlockingIterator(Iterator[T_co]):
    """An iterator that can be closed, as a server of WSGI does when the client has gone away.

    It belongs to one thread at a time; `close` may be called by any.
    """

    def __init__(self, step: Callable[[], T_co], close: Callable[[], None]) -> None:
        self._step = step
        self._close = close

    def __next__(self) -> T_co:
        return self._step()

    def close(self) -> None:
        """End it at once: a thread that waits for an item gets no more. Never waits, and may be called twice."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def iterate(loop: BackgroundLoop, source: AsyncIterable[T]) -> BlockingIterator[T]:
    """Return the items of an asynchronous iterable, which is iterated over, and closed, in the loop."""
    iteration = _Iteration(loop, source)
    return BlockingIterator(iteration.step, iteration.close)


class _Iteration(Generic[T]):
    def __init__(self, loop: BackgroundLoop, source: AsyncIterable[T]) -> None:
        self._loop = loop
        self._source = _Source(source)
        self._items = Puller(loop, self._source.next)
        self._turn = Turn()
        self._is_over = self._is_closed = False

    def step(self) -> T:
        with self._turn:
            items = () if self._is_over else self._pull()
            for item in items:
                return item
            self._is_over = True
            raise StopIteration

    def close(self) -> None:
        self._is_over = self._is_closed = True
        self._items.drop()
        self._loop.tell(self._source.aclose)

    def __del__(self) -> None:
        if not self._is_closed:
            self.close()

    def _pull(self) -> Sequence[T]:
        try:
            return self._items.pull()
        except ContextClosedError:
            if self._is_over:  # closed by another thread
                return ()
            raise


class _Source(Generic[T]):
    """What is iterated over. All of it runs in the loop."""

    def __init__(self, source: AsyncIterable[T]) -> None:
        self._source = source
        self._iterator: AsyncIterator[T] | None = None
        self._turn = asyncio.Lock()

    async def next(self) -> Sequence[T]:
        """Return the next item; nothing: there is none."""
        async with self._turn:
            if self._iterator is None:
                self._iterator = aiter(self._source)
            try:
                return (await anext(self._iterator),)
            except StopAsyncIteration:
                return ()

    async def aclose(self) -> None:
        """Close what can be closed. It may be that a step was just cancelled: it comes to its end first."""
        async with self._turn:
            for closed in {id(one): one for one in (self._iterator, self._source)}.values():
                aclose: Any = getattr(closed, "aclose", None)
                if aclose is not None:
                    await aclose()


class Turn:
    """Refuses what another thread is doing, as a context manager.

    The lock can be taken again by the thread that has it: an interrupt may come where it would stay locked.
    """

    def __init__(self) -> None:
        lock = threading.RLock()
        self.acquire: Callable[[bool], bool] = lock.acquire
        self.release: Callable[[], None] = lock.release

    def error(self) -> ConcurrentReadError:
        """Return the error that another thread's turn is."""
        return ConcurrentReadError("another thread is reading from this object")

    def __enter__(self) -> None:
        if not self.acquire(False):
            raise self.error()

    def __exit__(self, *_: object) -> None:
        self.release()

"""Factories that tests steer, and readers that collect."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, TypeVar

import anyio

from resumable_stream import ResumableStream

T = TypeVar("T")


class Tap:
    """A factory that yields what the test lets out, and tells what became of it."""

    def __init__(self, *chunks: Any) -> None:
        self._chunks: deque[Any] = deque()
        self._is_ended = False
        self._changed = anyio.Event()
        self.calls = 0
        self.is_closed = anyio.Event()
        """Set when the ``finally`` of the generator has run."""
        self.let(*chunks)

    def let(self, *chunks: Any) -> None:
        """Yield these. An exception is raised instead."""
        self._chunks.extend(chunks)
        self._changed.set()

    def end(self, *chunks: Any) -> None:
        """Yield these and end."""
        self._is_ended = True
        self.let(*chunks)

    async def __call__(self) -> AsyncIterator[Any]:
        """Yield what is let out."""
        self.calls += 1
        try:
            while True:
                while self._chunks:
                    chunk = self._chunks.popleft()
                    if isinstance(chunk, BaseException):
                        raise chunk
                    yield chunk
                if self._is_ended:
                    return
                self._changed = anyio.Event()
                await self._changed.wait()
        finally:
            self.is_closed.set()


def factory_of(chunks: Iterable[T]) -> Callable[[], AsyncIterator[T]]:
    """Return a factory that yields ``chunks`` without ever waiting."""

    async def factory() -> AsyncIterator[T]:
        for chunk in chunks:
            yield chunk

    return factory


def never(*_so_far: object) -> AsyncIterator[Any]:
    """A factory, or a takeover, that must not be called."""
    raise AssertionError("the factory was called")


async def collect(stream: ResumableStream[T] | None) -> list[T]:
    """Return all chunks to the end."""
    assert stream is not None
    with anyio.fail_after(20):
        return [chunk async for chunk in stream]


async def take(stream: ResumableStream[T] | None, count: int) -> list[T]:
    """Return the next chunks."""
    assert stream is not None
    with anyio.fail_after(20):
        return [await anext(stream) for _ in range(count)]


async def collect_until_error(stream: ResumableStream[T] | None) -> tuple[list[T], Exception]:
    """Return all chunks, and the error that came after them."""
    assert stream is not None
    chunks: list[T] = []
    with anyio.fail_after(20):
        try:
            async for chunk in stream:
                chunks.append(chunk)
        except Exception as error:  # noqa: BLE001  # which one it is, the test says
            return chunks, error
    raise AssertionError("the stream just ended")

"""What a factory makes, as one async iterator that is closed when it is no longer needed."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from typing import Any

import anyio

from ..exceptions import InvalidFactoryError

_logger = logging.getLogger("resumable_stream")

_CLOSE_TIMEOUT = 5.0


class OpenedSource:
    """Calls the factory, and closes what it made on leaving: its ``finally`` blocks run, for a few seconds at most.

    To be left without an error only when there are no more chunks.

    Raises, on entering:
        InvalidFactoryError: What it made cannot be iterated over.
    """

    # Not a generator with a decorator: there is one for each live stream, and that would be four objects more.

    def __init__(self, factory: Callable[[], Any]) -> None:
        self._factory = factory
        self._made: Any = None
        self._chunks: AsyncIterator[Any] | None = None

    async def __aenter__(self) -> AsyncIterator[Any]:
        self._made = self._factory()
        if inspect.isawaitable(self._made):
            self._made = await self._made
        self._chunks = _iterator_of(self._made)
        return self._chunks

    async def __aexit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        if error_type is None and inspect.isasyncgen(self._made):
            return  # it has run to its end, and is closed: a scope for nothing would be a third of what an end takes
        with anyio.move_on_after(_CLOSE_TIMEOUT, shield=True) as scope:
            await _close(self._chunks)
            if self._made is not self._chunks:
                await _close(self._made)
        if scope.cancelled_caught:
            _logger.warning("gave up waiting for the clean-up of a factory after %s s", _CLOSE_TIMEOUT)


def _iterator_of(made: Any) -> AsyncIterator[Any]:
    return aiter(made) if isinstance(made, AsyncIterable) else _iterate(checked_iterable(made))


def checked_iterable(made: Any) -> Iterable[Any]:
    """Return what a factory made, if it is a plain iterable of chunks.

    Raises:
        InvalidFactoryError: It is none.
    """
    # Iterable, but one chunk and not many: most often a factory that returns where it should yield.
    if isinstance(made, Iterable) and not isinstance(made, (str, bytes, bytearray, memoryview, Mapping)):
        return made
    raise InvalidFactoryError(
        f"a factory returns an iterable of chunks, asynchronous or not, not {type(made).__name__}"
    )


async def _iterate(chunks: Iterable[Any]) -> AsyncIterator[Any]:
    for chunk in chunks:
        yield chunk


async def _close(made: Any) -> None:
    close = getattr(made, "aclose", None) or getattr(made, "close", None)
    if close is None:
        return
    try:
        closing = close()
        if inspect.isawaitable(closing):
            await closing
    except Exception as error:  # noqa: BLE001  # the user's code; the stream's own end is what matters
        _logger.warning("the clean-up of a factory raised %s", type(error).__name__)

"""Factories that block: called, and iterated over, in a thread of their own."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from contextlib import aclosing
from functools import partial
from typing import Any, TypeVar

from .._engine.source import OpenedSource, checked_iterable
from ..answers import in_thread

__all__ = ["for_the_loop"]

F = TypeVar("F", bound=Callable[..., Any])


def for_the_loop(factory: F) -> F:
    """Return what makes the same chunks and does not block the loop.

    A coroutine function and an async generator function are what they are. Any other callable is called in a thread. A
    plain iterable that it returns is iterated over there, too; an asynchronous one, or an awaitable, is for the loop.
    """
    checked: Any = factory
    if not callable(checked) or _is_async(checked):
        return factory

    def make(*arguments: Any) -> AsyncIterator[Any]:
        return _made_in_thread(partial(checked, *arguments))

    made: Any = make
    return made  # type: ignore[no-any-return]  # it has the arguments of the factory, and returns chunks as it does


def _is_async(function: Any) -> bool:
    candidates = (function, getattr(function, "__call__", None))  # noqa: B004  # of an object, its method
    return any(inspect.iscoroutinefunction(one) or inspect.isasyncgenfunction(one) for one in candidates)


class _ForTheLoop:
    """What a factory returned that is no plain iterable."""

    def __init__(self, made: Any) -> None:
        self.made = made


async def _made_in_thread(make: Callable[[], Any]) -> AsyncIterator[Any]:
    steps: Any = in_thread(partial(_steps, make))
    async with aclosing(steps):
        async for step in steps:
            if not isinstance(step, _ForTheLoop):
                yield step
                continue
            async with OpenedSource(lambda made=step.made: made) as chunks:  # type: ignore[misc]  # mypy#12557
                async for chunk in chunks:
                    yield chunk


def _steps(make: Callable[[], Any]) -> Iterator[Any]:
    """Do the work of the thread. What would end the loop, and with it all other streams, becomes another error."""
    try:
        made = make()
        if isinstance(made, AsyncIterable) or inspect.isawaitable(made):
            yield _ForTheLoop(made)
            return
        try:
            yield from checked_iterable(made)
        finally:
            close: Any = getattr(made, "close", None)
            if callable(close):
                close()
    except (KeyboardInterrupt, SystemExit) as error:
        raise RuntimeError(f"a factory raised {type(error).__name__}") from error

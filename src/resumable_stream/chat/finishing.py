"""How what must not be left half-way is cancelled: once it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import anyio

__all__ = ["to_the_end"]

T = TypeVar("T")


async def to_the_end(call: Coroutine[Any, Any, T]) -> T:
    """Await a call in a task of its own, which a cancellation of the caller does not reach.

    A caller who is cancelled waits until the call is done, and is cancelled then. So nothing is carried out in part,
    nor later than what the caller does next; no connection is given up half-way; and the driver need not be good at
    being cancelled, which many are not. That the call ends within seconds is its own task.
    """
    task = asyncio.create_task(call)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            with anyio.CancelScope(shield=cancelled is not None):  # or a scope would cancel again and again
                await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # nobody is there to be told
        raise cancelled
    return task.result()

"""Waiting for a store that is away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from .._core.backoff import Backoff
from ..exceptions import BackendUnavailableError

T = TypeVar("T")

PATIENCE = 1.0
"""Seconds after which a store that does not answer counts as away."""


async def patiently(call: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Make a call that may be repeated, until it works, for so many seconds at most.

    Raises:
        BackendUnavailableError: The store is still away.
    """
    backoff = Backoff()
    with anyio.move_on_after(seconds) as scope:
        while True:
            try:
                return await call()
            except BackendUnavailableError:
                delay = backoff.next_delay()
                if anyio.current_time() + delay > scope.deadline:
                    raise
            await anyio.sleep(delay)
    raise BackendUnavailableError(f"the store did not answer within {seconds:g} s")

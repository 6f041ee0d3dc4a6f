"""What integrations have in common: who asks, and what lives as long as the server."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

__all__ = ["Authenticate", "lifespan_of", "lifetime_of", "user_of"]

Authenticate = Callable[[Any], "str | Awaitable[str | None] | None"]
"""Tells who makes a request of the framework's; ``None``: nobody is signed in. It may raise what the framework
understands."""


async def user_of(authenticate: Authenticate, request: Any) -> str | None:
    """Ask the application who makes a request."""
    user = authenticate(request)
    return await user if inspect.isawaitable(user) else user


def lifetime_of(*resources: AbstractAsyncContextManager[Any]) -> Callable[..., AsyncGenerator[None, None]]:
    """Return an async generator function that enters these in order, yields, and leaves them in the opposite order.

    The store before the context: leaving the context waits for answers that are being made, and saves what there is of
    them. The two halves may run in different tasks. It ignores what it is called with.
    """

    async def lifetime(*_app: Any) -> AsyncGenerator[None, None]:
        async with AsyncExitStack() as stack:
            for resource in resources:
                await stack.enter_async_context(resource)
            yield

    return lifetime


def lifespan_of(
    *resources: AbstractAsyncContextManager[Any],
) -> Callable[..., AbstractAsyncContextManager[None]]:
    """Return a lifespan that enters these in order, and leaves them in the opposite one: the store before the context.

    Leaving the context waits for answers that are being made, and saves what there is of them.
    """
    return asynccontextmanager(lifetime_of(*resources))

"""What integrations of ASGI frameworks have in common: clients that go away, and a lifespan for who has none."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import anyio

from .messages import HTTPResponse
from .serving import lifespan_of

__all__ = ["ASGIApp", "send_response", "while_connected", "with_lifespan"]

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
ASGIApp: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


async def send_response(made: HTTPResponse, receive: Receive, send: Send) -> None:
    """Send a response, and stop as soon as the client has gone, also while there is nothing to send.

    What the body raises is raised, so that the server cuts the connection and nobody takes a part for the whole.
    Cancelling this closes the body.
    """
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in made.headers.items()]
    start = {"type": "http.response.start", "status": made.status, "headers": headers}
    body = made.body
    if isinstance(body, bytes):
        await send(start)
        await send({"type": "http.response.body", "body": body})
        return

    async def stream() -> None:
        await send(start)
        async for piece in body:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    await while_connected(receive, stream, body)


async def while_connected(
    receive: Receive, stream: Callable[[], Awaitable[None]], body: AsyncGenerator[bytes, None]
) -> None:
    """Run a function that sends a body until it is done or the client has gone, and close the body.

    It runs in a task of its own, which closes the body, too: whatever wakes the task of a request goes through all
    middlewares that it is in.

    Args:
        receive: Of the request, whose body has been read.
        stream: Sends what there is of the body.
        body: The body.
    """
    async with anyio.create_task_group() as tasks:

        async def send_all() -> None:
            try:
                await stream()
            except OSError:
                pass  # the client has gone
            finally:
                with anyio.CancelScope(shield=True):
                    await body.aclose()
            tasks.cancel_scope.cancel()

        tasks.start_soon(send_all)  # anyio begins it in any case: it cancels no task before its first step
        while (await receive())["type"] != "http.disconnect":
            pass
        tasks.cancel_scope.cancel()


def with_lifespan(app: ASGIApp, *resources: AbstractAsyncContextManager[Any]) -> ASGIApp:
    """Return an application that enters these when the server starts, and leaves them when it ends.

    For applications that do not know the lifespan protocol. The server has to: uvicorn, hypercorn and granian do, and
    daphne does not.
    """
    lifespan = lifespan_of(*resources)

    async def with_resources(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        await receive()
        step = "startup"
        try:
            async with lifespan(app):
                await send({"type": "lifespan.startup.complete"})
                await receive()
                step = "shutdown"
        except BaseException as error:
            await send({"type": f"lifespan.{step}.failed", "message": repr(error)})
            raise
        await send({"type": "lifespan.shutdown.complete"})

    return with_resources

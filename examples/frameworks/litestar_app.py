"""Litestar. Run it with ``uvicorn examples.frameworks.litestar_app:app``."""

from __future__ import annotations

from typing import Any

from litestar import Litestar, Request, Router, get

from resumable_stream.integrations.litestar import (
    ResumableStreamResponse,
    chat_routes,
    exception_handlers,
    lifespan_of,
    position_of,
)

from .shared import MAX_BODY_BYTES, chats, context, numbers, respond, settings, store, user_of


@get("/count/{stream_id:str}")
async def count(request: Request[Any, Any, Any]) -> ResumableStreamResponse:
    """Send a stream that is no chat."""
    stream = await context.resumable_stream(request.path_params["stream_id"], numbers, **position_of(request))
    wire: Any = request.query_params.get("wire", "sse")
    return ResumableStreamResponse(stream, wire=wire)


routes = chat_routes(chats, respond, authenticate=user_of, settings=settings, max_body_bytes=MAX_BODY_BYTES)
app = Litestar(
    route_handlers=[Router("/api", route_handlers=[routes]), count],
    lifespan=[lifespan_of(store, context)],
    exception_handlers=exception_handlers,
)

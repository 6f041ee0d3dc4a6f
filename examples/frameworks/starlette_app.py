"""Starlette. Run it with ``uvicorn examples.frameworks.starlette_app:app``."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from resumable_stream.integrations.starlette import (
    ResumableStreamResponse,
    chat_routes,
    exception_handlers,
    lifespan_of,
    position_of,
)

from .shared import MAX_BODY_BYTES, chats, context, numbers, respond, settings, store, user_of


async def count(request: Request) -> Response:
    """Send a stream that is no chat."""
    stream = await context.resumable_stream(request.path_params["id"], numbers, **position_of(request))
    return ResumableStreamResponse(stream, wire=request.query_params.get("wire", "sse"))  # type: ignore[arg-type]


routes = chat_routes(chats, respond, authenticate=user_of, settings=settings, max_body_bytes=MAX_BODY_BYTES)
app = Starlette(
    routes=[Mount("/api", routes=routes), Route("/count/{id}", count)],
    lifespan=lifespan_of(store, context),
    exception_handlers=exception_handlers,
)

"""aiohttp. Run it with ``python -m aiohttp.web -P 8000 examples.frameworks.aiohttp_app:make_app``."""

from __future__ import annotations

from aiohttp import web

from resumable_stream.integrations.aiohttp import (
    ResumableStreamResponse,
    chat_routes,
    error_handler,
    lifespan_of,
    position_of,
)

from .shared import MAX_BODY_BYTES, chats, context, numbers, respond, settings, store, user_of


async def count(request: web.Request) -> ResumableStreamResponse:
    """Send a stream that is no chat."""
    stream = await context.resumable_stream(request.match_info["stream_id"], numbers, **position_of(request))
    return ResumableStreamResponse(stream, wire=request.query.get("wire", "sse"))  # type: ignore[arg-type]


def make_app(_arguments: list[str] | None = None) -> web.Application:
    """Return the application."""
    app = web.Application(middlewares=[error_handler])
    app.cleanup_ctx.append(lifespan_of(store, context))
    app.router.add_get("/count/{stream_id}", count)
    app.add_routes(
        chat_routes(
            chats, respond, authenticate=user_of, settings=settings, max_body_bytes=MAX_BODY_BYTES, prefix="/api"
        )
    )
    return app

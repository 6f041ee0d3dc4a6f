"""Sanic. Run it with ``sanic examples.frameworks.sanic_app:app``."""

from __future__ import annotations

from sanic import Request, Sanic

from resumable_stream.integrations.sanic import (
    ResumableStreamResponse,
    chat_routes,
    error_handler,
    lifespan_of,
    position_of,
)

from .shared import MAX_BODY_BYTES, chats, context, numbers, respond, settings, store, user_of

app = Sanic("counting")
app.config.GRACEFUL_SHUTDOWN_TIMEOUT = 2.0  # seconds for open event streams when the server is told to end
app.error_handler.add(*error_handler)
app.blueprint(lifespan_of(store, context))
app.blueprint(
    chat_routes(chats, respond, authenticate=user_of, settings=settings, max_body_bytes=MAX_BODY_BYTES),
    url_prefix="/api",
)


@app.get("/count/<stream_id>")
async def count(request: Request, stream_id: str) -> ResumableStreamResponse:
    """Send a stream that is no chat."""
    stream = await context.resumable_stream(stream_id, numbers, **position_of(request))
    return ResumableStreamResponse(stream, wire=request.args.get("wire", "sse"))

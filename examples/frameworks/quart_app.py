"""Quart. Run it with ``hypercorn examples.frameworks.quart_app:app``."""

from __future__ import annotations

from quart import Quart, request

from resumable_stream.integrations.quart import (
    ResumableStreamResponse,
    chat_routes,
    error_handler,
    lifespan_of,
    position_of,
)

from .shared import MAX_BODY_BYTES, chats, context, numbers, respond, settings, store, user_of

app = Quart(__name__)
app.register_error_handler(*error_handler)
app.while_serving(lifespan_of(store, context))
app.register_blueprint(
    chat_routes(chats, respond, authenticate=user_of, settings=settings, max_body_bytes=MAX_BODY_BYTES),
    url_prefix="/api",
)


@app.get("/count/<stream_id>")
async def count(stream_id: str) -> ResumableStreamResponse:
    """Send a stream that is no chat."""
    stream = await context.resumable_stream(stream_id, numbers, **position_of(request))
    return ResumableStreamResponse(stream, wire=request.args.get("wire", "sse"))  # type: ignore[arg-type]

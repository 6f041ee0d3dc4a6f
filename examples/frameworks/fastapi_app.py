"""FastAPI. Run it with ``uvicorn examples.frameworks.fastapi_app:app``."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response

from resumable_stream.http import Wire
from resumable_stream.integrations.fastapi import (
    ResumableStreamResponse,
    chat_routes,
    exception_handlers,
    lifespan_of,
    position_of,
)

from .shared import MAX_BODY_BYTES, chats, context, numbers, respond, settings, store, user_of


async def signed_in(request: Request) -> str | None:
    """Tell who makes a request, as a dependency does."""
    return user_of(request)


app = FastAPI(lifespan=lifespan_of(store, context), exception_handlers=exception_handlers)
app.include_router(
    chat_routes(chats, respond, authenticate=signed_in, settings=settings, max_body_bytes=MAX_BODY_BYTES),
    prefix="/api",
)


@app.get("/count/{stream_id}", response_model=None)
async def count(stream_id: str, request: Request, wire: Wire = "sse") -> Response:
    """Send a stream that is no chat."""
    stream = await context.resumable_stream(stream_id, numbers, **position_of(request))
    return ResumableStreamResponse(stream, wire=wire)

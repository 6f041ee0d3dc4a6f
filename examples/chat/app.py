"""A chat whose answers survive reloads, closed tabs and lost connections."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
from fastapi import FastAPI, Header, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, Field

from resumable_stream import (
    InvalidPositionError,
    InvalidStreamIdError,
    PublisherError,
    ResumableStream,
    ResumableStreamContext,
    ResumableStreamError,
)

from .model import answer

PAGE = Path(__file__).with_name("page.html")
PING_INTERVAL = 15.0
EVENT_STREAM = {"content-type": "text/event-stream", "cache-control": "no-cache", "x-accel-buffering": "no"}

logger = logging.getLogger("uvicorn.error")
context = ResumableStreamContext.from_url(
    drain_timeout=5,  # seconds for answers to finish when the server is stopped
    call_timeout=3,  # seconds that a request waits for a Redis that is away
)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Keep the context open for as long as the process serves: answers run in it, and not in the requests."""
    async with context:
        yield


app = FastAPI(title="Resumable chat", lifespan=lifespan)


class Question(BaseModel):
    """What the page asks. It chooses the id, so that it can ask again and is still answered only once."""

    id: str
    message: str = Field(min_length=1, max_length=4000)


@app.get("/")
async def page() -> FileResponse:
    """Show the chat."""
    return FileResponse(PAGE)


@app.post("/api/chat")
async def ask(question: Question) -> Response:
    """Start an answer and follow it; if it was started before, just follow it."""
    return respond(await context.resumable_stream(question.id, partial(answer, question.message)))


@app.get("/api/chat/{stream_id}/stream")
async def resume(
    stream_id: str,
    start_index: Annotated[int | None, Query(alias="startIndex")] = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Follow an answer from where the reader was."""
    if last_event_id:  # an EventSource that reconnects sends it with its old URL: it is the newer of the two
        return respond(await context.resume_existing_stream(stream_id, after=last_event_id))
    return respond(await context.resume_existing_stream(stream_id, start_index=start_index))


@app.post("/api/chat/{stream_id}/stop")
async def stop(stream_id: str) -> dict[str, str | None]:
    """Stop an answer, whichever process writes it. What there is of it is kept."""
    state = await context.stop(stream_id)
    return {"state": state and state.value}


def respond(stream: ResumableStream[str] | None) -> Response:
    """Send a stream, or that there is nothing to read."""
    return Response(status_code=204) if stream is None else StreamingResponse(events(stream), headers=EVENT_STREAM)


async def events(stream: ResumableStream[str]) -> AsyncIterator[str]:
    """Encode what is read from a stream. When the client leaves, this reader ends, and nothing else."""
    async with stream:
        try:
            while True:
                chunk = None
                with anyio.move_on_after(PING_INTERVAL):  # cancelling a read loses nothing
                    chunk = await anext(stream)
                yield ": ping\n\n" if chunk is None else encode(chunk, event_id=stream.event_id)
        except StopAsyncIteration:
            pass
        except ResumableStreamError as error:
            logger.warning("%s", error)  # the client is told that it failed, but not why
            if not isinstance(error, PublisherError):
                return  # it cannot be read now: a client that sees no end comes back
        yield encode({"state": stream.state.value}, event="end")


def encode(data: object, *, event_id: str | None = None, event: str | None = None) -> str:
    """Encode a server-sent event."""
    fields = {"id": event_id, "event": event, "data": json.dumps(data)}
    return "".join(f"{name}: {value}\n" for name, value in fields.items() if value is not None) + "\n"


@app.exception_handler(RequestValidationError)
@app.exception_handler(ResumableStreamError)
async def on_error(_request: Request, error: Exception) -> JSONResponse:
    """Say what went wrong."""
    match error:
        case RequestValidationError():
            first = error.errors()[0]
            status, code, message = 400, "invalid_request", f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        case InvalidStreamIdError():
            status, code, message = 400, "invalid_id", str(error)
        case InvalidPositionError():
            status, code, message = 400, "invalid_position", str(error)
        case _:
            logger.error("%s", error)
            status, code, message = 503, "unavailable", "try again in a moment"
    return JSONResponse({"error": {"code": code, "message": message}}, status)

"""What P8 serves: an answer as server-sent events, made resumable or not; the rest is the same.

Run by uvicorn. ``REDIS_URL`` names the server.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.responses import StreamingResponse

from resumable_stream import ResumableStreamContext
from resumable_stream.integrations.starlette import ResumableStreamResponse
from resumable_stream.protocols.sse import encode_event

_SIZE = 20
_HEADERS = {"content-type": "text/event-stream", "cache-control": "no-cache", "x-accel-buffering": "no"}

context = ResumableStreamContext.from_url(os.environ.get("REDIS_URL"), drain_timeout=1)


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    async with context:
        yield


app = FastAPI(lifespan=_lifespan)


@app.post("/resumable")
async def resumable(count: int, gap: float) -> ResumableStreamResponse:
    """Answer by way of the library."""
    stream = await context.create_new_resumable_stream(secrets.token_hex(8), lambda: _chunks(count, gap))
    return ResumableStreamResponse(stream)


@app.post("/plain")
async def plain(count: int, gap: float) -> StreamingResponse:
    """Answer with the same frames, and nothing in between."""
    return StreamingResponse(_frames(count, gap), headers=_HEADERS)


@app.get("/usage")
async def usage() -> float:
    """Return the processor time that this process has used, in seconds."""
    return time.process_time()


async def _frames(count: int, gap: float) -> AsyncIterator[bytes]:
    name = secrets.token_hex(8)
    index = 0
    async for chunk in _chunks(count, gap):
        yield encode_event(chunk, event_id=f"{name}-{index}")
        index += 1


async def _chunks(count: int, gap: float) -> AsyncIterator[str]:
    started = time.perf_counter()
    for number in range(count):
        await asyncio.sleep(started + gap * (number + 1) - time.perf_counter())
        yield f"{number:0{_SIZE}}"

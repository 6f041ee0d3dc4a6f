"""What P8 serves: an answer as server-sent events, made resumable, or hardly, or not; the rest is the same.

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

from .contestants.bare_log import BareLog

_SIZE = 20
_HEADERS = {"content-type": "text/event-stream", "cache-control": "no-cache", "x-accel-buffering": "no"}

_URL = os.environ["REDIS_URL"]
_context = ResumableStreamContext.from_url(_URL, drain_timeout=1)
_bare = BareLog()


@asynccontextmanager
async def _lifespan(_app: FastAPI) -> AsyncIterator[None]:
    await _bare.open(_URL)
    async with _context:
        yield
    await _bare.close()


app = FastAPI(lifespan=_lifespan)


@app.post("/resumable")
async def resumable(count: int, gap: float) -> ResumableStreamResponse:
    """Answer by way of the library."""
    stream = await _context.create_new_resumable_stream(secrets.token_hex(8), lambda: _chunks(count, gap))
    return ResumableStreamResponse(stream)


@app.post("/floor")
async def floor(count: int, gap: float) -> StreamingResponse:
    """Answer with what a task of its own has logged, chunk by chunk: the least that outlives its request."""
    chunks = await _bare.publish_apart(secrets.token_hex(8), lambda: _chunks(count, gap))
    return StreamingResponse(_frames(chunks), headers=_HEADERS)


@app.post("/plain")
async def plain(count: int, gap: float) -> StreamingResponse:
    """Answer with the same frames, and nothing in between."""
    return StreamingResponse(_frames(_chunks(count, gap)), headers=_HEADERS)


@app.get("/usage")
async def usage() -> float:
    """Return the processor time that this process has used, in seconds."""
    return time.process_time()


async def _frames(chunks: AsyncIterator[str]) -> AsyncIterator[bytes]:
    name = secrets.token_hex(8)
    index = 0
    async for chunk in chunks:
        yield encode_event(chunk, event_id=f"{name}-{index}")
        index += 1


async def _chunks(count: int, gap: float) -> AsyncIterator[str]:
    started = time.perf_counter()
    for number in range(count):
        await asyncio.sleep(started + gap * (number + 1) - time.perf_counter())
        yield f"{number:0{_SIZE}}"

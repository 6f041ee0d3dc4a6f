"""A chat server for clients that were written elsewhere: our routes, a model that can be foretold, and their pages."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

from resumable_stream import JSONCodec, ResumableStreamContext
from resumable_stream.chat import ChatStore, ResumableChat
from resumable_stream.chat.stores.memory import MemoryChatStore
from resumable_stream.chat.stores.sql import SQLChatStore
from resumable_stream.http import AnswerRequest
from resumable_stream.integrations.fastapi import chat_routes
from tests.e2e.model import words_of

PACE = float(os.environ.get("E2E_PACE", "0.02"))
"""Seconds for each word of an answer."""
LEASE = 2.0


def _store() -> ChatStore:
    url = os.environ.get("DATABASE_URL")
    return MemoryChatStore() if url is None else SQLChatStore.from_url(url)


store = _store()
context = ResumableStreamContext.from_url(codec=JSONCodec(), lease=LEASE, drain_timeout=1)  # on REDIS_URL, if it is set
chat = ResumableChat(context, store)


async def respond(request: AnswerRequest) -> AsyncIterator[dict[str, Any]]:
    """Answer ``count 20 sheep``; if that begins with ``think``, with reasoning, a tool and data."""
    question = "".join(part["text"] for part in request.turn.messages[-1]["parts"] if part["type"] == "text")
    if question.startswith("think"):
        async for chunk in _thoughts(question):
            yield chunk
    yield {"type": "text-start", "id": "text"}
    for word in re.findall(r"\S+\s*", words_of(question)):
        await asyncio.sleep(PACE)
        yield {"type": "text-delta", "id": "text", "delta": word}
    yield {"type": "text-end", "id": "text"}
    if question.startswith("think"):
        yield {"type": "finish-step"}


async def _thoughts(question: str) -> AsyncIterator[dict[str, Any]]:
    yield {"type": "start-step"}
    yield {"type": "reasoning-start", "id": "thought"}
    for word in ("What ", "do they ", "want?"):
        await asyncio.sleep(PACE)
        yield {"type": "reasoning-delta", "id": "thought", "delta": word}
    yield {"type": "reasoning-end", "id": "thought"}
    call = {"toolCallId": "call-1", "toolName": "look_up"}
    yield {"type": "tool-input-start", **call}
    for piece in ('{"que', 'ry":"', "sheep", '"}'):
        await asyncio.sleep(PACE)
        yield {"type": "tool-input-delta", "toolCallId": "call-1", "inputTextDelta": piece}
    yield {"type": "tool-input-available", **call, "input": {"query": "sheep"}}
    for done in (1, 2):
        await asyncio.sleep(PACE)
        yield {"type": "data-progress", "id": "progress", "data": {"done": done}}
    yield {"type": "tool-output-available", "toolCallId": "call-1", "output": {"found": [question, 2, None, "ü🐑"]}}
    yield {"type": "finish-step"}
    yield {"type": "start-step"}


def who(request: Request) -> str | None:
    """Return who asks. Everybody is who they say they are."""
    return request.headers.get("x-user", "ada") or None


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Keep store and context open."""
    if isinstance(store, SQLChatStore):
        await store.migrate()
    async with store, context:
        yield


app = FastAPI(lifespan=lifespan)
app.include_router(chat_routes(chat, respond, authenticate=who), prefix="/api")
if "E2E_BUNDLES" in os.environ:
    app.mount("/bundles", StaticFiles(directory=Path(os.environ["E2E_BUNDLES"])))


@app.get("/pages/{major}")
async def page(major: int) -> HTMLResponse:
    """Serve the page of a major version."""
    # An icon that is there, so that the browser does not ask for one.
    head = '<meta charset="utf-8"><link rel="icon" href="data:,">'
    return HTMLResponse(
        f'<!doctype html>{head}<div id="root"></div><script type="module" src="/bundles/page{major}.js"></script>'
    )

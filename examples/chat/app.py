"""A chat whose answers survive reloads, lost connections and closed tabs, and whose chats survive the server."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from resumable_stream import JSONCodec, ResumableStreamContext
from resumable_stream.chat import ChatLimits, ResumableChat
from resumable_stream.chat.stores.sql import SQLChatStore
from resumable_stream.inspector import Inspector
from resumable_stream.integrations.fastapi import chat_routes

from .answers import answer

PAGE = Path(__file__).with_name("page.html")
REACT_PAGE = Path(__file__).parent / "react" / "dist"

store = SQLChatStore.from_url(os.environ.get("DATABASE_URL") or "sqlite+aiosqlite:///chats.db")
context = ResumableStreamContext.from_url(
    codec=JSONCodec(),
    lease=5,  # seconds after which the answer of a process that died is known to be lost
    drain_timeout=5,  # seconds for answers to finish when the server is stopped
    call_timeout=3,  # seconds that a request waits for a Redis that is away
)
chats = ResumableChat(context, store, limits=ChatLimits(max_message_bytes=16 * 1024))


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Keep store and context open for as long as the process serves: answers run here, and not in the requests."""
    await store.migrate()
    async with store, context:
        yield


def current_user(request: Request) -> str | None:
    """Return who asks. Everybody is who they say they are: put your own sign-in here."""
    scheme, _, name = request.headers.get("authorization", "").partition(" ")
    return name.strip() if scheme.lower() == "bearer" else request.cookies.get("user")


app = FastAPI(title="Resumable chat", lifespan=lifespan)
app.include_router(chat_routes(chats, answer, authenticate=current_user), prefix="/api")


@app.get("/")
async def page() -> FileResponse:
    """Show the page."""
    return FileResponse(PAGE)


def is_from_here(scope: MutableMapping[str, Any]) -> bool:
    """Return whether a browser on this machine asks, by an address of this machine. Put your own sign-in here."""
    host = dict(scope["headers"]).get(b"host", b"").rpartition(b":")[0]
    return (scope.get("client") or ("",))[0] in ("127.0.0.1", "::1") and host in (b"127.0.0.1", b"localhost", b"[::1]")


if os.environ.get("INSPECTOR") == "1":
    app.mount("/inspector", Inspector(context, authorize=is_from_here))

if REACT_PAGE.is_dir():  # it was built
    app.mount("/react", StaticFiles(directory=REACT_PAGE, html=True))

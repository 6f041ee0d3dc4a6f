"""Applications for tests, which several servers serve: the same routes with and without what stands before them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anyio
from fastapi import FastAPI, Header
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from resumable_stream import JSONCodec, ResumableStreamContext
from resumable_stream.chat import ResumableChat
from resumable_stream.chat.stores.memory import MemoryChatStore
from resumable_stream.http import AnswerRequest, EventStreamSettings
from resumable_stream.integrations import fastapi, starlette

WORDS = [f"word{number} " for number in range(20)]


class Bench:
    """One application's objects, and what tests ask of them."""

    def __init__(self, **settings: Any) -> None:
        self.context = ResumableStreamContext.from_url("memory://", codec=JSONCodec(), drain_timeout=0.0)
        self.store = MemoryChatStore()
        self.chat = ResumableChat(self.context, self.store)
        self.settings = EventStreamSettings(**settings)
        self.gates: dict[str, anyio.Event] = {}

    def gate(self, chat_id: str) -> anyio.Event:
        """What the answer in a chat waits for in its middle."""
        return self.gates.setdefault(chat_id, anyio.Event())

    async def respond(self, asked: AnswerRequest) -> AsyncIterator[dict[str, Any]]:
        """Say half of the words, wait, and say the rest."""
        yield {"type": "text-start", "id": "t"}
        for number, word in enumerate(WORDS):
            if number == len(WORDS) // 2:
                await self.gate(asked.turn.chat.chat_id).wait()
            yield {"type": "text-delta", "id": "t", "delta": word}
        yield {"type": "text-end", "id": "t"}

    async def let_go(self, request: Request) -> Response:
        """Have the answer of a chat go on."""
        self.gate(request.path_params["id"]).set()
        return JSONResponse({})

    async def readers(self, _request: Request) -> Response:
        """Tell how many readers the chats' streams have."""
        hub = self.context._runtime._tasks.hub  # type: ignore[union-attr]
        return JSONResponse(sum(feed.readers for feed in hub._feeds.values()))

    @property
    def more_routes(self) -> list[Route]:
        """Routes for tests."""
        return [Route("/go/{id}", self.let_go, methods=["POST"]), Route("/readers", self.readers)]


def user_of(request: Request) -> str | None:
    """Tell who makes a request."""
    return request.headers.get("x-user")


class _Looking(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers["x-looked"] = "yes"
        return response


def starlette_app(bench: Bench | None = None, middleware: list[Middleware] | None = None) -> Starlette:
    """Return an application of Starlette."""
    bench = bench or Bench(ping_interval=0.2)
    routes = starlette.chat_routes(bench.chat, bench.respond, authenticate=user_of, settings=bench.settings)
    return Starlette(
        routes=[Mount("/api", routes=routes), *bench.more_routes],
        lifespan=starlette.lifespan_of(bench.store, bench.context),
        middleware=middleware,
    )


def layered_app() -> Starlette:
    """Return the same behind the middleware that is known to hold back streams."""
    return starlette_app(middleware=[Middleware(GZipMiddleware, minimum_size=1), Middleware(_Looking)])


async def signed_in(x_user: str | None = Header(None)) -> str | None:
    """Tell who makes a request, as a dependency does."""
    return x_user


def fastapi_app(bench: Bench | None = None) -> FastAPI:
    """Return an application of FastAPI."""
    bench = bench or Bench(ping_interval=0.2)
    app = FastAPI(lifespan=fastapi.lifespan_of(bench.store, bench.context), routes=[*bench.more_routes])
    routes = fastapi.chat_routes(bench.chat, bench.respond, authenticate=signed_in, settings=bench.settings)
    app.include_router(routes, prefix="/api")
    return app

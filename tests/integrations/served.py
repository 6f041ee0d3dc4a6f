"""The examples of all frameworks, as tests have them served: with answers that wait to be let go on.

Importing this starts a second, small server in the same process, on the port that the environment names. It tells how
many readers there are, and lets answers go on.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from examples.frameworks import shared, shared_sync
from resumable_stream.http import AnswerRequest, EventStreamSettings

WORDS = [f"word{number} " for number in range(20)]
CONTROL_PORT = "CONTROL_PORT"

_gates: dict[str, Future[None]] = {}


def _gate(name: str) -> Future[None]:
    """What the answer in a chat, or a stream, waits for in its middle."""
    return _gates.setdefault(name, Future())


async def _respond(asked: AnswerRequest) -> AsyncIterator[str]:
    """Say half of the words, wait, and say the rest."""
    chat_id = asked.turn.chat.chat_id
    for number, word in enumerate(WORDS):
        if number == len(WORDS) // 2:
            await asyncio.wrap_future(_gate(chat_id))
        if "failing" in chat_id and number == 5:
            raise RuntimeError("secret of the model")
        yield word


async def _numbers() -> AsyncIterator[dict[str, int]]:
    """Count to ten, and wait in the middle."""
    for number in range(1, 11):
        if number == 6:
            await asyncio.wrap_future(_gate("numbers"))
        yield {"number": number}


class _Control(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        hubs = [made._runtime._tasks.hub for made in (shared.context, shared_sync.context.twin) if made._runtime._tasks]
        self._answer(str(sum(feed.readers for hub in hubs for feed in hub._feeds.values())).encode())

    def do_POST(self) -> None:
        gate = _gate(self.path.removeprefix("/go/"))
        if not gate.done():
            gate.set_result(None)
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


class _Looking:
    """A middleware that wraps what a response is made of, as Starlette's own does."""

    def __init__(self, app: Any) -> None:
        from starlette.middleware.base import BaseHTTPMiddleware

        self._app = BaseHTTPMiddleware(app, self._look)

    async def _look(self, request: Any, call_next: Callable[[Any], Awaitable[Any]]) -> Any:
        response = await call_next(request)
        response.headers["x-looked"] = "yes"
        return response

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


def _layered() -> Any:
    """The example of Starlette behind the middleware that is known to hold back streams."""
    from starlette.middleware.gzip import GZipMiddleware

    app = importlib.import_module("examples.frameworks.starlette_app").app
    app.add_middleware(_Looking)
    app.add_middleware(GZipMiddleware, minimum_size=1)
    return app


def make(name: str) -> Any:
    """Return the application of a framework, or what makes it."""
    if name == "layered":
        return _layered()
    module = importlib.import_module(f"examples.frameworks.{name}_app")
    return module.make_app if name == "aiohttp" else module.app


def __getattr__(name: str) -> Any:
    """Return the application of a framework, for servers that look for a name."""
    if name.startswith("_"):
        raise AttributeError(name)
    return make(name)


_counting = shared_sync.respond


def _respond_in_a_thread(asked: AnswerRequest) -> Any:
    """Wait in the loop, where waiting can be cancelled; but count in a thread."""
    return _counting(asked) if "thread" in asked.turn.chat.chat_id else _respond(asked)


shared.respond = _respond
shared_sync.respond = _respond_in_a_thread
shared.numbers = shared_sync.numbers = _numbers  # type: ignore[assignment]
shared.settings = shared_sync.settings = EventStreamSettings(ping_interval=0.2)
if CONTROL_PORT in os.environ:
    _server = ThreadingHTTPServer(("127.0.0.1", int(os.environ[CONTROL_PORT])), _Control)
    Thread(target=_server.serve_forever, daemon=True).start()

if __name__ == "__main__":
    from aiohttp.web import run_app

    run_app(make("aiohttp")(), host="127.0.0.1", port=int(sys.argv[1]), shutdown_timeout=2)

"""aiohttp: resumable streams as responses, and the routes of chats."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any

import anyio
from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from typing_extensions import Self, override

from ..chat import ResumableChat
from ..exceptions import ResumableStreamError
from ..http import (
    ROUTES,
    ChatService,
    EventStreamSettings,
    HTTPRequest,
    HTTPResponse,
    Respond,
    Route,
    Wire,
    error_response,
    parse_reading,
    stream_response,
)
from ..http.messages import nothing
from ..http.serving import Authenticate, user_of
from ..http.serving import lifetime_of as lifespan_of
from ..stream import ResumableStream

__all__ = ["Authenticate", "ResumableStreamResponse", "chat_routes", "error_handler", "lifespan_of", "position_of"]


class _Streamed(web.StreamResponse):
    def __init__(self, made: HTTPResponse) -> None:
        super().__init__(status=made.status, headers=made.headers)
        assert not isinstance(made.body, bytes)
        self._pieces: AsyncGenerator[bytes, None] = made.body
        self._transport: asyncio.Transport | None = None

    @override
    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        self._transport = request.transport
        if request.method == "HEAD":
            await self._pieces.aclose()
            self._pieces = nothing()
        return await super().prepare(request)

    @override
    async def write_eof(self, data: bytes = b"") -> None:
        """Send the body, which is what is left to do when a handler has returned a response."""
        with anyio.CancelScope() as scope, _Watch(self._transport, scope.cancel):
            try:
                async for piece in self._pieces:
                    await self.write(piece)
            finally:
                with anyio.CancelScope(shield=True):
                    await self._pieces.aclose()
        await super().write_eof(data)


class _Watch(asyncio.Protocol):
    """Stands before the protocol of a connection, and says when that is lost.

    aiohttp itself tells handlers only if the server was started with ``handler_cancellation``, or when they write.
    """

    def __init__(self, transport: asyncio.Transport | None, on_lost: Callable[[], None]) -> None:
        self._transport = transport
        self._on_lost = on_lost

    def __enter__(self) -> Self:
        if self._transport is None or self._transport.is_closing():
            self._on_lost()  # before there was anything to send
        else:
            self._inner: Any = self._transport.get_protocol()
            self._transport.set_protocol(self)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._transport is not None and self._transport.get_protocol() is self:
            self._transport.set_protocol(self._inner)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)
        self._on_lost()

    @override
    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    @override
    def eof_received(self) -> bool | None:
        return self._inner.eof_received()  # type: ignore[no-any-return]

    @override
    def pause_writing(self) -> None:
        self._inner.pause_writing()

    @override
    def resume_writing(self) -> None:
        self._inner.resume_writing()


class ResumableStreamResponse(_Streamed):
    """Sends a resumable stream: as server-sent events, with a comment when it is silent, or as text, or as JSON lines.

    When the stream has come to its end, the response does too. A client that goes away ends its reader at once, and
    nothing else. `position_of` says where a client wants to go on, and `error_handler` answers if it cannot.

    Args:
        stream: Of text; or of values, with a codec. ``None``: its retention is over, which is answered with 204.
        wire: ``"sse"``, ``"text"`` or ``"ndjson"``.
        settings: How events are sent.
        headers: More headers.
    """

    def __init__(
        self,
        stream: ResumableStream[Any] | None,
        *,
        wire: Wire = "sse",
        settings: EventStreamSettings | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(stream_response(stream, settings, wire, headers))


def chat_routes(
    chat: ResumableChat,
    respond: Respond,
    *,
    authenticate: Authenticate,
    settings: EventStreamSettings | None = None,
    max_body_bytes: int = 8 * 1024 * 1024,
    prefix: str = "",
) -> list[web.RouteDef]:
    """Return the routes of chats: ``app.add_routes(chat_routes(…, prefix="/api"))``.

    Args:
        chat: The chats.
        respond: Makes the answers.
        authenticate: Tells who makes a request.
        settings: How event streams are sent.
        max_body_bytes: Of a request; aiohttp's own ``client_max_size`` does not apply.
        prefix: What paths begin with.
    """
    service = ChatService(chat, respond, settings=settings, max_body_bytes=max_body_bytes)
    return [web.route(route.method, prefix + route.path, _handler(service, route, authenticate)) for route in ROUTES]


def position_of(request: web.BaseRequest) -> dict[str, Any]:
    """Return where a client wants to go on, for `ResumableStreamContext.resumable_stream`: ``**position_of(request)``.

    It is a ``Last-Event-ID`` header, or ``startIndex``, ``skipCharacters`` or ``resumeAt`` in the URL.

    Raises:
        InvalidPositionError: It is malformed, or given in two forms.
    """
    return parse_reading(HTTPRequest(query=request.query, headers=request.headers))


@web.middleware
async def error_handler(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer as the routes of chats do if a request ends with an error of this library, as for a position that is none.

    A middleware: ``web.Application(middlewares=[error_handler])``.
    """
    try:
        return await handler(request)
    except ResumableStreamError as error:
        if request.writer.output_size > 0:
            raise  # a handler has begun to send something else
        return _as_response(error_response(error))


def _handler(
    service: ChatService, route: Route, authenticate: Authenticate
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(request: web.Request) -> web.StreamResponse:
        made = await service.respond(
            route,
            await user_of(authenticate, request),
            HTTPRequest(request.match_info, request.query, request.headers, request.content.iter_any(), request),
        )
        return _as_response(made)

    return handler


def _as_response(made: HTTPResponse) -> web.StreamResponse:
    if not isinstance(made.body, bytes):
        return _Streamed(made)
    return web.Response(body=made.body, status=made.status, headers=made.headers)

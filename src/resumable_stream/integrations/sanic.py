"""Sanic, on its own server: resumable streams as responses, and the routes of chats."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from typing import Any

from sanic import Blueprint, Request
from sanic import HTTPResponse as SanicResponse
from typing_extensions import override

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
from ..http.serving import Authenticate, user_of
from ..http.serving import lifespan_of as entered_by
from ..stream import ResumableStream

__all__ = ["Authenticate", "ResumableStreamResponse", "chat_routes", "error_handler", "lifespan_of", "position_of"]


class _Streamed(SanicResponse):
    def __init__(self, made: HTTPResponse) -> None:
        super().__init__(status=made.status, headers=dict(made.headers))
        assert not isinstance(made.body, bytes)
        self._pieces = made.body

    @override
    async def send(self, data: Any = None, end_stream: bool | None = None) -> None:
        """Send all there is, which Sanic asks for when a handler has returned a response."""
        if self.status == 204:  # what has no body is sent in one piece
            await super().send(end_stream=True)
            return
        # When the client has gone, Sanic cancels this.
        try:
            async with aclosing(self._pieces) as pieces:
                await super().send(b"", end_stream=False)  # the headers
                async for piece in pieces:
                    await super().send(piece, end_stream=False)
        except Exception:
            # Sanic would end the response as if that was all of it.
            assert self.stream is not None, "it is being answered"
            transport: Any = self.stream.request.transport
            transport.abort()
            raise
        await super().send(end_stream=True)


class ResumableStreamResponse(_Streamed):
    """Sends a resumable stream: as server-sent events, with a comment when it is silent, or as text, or as JSON lines.

    When the stream has come to its end, the response does too. A client that goes away ends its reader at once, and
    nothing else. `position_of` says where a client wants to go on, and `error_handler` answers if it cannot. Sanic's
    ``RESPONSE_TIMEOUT`` counts silence, so it has to be longer than ``ping_interval``, and on wires without comments
    longer than any silence.

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
) -> Blueprint:
    """Return the routes of chats: ``app.blueprint(chat_routes(…), url_prefix="/api")``.

    Args:
        chat: The chats.
        respond: Makes the answers.
        authenticate: Tells who makes a request.
        settings: How event streams are sent.
        max_body_bytes: Of a request.
    """
    service = ChatService(chat, respond, settings=settings, max_body_bytes=max_body_bytes)
    blueprint = Blueprint("resumable_chat")
    for route in ROUTES:
        blueprint.add_route(
            _handler(service, route, authenticate),
            route.path_as("<{}>"),
            methods=[route.method],
            name=route.name,
            stream=route.method == "POST",
            unquote=True,
        )
    return blueprint


def lifespan_of(*resources: AbstractAsyncContextManager[Any]) -> Blueprint:
    """Return what enters these in order before the server starts, and leaves them in the opposite order when it ends.

    ``app.blueprint(lifespan_of(store, context))``. The store before the context: leaving the context waits for answers
    that are being made, and saves what there is of them.
    """
    blueprint = Blueprint("resumable_lifespan")
    stack = AsyncExitStack()
    lifespan = entered_by(*resources)

    @blueprint.before_server_start
    async def enter(app: Any) -> None:
        await stack.enter_async_context(lifespan(app))

    @blueprint.after_server_stop
    async def leave(_app: Any) -> None:
        await stack.aclose()

    return blueprint


def position_of(request: Request) -> dict[str, Any]:
    """Return where a client wants to go on, for `ResumableStreamContext.resumable_stream`: ``**position_of(request)``.

    It is a ``Last-Event-ID`` header, or ``startIndex``, ``skipCharacters`` or ``resumeAt`` in the URL.

    Raises:
        InvalidPositionError: It is malformed, or given in two forms.
    """
    return parse_reading(_neutral(request, {}))


async def _tell(_request: Request, error: Exception) -> SanicResponse:
    return _as_response(error_response(error))


error_handler: tuple[type[Exception], Callable[[Request, Any], Coroutine[Any, Any, SanicResponse]]] = (
    ResumableStreamError,
    _tell,
)
"""What answers requests that end with an error of this library, such as a position that is none, as the routes of chats
do: ``app.error_handler.add(*error_handler)``."""


def _handler(
    service: ChatService, route: Route, authenticate: Authenticate
) -> Callable[..., Coroutine[Any, Any, SanicResponse]]:
    async def handler(request: Request, **path: str) -> SanicResponse:
        made = await service.respond(route, await user_of(authenticate, request), _neutral(request, path))
        return _as_response(made)

    return handler


def _as_response(made: HTTPResponse) -> SanicResponse:
    if not isinstance(made.body, bytes):
        return _Streamed(made)
    return SanicResponse(made.body or None, made.status, dict(made.headers))


def _neutral(request: Request, path: Mapping[str, str]) -> HTTPRequest:
    query = {name: values[-1] for name, values in request.args.items()}
    return HTTPRequest(path, query, request.headers, _pieces(request), request)


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    stream: Any = request.stream
    async for piece in stream:
        yield piece

"""Starlette: resumable streams as responses, and the routes of chats."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route as StarletteRoute
from starlette.types import Receive, Scope, Send
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
from ..http.asgi import while_connected
from ..http.serving import Authenticate, lifespan_of, user_of
from ..stream import ResumableStream

__all__ = [
    "Authenticate",
    "ResumableStreamResponse",
    "chat_routes",
    "exception_handlers",
    "lifespan_of",
    "position_of",
]

# Before 0.46.2, Starlette's GZipMiddleware holds back event streams until it has enough to compress, and before 1.5.0
# plain text, which is what the AI SDK's version 4 reads. What has an encoding it lets pass.
_NOT_TO_BE_HELD_BACK = {"content-encoding": "identity"}


class ResumableStreamResponse(StreamingResponse):
    """Sends a resumable stream: as server-sent events, with a comment when it is silent, or as text, or as JSON lines.

    When the stream has come to its end, the response does too. A client that goes away ends its reader at once, and
    nothing else. `position_of` says where a client wants to go on, and `exception_handlers` answers if it cannot.

    Args:
        stream: Of text; or of values, with a codec. ``None``: its retention is over, which is answered with 204.
        wire: ``"sse"``, ``"text"`` or ``"ndjson"``.
        settings: How events are sent.
        headers: More headers.
        background: As Starlette has it.
    """

    def __init__(
        self,
        stream: ResumableStream[Any] | None,
        *,
        wire: Wire = "sse",
        settings: EventStreamSettings | None = None,
        headers: Mapping[str, str] | None = None,
        background: BackgroundTask | None = None,
    ) -> None:
        made = stream_response(stream, settings, wire, headers)
        assert not isinstance(made.body, bytes), "a stream"
        super().__init__(made.body, made.status, {**_NOT_TO_BE_HELD_BACK, **made.headers}, background=background)

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Starlette itself would notice that a client has gone only when it next has something to send.
        try:
            body: Any = self.body_iterator  # a generator
            if scope["method"] == "HEAD":  # servers drop the body of that, and wait for its end
                await body.aclose()
            await while_connected(receive, partial(self.stream_response, send), body)
        finally:
            if self.background is not None:
                await self.background()


class _Streamed(ResumableStreamResponse):
    """A response whose body is made already."""

    def __init__(self, made: HTTPResponse) -> None:
        headers = {**_NOT_TO_BE_HELD_BACK, **made.headers}
        StreamingResponse.__init__(self, made.body, made.status, headers)  # type: ignore[arg-type]  # an iterator


def chat_routes(
    chat: ResumableChat,
    respond: Respond,
    *,
    authenticate: Authenticate,
    settings: EventStreamSettings | None = None,
    max_body_bytes: int = 8 * 1024 * 1024,
) -> list[StarletteRoute]:
    """Return the routes of chats, for a `Mount`, at ``/api`` most often.

    Args:
        chat: The chats.
        respond: Makes the answers.
        authenticate: Tells who makes a request.
        settings: How event streams are sent.
        max_body_bytes: Of a request.
    """
    service = ChatService(chat, respond, settings=settings, max_body_bytes=max_body_bytes)
    return [
        StarletteRoute(route.path, _endpoint(service, route, authenticate), methods=[route.method], name=route.name)
        for route in ROUTES
    ]


def position_of(request: Request) -> dict[str, Any]:
    """Return where a client wants to go on, for `ResumableStreamContext.resumable_stream`: ``**position_of(request)``.

    It is a ``Last-Event-ID`` header, or ``startIndex``, ``skipCharacters`` or ``resumeAt`` in the URL.

    Raises:
        InvalidPositionError: It is malformed, or given in two forms.
    """
    return parse_reading(HTTPRequest(query=request.query_params, headers=request.headers))


async def _tell(_request: Request, error: Exception) -> Response:
    return _as_response(error_response(error))


exception_handlers: dict[Any, Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {ResumableStreamError: _tell}
"""What answers requests that end with an error of this library, such as a position that is none, as the routes of chats
do: ``Starlette(exception_handlers=exception_handlers)``."""


async def answer(service: ChatService, route: Route, user: str | None, request: Request) -> Response:
    """Answer a request of a user's."""
    made = await service.respond(
        route,
        user,
        HTTPRequest(
            path=request.path_params,
            query=request.query_params,
            headers=request.headers,
            body=request.stream(),
            native=request,
        ),
    )
    return _as_response(made)


def _as_response(made: HTTPResponse) -> Response:
    if isinstance(made.body, bytes):
        return Response(made.body, made.status, dict(made.headers))
    return _Streamed(made)


def _endpoint(
    service: ChatService, route: Route, authenticate: Authenticate
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await answer(service, route, await user_of(authenticate, request), request)

    return endpoint

"""Litestar: resumable streams as responses, and the routes of chats."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from litestar import HttpMethod, Request, Response, Router, route
from litestar.response import Stream

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
from ..http.serving import Authenticate, lifespan_of, user_of
from ..stream import ResumableStream

__all__ = ["Authenticate", "ResumableStreamResponse", "chat_routes", "exception_handlers", "lifespan_of", "position_of"]


class _Streamed(Stream):
    def __init__(self, made: HTTPResponse) -> None:
        headers = dict(made.headers)
        media_type = headers.pop("content-type", None)  # 204 has none
        assert not isinstance(made.body, bytes)
        super().__init__(made.body, status_code=made.status, media_type=media_type, headers=headers)


class ResumableStreamResponse(_Streamed):
    """Sends a resumable stream: as server-sent events, with a comment when it is silent, or as text, or as JSON lines.

    When the stream has come to its end, the response does too. A client that goes away ends its reader at once, and
    nothing else. `position_of` says where a client wants to go on, and `exception_handlers` answers if it cannot.

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
) -> Router:
    """Return the routes of chats, for a router with a path: ``Router("/api", route_handlers=[chat_routes(…)])``.

    Args:
        chat: The chats.
        respond: Makes the answers.
        authenticate: Tells who makes a request.
        settings: How event streams are sent.
        max_body_bytes: Of a request.
    """
    service = ChatService(chat, respond, settings=settings, max_body_bytes=max_body_bytes)
    handlers = [
        route(
            one.path_as("{{{}:str}}"),
            http_method=[HttpMethod(one.method)],
            operation_id=one.name,
            summary=one.summary,
            status_code=201 if one.name == "create_chat" else 200,  # what it is described with
            request_max_body_size=None,  # ours counts
        )(_endpoint(service, one, authenticate))
        for one in ROUTES
    ]
    return Router("/", route_handlers=handlers, tags=["chat"])


def position_of(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Return where a client wants to go on, for `ResumableStreamContext.resumable_stream`: ``**position_of(request)``.

    It is a ``Last-Event-ID`` header, or ``startIndex``, ``skipCharacters`` or ``resumeAt`` in the URL.

    Raises:
        InvalidPositionError: It is malformed, or given in two forms.
    """
    return parse_reading(HTTPRequest(query=request.query_params, headers=request.headers))


def _tell(_request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    return _as_response(error_response(error))


exception_handlers: dict[int | type[Exception], Callable[[Request[Any, Any, Any], Any], Response[Any]]] = {
    ResumableStreamError: _tell
}
"""What answers requests that end with an error of this library, such as a position that is none, as the routes of chats
do: ``Litestar(exception_handlers=exception_handlers)``."""


def _as_response(made: HTTPResponse) -> Response[Any]:
    if not isinstance(made.body, bytes):
        return _Streamed(made)
    headers = dict(made.headers)
    return Response(made.body, status_code=made.status, media_type=headers.pop("content-type", None), headers=headers)


def _endpoint(
    service: ChatService, one: Route, authenticate: Authenticate
) -> Callable[[Request[Any, Any, Any]], Awaitable[Response[Any]]]:
    async def endpoint(request: Request[Any, Any, Any]) -> Response[Any]:
        made = await service.respond(
            one,
            await user_of(authenticate, request),
            HTTPRequest(request.path_params, request.query_params, request.headers, request.stream(), request),
        )
        return _as_response(made)

    return endpoint

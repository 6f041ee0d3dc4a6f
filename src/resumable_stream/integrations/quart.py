"""Quart: resumable streams as responses, and the routes of chats."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from quart import Blueprint, Request, Response, has_request_context, request

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
from ..http.serving import lifetime_of as lifespan_of
from ..stream import ResumableStream

__all__ = ["Authenticate", "ResumableStreamResponse", "chat_routes", "error_handler", "lifespan_of", "position_of"]


class _Response(Response):
    default_mimetype: Any = None  # 204 has none

    def __init__(self, made: HTTPResponse) -> None:
        # Servers drop the body of an answer to HEAD, and wait for its end.
        has_body = made.status != 204 and not (has_request_context() and request.method == "HEAD")
        super().__init__(made.body if has_body else None, made.status, dict(made.headers))
        self.timeout: Any = None  # an answer takes as long as it takes


class ResumableStreamResponse(_Response):
    """Sends a resumable stream: as server-sent events, with a comment when it is silent, or as text, or as JSON lines.

    When the stream has come to its end, the response does too; Quart's ``RESPONSE_TIMEOUT`` does not apply. A client
    that goes away ends its reader at once, and nothing else. `position_of` says where a client wants to go on, and
    `error_handler` answers if it cannot.

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
    """Return the routes of chats: ``app.register_blueprint(chat_routes(…), url_prefix="/api")``.

    Args:
        chat: The chats.
        respond: Makes the answers.
        authenticate: Tells who makes a request.
        settings: How event streams are sent.
        max_body_bytes: Of a request. Quart's own ``MAX_CONTENT_LENGTH``, 16 MiB, bounds it, too.
    """
    service = ChatService(chat, respond, settings=settings, max_body_bytes=max_body_bytes)
    blueprint = Blueprint("resumable_chat", __name__)
    for route in ROUTES:
        view = _view(service, route, authenticate)
        blueprint.add_url_rule(route.path_as("<{}>"), route.name, view, methods=[route.method])
    return blueprint


def position_of(request: Request) -> dict[str, Any]:
    """Return where a client wants to go on, for `ResumableStreamContext.resumable_stream`: ``**position_of(request)``.

    It is a ``Last-Event-ID`` header, or ``startIndex``, ``skipCharacters`` or ``resumeAt`` in the URL.

    Raises:
        InvalidPositionError: It is malformed, or given in two forms.
    """
    return parse_reading(HTTPRequest(query=request.args, headers=_headers(request)))


async def _tell(error: Exception) -> Response:
    return _Response(error_response(error))


error_handler: tuple[type[Exception], Callable[[Any], Awaitable[Response]]] = (ResumableStreamError, _tell)
"""What answers requests that end with an error of this library, such as a position that is none, as the routes of chats
do: ``app.register_error_handler(*error_handler)``."""


def _view(service: ChatService, route: Route, authenticate: Authenticate) -> Callable[..., Awaitable[Response]]:
    async def view(**path: str) -> Response:
        # The proxy is bound to this task, and answers outlive it.
        asked: Request = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001  # documented
        made = await service.respond(
            route,
            await user_of(authenticate, asked),
            HTTPRequest(path, asked.args, _headers(asked), asked.body, asked),
        )
        return _Response(made)

    return view


def _headers(request: Request) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}

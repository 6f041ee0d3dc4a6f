"""Flask: resumable streams as responses, and the routes of chats, over the blocking twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Request, Response, has_request_context, request

from ..exceptions import ResumableStreamError
from ..http import (
    ROUTES,
    EventStreamSettings,
    HTTPRequest,
    HTTPResponse,
    Respond,
    Route,
    Wire,
    error_response,
    parse_reading,
)
from ..http.blocking import BlockingChatService, BlockingResponse, blocking_stream_response
from ..sync import ResumableChat, ResumableStream

__all__ = ["Authenticate", "ResumableStreamResponse", "chat_routes", "error_handler", "position_of"]

Authenticate = Callable[[Request], "str | None"]
"""Tells who makes a request; ``None``: nobody is signed in. It may abort the request."""


class _Response(Response):
    default_mimetype: Any = None  # 204 has none

    def __init__(self, made: BlockingResponse | HTTPResponse) -> None:
        body: Any = made.body  # of an error, bytes
        super().__init__(body, made.status, dict(made.headers))


class ResumableStreamResponse(_Response):
    """Sends a resumable stream: as server-sent events, with a comment when it is silent, or as text, or as JSON lines.

    When the stream has come to its end, the response does too. A client that goes away ends its reader, and nothing
    else: at once under gunicorn and the server of Werkzeug, and elsewhere, or if the server itself does the encryption,
    when something cannot be sent, so after ``ping_interval``. A response holds a thread of the server for as long as it
    lasts. `position_of` says where a client wants to go on, and `error_handler` answers if it cannot.

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
        environ = request.environ if has_request_context() else None
        super().__init__(blocking_stream_response(stream, settings, wire, headers, environ))


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
        respond: Makes the answers. It may block: then it runs in a thread of its own.
        authenticate: Tells who makes a request.
        settings: How event streams are sent.
        max_body_bytes: Of a request. Flask's own ``MAX_CONTENT_LENGTH`` bounds it, too.
    """
    service = BlockingChatService(chat, respond, settings=settings, max_body_bytes=max_body_bytes)
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


def _tell(error: Exception) -> Response:
    return _Response(error_response(error))


error_handler: tuple[type[Exception], Callable[[Any], Response]] = (ResumableStreamError, _tell)
"""What answers requests that end with an error of this library, such as a position that is none, as the routes of chats
do: ``app.register_error_handler(*error_handler)``."""


def _view(service: BlockingChatService, route: Route, authenticate: Authenticate) -> Callable[..., Response]:
    def view(**path: str) -> Response:
        # The proxy is bound to this context, and answers outlive it.
        asked: Request = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001  # documented
        user = authenticate(asked)
        return _Response(
            service.respond(route, user, path, asked.args, _headers(asked), asked.stream.read, asked, asked.environ)
        )

    return view


def _headers(request: Request) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}

"""Django, under WSGI: resumable streams as responses, and the routes of chats, over the blocking twin."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.http import HttpRequest, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.urls import URLPattern
from django.views.decorators.csrf import csrf_exempt

from ..http import EventStreamSettings, Respond, Route, Wire
from ..http.blocking import BlockingChatService, blocking_stream_response
from ..sync import ResumableChat, ResumableStream
from .django import Streamed, error_handler, headers_of, patterns_of, position_of, whole

__all__ = ["Authenticate", "ResumableStreamResponse", "chat_routes", "error_handler", "position_of"]

Authenticate = Callable[[HttpRequest], "str | None"]
"""Tells who makes a request; ``None``: nobody is signed in. It may raise what Django understands."""


class ResumableStreamResponse(Streamed):
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
        request: The request. Without it a client that goes away is noticed only when something cannot be sent.
    """

    def __init__(
        self,
        stream: ResumableStream[Any] | None,
        *,
        wire: Wire = "sse",
        settings: EventStreamSettings | None = None,
        headers: Mapping[str, str] | None = None,
        request: HttpRequest | None = None,
    ) -> None:
        environ = None if request is None else request.META
        super().__init__(blocking_stream_response(stream, settings, wire, headers, environ))


def chat_routes(
    chat: ResumableChat,
    respond: Respond,
    *,
    authenticate: Authenticate,
    settings: EventStreamSettings | None = None,
    max_body_bytes: int = 8 * 1024 * 1024,
) -> list[URLPattern]:
    """Return the routes of chats: ``path("api/", include(chat_routes(…)))``.

    They are exempt from Django's check of CSRF tokens, and have one of their own: what is not JSON has to come from the
    same site.

    Args:
        chat: The chats.
        respond: Makes the answers. It may block: then it runs in a thread of its own.
        authenticate: Tells who makes a request.
        settings: How event streams are sent.
        max_body_bytes: Of a request.
    """
    service = BlockingChatService(chat, respond, settings=settings, max_body_bytes=max_body_bytes)
    return patterns_of(lambda routes: _view(service, routes, authenticate))


def _view(
    service: BlockingChatService, routes: Mapping[str, Route], authenticate: Authenticate
) -> Callable[..., HttpResponseBase]:
    def view(request: HttpRequest, **names: str) -> HttpResponseBase:
        route = routes.get(request.method or "")
        if route is None:
            return HttpResponseNotAllowed(list(routes))
        user = authenticate(request)
        headers = headers_of(request)
        made = service.respond(route, user, names, request.GET, headers, request.read, request, request.META)
        if not isinstance(made.body, bytes):
            return Streamed(made)
        return whole(made.body, made.status, made.headers)

    return csrf_exempt(view)

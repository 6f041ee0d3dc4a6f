"""Django, under ASGI: resumable streams as responses, and the routes of chats."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

from django.db.transaction import non_atomic_requests
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path
from django.utils.decorators import sync_and_async_middleware
from django.utils.deprecation import MiddlewareMixin
from django.views.decorators.csrf import csrf_exempt
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
from ..http.asgi import ASGIApp, with_lifespan
from ..http.blocking import BlockingResponse
from ..http.serving import Authenticate, user_of
from ..stream import ResumableStream

__all__ = ["Authenticate", "ResumableStreamResponse", "chat_routes", "error_handler", "lifespan_of", "position_of"]


class Streamed(StreamingHttpResponse):
    """Sends what has no length, under ASGI and WSGI."""

    def __init__(self, made: HTTPResponse | BlockingResponse) -> None:
        # Django's GZipMiddleware would hold back what is short, or end the file with each chunk: it lets alone what has
        # an encoding.
        super().__init__(made.body, status=made.status, headers={"content-encoding": "identity", **made.headers})
        if "content-type" not in made.headers:  # 204 has none
            del self.headers["content-type"]


class _Streamed(Streamed):
    def __init__(self, made: HTTPResponse) -> None:
        super().__init__(made)
        assert not isinstance(made.body, bytes)
        self._pieces = made.body

    @override
    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        # Django cancels this when the client has gone, but does not close what it iterates over.
        async with aclosing(self._pieces):
            async for piece in self.streaming_content:  # type: ignore[union-attr]
                yield piece


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
) -> list[URLPattern]:
    """Return the routes of chats: ``path("api/", include(chat_routes(…)))``.

    They are exempt from Django's check of CSRF tokens, and have one of their own: what is not JSON has to come from the
    same site.

    Args:
        chat: The chats.
        respond: Makes the answers.
        authenticate: Tells who makes a request. It runs on the event loop: ask for the user with ``await
            request.auser()``.
        settings: How event streams are sent.
        max_body_bytes: Of a request.
    """
    service = ChatService(chat, respond, settings=settings, max_body_bytes=max_body_bytes)
    return patterns_of(lambda routes: _view(service, routes, authenticate))


def lifespan_of(*resources: AbstractAsyncContextManager[Any]) -> Callable[[Any], ASGIApp]:
    """Return what wraps an ASGI application: ``lifespan_of(store, context)(get_asgi_application())``.

    It enters these in order when the server starts, and leaves them in the opposite order when it ends: the store
    before the context. Leaving the context waits for answers that are being made, and saves what there is of them.
    Django itself knows no lifespan. The server has to: uvicorn, hypercorn and granian do, daphne does not.
    """
    return lambda app: with_lifespan(app, *resources)


def position_of(request: HttpRequest) -> dict[str, Any]:
    """Return where a client wants to go on, for `ResumableStreamContext.resumable_stream`: ``**position_of(request)``.

    It is a ``Last-Event-ID`` header, or ``startIndex``, ``skipCharacters`` or ``resumeAt`` in the URL.

    Raises:
        InvalidPositionError: It is malformed, or given in two forms.
    """
    return parse_reading(_neutral(request, {}))


@sync_and_async_middleware
def error_handler(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Answer as the routes of chats do if a view ends with an error of this library, such as a position that is none.

    A middleware, under ASGI and WSGI: ``MIDDLEWARE = ["resumable_stream.integrations.django.error_handler"]``.
    """
    return _ErrorHandler(get_response)


class _ErrorHandler(MiddlewareMixin):
    def process_exception(self, _request: HttpRequest, error: Exception) -> HttpResponseBase | None:
        """Answer instead of a view that has raised."""
        return _as_response(error_response(error)) if isinstance(error, ResumableStreamError) else None


def patterns_of(view_of: Callable[[Mapping[str, Route]], Callable[..., Any]]) -> list[URLPattern]:
    """Return patterns for all of the table, each with a view for all methods of a path."""
    by_path: dict[str, dict[str, Route]] = {}
    for route in ROUTES:
        by_path.setdefault(route.path_as("<{}>").removeprefix("/"), {})[route.method] = route
    return [path(pattern, view_of(routes)) for pattern, routes in by_path.items()]


def headers_of(request: HttpRequest) -> dict[str, str]:
    """Return the headers of a request, with names in lower case."""
    return {name.lower(): value for name, value in request.headers.items()}


def _view(
    service: ChatService, routes: Mapping[str, Route], authenticate: Authenticate
) -> Callable[..., Awaitable[HttpResponseBase]]:
    async def view(request: HttpRequest, **names: str) -> HttpResponseBase:
        route = routes.get(request.method or "")
        if route is None:
            return HttpResponseNotAllowed(list(routes))
        made = await service.respond(route, await user_of(authenticate, request), _neutral(request, names))
        return _as_response(made)

    return csrf_exempt(non_atomic_requests(view))  # Django refuses atomic requests to asynchronous views


def _as_response(made: HTTPResponse) -> HttpResponseBase:
    if not isinstance(made.body, bytes):
        return _Streamed(made)
    return whole(made.body, made.status, made.headers)


def whole(body: bytes, status: int, headers: Mapping[str, str]) -> HttpResponse:
    """Return a response that is not streamed."""
    response = HttpResponse(body, status=status, headers=dict(headers))
    if "content-type" not in headers:  # Django has one for what has no body, too
        del response.headers["content-type"]
    return response


def _neutral(request: HttpRequest, names: Mapping[str, str]) -> HTTPRequest:
    return HTTPRequest(names, request.GET, headers_of(request), _pieces(request), request)


async def _pieces(request: HttpRequest) -> AsyncIterator[bytes]:
    while piece := request.read(65536):  # Django has received all of it
        yield piece

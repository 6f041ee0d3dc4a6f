"""The inspector as an ASGI application: who may see it, and what is at which path."""

from __future__ import annotations

import inspect
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from importlib.resources import files
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import anyio

from ..context import ResumableStreamContext
from ..exceptions import InvalidSettingError
from ..http.asgi import send_response
from ..http.errors import HTTPError, error_response
from ..http.messages import HTTPResponse
from .listing import Listing, parse_filter
from .views import Views

__all__ = ["Authorize", "Inspector"]

_logger = logging.getLogger("resumable_stream")

Scope: TypeAlias = MutableMapping[str, Any]
Authorize: TypeAlias = Callable[[Scope], "bool | Awaitable[bool]"]
"""Tells of the ASGI scope of a request whether who makes it may see all streams, and stop and delete them."""

HEADER = b"x-resumable-stream-inspector"
"""What a POST has to carry. A page of another origin cannot send it without having asked first, which is refused."""

_REASON = "inspector"
_TIMEOUT = 8.0
"""Seconds for an answer. The page gives up a little later."""
_STREAM = re.compile(r"/streams/([^/]+)(?:/(stop|delete))?")
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


def _read(name: str, content_type: str) -> HTTPResponse:
    assert __package__ is not None, "this is a module of one"
    body = (files(__package__) / "page" / name).read_bytes()
    return HTTPResponse(200, {"content-type": content_type}, body)


# Read where the module is imported, as scripts are: later a lock of the import system may be taken for ever.
_FILES: Mapping[str, HTTPResponse] = {
    "/": _read("index.html", "text/html; charset=utf-8"),
    "/page.js": _read("page.js", "text/javascript; charset=utf-8"),
    "/page.css": _read("page.css", "text/css; charset=utf-8"),
    "/icon.svg": _read("icon.svg", "image/svg+xml"),
}


class Inspector:
    """An ASGI application with one page: the streams there are, live, and what became of each.

    Mount it in an application of any framework that takes ASGI applications, on a path of its own. It uses the context
    while that is entered, and answers 503 before and after. It does nothing while nobody looks: all who look share one
    walk through the streams, at most once a second, and less often where that takes long.

    Whoever is let in sees the text of every stream, and can stop and delete it.

    Args:
        context: Whose streams are shown: all those of its store. Readers are counted in its process.
        authorize: Called first, for whatever is asked for, with the ASGI scope of the request. Only ``True``, or an
            awaitable of it, lets the request in; anything else, and an error, is answered with 403. It may be a
            coroutine function.

    Raises:
        InvalidSettingError: ``authorize`` is not callable.
    """

    def __init__(self, context: ResumableStreamContext, *, authorize: Authorize) -> None:
        checked: object = authorize
        if not callable(checked):
            raise InvalidSettingError(f"authorize is callable, which {type(checked).__name__} is not")
        self._context = context
        self._authorize = authorize
        self._views = Views(context)
        self._listing = Listing(context, self._views.readers_of)

    async def __call__(
        self,
        scope: Scope,
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Answer a request. A WebSocket is refused, whoever asks."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            raise RuntimeError("the inspector answers requests alone: enter its context elsewhere")
        made = await self._answer(scope)
        assert isinstance(made.body, bytes)
        headers = {**made.headers, **_HEADERS, "content-length": str(len(made.body))}
        body = b"" if scope["method"] == "HEAD" else made.body
        await send_response(HTTPResponse(made.status, headers, body), receive, send)

    async def _answer(self, scope: Scope) -> HTTPResponse:
        if not await self._is_authorized(scope):
            return error_response(HTTPError(403, "forbidden", "you may not see this"))
        try:
            return await self._route(scope)
        except _MethodNotAllowedError as error:
            made = error_response(error)
            return HTTPResponse(made.status, {**made.headers, "allow": ", ".join(error.allowed)}, made.body)
        except Exception as error:  # noqa: BLE001  # a task boundary: it is logged, and who asked gets an answer
            return error_response(error)

    async def _is_authorized(self, scope: Scope) -> bool:
        try:
            allowed: object = self._authorize(scope)
            if inspect.isawaitable(allowed):
                allowed = await allowed
        except Exception:  # the application's own code: who could not be checked stays out
            _logger.exception("authorize of the inspector failed")
            return False
        return allowed is True

    async def _route(self, scope: Scope) -> HTTPResponse:
        path = _path_in(scope)
        found = _STREAM.fullmatch(path)
        if found is not None and found[2]:
            _check_method(scope, "POST")
            _check_header(scope)
            return _json(await self._act(found[1], found[2]))
        if path != "" and path not in _FILES and path != "/streams" and found is None:
            raise HTTPError(404, "not_found", "there is nothing here")
        _check_method(scope, "GET", "HEAD")
        if found is not None:
            return _json(await _in_time(self._views.look(found[1], self._listing.describe)))
        if path == "/streams":
            query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))
            return _json(await _in_time(self._listing.show(parse_filter(query))))
        return _FILES[path] if path else _to_the_page(scope)

    async def _act(self, stream_id: str, action: str) -> dict[str, Any]:
        if action == "stop":
            state = await self._context.stop(stream_id, reason=_REASON)
            is_known, answer = state is not None, {"state": state and state.value}
        else:
            is_known, answer = await self._context.delete(stream_id), {"state": None}
        if not is_known:
            raise HTTPError(404, "not_found", "there is no such stream")
        _logger.info("inspector: %s stream %s", action, stream_id)
        self._listing.forget()
        self._views.forget(stream_id)
        return answer


class _MethodNotAllowedError(HTTPError):
    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(405, "method_not_allowed", f"use {' or '.join(allowed)}")
        self.allowed = allowed


def _path_in(scope: Scope) -> str:
    """Return the path below where the application is mounted, which frameworks leave in ``path`` or take from it."""
    path, root = scope["path"], scope.get("root_path", "").rstrip("/")
    is_below = path == root or path.startswith(f"{root}/")
    return str(path[len(root) :] if root and is_below else path)


def _to_the_page(scope: Scope) -> HTTPResponse:
    """Redirect to where the page's own links work, relative, so that it does not matter what a proxy took away."""
    last = scope["path"].rpartition("/")[2] or scope.get("root_path", "").rpartition("/")[2]
    if not re.fullmatch(r"[\w.~-]+", last, re.ASCII):
        raise HTTPError(404, "not_found", "there is nothing here: the address of the page ends with a slash")
    return HTTPResponse(307, {"location": f"{last}/"}, b"")


def _check_method(scope: Scope, *allowed: str) -> None:
    if scope["method"] not in allowed:
        raise _MethodNotAllowedError(allowed)


def _check_header(scope: Scope) -> None:
    if (HEADER, b"1") not in ((name.lower(), value) for name, value in scope["headers"]):
        raise HTTPError(403, "header_missing", f"send the header {HEADER.decode()}: 1")


async def _in_time(answer: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """Wait for an answer, but not for long: while the store is away, those who ask again would pile up."""
    try:
        with anyio.fail_after(_TIMEOUT):
            return await answer
    except TimeoutError:
        raise HTTPError(503, "unavailable", "streams cannot be reached just now") from None


def _json(answer: Mapping[str, Any]) -> HTTPResponse:
    # In ASCII: chunks may have half of an emoji, which UTF-8 cannot carry.
    return HTTPResponse(200, {"content-type": "application/json"}, json.dumps(answer).encode("ascii"))

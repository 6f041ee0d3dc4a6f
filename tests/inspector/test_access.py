"""Who gets in, and what an answer carries."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from resumable_stream import InvalidSettingError, ResumableStreamContext
from resumable_stream.inspector import Inspector
from tests.inspector.conftest import HEADERS, client_of
from tests.streams import collect, factory_of

REQUESTS = [
    ("GET", "/"),
    ("GET", ""),
    ("HEAD", "/"),
    ("GET", "/page.js"),
    ("GET", "/streams"),
    ("GET", "/streams?limit=bad"),
    ("GET", "/streams/known"),
    ("GET", "/streams/unknown"),
    ("GET", "/streams/%00"),
    ("POST", "/streams/known/stop"),
    ("POST", "/streams/known/delete"),
    ("PUT", "/nowhere"),
]


async def _yes(_scope: Any) -> bool:
    return True


async def _no(_scope: Any) -> bool:
    return False


def _broken(_scope: Any) -> bool:
    raise LookupError("no such session")


async def _broken_later(_scope: Any) -> bool:
    raise LookupError("no such session")


def test_authorization_is_required(context: ResumableStreamContext) -> None:
    """There is no inspector that nobody guards."""
    with pytest.raises(TypeError):
        Inspector(context)  # type: ignore[call-arg]
    for nothing in (None, True):
        with pytest.raises(InvalidSettingError):
            Inspector(context, authorize=nothing)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "authorize", [lambda _scope: False, _no, _broken, _broken_later, lambda _scope: "ada", lambda _scope: None]
)
async def test_refused(context: ResumableStreamContext, authorize: Callable[[Any], Any]) -> None:
    """Who is not let in gets the same answer, 403, whatever is asked for, and nothing happens; an error refuses too."""
    await collect(await context.resumable_stream("known", factory_of(["secret"])))
    async with client_of(Inspector(context, authorize=authorize)) as client:
        for method, path in REQUESTS:
            answer = await client.request(method, path, headers=HEADERS)
            assert answer.status_code == 403
            assert method == "HEAD" or answer.json()["error"]["code"] == "forbidden"
    info = await context.info("known")
    assert info is not None
    assert info.state == "done"


async def test_let_in(context: ResumableStreamContext) -> None:
    """Authorization sees the scope of each request, and may be asynchronous."""
    seen: list[str] = []

    async def authorize(scope: MutableMapping[str, Any]) -> bool:
        seen.append(scope["path"])
        return (b"x-user", b"ada") in scope["headers"]

    async with client_of(Inspector(context, authorize=authorize)) as client:
        assert (await client.get("/streams", headers={"x-user": "ada"})).status_code == 200
        assert (await client.get("/streams", headers={"x-user": "eve"})).status_code == 403
    assert seen == ["/streams", "/streams"]
    async with client_of(Inspector(context, authorize=_yes)) as client:
        assert (await client.get("/streams")).status_code == 200


async def test_page(client: httpx.AsyncClient) -> None:
    """The page and its parts come with their types, and let nothing else in; HEAD is GET without the body."""
    parts = {"/": "text/html", "/page.js": "text/javascript", "/page.css": "text/css", "/icon.svg": "image/svg+xml"}
    for path, content_type in parts.items():
        answer = await client.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith(content_type)
        head = await client.head(path)
        assert (head.status_code, head.content, head.headers) == (200, b"", answer.headers)
    page = (await client.get("/")).text
    assert "<script src=" in page
    assert "<script>" not in page
    assert "style=" not in page
    assert "http" not in page  # nothing comes from elsewhere


@pytest.mark.parametrize("path", ["/", "/streams", "/streams/unknown", "/nowhere"])
async def test_headers(client: httpx.AsyncClient, path: str) -> None:
    """Each answer is kept by nobody, framed by nobody, and runs no script but the page's own."""
    headers = (await client.get(path)).headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    policy = headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("action", ["stop", "delete"])
async def test_forged_requests(context: ResumableStreamContext, client: httpx.AsyncClient, action: str) -> None:
    """What another page can send has no effect: a POST without the header, a GET, and other methods."""
    await collect(await context.resumable_stream("s", factory_of(["a"])))
    path = f"/streams/s/{action}"
    for headers in ({}, {"x-resumable-stream-inspector": "0"}, {"content-type": "text/plain"}):
        assert (await client.post(path, headers=headers)).status_code == 403
    for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
        answer = await client.request(method, path, headers=HEADERS)
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert await context.has_existing_stream("s") == "done"


async def test_wrong_paths_and_methods(client: httpx.AsyncClient) -> None:
    """What is not there is 404, and what cannot be done with what is there is 405."""
    for path in ("/nowhere", "/streams/", "/streams/s/", "/streams/s/other", "/page/index.html", "/../app.py"):
        assert (await client.get(path)).status_code == 404
    for path in ("/", "/page.js", "/streams", "/streams/s"):
        answer = await client.post(path, headers=HEADERS)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


async def test_mounted(context: ResumableStreamContext) -> None:
    """It works below any path; without the slash at its end, the browser is sent to where the page's links work."""
    inspector = Inspector(context, authorize=lambda _scope: True)
    app = Starlette(routes=[Mount("/ops", routes=[Mount("/inspector", inspector)])])
    async with client_of(app) as client:
        for path in ("/", "/page.js", "/streams"):
            assert (await client.get(f"/ops/inspector{path}")).status_code == 200
        assert (await client.get("/ops/inspector/nowhere")).status_code == 404
    for scope in (
        {"root_path": "/ops/inspector", "path": "/ops/inspector"},
        {"root_path": "/ops/inspector", "path": ""},
    ):
        sent = await _call(inspector, {"type": "http", "method": "GET", "headers": [], **scope})
        assert sent[0]["status"] == 307
        assert (b"location", b"inspector/") in sent[0]["headers"]


async def test_websocket(context: ResumableStreamContext) -> None:
    """A WebSocket is refused before it opens; and a lifespan is none of the inspector's."""
    inspector = Inspector(context, authorize=lambda _scope: True)
    assert (await _call(inspector, {"type": "websocket", "path": "/"}))[0]["type"] == "websocket.close"
    with pytest.raises(RuntimeError):
        await _call(inspector, {"type": "lifespan"})


async def _call(app: Any, scope: dict[str, Any]) -> list[MutableMapping[str, Any]]:
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent

"""What the responses for Starlette do beside sending."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.routing import Route

from resumable_stream import JSONCodec, ResumableStreamContext
from resumable_stream.chat import ResumableChat
from resumable_stream.chat.stores.memory import MemoryChatStore
from resumable_stream.http import Wire
from resumable_stream.integrations import fastapi, starlette
from resumable_stream.integrations.starlette import ResumableStreamResponse, position_of
from tests.streams import Tap, never


@pytest.fixture(params=["starlette", "fastapi"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an application that sends a stream, and keeps what has ended for no time if it is asked to."""
    kept = ResumableStreamContext.from_url("memory://")
    dropped = ResumableStreamContext.from_url("memory://", retention=0.0)

    async def generate() -> AsyncIterator[str]:
        yield "Hello "
        yield "world"

    async def send(request: Request) -> ResumableStreamResponse:
        context = dropped if "drop" in request.query_params else kept
        stream = await context.resumable_stream("s", generate, **position_of(request))
        return ResumableStreamResponse(stream, headers={"x-more": "yes"})

    app: Starlette
    if request.param == "starlette":
        app = Starlette(exception_handlers=starlette.exception_handlers)
    else:
        app = FastAPI(exception_handlers=fastapi.exception_handlers)
    app.router.routes.append(Route("/", send))
    async with kept, dropped, httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as made:
        yield made


async def test_event_source_is_told_that_there_is_no_more(client: httpx.AsyncClient) -> None:
    """Who comes back after the last event gets 204, and so does who comes when nothing is kept any more."""
    first = await client.get("/")
    assert (first.status_code, first.headers["x-more"]) == (200, "yes")
    last_id = [line.removeprefix("id: ") for line in first.text.splitlines() if line.startswith("id: ")][-1]
    seen = await client.get("/", headers={"last-event-id": last_id})
    assert (seen.status_code, seen.content, seen.headers["x-more"]) == (204, b"", "yes")
    assert "world" in (await client.get("/?drop")).text
    assert (await client.get("/?drop")).status_code == 204


@pytest.mark.parametrize("wire", ["sse", "text", "ndjson"])
async def test_nothing_is_held_back(wire: Wire) -> None:
    """Behind a `GZipMiddleware` each piece of a body is sent when it is there, with all versions and on all wires."""
    pieces: list[bytes] = []
    tap = Tap("Hello ")

    async def send(message: Any) -> None:
        if piece := message.get("body"):
            pieces.append(piece)
            tap.end("world")

    async def receive() -> Any:
        await anyio.sleep_forever()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await ResumableStreamResponse(await context.resumable_stream("s", tap), wire=wire)(scope, receive, send)

    async with ResumableStreamContext.from_url("memory://") as context:
        scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"accept-encoding", b"gzip")]}
        with anyio.fail_after(10):
            await GZipMiddleware(app, minimum_size=1)(scope, receive, send)
    assert [b"Hello" in piece for piece in pieces] == [True, False]
    assert b"world" in pieces[1]


async def test_client_that_goes_away_while_it_sends(caplog: pytest.LogCaptureFixture) -> None:
    """A request whose body breaks off is the client's affair: nothing is begun, and the log has no error of ours."""
    statuses: list[int] = []
    received = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(received)

    async def send(message: Any) -> None:
        statuses.append(message.get("status"))

    async with ResumableStreamContext.from_url("memory://", codec=JSONCodec()) as context, MemoryChatStore() as store:
        routes = starlette.chat_routes(ResumableChat(context, store), never, authenticate=lambda _request: "ada")
        headers = [(b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": "/chat", "headers": headers, "query_string": b""}
        await Starlette(routes=routes)(scope, receive, send)
    assert statuses[0] == 400
    assert not caplog.records


@pytest.mark.parametrize(
    ("query", "headers"),
    [("startIndex=x", {}), ("startIndex=99", {}), ("startIndex=1&resumeAt=1", {}), ("", {"last-event-id": "junk"})],
)
async def test_bad_position_is_told(client: httpx.AsyncClient, query: str, headers: dict[str, str]) -> None:
    """With the handlers in place, a position that is none is 400 with a code, as it is in the routes of chats."""
    await client.get("/")
    response = await client.get(f"/?{query}", headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_position")

"""What integrations of ASGI frameworks have in common."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Generator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from resumable_stream.http import HTTPResponse
from resumable_stream.http.asgi import send_response, with_lifespan
from resumable_stream.http.serving import lifespan_of, user_of

Message = MutableMapping[str, Any]


class Body:
    """A body of pieces, which says when it was closed. After the pieces it waits, unless it raises."""

    def __init__(self, *pieces: bytes, error: Exception | None = None, waits: bool = False) -> None:
        self.pieces = pieces
        self.error = error
        self.waits = waits
        self.is_closed = False

    async def __call__(self) -> AsyncGenerator[bytes, None]:
        """Yield the pieces."""
        try:
            for piece in self.pieces:
                yield piece
            if self.error is not None:
                raise self.error
            if self.waits:
                await anyio.sleep_forever()
        finally:
            self.is_closed = True

    def response(self) -> HTTPResponse:
        """Return a response that has it."""
        return HTTPResponse(200, {"content-type": "text/plain"}, self())


class Client:
    """The other end of a connection."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.has_gone = anyio.Event()
        self.got = anyio.Event()
        self.error: Exception | None = None

    async def receive(self) -> Message:
        """Say that the client has gone, when it has."""
        await self.has_gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Keep what was sent."""
        if self.error is not None:
            raise self.error
        self.sent.append(message)
        self.got.set()

    @property
    def body(self) -> bytes:
        """What came of the body."""
        return b"".join(message.get("body", b"") for message in self.sent)


async def test_response_is_sent() -> None:
    """A body of pieces is sent piece by piece and ended, and one of bytes at once; the watch on the client ends."""
    client, body = Client(), Body(b"a", b"b")
    await send_response(body.response(), client.receive, client.send)
    assert client.sent[0] == {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-type", b"text/plain")],
    }
    assert [message.get("more_body", False) for message in client.sent[1:]] == [True, True, False]
    assert (client.body, body.is_closed) == (b"ab", True)
    client = Client()
    await send_response(HTTPResponse(404, {}, b"no"), client.receive, client.send)
    assert [message["type"] for message in client.sent] == ["http.response.start", "http.response.body"]
    assert client.body == b"no"


class Middlewares:
    """Await what they are around, and count how often that is gone on with."""

    def __init__(self, inner: Coroutine[Any, Any, None]) -> None:
        self._steps = inner.__await__()
        self.count = 0

    def __await__(self) -> Generator[Any, Any, None]:
        return self  # type: ignore[return-value]  # what `await` needs of one

    def __next__(self) -> Any:
        self.count += 1
        return next(self._steps)

    def throw(self, *error: Any) -> Any:
        """As generators have it."""
        self.count += 1
        return self._steps.throw(*error)


async def test_pieces_wake_no_middlewares() -> None:
    """However many pieces a body waits for, what is around the application is not gone through for each."""

    async def pieces() -> AsyncGenerator[bytes, None]:
        for _ in range(100):
            await anyio.lowlevel.checkpoint()
            yield b"piece"

    client = Client()
    middlewares = Middlewares(send_response(HTTPResponse(200, {}, pieces()), client.receive, client.send))
    await middlewares
    assert len(client.sent) == 102
    assert middlewares.count < 10


async def test_client_that_goes_away_closes_the_body() -> None:
    """When the client goes away while the body is silent, the body is closed and sending ends."""
    client, body = Client(), Body(b"a", waits=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send_response, body.response(), client.receive, client.send)
        await client.got.wait()
        client.has_gone.set()
    assert body.is_closed


async def test_client_that_has_gone_already() -> None:
    """The response is begun even then, as there are middlewares that expect one; and its body is closed."""
    client, body = Client(), Body(b"a", waits=True)

    async def receive() -> Message:
        return {"type": "http.disconnect"}  # at once, as uvicorn does

    await send_response(body.response(), receive, client.send)
    assert client.sent[0]["type"] == "http.response.start"
    assert body.is_closed


async def test_client_that_cannot_be_reached_closes_the_body() -> None:
    """When the server says that nothing can be sent, the body is closed, and that is no error."""
    client, body = Client(), Body(b"a", waits=True)
    client.error = OSError("gone")
    await send_response(body.response(), client.receive, client.send)
    assert not body.is_closed  # it was not begun


async def test_cancelled_response_closes_the_body() -> None:
    """A server that gives up on a response closes the body."""
    client, body = Client(), Body(b"a", waits=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send_response, body.response(), client.receive, client.send)
        await client.got.wait()
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert body.is_closed


async def test_body_that_raises_is_cut() -> None:
    """What a body raises reaches the server, and the response has no end."""
    client, body = Client(), Body(b"a", error=ValueError("broken"))
    with pytest.raises(BaseException) as caught:  # noqa: PT011  # alone, or in a group
        await send_response(body.response(), client.receive, client.send)
    assert "broken" in repr(caught.value)
    assert client.sent[-1].get("more_body") is True
    assert body.is_closed


class Resource:
    """Something that is entered and left, and may fail to."""

    def __init__(self, name: str, log: list[str], fails: str = "") -> None:
        self.name = name
        self.log = log
        self.fails = fails

    async def __aenter__(self) -> None:
        if self.fails == "startup":
            raise ValueError(self.name)
        self.log.append(f"enter {self.name}")

    async def __aexit__(self, *_error: object) -> None:
        self.log.append(f"leave {self.name}")
        if self.fails == "shutdown":
            raise ValueError(self.name)


async def run_lifespan(*resources: Any) -> list[str]:
    """Start and end a server, and return what it was told."""
    told: list[str] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        told.append(message["type"])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": f"app {scope['type']}"})

    made = with_lifespan(app, *resources)
    await made({"type": "http"}, receive, send)
    await made({"type": "lifespan"}, receive, send)
    return told


async def test_lifespan() -> None:
    """Resources are entered in order and left in the opposite one; other requests reach the application."""
    log: list[str] = []
    told = await run_lifespan(Resource("store", log), Resource("context", log))
    assert told == ["app http", "lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert log == ["enter store", "enter context", "leave context", "leave store"]


@pytest.mark.parametrize("step", ["startup", "shutdown"])
async def test_lifespan_that_fails(step: str) -> None:
    """A resource that cannot be entered or left is told to the server; those before it are left."""
    log: list[str] = []
    told: list[str] = []

    async def receive() -> Message:
        return {"type": "lifespan"}

    async def send(message: Message) -> None:
        told.append(message["type"])

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError(scope)

    made = with_lifespan(app, Resource("store", log), Resource("context", log, step))
    with pytest.raises(ValueError, match="context"):
        await made({"type": "lifespan"}, receive, send)
    assert told[-1] == f"lifespan.{step}.failed"
    assert "leave store" in log


async def test_lifespan_may_be_used_again() -> None:
    """A lifespan can be entered twice, one after the other, as when a server restarts."""
    log: list[str] = []

    @asynccontextmanager
    async def resource() -> AsyncIterator[None]:
        log.append("in")
        yield

    for _ in range(2):
        async with lifespan_of(resource())(None):
            pass
    assert log == ["in", "in"]


async def test_who_asks() -> None:
    """The application is asked by a plain function or by a coroutine function."""

    async def later(request: str) -> str | None:
        return request

    assert await user_of(lambda request: request, "ada") == "ada"
    assert await user_of(later, "ada") == "ada"
    assert await user_of(lambda _: None, "ada") is None

"""What integrations of WSGI frameworks have in common."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from resumable_stream import JSONCodec, sync
from resumable_stream.chat.stores.memory import MemoryChatStore
from resumable_stream.http import ROUTES, AnswerRequest, EventStreamSettings
from resumable_stream.http.blocking import BlockingChatService, BlockingResponse, blocking_stream_response

BY_NAME = {route.name: route for route in ROUTES}
SENT = json.dumps({"id": "c", "message": {"role": "user", "parts": [{"type": "text", "text": "Hello?"}]}}).encode()


@pytest.fixture
def context() -> Iterator[sync.ResumableStreamContext]:
    """A context of chunks that are JSON."""
    with sync.ResumableStreamContext.from_url("memory://", codec=JSONCodec(), drain_timeout=0.0) as made:
        yield made


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection: the server's, and the client's."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def ask(service: BlockingChatService, body: bytes = SENT, user: str | None = "ada") -> BlockingResponse:
    """Ask for an answer, with a body that comes in pieces of ten bytes."""
    left = [body[start : start + 10] for start in range(0, len(body), 10)]

    def read(size: int) -> bytes:
        return left.pop(0)[:size] if size and left else b""

    made = service.respond(BY_NAME["start"], user, {}, {}, {"content-type": "application/json"}, read, None, {})
    if user is None:
        assert b"".join(left) == body, "nothing is read of what nobody sends"
    return made


def test_errors_outside_of_the_service() -> None:
    """A context that does not open, or is closed, and a body that cannot be read are answered like any other error."""

    class TooLargeError(Exception):
        code = 413

    def service_of(url: str, **settings: Any) -> tuple[sync.ResumableStreamContext, BlockingChatService]:
        made = sync.ResumableStreamContext.from_url(url, codec=JSONCodec(), **settings)
        return made, BlockingChatService(sync.ResumableChat(made, MemoryChatStore), lambda _asked: [])

    def read(error: Exception) -> BlockingResponse:
        def fail(_size: int) -> bytes:
            raise error

        return open_service.respond(BY_NAME["start"], "ada", {}, {}, {}, fail, None, {})

    _, unreachable = service_of("redis://127.0.0.1:1", call_timeout=0.1)
    open_context, open_service = service_of("memory://")
    broken_off, too_large = read(OSError("reset")), read(TooLargeError())
    open_context.close()
    responses = [ask(unreachable), ask(open_service), broken_off, too_large]
    errors = [json.loads(response.body)["error"]["code"] for response in responses if isinstance(response.body, bytes)]
    assert [response.status for response in responses] == [503, 503, 400, 413]
    assert errors == ["unavailable", "unavailable", "invalid_request", "too_large"]


def test_chat_service(context: sync.ResumableStreamContext) -> None:
    """Requests are answered as by the service of coroutines, with an answer that blocks, and errors are responses."""

    def respond(_asked: AnswerRequest) -> Iterator[str]:
        yield "Half past "
        yield "three."

    service = BlockingChatService(sync.ResumableChat(context, MemoryChatStore()), respond, max_body_bytes=len(SENT))
    made = ask(service)
    assert not isinstance(made.body, bytes)
    assert b"".join(made.body).endswith(b"data: [DONE]\n\n")
    for body, user, status in [(b"{", "ada", 400), (SENT + b" ", "ada", 413), (SENT, None, 401), (SENT, "bob", 403)]:
        assert ask(service, body, user).status == status


def readers(context: sync.ResumableStreamContext) -> int:
    """How many readers there are."""

    async def count() -> int:
        tasks: Any = context.twin._runtime._tasks
        return sum(feed.readers for feed in tasks.hub._feeds.values())

    return context.call(count)


def test_client_that_goes_away_is_noticed(
    context: sync.ResumableStreamContext, connection: tuple[socket.socket, socket.socket]
) -> None:
    """While a stream is silent nobody waits for it any more when the client has gone away, and its reader ends."""
    may_go_on = threading.Event()

    def silent() -> Iterator[int]:
        yield 1
        may_go_on.wait(20)

    ours, theirs = connection
    stream = context.resumable_stream("s", silent)
    assert stream is not None
    made = blocking_stream_response(stream, environ={"gunicorn.socket": ours})
    assert not isinstance(made.body, bytes)
    assert next(made.body) == b""  # the headers
    assert b"data: 1" in next(made.body)
    theirs.close()
    assert list(made.body) == []
    assert readers(context) == 0
    may_go_on.set()


def test_client_that_sends_more_is_no_longer_watched(
    context: sync.ResumableStreamContext, connection: tuple[socket.socket, socket.socket]
) -> None:
    """What a client sends meanwhile is left to the server, and the stream comes to its end."""
    ours, theirs = connection
    theirs.send(b"GET /")
    stream = context.resumable_stream("s", lambda: [1, 2])
    assert stream is not None
    made = blocking_stream_response(stream, EventStreamSettings(), "ndjson", {"x-more": "1"}, {"werkzeug.socket": ours})
    assert made.headers["x-more"] == "1"
    assert b"".join(made.body) == b"1\n2\n"  # type: ignore[arg-type]  # an iterator
    assert ours.recv(10) == b"GET /"


def test_connection_that_is_closed_already(
    context: sync.ResumableStreamContext, connection: tuple[socket.socket, socket.socket]
) -> None:
    """A connection that the server has closed has no client, so nothing is sent."""
    ours, _ = connection
    ours.close()
    stream = context.resumable_stream("s", lambda: [1, 2])
    assert stream is not None
    made = blocking_stream_response(stream, environ={"gunicorn.socket": ours})
    assert b"".join(made.body) == b""  # type: ignore[arg-type]  # an iterator


def test_loop_that_watches_no_sockets(
    context: sync.ResumableStreamContext,
    connection: tuple[socket.socket, socket.socket],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a loop such as that of Windows, which cannot watch a connection, all is sent, and nothing is left open."""
    for name in ("add_reader", "remove_reader"):
        monkeypatch.setattr(asyncio.SelectorEventLoop, name, getattr(asyncio.AbstractEventLoop, name))
    ours, _ = connection
    stream = context.resumable_stream("s", lambda: [{"type": "text-delta"}])
    made = blocking_stream_response(stream, environ={"gunicorn.socket": ours})
    assert b"text-delta" in b"".join(made.body)  # type: ignore[arg-type]  # an iterator

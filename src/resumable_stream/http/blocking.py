"""What integrations of WSGI frameworks have in common: the service of chats, run in the loop of a blocking context."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import anyio

from ..sync import BlockingIterator, ResumableChat, ResumableStream
from ..sync.factories import for_the_loop
from .bodies import EventStreamSettings, Wire, stream_response
from .errors import error_response
from .messages import HTTPRequest, HTTPResponse
from .parsing import unreadable_body
from .service import ChatService, Respond, Route

__all__ = ["BlockingChatService", "BlockingResponse", "blocking_stream_response"]


@dataclass(frozen=True)
class BlockingResponse:
    """What is to be sent."""

    status: int
    headers: Mapping[str, str]
    """With names in lower case."""
    body: bytes | BlockingIterator[bytes]
    """An iterator is to be closed when the client has gone away, as servers of WSGI do."""


class BlockingChatService:
    """Answers the requests of chat front ends, for code that is not asynchronous. See `ChatService`.

    Args:
        chat: The chats.
        respond: Makes the answers. It may block: then it runs in a thread of its own.
        settings: How event streams are sent.
        max_body_bytes: Of a request.
    """

    def __init__(
        self,
        chat: ResumableChat,
        respond: Respond,
        *,
        settings: EventStreamSettings | None = None,
        max_body_bytes: int = 8 * 1024 * 1024,
    ) -> None:
        self._chat = chat
        self._respond = for_the_loop(respond)
        self._settings = settings
        self._max_body_bytes = max_body_bytes

    def respond(
        self,
        route: Route,
        user: str | None,
        path: Mapping[str, str],
        query: Mapping[str, str],
        headers: Mapping[str, str],
        read: Callable[[int], bytes],
        native: Any,
        environ: Mapping[str, Any],
    ) -> BlockingResponse:
        """Answer a request of a user's; ``None``: nobody is signed in, and nothing of the request is read.

        Args:
            route: Which row of the table it is.
            user: Who asks.
            path: As `HTTPRequest` has it, and so are the others.
            query: See there.
            headers: See there.
            read: Reads a part of the body, of so many bytes at most; nothing: that was all.
            native: The framework's request.
            environ: What the server of WSGI said of it.
        """
        try:
            sent = self._read(read) if user else b""
            request = HTTPRequest(path, query, headers, _in_one_piece(sent), native)
            # Each process has a chat of its own behind that which was made before it was forked.
            service = ChatService(
                self._chat.twin, self._respond, settings=self._settings, max_body_bytes=self._max_body_bytes
            )
            made: HTTPResponse = self._chat.context.call(service.respond, route, user, request)
        except Exception as error:  # noqa: BLE001  # the edge: the context may not open, or be closed
            made = error_response(error)
        if isinstance(made.body, bytes):
            return BlockingResponse(made.status, made.headers, made.body)
        body = _while_connected(made.body, _connection_of(environ))
        return BlockingResponse(made.status, made.headers, self._chat.context.iterate(body))

    def _read(self, read: Callable[[int], bytes]) -> bytes:
        """Read what there is, and no more of it than shows that it is too much."""
        sent = bytearray()
        try:
            while piece := read(self._max_body_bytes + 1 - len(sent)):
                sent += piece
        except Exception as error:  # each framework has its own
            raise unreadable_body(error) from error
        return bytes(sent)


def blocking_stream_response(
    stream: ResumableStream[Any] | None,
    settings: EventStreamSettings | None = None,
    wire: Wire = "sse",
    headers: Mapping[str, str] | None = None,
    environ: Mapping[str, Any] | None = None,
) -> BlockingResponse:
    """Return a response that sends any stream. See `stream_response`."""
    if stream is None:
        without = stream_response(None, settings, wire, headers)
        return BlockingResponse(without.status, without.headers, b"")
    made: list[HTTPResponse] = []

    def framed(twin: Any) -> AsyncGenerator[bytes, None]:
        made.append(stream_response(twin, settings, wire, headers))
        assert not isinstance(made[0].body, bytes), "a stream"
        return _while_connected(made[0].body, _connection_of(environ or {}))

    body = stream.iterate(framed)
    return BlockingResponse(made[0].status, made[0].headers, body)


async def _in_one_piece(sent: bytes) -> AsyncIterator[bytes]:
    yield sent


def _connection_of(environ: Mapping[str, Any]) -> socket.socket | None:
    """Return the connection of a request, which gunicorn and the server of Werkzeug show. Other servers do not."""
    connection: object = environ.get("gunicorn.socket", environ.get("werkzeug.socket"))
    return connection if type(connection) is socket.socket else None  # of what is encrypted the end cannot be seen


async def _while_connected(
    body: AsyncGenerator[bytes, None], connection: socket.socket | None
) -> AsyncGenerator[bytes, None]:
    """Yield what a body yields until the client has gone, and close the body.

    WSGI itself tells nothing of that: its server would notice when it next has something to send.
    """
    watch = _Watch()
    try:
        if connection is not None:
            watch.start(connection)
        yield b""  # with the first piece servers send the headers
        while not watch.has_ended:
            with anyio.CancelScope() as watch.scope:
                piece = await anext(body, None)
            if watch.scope.cancelled_caught or piece is None:
                return
            yield piece
    finally:
        watch.stop()
        with anyio.CancelScope(shield=True):
            await body.aclose()


class _Watch:
    """Looks whether a connection has ended, by a descriptor of its own, as the server may close and reuse the other."""

    def __init__(self) -> None:
        self.scope = anyio.CancelScope()
        """Cancelled when it has."""
        self.has_ended = False
        self._connection: socket.socket | None = None

    def start(self, connection: socket.socket) -> None:
        try:
            watched = connection.dup()
        except OSError:
            self.has_ended = True
            return
        try:
            asyncio.get_running_loop().add_reader(watched, self._look)
        except NotImplementedError:  # what asyncio raises on Windows, whose loop cannot watch sockets
            watched.close()  # who develops there has a server that works: a send notices that the client has gone
        else:
            self._connection = watched

    def _look(self) -> None:
        assert self._connection is not None, "it was started"
        try:
            sent = self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            sent = b""
        self.stop()  # there is an end, or another request, which hides it
        if not sent:
            self.has_ended = True
            self.scope.cancel()

    def stop(self) -> None:
        if self._connection is not None:
            asyncio.get_running_loop().remove_reader(self._connection)
            self._connection.close()
            self._connection = None

"""A network that is mistreated as a test says: connections are cut, refused, stalled and slowed."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Any, NamedTuple

import anyio
from typing_extensions import Self

__all__ = ["TcpProxy"]

_PIECE_BYTES = 64 * 1024
_MAX_PIECES = 16
"""How many pieces wait in one direction of a connection. More stay in the network, which then holds back who sends."""


class TcpProxy:
    """Stands between clients and a real server, and forwards what they send until the test says otherwise.

    An async context manager: inside of it, `port` of 127.0.0.1 leads to the server. Leaving it resets all connections.
    It may be left by another task than the one that entered it, as test fixtures do.

    Args:
        host: Where the server is.
        port: Its port.
    """

    def __init__(self, host: str, port: int) -> None:
        self.port: int = 0
        """Where clients connect to. Known inside of the context, and the same after connections were refused."""
        self.delay: float = 0.0
        """Seconds that everything takes longer, in each direction. Can be changed at any time, for what comes then."""
        self.connections: int = 0
        """How many connections were accepted."""
        self.request_bytes: int = 0
        """How much came from clients."""
        self.reply_bytes: int = 0
        """How much came from the server."""
        self._target = (host, port)
        self._bound: socket.socket | None = None
        self._listening: _Listening | None = None
        self._open: dict[_Connection, asyncio.Task[None]] = {}
        self._replies_to_lose: list[_ReplyToLose] = []
        self._resumed: anyio.Event | None = None

    async def __aenter__(self) -> Self:
        self._bound = _bind(0)
        self.port = self._bound.getsockname()[1]
        await self.accept()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self.refuse()
        if self._bound is not None:
            self._bound.close()

    @property
    def open_connections(self) -> int:
        """How many connections there are now."""
        return len(self._open)

    async def cut(self) -> None:
        """Reset all connections. New ones work."""
        tasks = list(self._open.values())
        for connection in self._open:
            connection.reset()
        if tasks:
            await asyncio.wait(tasks)

    async def refuse(self) -> None:
        """Reset all connections and refuse new ones until `accept`, like a host on which no server runs."""
        if self._bound is not None and self._listening is not None:
            self._listening.scope.cancel()
            await asyncio.wait([self._listening.task])
            self._listening = None
            self._bound.close()
            self._bound = _bind(self.port)  # nobody listens there, so it is refused, and nobody else can take the port
            await self.cut()

    async def accept(self) -> None:
        """Accept connections again."""
        if self._bound is not None and self._listening is None:
            self._bound.listen()
            scope = anyio.CancelScope()
            task = asyncio.create_task(self._listen(self._bound, scope), name="TcpProxy")
            self._listening = _Listening(scope, task)

    def stall(self) -> None:
        """Forward nothing and close nothing until `resume`, not even what either side closes: the network is silent.

        New connections are accepted, and hear nothing. What is sent meanwhile is forwarded later.
        """
        if self._resumed is None:
            self._resumed = anyio.Event()

    def resume(self) -> None:
        """Forward again."""
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.set()

    def lose_reply_to(self, part: bytes = b"") -> anyio.Event:
        """Forward the next request that contains ``part``, swallow what the server answers, and reset the connection.

        Each call is for one request, and a request is what comes in one piece: keep ``part`` short. Where a connection
        has one request under way at a time, the server has carried it out when its reply is lost.

        Returns:
            An event that is set when the reply was swallowed.
        """
        planned = _ReplyToLose(part, anyio.Event())
        self._replies_to_lose.append(planned)
        return planned.is_lost

    async def _listen(self, listener: socket.socket, scope: anyio.CancelScope) -> None:
        # Neither a server of asyncio nor its `sock_accept`: some versions forget a connection that is accepted just
        # when the server is closed, or the call cancelled.
        with scope:
            while True:
                await _wait_until_readable(listener)
                with suppress(BlockingIOError, ConnectionAbortedError):  # the client is gone again
                    self._take_in(listener.accept()[0])

    def _take_in(self, accepted: socket.socket) -> None:
        accepted.setblocking(False)
        self.connections += 1
        connection = _Connection(accepted)
        self._open[connection] = asyncio.create_task(self._serve(connection), name="TcpProxy connection")

    async def _serve(self, connection: _Connection) -> None:
        try:
            with connection.scope:
                await connection.reset_if_broken(self._forward, connection)
        finally:
            with anyio.CancelScope(shield=True):
                await connection.aclose()
            del self._open[connection]

    async def _forward(self, connection: _Connection) -> None:
        try:
            client, server = await connection.open(*self._target)
        except OSError:
            await self._wait_until_resumed()
            raise
        async with anyio.create_task_group() as tasks:
            for source, sink, examine in ((client, server, self._on_request), (server, client, self._on_reply)):
                pieces: _Pieces = asyncio.Queue(_MAX_PIECES)
                tasks.start_soon(connection.reset_if_broken, self._take, source, pieces, partial(examine, connection))
                tasks.start_soon(connection.reset_if_broken, self._give, pieces, sink)

    async def _take(self, source: _Side, pieces: _Pieces, examine: Callable[[bytes], None]) -> None:
        while True:
            content = await source.receive()
            if content:
                examine(content)
            await pieces.put(_Piece(anyio.current_time() + self.delay, content))
            if not content:
                return

    async def _give(self, pieces: _Pieces, sink: _Side) -> None:
        while True:
            due, content = await pieces.get()
            await anyio.sleep_until(due)
            await self._wait_until_resumed()
            await sink.send(content)
            if not content:
                return

    async def _wait_until_resumed(self) -> None:
        while self._resumed is not None:
            await self._resumed.wait()

    def _on_request(self, connection: _Connection, content: bytes) -> None:
        self.request_bytes += len(content)
        for planned in self._replies_to_lose:
            if planned.part in content and connection.lost_reply is None:
                connection.lost_reply = planned.is_lost
                self._replies_to_lose.remove(planned)
                return

    def _on_reply(self, connection: _Connection, content: bytes) -> None:
        self.reply_bytes += len(content)
        if connection.lost_reply is not None:
            connection.lost_reply.set()
            raise ConnectionResetError("the reply is lost")


class _Listening(NamedTuple):
    scope: anyio.CancelScope
    task: asyncio.Task[None]


class _Piece(NamedTuple):
    due: float
    """When it is to be forwarded, by the clock of the event loop."""
    content: bytes | None
    """Empty: this side sends no more. ``None``: it reset the connection."""


_Pieces = asyncio.Queue[_Piece]


class _ReplyToLose(NamedTuple):
    part: bytes
    """Of the request."""
    is_lost: anyio.Event


class _Side:
    """One end of a connection: a client, or the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        writer.transport.set_write_buffer_limits(high=0)  # so that `send` returns when all is sent

    async def receive(self) -> bytes | None:
        """Return what came; nothing at the end, and ``None`` after a reset."""
        try:
            return await self._reader.read(_PIECE_BYTES)
        except OSError:
            return None

    async def send(self, content: bytes | None) -> None:
        """Send what `receive` returned.

        Raises:
            OSError: The connection is broken, or ``content`` says that it is to be.
        """
        if content is None or self._writer.is_closing():  # then uvloop raises other errors than asyncio
            raise ConnectionResetError("reset")
        if content:
            self._writer.write(content)
            await self._writer.drain()
        else:
            self._writer.write_eof()

    async def aclose(self, *, with_reset: bool) -> None:
        """Close it, with a reset if the other side is not to take that for a proper end."""
        if not self._writer.is_closing():  # else uvloop has no socket any more
            _set_reset_on_close(self._writer.get_extra_info("socket"), with_reset)
        self._writer.transport.abort()
        with suppress(OSError):
            await self._writer.wait_closed()


class _Connection:
    """A client's connection, and the one to the server on its behalf."""

    def __init__(self, accepted: socket.socket) -> None:
        self.scope = anyio.CancelScope()
        """Of the task that forwards."""
        self.lost_reply: anyio.Event | None = None
        """To be set, and the connection to be reset, when the server answers."""
        self._accepted = accepted
        self._sides: list[_Side] = []
        self._is_reset = False
        _set_reset_on_close(accepted, True)

    async def open(self, host: str, port: int) -> Sequence[_Side]:
        """Return the client and the server, which is connected to.

        Raises:
            OSError: It cannot be reached.
        """
        self._sides.append(_Side(*await asyncio.open_connection(sock=self._accepted)))
        self._sides.append(_Side(*await asyncio.open_connection(host, port)))
        return self._sides

    async def reset_if_broken(self, work: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Work. An error of the network resets both sides, as what is lost cannot be forwarded."""
        try:
            await work(*args)
        except OSError:
            self.reset()

    def reset(self) -> None:
        """Stop forwarding, and have `aclose` reset both sides."""
        self._is_reset = True
        self.scope.cancel()

    async def aclose(self) -> None:
        """Close both sides."""
        for side in self._sides:
            await side.aclose(with_reset=self._is_reset)


def _set_reset_on_close(sock: socket.socket, is_wanted: bool) -> None:
    with suppress(OSError):  # some systems refuse it when the connection is broken already
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", is_wanted, 0))


async def _wait_until_readable(sock: socket.socket) -> None:
    loop, readable = asyncio.get_running_loop(), anyio.Event()
    loop.add_reader(sock, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(sock)


def _bind(port: int) -> socket.socket:
    """Return a socket that has a port, but does not listen."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    bound.setblocking(False)
    return bound

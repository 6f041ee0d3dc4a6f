"""A connection that is up: commands go out at once, and each reply comes in as a call, without a task in between."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

import anyio
import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, RedisError, ResponseError
from typing_extensions import override

__all__ = ["Command", "OnEnd", "OnReply", "Wire", "disconnect", "open_wire"]

Command: TypeAlias = Sequence[str | bytes | int]
OnReply: TypeAlias = Callable[[Any], None]
"""Called with each reply, in order; one that is an error comes as an exception. What it raises breaks the wire."""
OnEnd: TypeAlias = Callable[[Exception], None]
"""Called once, with why nothing comes any more; not after `Wire.aclose`."""

_NOTHING: Any = object()


class Wire(ABC):
    """Sends commands, and calls for each reply. Both callbacks are called on the event loop, and must not block."""

    def __init__(self, connection: AbstractConnection, on_reply: OnReply, on_end: OnEnd) -> None:
        self._connection = connection
        self._on_reply = on_reply
        self._on_end = on_end
        self._is_over = False

    @abstractmethod
    def send(self, *commands: Command) -> None:
        """Send commands in one packet, or as much as the network takes now, and the rest later.

        Raises:
            RedisConnectionError: The connection is broken.
        """

    async def aclose(self) -> None:
        """Close the connection at once. Nothing is called any more."""
        self._is_over = True
        await disconnect(self._connection)

    def _pack(self, commands: Sequence[Command]) -> bytes:
        if self._is_over:
            raise RedisConnectionError("closed")
        # What redis-py packs for asyncio it packs in Python, which takes eight times as long.
        return b"".join(hiredis.pack_command(tuple(command)) for command in commands)  # type: ignore[arg-type]  # it takes any length

    def _end(self, error: Exception) -> None:
        if not self._is_over:
            self._is_over = True
            self._on_end(error)


def open_wire(connection: AbstractConnection, on_reply: OnReply, on_end: OnEnd) -> Wire:
    """Take over a connection that redis-py has made and nobody else uses."""
    # redis-py keeps it to itself, and has from 4.2 on. What has none, such as fakeredis, is read by a task.
    writer = getattr(connection, "_writer", None)
    if isinstance(writer, asyncio.StreamWriter):
        return _TransportWire(connection, writer.transport, on_reply, on_end)
    return _TaskWire(connection, on_reply, on_end)


async def disconnect(connection: AbstractConnection) -> None:
    """Close a connection at once, whatever state it is in."""
    with anyio.CancelScope(shield=True), suppress(RedisError, OSError):  # there is nothing left to lose on it
        await connection.disconnect(nowait=True)


class _TransportWire(Wire, asyncio.Protocol):
    """Sits on the transport, in the place of the streams that redis-py would read and write.

    Those cost a task that is woken for each reply, and a timer or two: half of the way of a lone chunk.
    """

    def __init__(
        self, connection: AbstractConnection, transport: asyncio.WriteTransport, on_reply: OnReply, on_end: OnEnd
    ) -> None:
        super().__init__(connection, on_reply, on_end)
        self._transport = transport
        parse_error = connection._parser.parse_error  # noqa: SLF001  # makes its exceptions
        self._replies = hiredis.Reader(protocolError=InvalidResponse, replyError=parse_error, notEnoughData=_NOTHING)
        transport.set_protocol(self)

    @override
    def send(self, *commands: Command) -> None:
        packet = self._pack(commands)
        if self._transport.is_closing():
            raise RedisConnectionError("closed")
        try:
            self._transport.write(packet)
        except (
            RuntimeError,
            AttributeError,
        ) as error:  # how uvloop, and asyncio in some Pythons, say that it is closed
            raise RedisConnectionError("closed") from error

    @override
    def data_received(self, data: bytes) -> None:
        replies = self._replies
        try:
            replies.feed(data)
            while not self._is_over:
                reply = replies.gets()
                if reply is _NOTHING:
                    return
                self._on_reply(reply)
        except Exception as error:  # noqa: BLE001  # the edge of the event loop: the owner is told
            self._end(error)
            self._transport.abort()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        error = RedisConnectionError("the connection was closed")
        error.__cause__ = exc
        self._end(error)


class _TaskWire(Wire):
    """Works on whatever redis-py takes for a connection."""

    def __init__(self, connection: AbstractConnection, on_reply: OnReply, on_end: OnEnd) -> None:
        super().__init__(connection, on_reply, on_end)
        self._packets: asyncio.Queue[bytes] = asyncio.Queue()
        self._tasks = [asyncio.create_task(self._run(step)) for step in (self._write, self._read)]

    @override
    def send(self, *commands: Command) -> None:
        self._packets.put_nowait(self._pack(commands))

    @override
    async def aclose(self) -> None:
        self._is_over = True
        others = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others)
        await super().aclose()

    async def _run(self, step: Callable[[], Any]) -> None:
        try:
            while not self._is_over:
                await step()
        except Exception as error:  # noqa: BLE001  # a task boundary: the owner is told
            self._end(error)

    async def _write(self) -> None:
        await self._connection.send_packed_command([await self._packets.get()], check_health=False)

    async def _read(self) -> None:
        try:
            reply = await self._connection.read_response(disable_decoding=True)
        except ResponseError as error:
            reply = error
        if not self._is_over:
            self._on_reply(reply)

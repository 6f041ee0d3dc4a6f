"""Connections of our own, made the way that a URL or a client of the user's says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, NamedTuple, Protocol, TypeAlias

import anyio
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError

from ...exceptions import ContextClosedError
from .errors import is_read_only

Command: TypeAlias = Sequence[str | bytes | int]
Connect: TypeAlias = Callable[[], Awaitable[AbstractConnection]]
"""Makes a connection to where it belongs at that moment."""

_DEFAULTS: dict[str, Any] = {"socket_timeout": 5.0, "socket_connect_timeout": 5.0}

# Ours, whatever the user's client is set to. Chunks are bytes, not text. RESP2 is what every server we support speaks,
# and its replies have one shape. A health check reads its reply where the listener reads, too. Who uses a connection
# decides how long to wait for a reply, and what to repeat.
_OVERRIDES: dict[str, Any] = {
    "decode_responses": False,
    "protocol": 2,
    "health_check_interval": 0,
    "socket_timeout": None,
    "retry": None,
    "retry_on_error": [],
    "retry_on_timeout": False,
}

# Of the pool or the client and not of its connections, or of RESP3 only.
_LEFT_OUT = {
    "connection_pool",
    "himport_registry",
    "maint_notifications_config",
    "maint_notifications_pool_handler",
    "max_connections",
    "oss_cluster_maint_notifications_handler",
    "response_callbacks",
    "timeout",
}

_CONNECT_TIMEOUT = 5.0
REPLY_TIMEOUT = 5.0
READING_CONNECTIONS = 2


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int


class Connections:
    """Makes connections that are settled like those of a pool, and share nothing with it.

    Raises:
        TypeError, ValueError, RedisError: The settings do not fit.
    """

    def __init__(self, connection_class: type[AbstractConnection], settings: Mapping[str, Any]) -> None:
        self._connection_class = connection_class
        kept = {name: value for name, value in settings.items() if name not in _LEFT_OUT}
        for name, value in _DEFAULTS.items():
            if kept.get(name) is None:  # which some versions of redis-py say when the user said nothing
                kept[name] = value
        self._settings = kept | _OVERRIDES
        self._connection_class(**self._settings)  # does no I/O, and complains now of what it does not know

    @classmethod
    def of_pool(cls, pool: ConnectionPool) -> Connections:
        """Return what makes connections like those of a pool."""
        return cls(pool.connection_class, pool.connection_kwargs)

    async def connect(self, address: Address | None = None) -> AbstractConnection:
        """Return a new connection that waits for replies without end: who uses it decides how long that is.

        Raises:
            RedisError, TimeoutError: The server cannot be reached.
        """
        where = {} if address is None else address._asdict()
        connection = self._connection_class(**(self._settings | where))
        try:
            with anyio.fail_after(_CONNECT_TIMEOUT):
                await connection.connect()
        except BaseException:
            await disconnect(connection)
            raise
        return connection


async def disconnect(connection: AbstractConnection | None) -> None:
    """Close a connection at once, whatever state it is in."""
    if connection is not None:
        with anyio.CancelScope(shield=True), suppress(RedisError, OSError):  # there is nothing left to lose on it
            await connection.disconnect(nowait=True)


def make_closed_error() -> Exception:
    """Return what calls raise that were under way when the backend was closed."""
    return ContextClosedError("the backend was closed")


class Channel(Protocol):
    """Where commands can be sent."""

    async def execute(self, *commands: Command) -> list[Any]:
        """Send commands in one packet, and return for each its reply, or the error that is its reply.

        Raises:
            RedisError, OSError, TimeoutError: The server cannot be reached, or does not answer.
        """


class DirectConnection:
    """One connection, for one packet of commands after the other, without what a pool and a client add to each.

    That is some 15 % of the time between a lone chunk and its being logged. It connects when it is needed. A packet is
    repeated once, at once, where the connection has broken since it was last used, or leads to what is no longer the
    master. That is safe only because every script can be repeated.
    """

    def __init__(self, connect: Connect, timeout: float = REPLY_TIMEOUT) -> None:
        self._connect = connect
        self._timeout = timeout
        self._connection: AbstractConnection | None = None
        self._turn = asyncio.Lock()
        self._exchange_scope: anyio.CancelScope | None = None
        self._is_given_up = False
        self._make_closed_error: Callable[[], Exception] | None = None

    async def execute(self, *commands: Command) -> list[Any]:
        """Send commands, as `Channel` says. One task after the other, in the order of their calls."""
        async with self._turn:
            is_new = self._connection is None
            try:
                return await self._exchange(commands)
            except (RedisConnectionError, ResponseError):
                if is_new:
                    raise
            return await self._exchange(commands)

    async def aclose(self, make_error: Callable[[], Exception]) -> None:
        """Disconnect for good. Calls that are under way, and later ones, raise what ``make_error`` returns."""
        self._make_closed_error = make_error
        self.reconnect()
        async with self._turn:
            await self._drop()

    def reconnect(self) -> None:
        """Give up the connection for another one. A packet that is under way is repeated on that."""
        self._is_given_up = True
        if self._exchange_scope is not None:
            self._exchange_scope.cancel()

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        self._check_open()
        if self._is_given_up:
            self._is_given_up = False
            await self._drop()
        try:
            # One timer for all. A time-out of the connection's own would cost more than all the rest of the exchange.
            with anyio.move_on_after(self._timeout) as self._exchange_scope:
                if self._connection is None:
                    self._connection = await self._connect()
                return await _exchange(self._connection, commands)
        except BaseException:
            await self._drop()
            raise
        await self._drop()
        self._check_open()
        raise RedisConnectionError("given up") if self._is_given_up else TimeoutError("no answer in time")

    def _check_open(self) -> None:
        if self._make_closed_error is not None:
            raise self._make_closed_error()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        await disconnect(connection)


async def transmit(connection: AbstractConnection, *commands: Command) -> None:
    """Send commands in one packet.

    Raises:
        RedisError, OSError: The connection is broken.
    """
    packed = connection.pack_command(*commands[0]) if len(commands) == 1 else connection.pack_commands(commands)
    try:
        await connection.send_packed_command(packed, check_health=False)
    except (RuntimeError, AttributeError) as error:  # how uvloop, and asyncio in some Pythons, say that it was closed
        raise RedisConnectionError("closed") from error


async def _exchange(connection: AbstractConnection, commands: Sequence[Command]) -> list[Any]:
    await transmit(connection, *commands)
    replies: list[Any] = []
    for _ in commands:
        try:
            replies.append(await connection.read_response(disable_decoding=True))
        except ResponseError as error:
            if is_read_only(error):  # not this command is to blame but the connection: it leads to a replica
                raise
            replies.append(error)
    return replies


class Asking:
    """A channel to the node that a slot of a Cluster is moving to, for what has moved already."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def execute(self, *commands: Command) -> list[Any]:
        """Send commands, as `Channel` says, each with leave to find its keys there."""
        return (await self._channel.execute(*chain.from_iterable((("ASKING",), command) for command in commands)))[1::2]


class SharedConnections:
    """A few connections for many tasks. Each call gets the next one that is free, in the order of the calls."""

    def __init__(self, connect: Connect) -> None:
        self._connections = [DirectConnection(connect) for _ in range(READING_CONNECTIONS)]
        self._idle = list(self._connections)
        self._free = anyio.Semaphore(READING_CONNECTIONS)

    async def execute(self, *commands: Command) -> list[Any]:
        """Send commands, as `Channel` says. Who waits for a connection waits no longer than for a reply."""
        try:
            self._free.acquire_nowait()
        except anyio.WouldBlock:
            with anyio.fail_after(REPLY_TIMEOUT):
                await self._free.acquire()
        connection = self._idle.pop()
        try:
            return await connection.execute(*commands)
        finally:
            self._idle.append(connection)
            self._free.release()

    def reconnect(self) -> None:
        """Give up the connections for others, as `DirectConnection.reconnect` does."""
        for connection in self._connections:
            connection.reconnect()

    async def aclose(self, make_error: Callable[[], Exception]) -> None:
        """Disconnect for good, as `DirectConnection.aclose` does."""
        for connection in self._connections:
            await connection.aclose(make_error)

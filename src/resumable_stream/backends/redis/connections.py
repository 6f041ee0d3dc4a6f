"""Connections of our own, made the way that a URL or a client of the user's says."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio
from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

_DEFAULTS: dict[str, Any] = {"socket_timeout": 5.0, "socket_connect_timeout": 5.0}

# Ours, whatever the user's client is set to. Chunks are bytes, not text. RESP2 is what every server we support speaks,
# and its replies have one shape. A health check reads its reply where the listener reads, too.
_OVERRIDES: dict[str, Any] = {"decode_responses": False, "protocol": 2, "health_check_interval": 0}

# Of the pool and not of its connections, or of RESP3 only.
_LEFT_OUT = ("max_connections", "timeout", "maint_notifications_config", "maint_notifications_pool_handler")

_CONNECT_TIMEOUT = 10.0
_REPLY_TIMEOUT = 5.0


def _retries() -> Retry:
    retry = Retry(ExponentialBackoff(cap=0.5, base=0.02), retries=3)
    retry.update_supported_errors([TimeoutError])  # type: ignore[list-item]  # the annotation is too narrow
    return retry


class DirectConnection:
    """One connection, for one command after the other, without what a pool and a client add to each.

    That is some 15 % of the time between a lone chunk and its being logged. It connects when it is needed, and repeats
    a command whose connection broke. That is safe only because every script can be repeated.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._connection: AbstractConnection | None = None
        self._retry = _retries()
        self._turn = asyncio.Lock()

    async def execute_command(self, *args: str | bytes | int) -> Any:
        """Send a command and return its reply.

        Raises:
            RedisError: The server refused it, or cannot be reached.
        """
        async with self._turn:
            return await self._retry.call_with_retry(lambda: self._exchange(args), self._drop)

    async def aclose(self) -> None:
        """Disconnect. May be called twice."""
        await self._drop(None)

    async def _exchange(self, args: tuple[str | bytes | int, ...]) -> Any:
        if self._connection is None:
            self._connection = await self._connections.connect()
        connection = self._connection
        # One timer for both ways. A time-out of the connection's own would cost more than all the rest of the exchange.
        with anyio.fail_after(_REPLY_TIMEOUT):
            await connection.send_packed_command(connection.pack_command(*args), check_health=False)
            return await connection.read_response(disable_decoding=True)

    async def _drop(self, _error: Exception | None) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)


class Connections:
    """Makes clients and connections that are settled like those of a pool, and share nothing with it."""

    def __init__(self, template: ConnectionPool) -> None:
        self._connection_class = template.connection_class
        settings = {name: value for name, value in template.connection_kwargs.items() if name not in _LEFT_OUT}
        for name, value in _DEFAULTS.items():
            if settings.get(name) is None:  # which some versions of redis-py say when the user said nothing
                settings[name] = value
        self._settings = settings | _OVERRIDES

    @classmethod
    def from_url(cls, url: str) -> Connections:
        """Return connections to the server that a URL names.

        Raises:
            ValueError: The driver cannot read the URL.
        """
        return cls(ConnectionPool.from_url(url))

    def make_client(self, max_connections: int) -> Redis:
        """Return a client that opens so many connections at most; one command more waits.

        It repeats a command whose connection broke. That is safe only because every script can be repeated.
        """
        pool = BlockingConnectionPool(
            max_connections=max_connections,
            timeout=None,
            connection_class=self._connection_class,
            **(self._settings | {"retry": _retries()}),
        )
        return Redis(connection_pool=pool)

    async def connect(self) -> AbstractConnection:
        """Return a new connection that waits for replies without end: who uses it decides how long that is.

        Raises:
            RedisError, TimeoutError: The server cannot be reached.
        """
        connection = self._connection_class(**(self._settings | {"socket_timeout": None}))
        try:
            with anyio.fail_after(_CONNECT_TIMEOUT):
                await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

"""Connections of our own, made the way that a URL or a client of the user's says."""

from __future__ import annotations

from typing import Any

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff

_DEFAULTS: dict[str, Any] = {"socket_timeout": 5.0, "socket_connect_timeout": 5.0}

# Ours, whatever the user's client is set to. Chunks are bytes, not text. RESP2 is what every server we support speaks,
# and its replies have one shape.
_OVERRIDES: dict[str, Any] = {"decode_responses": False, "protocol": 2}

# Of the pool and not of its connections, or of RESP3 only.
_LEFT_OUT = ("max_connections", "timeout", "maint_notifications_config", "maint_notifications_pool_handler")


class Connections:
    """Makes clients and connections that are settled like those of a pool, and share nothing with it."""

    def __init__(self, template: ConnectionPool) -> None:
        self._connection_class = template.connection_class
        settings = {name: value for name, value in template.connection_kwargs.items() if name not in _LEFT_OUT}
        self._settings = _DEFAULTS | settings | _OVERRIDES

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
        retry = Retry(ExponentialBackoff(cap=0.5, base=0.02), retries=3)
        pool = BlockingConnectionPool(
            max_connections=max_connections,
            timeout=None,
            connection_class=self._connection_class,
            **(self._settings | {"retry": retry}),
        )
        return Redis(connection_pool=pool)

    def make_listening_connection(self) -> AbstractConnection:
        """Return a connection, not yet connected, on which silence is no error: nobody may have anything to say."""
        return self._connection_class(**(self._settings | {"socket_timeout": None}))

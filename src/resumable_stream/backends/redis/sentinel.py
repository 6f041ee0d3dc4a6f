"""The master of a set of servers, as its Sentinels name it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import ReadOnlyError, RedisError, ResponseError

from .commands import send
from .connections import (
    REPLY_TIMEOUT,
    Address,
    Connect,
    Connections,
    DirectConnection,
    make_closed_error,
)
from .errors import is_forbidden
from .listener import Listener, Outage, Subscription
from .wire import disconnect

_logger = logging.getLogger("resumable_stream")

_SWITCHED = "+switch-master"
_ASK_TIMEOUT = 1.0
_DOWN = {"s_down", "o_down"}


class SentinelMaster:
    """Connects to whichever server is the master, and listens to a Sentinel for when that changes.

    An old master may go on taking what is written for ten seconds after there is a new one, and all of that is lost. So
    it is not enough to wait for an error.

    Args:
        sentinels: How to connect to each.
        service: The name under which they watch the set.
        connections: How to connect to the master, wherever it is.
        min_other_sentinels: How many others a Sentinel must see to be believed.
        host: Where the master is, whatever host they name.
    """

    def __init__(
        self,
        sentinels: Sequence[Callable[[], Awaitable[Any]]],  # the driver's connections have no types to show
        service: str,
        connections: Connections,
        *,
        min_other_sentinels: int = 0,
        host: str | None = None,
    ) -> None:
        self._sentinels = list(sentinels)
        self._service = service
        self._connections = connections
        self._min_other_sentinels = min_other_sentinels
        self._host = host
        self._address: Address | None = None
        self._on_switched: Callable[[], None] | None = None
        self._listener = Listener(self._connect_to_sentinel, outage=Outage("the watch on the master"))
        self._checking: asyncio.Task[None] | None = None

    async def open(self, on_switched: Callable[[], None]) -> None:
        """Call ``on_switched`` from now on when connections that were made before lead to the wrong server.

        Raises:
            RedisError, OSError, TimeoutError: No Sentinel can be reached.
        """
        self._on_switched = on_switched
        await self._listener.open()
        await self._listener.subscribe_if_allowed(Subscription(_SWITCHED, self._on_message, self._check_soon))

    async def aclose(self) -> None:
        """Stop listening. May be called twice."""
        await self._listener.aclose()
        if self._checking is not None:
            self._checking.cancel()
            await asyncio.wait([self._checking])

    async def connect(self) -> AbstractConnection:
        """Return a new connection to the master.

        Raises:
            RedisError, OSError, TimeoutError: There is none, or it cannot be reached.
        """
        address = await self._find()
        connection = await self._connections.connect(address)
        try:
            with anyio.fail_after(REPLY_TIMEOUT):
                await _check_role(connection)
        except BaseException:
            await disconnect(connection)
            raise
        self._address = address
        return connection

    async def _find(self) -> Address:
        problem: Exception = MasterNotFoundError("no Sentinel knows a master that is up")
        for sentinel in list(self._sentinels):
            try:
                found = await self._ask(sentinel)
            except (RedisError, OSError) as error:
                if is_forbidden(error):
                    problem = error
                continue
            if found is not None:
                self._prefer(sentinel)
                return found
        raise problem

    def _prefer(self, sentinel: Connect) -> None:
        """Ask one that answers first next time."""
        self._sentinels.remove(sentinel)
        self._sentinels.insert(0, sentinel)

    async def _connect_to_sentinel(self) -> AbstractConnection:
        problem: Exception = MasterNotFoundError("no Sentinel can be reached")
        for sentinel in list(self._sentinels):
            try:
                with anyio.fail_after(_ASK_TIMEOUT):
                    connection: AbstractConnection = await sentinel()
            except (RedisError, OSError) as error:
                problem = error
                continue
            self._prefer(sentinel)  # what it says is known there first
            return connection
        raise problem

    def _on_message(self, message: bytes) -> None:
        service, *_ = message.decode().split(" ")
        if service == self._service and self._on_switched is not None:
            self._on_switched()

    def _check_soon(self) -> None:
        """Find out what was missed while no Sentinel was heard."""
        if self._checking is None or self._checking.done():
            self._checking = asyncio.create_task(self._check(), name="resumable-stream master")

    async def _check(self) -> None:
        try:
            found = await self._find()
        except (RedisError, OSError) as error:
            _logger.debug("could not look up the master: %s", type(error).__name__)
            return
        if found != self._address and self._on_switched is not None:
            self._on_switched()

    async def _ask(self, sentinel: Connect) -> Address | None:
        connection = DirectConnection(sentinel, _ASK_TIMEOUT)
        try:
            reply = await send(connection, "SENTINEL", "MASTER", self._service)
        finally:
            await connection.aclose(make_closed_error)
        state = {name.decode(): value.decode() for name, value in zip(reply[::2], reply[1::2], strict=True)}
        is_cut_off = int(state["num-other-sentinels"]) < self._min_other_sentinels
        if is_cut_off or _DOWN & set(state["flags"].split(",")):
            return None
        return Address(self._host or state["ip"], int(state["port"]))


async def _check_role(connection: AbstractConnection) -> None:
    """Raise if this is no master: a Sentinel may not have heard yet."""
    await connection.send_command("ROLE", check_health=False)
    try:
        role, *_ = await connection.read_response(disable_decoding=True)
    except ResponseError:
        return  # users who may not ask find out when they write
    if role != b"master":
        raise ReadOnlyError("not the master any more")

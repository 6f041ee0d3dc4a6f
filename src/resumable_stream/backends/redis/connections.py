"""Connections of our own, made the way that a URL or a client of the user's says."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, Protocol, TypeAlias

import anyio
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from ...exceptions import ContextClosedError
from .errors import is_read_only
from .wire import Command, disconnect, open_wire

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


class _Packet:
    """Commands that were sent, and what has come of their replies."""

    __slots__ = ("answer", "expected", "replies")

    def __init__(self, expected: int, answer: asyncio.Future[list[Any]]) -> None:
        self.expected = expected
        self.answer = answer
        self.replies: list[Any] = []


class _Line:
    """A connection that is up, and the packets on it that are not answered yet."""

    def __init__(self, connection: AbstractConnection, timeout: float) -> None:
        self._timeout = timeout
        self._unanswered: deque[_Packet] = deque()
        self._due_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.is_given_up = False
        self._wire = open_wire(connection, self._on_reply, self.give_up)

    @property
    def is_quiet(self) -> bool:
        """Whether there is no reply to come."""
        return not self._unanswered

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands, and return their replies."""
        if self.is_given_up:
            raise _given_up()
        try:
            self._wire.send(*commands)
        except RedisConnectionError as error:
            self.give_up(error)
            raise
        loop = asyncio.get_running_loop()
        packet = _Packet(len(commands), loop.create_future())
        if not self._unanswered:
            self._due_at = loop.time() + self._timeout
            if self._timer is None:  # one for many packets: seldom does one wait so long that it matters
                self._timer = loop.call_at(self._due_at, self._look_at_clock)
        self._unanswered.append(packet)
        replies = await packet.answer
        if (refusal := _refusal_of_replica(replies)) is not None:
            self.give_up(RedisConnectionError("not the master any more"))
            raise refusal
        return replies

    def give_up(self, error: Exception) -> None:
        """Take no packet any more, and tell those who wait for an answer."""
        self.is_given_up = True
        while self._unanswered:
            packet = self._unanswered.popleft()
            if not packet.answer.done():
                packet.answer.set_exception(error)

    async def aclose(self) -> None:
        """Disconnect."""
        self.give_up(_given_up())
        if self._timer is not None:
            self._timer.cancel()
        await self._wire.aclose()

    def _on_reply(self, reply: Any) -> None:
        if self.is_given_up:
            return
        packet = self._unanswered[0]
        packet.replies.append(reply)
        if len(packet.replies) < packet.expected:
            return
        self._unanswered.popleft()
        if self._unanswered:
            self._due_at = asyncio.get_running_loop().time() + self._timeout
        if not packet.answer.done():  # else it was cancelled
            packet.answer.set_result(packet.replies)

    def _look_at_clock(self) -> None:
        self._timer = None
        if not self._unanswered:
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._due_at:
            self._timer = loop.call_at(self._due_at, self._look_at_clock)
            return
        late = self._unanswered.popleft()
        if not late.answer.done():
            late.answer.set_exception(TimeoutError("no answer in time"))
        self.give_up(RedisConnectionError("no answer in time to what was sent before"))


class DirectConnection:
    """One connection for many tasks, without what a pool and a client add to each command.

    It connects when it is needed. A packet does not wait for the replies to those before it, and its time begins when
    these are there. Where one comes too late, or the connection breaks, or leads to what is no longer the master, all
    packets that are under way are repeated once, at once, on another; but not the late one, nor those that had waited
    for the connection to be made. That is safe only because every script can be repeated.
    """

    def __init__(self, connect: Connect, timeout: float = REPLY_TIMEOUT) -> None:
        self._connect = connect
        self._timeout = timeout
        self._line: _Line | None = None
        self._opening = asyncio.Lock()
        self._connecting = anyio.CancelScope()
        self._make_closed_error: Callable[[], Exception] | None = None

    @property
    def is_quiet(self) -> bool:
        """Whether there is no reply to come, not even to a call that was cancelled."""
        return self._line is None or self._line.is_quiet

    async def execute(self, *commands: Command) -> list[Any]:
        """Send commands, as `Channel` says. Cancelling it leaves them sent: their replies are thrown away."""
        if not commands:
            return []
        is_new = self._line is None or self._line.is_given_up
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
        async with self._opening:
            await self._drop()

    def reconnect(self) -> None:
        """Give up the connection for another one."""
        self._connecting.cancel()
        if self._line is not None:
            self._line.give_up(_given_up())

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        try:
            line = await self._usable_line()
            return await line.ask(commands)
        except Exception:
            self._check_open()
            raise

    async def _usable_line(self) -> _Line:
        self._check_open()
        if self._line is None or self._line.is_given_up:
            async with self._opening:
                if self._line is None or self._line.is_given_up:  # else another task has made one meanwhile
                    await self._drop()
                    self._check_open()
                    self._line = await self._open()
                return self._line
        return self._line

    async def _open(self) -> _Line:
        with anyio.move_on_after(self._timeout) as self._connecting:
            line = _Line(await self._connect(), self._timeout)
            if self._connecting.cancel_called:  # when there was nothing left to cancel
                line.give_up(_given_up())
            return line
        if anyio.current_time() >= self._connecting.deadline:
            raise TimeoutError("no answer in time")
        raise _given_up()

    def _check_open(self) -> None:
        if self._make_closed_error is not None:
            raise self._make_closed_error()

    async def _drop(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            await line.aclose()


def _given_up() -> RedisConnectionError:
    return RedisConnectionError("given up")


def _refusal_of_replica(replies: Sequence[Any]) -> ResponseError | None:
    """Return a refusal for which not the command is to blame but the connection: it leads to a replica."""
    for reply in replies:
        if isinstance(reply, ResponseError) and is_read_only(reply):
            return reply
    return None


class Asking:
    """A channel to the node that a slot of a Cluster is moving to, for what has moved already."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def execute(self, *commands: Command) -> list[Any]:
        """Send commands, as `Channel` says, each with leave to find its keys there."""
        return (await self._channel.execute(*chain.from_iterable((("ASKING",), command) for command in commands)))[1::2]


class SharedConnections:
    """A few connections for many tasks. Each call has one to itself, and gets it in the order of the calls."""

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
        # A call that was cancelled may have left a reply to come, or one that never does.
        connection = next((idle for idle in reversed(self._idle) if idle.is_quiet), self._idle[-1])
        self._idle.remove(connection)
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

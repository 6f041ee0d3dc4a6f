"""What followers and offers share: two connections, and a place for tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from typing_extensions import TypeVarTuple, Unpack

from ..._engine.patience import patiently
from ...backends.redis.errors import translated_errors
from ...backends.redis.listener import Listener, Subscription
from ...backends.redis.single import SingleServer
from ...backends.redis.topology import servers_of
from ...exceptions import ContextClosedError, InvalidSettingError
from .commands import Commands, reply_of

if TYPE_CHECKING:
    from redis.asyncio import Redis

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Service: TypeAlias = Callable[[], Coroutine[Any, Any, Any]]


class Link:
    """Connects to one server, or to the master that Sentinels name: once to send commands, and once to listen.

    Args:
        server: A URL or a client, as `RedisBackend` takes it.
        outage_timeout: How many seconds `patiently` waits.

    Raises:
        InvalidSettingError: It is neither, or means a Cluster.
    """

    def __init__(self, server: str | Redis, outage_timeout: float) -> None:
        servers = servers_of(server, wait_replicas=0, wait_timeout=1.0)
        if not isinstance(servers, SingleServer):
            raise InvalidSettingError("the npm package speaks to one server, and not to a Cluster")
        self._servers = servers
        self._outage_timeout = outage_timeout
        self._listener: Listener | None = None
        self._commands: Commands | None = None
        self._tasks: TaskGroup | None = None
        self._host: asyncio.Task[None] | None = None
        self._started: set[asyncio.Task[Any]] = set()
        self._on_close: dict[object, Callable[[], None]] = {}

    async def open(self, *services: Service) -> None:
        """Connect, and run tasks until `aclose`.

        Raises:
            BackendError: The server cannot be reached. Nothing was started.
            ContextClosedError: It is open.
        """
        if self._host is not None:
            raise ContextClosedError("it is open already: enter it once")
        make_connection, master = self._servers.make_connection, self._servers.master
        self._listener, self._commands = Listener(make_connection), Commands(make_connection)
        started, self._leaving = anyio.Event(), anyio.Event()
        self._host = asyncio.create_task(self._run(started, (self._commands.run, *services)), name="npm streams")
        try:
            await started.wait()
            with translated_errors("answer"):
                if master is not None:
                    await master.open(self._reconnect)
                await self._listener.open()
            await self.send("PING")
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.aclose()
            raise

    async def aclose(self) -> None:
        """End all tasks, and disconnect. May be called twice."""
        host, self._host = self._host, None
        if host is None:
            return
        self._leaving.set()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([host])
            listener, commands, master = self._listener, self._commands, self._servers.master
            self._listener = self._commands = None
            if master is not None:
                await master.aclose()
            if listener is not None:
                await listener.aclose()
            if commands is not None:
                await commands.aclose()
        if not host.cancelled():
            host.result()

    async def send(self, *words: str | bytes | int) -> Any:
        """Send a command and return its reply.

        Raises:
            BackendError, ContextClosedError: It failed, or nothing is open.
        """
        return await reply_of(self.commands.submit(*words))

    async def run(self, script: str, key: str, *args: str | bytes | int) -> Any:
        """Run a script. Errors are those of `send`."""
        return await reply_of(self.commands.submit_script(script, key, *args))

    @property
    def is_open(self) -> bool:
        """Whether there are connections."""
        return self._listener is not None

    @property
    def commands(self) -> Commands:
        """Where commands are sent."""
        if self._commands is None:
            raise ContextClosedError("use it inside of 'async with'")
        return self._commands

    @property
    def listener(self) -> Listener:
        """Where messages are heard."""
        if self._listener is None:
            raise ContextClosedError("use it inside of 'async with'")
        return self._listener

    async def subscribe(self, subscription: Subscription) -> None:
        """Hear all messages on a channel that come after this returned.

        Raises:
            BackendError: The server does not confirm it, or refuses. Nothing is subscribed to.
        """
        with translated_errors("subscribe"):
            await self.listener.subscribe(subscription)

    async def patiently(self, call: Callable[[], Awaitable[T]], seconds: float = 0.0) -> T:
        """Make a call that takes ``seconds`` and may be repeated, and wait for a server that is away.

        Raises:
            BackendUnavailableError: It is still away.
        """
        return await patiently(call, self._outage_timeout + seconds)

    def start(self, call: Callable[[Unpack[Ts]], Coroutine[Any, Any, Any]], *args: Unpack[Ts]) -> bool:
        """Run a task, which must not raise; return whether this is open. May be called where no task is running."""
        if self._tasks is None:
            return False
        task = asyncio.get_running_loop().create_task(call(*args))  # anyio starts tasks in tasks alone
        self._started.add(task)
        task.add_done_callback(self._started.discard)
        return True

    def unsubscribe(self, channel: str) -> None:
        """Let go of a channel; nobody waits for it. May be called from a callback of the event loop."""
        if self._listener is not None:
            self._listener.unsubscribe(channel)

    def call_on_close(self, who: object, call: Callable[[], None] | None) -> None:
        """Have something called when this is closed; with ``None``, no more."""
        if call is None:
            self._on_close.pop(who, None)
        else:
            self._on_close[who] = call

    def _reconnect(self) -> None:
        """The master is another one."""
        for part in (self._listener, self._commands):
            if part is not None:
                part.reconnect()

    async def _run(self, started: anyio.Event, services: tuple[Service, ...]) -> None:
        try:
            async with anyio.create_task_group() as tasks:
                for service in services:
                    tasks.start_soon(service)
                self._tasks = tasks
                started.set()
                await self._leaving.wait()
                self._tasks = None
                await checkpoint()  # a task that is cancelled before its first step warns that it was never awaited
                tasks.cancel_scope.cancel()
        finally:
            for task in self._started:
                task.cancel()
            if self._started:
                with anyio.CancelScope(shield=True):
                    await asyncio.wait(self._started)
            self._tasks = None
            callbacks, self._on_close = list(self._on_close.values()), {}
            for call in callbacks:
                call()

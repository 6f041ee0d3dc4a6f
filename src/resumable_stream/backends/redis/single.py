"""One server, wherever it is at the moment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, TypeVar

from typing_extensions import override

from ...abc import OnPush
from ...exceptions import ContextClosedError
from .commands import Replicas, evaluate, evaluate_confirmed, scan, send
from .connections import Connect, DirectConnection, SharedConnections, make_closed_error
from .listener import Listener, Subscription
from .scripts import Script
from .sentinel import SentinelMaster
from .servers import AppendCall, OnInterrupted, OnMessage, ScriptCall, Servers

T = TypeVar("T")


class SingleServer(Servers):
    """One server, or the one that Sentinels name as the master of a set.

    Args:
        connect: Makes a connection to it.
        replicas: How many have to confirm an append.
        master: Knows when it is another one.
    """

    def __init__(self, connect: Connect, replicas: Replicas, master: SentinelMaster | None = None) -> None:
        self._connect = connect
        self._replicas = replicas
        self._master = master
        self._appending: DirectConnection | None = None
        self._reading: SharedConnections | None = None
        self._listener: Listener | None = None

    @property
    def make_connection(self) -> Connect:
        """Makes a connection to it, for who needs one beside these."""
        return self._connect

    @property
    def master(self) -> SentinelMaster | None:
        """Knows when it is another one; ``None`` if it always is the same."""
        return self._master

    @override
    async def connect(self, notices: str, on_notice: OnMessage, on_interrupted: OnInterrupted) -> None:
        self._appending = DirectConnection(self._connect, self._replicas.reply_timeout)
        self._reading = SharedConnections(self._connect)
        self._listener = Listener(self._connect, on_interrupted=on_interrupted)
        if self._master is not None:
            await self._master.open(self._reconnect)
        await send(self._reading, "PING")
        await self._listener.open()
        await self._listener.subscribe_if_allowed(Subscription.to_notices(notices, on_notice))

    @override
    async def aclose(self) -> None:
        if self._master is not None:
            await self._master.aclose()
        if self._listener is not None:
            await self._listener.aclose()
        for part in (self._appending, self._reading):
            if part is not None:
                await part.aclose(make_closed_error)
        self._appending = self._reading = self._listener = None

    @override
    async def run(self, script: Script, call: ScriptCall) -> Any:
        (reply,) = await evaluate(_open(self._reading), script, (call,))
        if isinstance(reply, Exception):
            raise reply
        return reply

    @override
    async def append(self, script: Script, shared: str, calls: Iterable[AppendCall]) -> Sequence[Any]:
        keys: list[str] = []
        args: list[str | bytes | int] = [shared]
        ends: list[str | int] = []
        for number, (its_keys, its_args, end) in enumerate(calls):
            keys += its_keys
            args += its_args
            if end:
                ends += number, end
        args += ends
        (reply,) = await evaluate_confirmed(_open(self._appending), script, (ScriptCall(keys, args),), self._replicas)
        if isinstance(reply, Exception):
            raise reply
        answers: list[Any] = [()] * (len(keys) // 2)
        for at in range(0, len(reply), 4):
            answers[reply[at]] = reply[at + 1 : at + 4]
        return answers

    @override
    async def subscribe(self, channel: str, on_push: OnPush) -> None:
        await _open(self._listener).subscribe(Subscription.to_pushes(channel, on_push))

    @override
    async def unsubscribe(self, channel: str) -> None:
        _open(self._listener).unsubscribe(channel)

    def _reconnect(self) -> None:
        for part in (self._appending, self._reading, self._listener):
            if part is not None:
                part.reconnect()

    @override
    def scan(self, pattern: str) -> AsyncIterator[str]:
        return scan(_open(self._reading), pattern)


def _open(part: T | None) -> T:
    if part is None:
        raise ContextClosedError("the backend is not connected")
    return part

"""The one connection on which commands are sent, for all tasks."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import anyio
from redis.exceptions import NoScriptError

from ...backends.redis.connections import Connect, DirectConnection, make_closed_error
from ...backends.redis.errors import translated_errors
from ...backends.redis.scripts import read_script
from ...backends.redis.wire import Command
from ...exceptions import ContextClosedError

_PACKET = 64


_SCRIPTS = {name: read_script(__package__, name) for name in ("claim", "finish", "publish")}


class _Call(NamedTuple):
    words: Command
    reply: asyncio.Future[Any]


class Commands:
    """Sends what several tasks ask for. What comes while a packet is under way shares the next one.

    A packet whose connection breaks is sent again, so every command has to be safe to repeat.
    """

    def __init__(self, connect: Connect) -> None:
        self._connection = DirectConnection(connect)
        self._pending: deque[_Call] = deque()
        self._has_pending = anyio.Event()
        self._is_closed = False

    def submit(self, *words: str | bytes | int) -> asyncio.Future[Any]:
        """Send a command with the next packet. The result is the reply, or the error that came in its place."""
        call = _Call(words, asyncio.get_running_loop().create_future())
        if self._is_closed:
            call.reply.set_result(_closed())
        else:
            self._pending.append(call)
            self._has_pending.set()
        return call.reply

    def submit_script(self, name: str, key: str, *args: str | bytes | int) -> asyncio.Future[Any]:
        """The same for a script."""
        return self.submit("EVALSHA", _SCRIPTS[name].sha, 1, key, *args)

    async def run(self) -> None:
        """Send, until cancelled."""
        calls: list[_Call] = []
        try:
            while True:
                if not self._pending:
                    self._has_pending = anyio.Event()
                    await self._has_pending.wait()
                calls = self._next_packet()
                try:
                    replies = await self._exchange([call.words for call in calls])
                except Exception as error:  # noqa: BLE001  # a task boundary: those who asked get it
                    replies = [error] * len(calls)
                for call, reply in zip(calls, replies, strict=True):
                    _settle(call, reply)
        finally:
            self._is_closed = True
            for call in (*calls, *self._pending):
                _settle(call, _closed())

    async def aclose(self) -> None:
        """Disconnect."""
        await self._connection.aclose(make_closed_error)

    def reconnect(self) -> None:
        """Give up the connection for another one."""
        self._connection.reconnect()

    def _next_packet(self) -> list[_Call]:
        calls: list[_Call] = []
        while self._pending and len(calls) < _PACKET:
            call = self._pending.popleft()
            if not call.reply.done():  # else nobody waits any more
                calls.append(call)
        return calls

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        replies = await self._connection.execute(*commands)
        unknown = [number for number, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            await self._connection.execute(*(("SCRIPT", "LOAD", script.text) for script in _SCRIPTS.values()))
            again = await self._connection.execute(*(commands[number] for number in unknown))
            for number, reply in zip(unknown, again, strict=True):
                replies[number] = reply
        return replies


async def reply_of(call: asyncio.Future[Any]) -> Any:
    """Wait for a reply. Cancelling it does not keep the command from being sent.

    Raises:
        BackendError: The command failed.
    """
    reply = await call
    if isinstance(reply, ContextClosedError):
        raise reply
    if isinstance(reply, Exception):
        with translated_errors("answer"):
            raise reply
    return reply


def _settle(call: _Call, reply: Any) -> None:
    if not call.reply.done():
        call.reply.set_result(reply)


def _closed() -> ContextClosedError:
    return ContextClosedError("use it inside of 'async with'")

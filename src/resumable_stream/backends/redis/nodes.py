"""One master of a Cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import anyio

from .commands import Replicas, evaluate_confirmed
from .connections import Address, Asking, Channel, Connections, DirectConnection, SharedConnections
from .scripts import Script
from .servers import ScriptCall

# A node that does not answer is not to hold up the others for longer.
_PATIENCE = 1.0


class Node:
    """The connections to one master."""

    def __init__(self, address: Address, connections: Connections, replicas: Replicas) -> None:
        connect = partial(connections.connect, address)
        self.address = address
        self.reading: SharedConnections = SharedConnections(connect)
        self._appending = DirectConnection(connect, replicas.reply_timeout)
        self._replicas = replicas
        # Replicas may have to confirm another append first.
        self._patience = _PATIENCE + (2 * replicas.timeout if replicas.number else 0)
        self._late: set[asyncio.Task[list[Any]]] = set()

    async def aclose(self, make_error: Callable[[], Exception]) -> None:
        """Disconnect for good. Calls that are under way raise what ``make_error`` returns."""
        await self._appending.aclose(make_error)
        await self.reading.aclose(make_error)
        if self._late:
            await asyncio.wait(self._late)

    async def append(self, script: Script, calls: Sequence[ScriptCall], *, is_ask: bool) -> list[Any]:
        """Run the append script some times; return replies or errors.

        A node that did not answer in time is not asked, nor waited for, until it answered or its connection was given
        up.
        """
        if self._late:
            return [TimeoutError()] * len(calls)
        task = asyncio.create_task(self._append(script, calls, Asking(self._appending) if is_ask else self._appending))
        try:
            await asyncio.wait([task], timeout=self._patience)
        except BaseException:
            task.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([task])
            raise
        if task.done():
            return task.result()
        self._late.add(task)
        task.add_done_callback(self._late.discard)
        return [TimeoutError()] * len(calls)

    async def _append(self, script: Script, calls: Sequence[ScriptCall], channel: Channel) -> list[Any]:
        try:
            return await evaluate_confirmed(channel, script, calls, self._replicas)
        except Exception as error:  # noqa: BLE001  # a task boundary: it is the answer to these calls, not to others
            return [error] * len(calls)


class Target(NamedTuple):
    """Where a call belongs."""

    node: Node
    is_ask: bool
    """Whether the slot is still on its way there, so that the node takes the call only after ``ASKING``."""

    @property
    def reading(self) -> Channel:
        """Where to send what does not append."""
        return Asking(self.node.reading) if self.is_ask else self.node.reading

    async def append(self, script: Script, calls: Sequence[ScriptCall]) -> list[Any]:
        """Run the append script some times; return replies or errors."""
        return await self.node.append(script, calls, is_ask=self.is_ask)

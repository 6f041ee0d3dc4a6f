"""Knows where the slots of a Cluster are, and keeps up with it."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import anyio
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ClusterDownError, RedisError

from .commands import send
from .connections import Address, Connections, DirectConnection, make_closed_error
from .errors import may_have_moved, redirection_of
from .layout import Layout, Remap, decode_layout, resolve

_logger = logging.getLogger("resumable_stream")

_ASK_TIMEOUT = 1.0
_REFRESH_INTERVAL = 0.25
_REFRESH_PATIENCE = 1.0


class Redirected(NamedTuple):
    """Where a command is to be sent instead."""

    address: Address
    is_ask: bool
    """Whether that holds for this command only, and takes ``ASKING``."""


class Discovery:
    """Finds the nodes of a Cluster.

    Args:
        start: Where to look first.
        connections: How to connect to a node.
        remap: Where an address that a node names can be reached from here.
        on_change: Called when slots have another master than before, or the nodes are others.
    """

    def __init__(
        self, start: Sequence[Address], connections: Connections, remap: Remap | None, on_change: Callable[[], None]
    ) -> None:
        self._start = start
        self._connections = connections
        self._remap = remap
        self._on_change = on_change
        self._layout = Layout.empty()
        self.anywhere: Address | None = None
        """Where `connect_anywhere` connected to last."""
        self._refreshed_at = 0.0
        self._refreshing: asyncio.Task[None] | None = None

    @property
    def layout(self) -> Layout:
        """What is known at the moment."""
        return self._layout

    async def refresh(self) -> None:
        """Ask one node after the other where the slots are, until one knows.

        Raises:
            RedisError, OSError, TimeoutError: None can be reached, or none knows: the last one's error.
        """
        problem: Exception = ClusterDownError("no node knows where the slots are")
        for address in self._candidates():
            try:
                layout = await self._ask(address)
            except (RedisError, OSError) as error:
                problem = error
                continue
            if layout.masters:  # a node that was taken out of the Cluster knows of none
                self._take(layout)
                return
        raise problem

    def learn(self, asked: Address, error: Exception) -> Redirected | None:
        """Take note of a node's error, and return where it says that the slot is, if it does."""
        redirection = redirection_of(error)
        if redirection is None:
            if may_have_moved(error):
                self.refresh_soon()
            return None
        address = resolve(redirection.host, redirection.port, asked, self._remap)
        if not redirection.is_ask:
            self._take(self._layout.with_owner(redirection.slot, address))
            self.refresh_soon()  # what moved may be more than this slot
        return Redirected(address, redirection.is_ask)

    def refresh_soon(self) -> asyncio.Task[None]:
        """Have the layout looked up, but not more often than makes sense; return the task that does it."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh_later(), name="resumable-stream discovery")
        return self._refreshing

    async def refreshed(self) -> None:
        """Have the layout looked up, and wait for it, within limits."""
        await asyncio.wait([self.refresh_soon()], timeout=_REFRESH_PATIENCE)

    async def connect_anywhere(self) -> AbstractConnection:
        """Return a new connection to any node.

        Raises:
            RedisError, OSError, TimeoutError: None can be reached: the last one's error.
        """
        problem: Exception = ClusterDownError("no node is known")
        for address in self._candidates():
            try:
                with anyio.fail_after(_ASK_TIMEOUT):
                    connection = await self._connections.connect(address)
            except (RedisError, OSError) as error:
                problem = error
                continue
            self.anywhere = address
            return connection
        raise problem

    async def aclose(self) -> None:
        """Stop looking."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])

    def _candidates(self) -> list[Address]:
        """Return masters, then replicas, then where we started: each process in another order."""
        masters, replicas = list(self._layout.masters), list(self._layout.replicas)
        random.shuffle(masters)
        random.shuffle(replicas)
        return list(dict.fromkeys([*masters, *replicas, *self._start]))

    async def _ask(self, address: Address) -> Layout:
        connection = DirectConnection(partial(self._connections.connect, address), _ASK_TIMEOUT)
        try:
            return decode_layout(await send(connection, "CLUSTER", "SLOTS"), address, self._remap)
        finally:
            await connection.aclose(make_closed_error)

    def _take(self, layout: Layout) -> None:
        before, self._layout = self._layout, layout
        if layout != before:
            self._on_change()

    async def _refresh_later(self) -> None:
        loop = asyncio.get_running_loop()
        await anyio.sleep(max(0.0, self._refreshed_at + _REFRESH_INTERVAL - loop.time()))
        self._refreshed_at = loop.time()
        try:
            await self.refresh()
        except Exception as error:  # noqa: BLE001  # a task boundary: whoever finds the layout wrong asks again
            _logger.debug("could not look up the layout of the Cluster: %s", type(error).__name__)

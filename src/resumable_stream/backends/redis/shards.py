"""Sharded channels of a Cluster: each is heard at the node that has its slot."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

import anyio
from redis.exceptions import RedisError

from ...abc import OnPush
from .connections import Address, Connections
from .discovery import Discovery
from .errors import is_passing
from .layout import slot_of
from .listener import SHARDED, Listener, Outage, Subscription, give_up
from .servers import OnInterrupted

_PAUSE = 0.05


@dataclass
class _Placed:
    """A subscription, and where it is at the moment."""

    subscription: Subscription
    slot: int
    listener: Listener | None = None


class ShardListeners:
    """One listener per master, made when it is needed. Subscriptions follow their slots."""

    def __init__(
        self, discovery: Discovery, connections: Connections, outage: Outage, on_interrupted: OnInterrupted
    ) -> None:
        self._discovery = discovery
        self._connections = connections
        self._outage = outage
        self._on_interrupted = on_interrupted
        self._listeners: dict[Address, Listener] = {}
        self._placed: dict[bytes, _Placed] = {}
        self._is_outdated = asyncio.Event()
        self._placing = asyncio.create_task(self._keep_placing(), name="resumable-stream shards")

    async def aclose(self) -> None:
        """Stop listening, and disconnect."""
        self._placing.cancel()
        await asyncio.wait([self._placing])
        for listener in self._listeners.values():
            await listener.aclose()

    async def subscribe(self, channel: str, on_push: OnPush) -> None:
        """Hear all messages on a channel that come after this returned.

        Raises:
            TimeoutError: No server confirms.
            RedisError: It is refused. Then, too, nothing is subscribed to.
        """
        placed = _Placed(Subscription.to_pushes(channel, on_push), slot_of(channel))
        self._placed[placed.subscription.channel] = placed
        self._place(placed)
        try:
            await placed.subscription.wait()
        except (TimeoutError, RedisError) as error:
            listener = placed.listener
            self.unsubscribe(channel)
            if listener is not None and isinstance(error, TimeoutError):
                listener.reconnect()
            raise

    def unsubscribe(self, channel: str) -> None:
        """Stop calling. The server is told, and not waited for."""
        placed = self._placed.pop(channel.encode(), None)
        if placed is not None and placed.listener is not None:
            placed.listener.unsubscribe(channel)

    def place_again(self) -> None:
        """Look where the slots are now."""
        self._is_outdated.set()

    async def _keep_placing(self) -> None:
        while True:
            await self._is_outdated.wait()
            self._is_outdated.clear()
            for placed in self._placed.values():
                self._place(placed)
            await self._close_unused()
            await anyio.sleep(_PAUSE)

    def _place(self, placed: _Placed) -> None:
        owner = self._discovery.layout.owners[placed.slot]
        new = None if owner is None else self._listener_at(owner)
        old, placed.listener = placed.listener, new
        if new is old:
            return
        if old is not None:
            old.forget(placed.subscription)  # the server forgets it, too, when it hears that the slot has moved
        if new is not None:
            new.adopt(placed.subscription)

    def _listener_at(self, address: Address) -> Listener:
        if address not in self._listeners:
            self._listeners[address] = Listener(
                partial(self._connections.connect, address),
                SHARDED,
                on_lost=partial(self._on_lost, address),
                on_interrupted=self._on_interrupted,
                outage=self._outage,
            )
            self._listeners[address].start()
        return self._listeners[address]

    async def _close_unused(self) -> None:
        for address in self._listeners.keys() - set(self._discovery.layout.masters):
            listener = self._listeners.pop(address)
            await listener.aclose()
            self._outage.end(listener)

    def _on_lost(self, address: Address, subscription: Subscription, error: Exception | None) -> None:
        placed = self._placed.get(subscription.channel)
        if placed is None or placed.subscription is not subscription:
            return
        if error is None:  # the slot has moved, and the node that had it does not say where
            self._discovery.refresh_soon()
        elif self._discovery.learn(address, error) is None and not is_passing(error):
            del self._placed[subscription.channel]
            give_up(subscription, error)
            return
        placed.listener = None
        self.place_again()

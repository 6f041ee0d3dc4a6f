"""A Redis Cluster: streams are spread over its masters by the hash of their ids."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

import anyio
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ClusterDownError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from typing_extensions import override

from ...abc import OnPush
from ...exceptions import ContextClosedError
from .commands import Replicas, evaluate, scan, send
from .connections import Address, Connections, make_closed_error
from .discovery import Discovery
from .errors import is_passing, is_to_be_tried_again, may_have_moved
from .layout import Layout, Remap, slot_of
from .listener import Listener, Outage, Subscription
from .nodes import Node, Target
from .scripts import Script
from .servers import AppendCall, OnInterrupted, OnMessage, ScriptCall, Servers
from .shards import ShardListeners

_MAX_ATTEMPTS = 5
_MAX_WALKS = 5
_TRY_AGAIN = 0.05


class ClusterServers(Servers):
    """The masters of a Cluster: three connections to each for commands, and one on which its pushes are heard.

    One connection more, to any node, is for the notices. Where a node cannot do sharded channels it is for pushes, too.
    """

    def __init__(
        self, start: Sequence[Address], connections: Connections, replicas: Replicas, remap: Remap | None = None
    ) -> None:
        self._connections = connections
        self._replicas = replicas
        self._discovery = Discovery(start, connections, remap, self._on_change)
        self._nodes: dict[Address, Node] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._listener: Listener | None = None
        self._shards: ShardListeners | None = None

    @property
    def layout(self) -> Layout:
        """Who has what, as far as is known."""
        return self._discovery.layout

    async def make_connection_to(self, address: Address) -> AbstractConnection:
        """Make a connection to a node, for who needs one beside these."""
        return await self._connections.connect(address)

    @override
    async def connect(self, notices: str, on_notice: OnMessage, on_interrupted: OnInterrupted) -> None:
        def look_and_tell() -> None:
            self._discovery.refresh_soon()
            on_interrupted()

        await self._discovery.refresh()
        outage = Outage()
        self._listener = Listener(self._discovery.connect_anywhere, on_interrupted=look_and_tell, outage=outage)
        await self._listener.open()
        await self._listener.subscribe_if_allowed(Subscription.to_notices(notices, on_notice))
        if await self._has_sharded_channels():
            self.push_command = "SPUBLISH"
            self._shards = ShardListeners(self._discovery, self._connections, outage, look_and_tell)

    @override
    async def aclose(self) -> None:
        await self._discovery.aclose()
        if self._shards is not None:
            await self._shards.aclose()
        if self._listener is not None:
            await self._listener.aclose()
        for node in self._nodes.values():
            await node.aclose(make_closed_error)
        if self._retiring:
            await asyncio.wait(self._retiring)
        self._nodes = {}
        self._listener = self._shards = None

    @override
    async def run(self, script: Script, call: ScriptCall) -> Any:
        target = self._target_of(call)
        for _ in range(_MAX_ATTEMPTS):
            try:
                (reply,) = await evaluate(target.reading, script, (call,))
            except (RedisError, OSError) as error:
                reply = error
            if not isinstance(reply, Exception):
                return reply
            target = await self._next_target(call, target, reply)
        raise ClusterDownError("redirected too often")

    @override
    async def append(self, script: Script, shared: str, calls: Iterable[AppendCall]) -> Sequence[Any]:
        runs = [ScriptCall(keys, (shared, *args, *((0, end) if end else ()))) for keys, args, end in calls]
        answers: dict[int, Any] = {}
        targets: dict[int, Target] = {}
        for number, call in enumerate(runs):
            try:
                targets[number] = self._target_of(call)
            except ClusterDownError as error:
                answers[number] = error
        for _ in range(_MAX_ATTEMPTS):
            replies = await self._append_at(targets, script, runs)
            answers |= replies
            targets = self._redirected(targets, replies)
            if not targets:
                break
        for number in targets:
            answers[number] = ClusterDownError("redirected too often")
        ordered = [answers[number] for number in range(len(runs))]
        # What the script says of a run with one append begins with its number, which is 0.
        return [answer if isinstance(answer, Exception) else answer[1:] for answer in ordered]

    @override
    async def subscribe(self, channel: str, on_push: OnPush) -> None:
        listener = self._open_listener()
        if self._shards is not None:
            await self._shards.subscribe(channel, on_push)
        else:
            await listener.subscribe(Subscription.to_pushes(channel, on_push))

    @override
    async def unsubscribe(self, channel: str) -> None:
        (self._shards or self._open_listener()).unsubscribe(channel)

    @override
    async def scan(self, pattern: str) -> AsyncIterator[str]:
        self._open_listener()
        for _ in range(_MAX_WALKS):
            layout = self._discovery.layout
            for address in layout.masters:
                async for key in scan(self._node_at(address).reading, pattern):
                    yield key
            # What moved meanwhile, from a node that comes late to one that comes early, is found by another walk.
            await self._discovery.refresh()
            if self._discovery.layout.owners == layout.owners:
                return

    async def _has_sharded_channels(self) -> bool:
        """Whether all masters have them, as far as they answer: Redis and Valkey do since Redis 7."""
        for address in self._discovery.layout.masters:
            try:
                (found,) = await send(self._node_at(address).reading, "COMMAND", "INFO", "SPUBLISH")
            except (RedisError, OSError) as error:
                found = is_passing(error)
            if not found:
                return False
        return True

    async def _append_at(
        self, targets: Mapping[int, Target], script: Script, calls: Sequence[ScriptCall]
    ) -> dict[int, Any]:
        """Make calls where they belong, at all nodes at the same time; return their replies or errors."""
        numbers: dict[Target, list[int]] = {}
        for number, target in targets.items():
            numbers.setdefault(target, []).append(number)
        replies = await asyncio.gather(
            *(target.append(script, [calls[number] for number in its]) for target, its in numbers.items())
        )
        return {
            number: reply
            for its, its_replies in zip(numbers.values(), replies, strict=True)
            for number, reply in zip(its, its_replies, strict=True)
        }

    def _redirected(self, targets: Mapping[int, Target], replies: Mapping[int, Any]) -> dict[int, Target]:
        """Return where to make those calls again that belong elsewhere."""
        redirected: dict[int, Target] = {}
        for number, reply in replies.items():
            if isinstance(reply, Exception):
                target = self._learn(targets[number], reply)
                if target is not None:
                    redirected[number] = target
        return redirected

    async def _next_target(self, call: ScriptCall, asked: Target, error: Exception) -> Target:
        """Return where to make a call that failed, or raise its error."""
        target = self._learn(asked, error)
        if target is None and is_to_be_tried_again(error):
            await anyio.sleep(_TRY_AGAIN)
            target = asked
        if target is None and may_have_moved(error):
            await self._discovery.refreshed()
            target = self._target_of(call)
            if target.node is asked.node:
                target = None
        if target is None:
            raise error
        return target

    def _learn(self, asked: Target, error: Exception) -> Target | None:
        """Take note of a node's error, and return where it says that the slot is, if it does."""
        redirection = self._discovery.learn(asked.node.address, error)
        return redirection and Target(self._node_at(redirection.address), redirection.is_ask)

    def _target_of(self, call: ScriptCall) -> Target:
        self._open_listener()
        owner = self._discovery.layout.owners[slot_of(call.keys[0])]
        if owner is None:
            self._discovery.refresh_soon()
            raise ClusterDownError("nobody serves the slot")
        return Target(self._node_at(owner), is_ask=False)

    def _node_at(self, address: Address) -> Node:
        if address not in self._nodes:
            self._nodes[address] = Node(address, self._connections, self._replicas)
        return self._nodes[address]

    def _open_listener(self) -> Listener:
        if self._listener is None:
            raise ContextClosedError("the backend is not connected")
        return self._listener

    def _on_change(self) -> None:
        """Let go of nodes that are not masters any more, and hear channels where they are now."""
        layout = self._discovery.layout
        for address in self._nodes.keys() - set(layout.masters):
            task = asyncio.create_task(self._nodes.pop(address).aclose(_make_retired_error))
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)
        if self._shards is not None:
            self._shards.place_again()
        if self._listener is not None and self._discovery.anywhere not in (*layout.masters, *layout.replicas):
            self._listener.reconnect()


def _make_retired_error() -> Exception:
    return RedisConnectionError("the node is not a master any more")

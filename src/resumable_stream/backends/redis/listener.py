"""The one connection on which a process hears what is pushed, for all the streams that it follows."""

from __future__ import annotations

import logging
from collections import deque

import anyio
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from ...abc import OnPush
from ...exceptions import BackendError
from .connections import Connections
from .scripts import decode_push

_logger = logging.getLogger("resumable_stream")

_CONFIRM_TIMEOUT = 5.0
_BACKOFF_START, _BACKOFF_MAX = 0.05, 2.0


class Listener:
    """Keeps subscriptions alive: reconnects, subscribes again, and tells every follower that it may have missed some.

    `subscribe` returns when the server has confirmed, so that nothing pushed later is missed; over a reconnect too.
    """

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._connection: AbstractConnection | None = None
        self._callbacks: dict[bytes, OnPush] = {}
        # The server confirms each SUBSCRIBE, in order: a group of waiting tasks for each one that was sent.
        self._unconfirmed: dict[bytes, deque[list[anyio.Event]]] = {}
        self._resubscribing: set[bytes] = set()
        self._sending = anyio.Lock()
        self._delay = 0.0

    async def subscribe(self, channel: str, on_push: OnPush) -> None:
        """Call ``on_push`` for each message on ``channel`` from now on. Returns when the server has confirmed.

        Raises:
            BackendError: It does not confirm. Nothing is subscribed to. As the connection may be dead without anybody
                having said so, another is made.
        """
        name = channel.encode()
        self._callbacks[name] = on_push
        confirmed = anyio.Event()
        self._unconfirmed.setdefault(name, deque()).append([confirmed])
        with anyio.move_on_after(_CONFIRM_TIMEOUT):
            await self._send("SUBSCRIBE", channel)
            await confirmed.wait()
        if not confirmed.is_set():
            self._callbacks.pop(name, None)
            self._unconfirmed.pop(name, None)
            await self.disconnect()
            raise BackendError("Redis does not confirm a subscription")

    async def unsubscribe(self, channel: str) -> None:
        """Stop calling. The server is told, and not waited for."""
        if self._callbacks.pop(channel.encode(), None) is not None:
            await self._send("UNSUBSCRIBE", channel)

    async def run(self) -> None:
        """Listen until cancelled. The first connection was made by `connect`."""
        while True:
            try:
                if self._connection is None:
                    await anyio.sleep(self._delay)
                    await self.connect()
                await self._listen()
            except Exception as error:  # noqa: BLE001  # a task boundary: if this task dies, every follower hangs
                self._delay = min(max(self._delay * 2, _BACKOFF_START), _BACKOFF_MAX)
                _logger.warning("subscriptions interrupted by %s, reconnecting", type(error).__name__)
                await self.disconnect()

    async def connect(self) -> None:
        """Connect, and subscribe to what is wanted."""
        connection = await self._connections.connect()
        async with self._sending:
            self._connection = connection
            self._expect_one_confirmation_each()
            if self._callbacks:
                await connection.send_command("SUBSCRIBE", *self._callbacks)

    def _expect_one_confirmation_each(self) -> None:
        """Prepare for a connection on which the whole set is subscribed to at once."""
        # Who still waits for the first confirmation reads the log after it anyway.
        self._resubscribing = set(self._callbacks) - set(self._unconfirmed)
        unconfirmed, self._unconfirmed = self._unconfirmed, {}
        for name, groups in unconfirmed.items():
            waiting = [event for group in groups for event in group]
            if name in self._callbacks:
                self._unconfirmed[name] = deque([waiting])
            else:  # nobody wants it any more, so no confirmation will come
                _set_all(waiting)

    async def disconnect(self) -> None:
        """Drop the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with anyio.CancelScope(shield=True):
                await connection.disconnect(nowait=True)

    async def _send(self, command: str, channel: str) -> None:
        """Send a command; without a connection, leave it to the next one, which subscribes to what is wanted then."""
        # Shielded, because redis-py drops a connection on which a send was cancelled, and this one is shared.
        with anyio.CancelScope(shield=True):
            async with self._sending:
                if self._connection is None:
                    return
                try:
                    await self._connection.send_command(command, channel)
                except (RedisError, OSError) as error:
                    # The listening task finds the connection broken too, and makes another.
                    _logger.debug("could not send %s: %s", command, type(error).__name__)

    async def _listen(self) -> None:
        connection = self._connection
        assert connection is not None, "connected before"
        while True:
            kind, channel, content = await connection.read_response(disable_decoding=True)
            self._delay = 0.0  # only now: a server that refuses to subscribe is not to be asked again at once
            if kind == b"message":
                self._on_message(channel, content)
            elif kind == b"subscribe":
                self._on_subscribed(channel)

    def _on_message(self, channel: bytes, content: bytes) -> None:
        on_push = self._callbacks.get(channel)
        if on_push is None:
            return
        try:
            push = decode_push(content)
        except ValueError:
            _logger.warning("ignored a message that is none of ours")
            push = None
        on_push(push)

    def _on_subscribed(self, channel: bytes) -> None:
        groups = self._unconfirmed.get(channel)
        if groups:
            _set_all(groups.popleft())
            if not groups:
                del self._unconfirmed[channel]
        if channel in self._resubscribing:
            self._resubscribing.discard(channel)
            on_push = self._callbacks.get(channel)
            if on_push is not None:
                on_push(None)


def _set_all(events: list[anyio.Event]) -> None:
    for event in events:
        event.set()

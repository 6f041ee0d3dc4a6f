"""The one connection on which a process hears what is pushed, for all the streams that it follows."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import anyio
from redis.exceptions import RedisError, ResponseError

from ...abc import OnPush
from .connections import Connect
from .scripts import decode_push
from .servers import OnMessage
from .wire import Command, Wire, open_wire

_logger = logging.getLogger("resumable_stream")

_CONFIRM_TIMEOUT = 5.0
_SILENCE, _PING_TIMEOUT = 2.5, 5.0
"""Seconds. It is looked this often whether anything was heard, so a server is asked after one to two silences."""
_BACKOFF_START, _BACKOFF_MAX = 0.05, 1.0


class Subscription:
    """What is to be heard on one channel, and by whom."""

    def __init__(self, channel: str, on_message: OnMessage, on_missed: Callable[[], None]) -> None:
        self.channel: bytes = channel.encode()
        self.on_message = on_message
        """Raises `ValueError` for a message that is none of ours."""
        self.on_missed = on_missed
        self.is_answered: anyio.Event = anyio.Event()
        """Set when a server confirmed or refused it for the first time."""
        self.refusal: Exception | None = None

    async def wait(self) -> None:
        """Return when a server has confirmed it.

        Raises:
            TimeoutError: It does not answer.
            RedisError: It refuses.
        """
        with anyio.fail_after(_CONFIRM_TIMEOUT):
            await self.is_answered.wait()
        if self.refusal is not None:
            raise self.refusal

    @classmethod
    def to_pushes(cls, channel: str, on_push: OnPush) -> Subscription:
        """Return one to what is pushed of a stream."""
        return cls(channel, lambda message: on_push(decode_push(message)), lambda: on_push(None))

    @classmethod
    def to_notices(cls, channel: str, on_notice: OnMessage) -> Subscription:
        """Return one to notices. One that is missed is missed: they are hints."""
        return cls(channel, on_notice, lambda: None)


class Verbs(NamedTuple):
    """The commands of one kind of channels, and how the server names its messages."""

    subscribe: bytes
    unsubscribe: bytes
    message: bytes


CLASSIC = Verbs(b"subscribe", b"unsubscribe", b"message")
SHARDED = Verbs(b"ssubscribe", b"sunsubscribe", b"smessage")
_PING, _PONG = b"ping", b"pong"

OnLost = Callable[[Subscription, "Exception | None"], None]
"""Called when a server refuses a subscription, and why, or ends it."""


class Outage:
    """Says once in the log that listeners were interrupted, and once that all of them are back."""

    def __init__(self, what: str = "subscriptions") -> None:
        self._what = what
        self._interrupted: set[Listener] = set()

    def begin(self, listener: Listener, error: Exception) -> None:
        """Take note of a listener that was interrupted, or could not reconnect."""
        if not self._interrupted:
            _logger.warning("%s interrupted by %s, reconnecting", self._what, type(error).__name__)
        self._interrupted.add(listener)

    def end(self, listener: Listener) -> None:
        """Take note of a listener that is back, or not needed any more."""
        if listener in self._interrupted:
            self._interrupted.remove(listener)
            if not self._interrupted:
                _logger.info("%s restored", self._what)


class _Sent(NamedTuple):
    """A command that is not answered yet. The server answers in order."""

    verb: bytes
    channel: bytes
    subscription: Subscription | None


class Listener:
    """Keeps subscriptions alive: reconnects, subscribes again, and tells every follower that it may have missed some.

    `subscribe` returns when the server has confirmed, so that nothing pushed later is missed; over a reconnect too.
    """

    def __init__(
        self,
        connect: Connect,
        verbs: Verbs = CLASSIC,
        *,
        on_lost: OnLost | None = None,
        on_interrupted: Callable[[], object] | None = None,
        outage: Outage | None = None,
    ) -> None:
        self._connect = connect
        self._verbs = verbs
        self._message = verbs.message
        self._on_lost = on_lost or give_up
        self._on_interrupted = on_interrupted
        self._outage = outage or Outage()
        self._wire: Wire | None = None
        self._broken: asyncio.Future[None] | None = None
        self._subscriptions: dict[bytes, Subscription] = {}
        self._sent: deque[_Sent] = deque()
        self._connecting = anyio.CancelScope()
        self._was_heard = False
        """Whether the server said anything since it was last looked at. Not the time: that would be asked each time."""
        self._task: asyncio.Task[None] | None = None
        self._delay = 0.0
        self._is_interrupted = False
        self._is_given_up = False

    async def open(self) -> None:
        """Connect, and listen from now on.

        Raises:
            RedisError, OSError, TimeoutError: The server cannot be reached.
        """
        await self._reconnect()
        self.start()

    def start(self) -> None:
        """Listen from now on, and connect as soon as the server can be reached."""
        self._task = asyncio.create_task(self._run(), name="resumable-stream listener")

    async def aclose(self) -> None:
        """Stop listening, and disconnect. May be called twice."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self._drop()

    async def subscribe(self, subscription: Subscription) -> None:
        """Hear all messages on a channel that come after this returned.

        Raises:
            TimeoutError: The server does not confirm. As the connection may be dead without anybody having said so,
                another is made.
            ResponseError: It refuses. Then, too, nothing is subscribed to.
        """
        try:
            self.adopt(subscription)
            await subscription.wait()
        except TimeoutError:
            self.forget(subscription)
            self.reconnect()
            raise

    def reconnect(self) -> None:
        """Give up the connection for another one, and so the one that is being made."""
        self._is_given_up = True
        self._connecting.cancel()
        self._break(TimeoutError("Redis does not answer"))

    async def subscribe_if_allowed(self, subscription: Subscription) -> None:
        """Hear all messages on a channel, or have it said in the log that the user may not."""
        try:
            await self.subscribe(subscription)
        except ResponseError as refusal:
            _logger.warning("%s is not heard: %s", subscription.channel.decode(), type(refusal).__name__)

    def adopt(self, subscription: Subscription) -> None:
        """Ask the server for a subscription, and do not wait for its answer."""
        self._subscriptions[subscription.channel] = subscription
        self._send(_Sent(self._verbs.subscribe, subscription.channel, subscription))

    def unsubscribe(self, channel: str) -> None:
        """Stop calling. The server is told, and not waited for."""
        name = channel.encode()
        if self._subscriptions.pop(name, None) is not None:
            self._send(_Sent(self._verbs.unsubscribe, name, None))

    def forget(self, subscription: Subscription) -> bool:
        """Stop calling, and tell nobody; return whether the subscription was there, and not another in its place."""
        is_wanted = self._subscriptions.get(subscription.channel) is subscription
        if is_wanted:
            del self._subscriptions[subscription.channel]
        return is_wanted

    async def _run(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            while True:
                try:
                    if self._wire is None:
                        await anyio.sleep(self._delay)
                        await self._reconnect()
                    assert self._broken is not None, "made with the wire"
                    await self._broken
                except Exception as error:  # noqa: BLE001  # a task boundary: if this task dies, every follower hangs
                    await self._drop()
                    self._interrupted_by(error)

    def _interrupted_by(self, error: Exception) -> None:
        self._delay = min(max(self._delay * 2, _BACKOFF_START), _BACKOFF_MAX)
        self._is_interrupted = True
        self._outage.begin(self, error)
        if self._on_interrupted is not None:
            self._on_interrupted()

    async def _reconnect(self) -> None:
        """Connect, and subscribe to what is wanted."""
        self._is_given_up = False
        with anyio.CancelScope() as self._connecting:
            connection = await self._connect()
            self._broken = asyncio.get_running_loop().create_future()
            self._wire = open_wire(connection, self._on_reply, self._break)
        if self._wire is None or self._is_given_up:
            raise TimeoutError("Redis does not answer")
        self._was_heard = True
        self._sent.clear()
        self._send(*(_Sent(self._verbs.subscribe, name, wanted) for name, wanted in self._subscriptions.items()))

    async def _drop(self) -> None:
        wire, self._wire = self._wire, None
        if self._broken is not None and not self._broken.cancel() and not self._broken.cancelled():
            self._broken.exception()  # looked at in any case, so that nobody complains
        if wire is not None:
            await wire.aclose()

    def _break(self, error: Exception) -> None:
        """Have the connection replaced by another."""
        if self._broken is not None and not self._broken.done():
            self._broken.set_exception(error)

    def _send(self, *commands: _Sent) -> None:
        """Send commands; without a connection, leave it to the next one, which subscribes to what is wanted then."""
        if self._wire is None or not commands:
            return
        self._sent.extend(commands)
        words: list[Command] = [(sent.verb, sent.channel) if sent.channel else (sent.verb,) for sent in commands]
        try:
            self._wire.send(*words)
        except RedisError as error:
            self._break(error)

    async def _watch(self) -> None:
        """Ask a server that is silent whether it is there: a connection can be dead without anybody having said so."""
        while True:
            self._was_heard = False
            await anyio.sleep(_SILENCE)
            if self._wire is None:
                continue  # there is nobody to hear; connecting has a limit of its own
            if not self._was_heard:
                await self._ping()

    async def _ping(self) -> None:
        wire = self._wire
        self._send(_Sent(_PING, b"", None))
        await anyio.sleep(_PING_TIMEOUT)
        if not self._was_heard and self._wire is wire:
            self.reconnect()

    def _on_reply(self, reply: Any) -> None:
        self._was_heard = True
        if self._is_interrupted:
            self._is_interrupted = False
            self._delay = 0.0  # only now: a server that closes each new connection is not to be asked again at once
            self._outage.end(self)
        if isinstance(reply, list):
            kind, channel = reply[0], reply[1]
            if kind == self._message:
                self._on_message(channel, reply[2])
            else:
                self._on_answer(kind, channel)
        elif isinstance(reply, Exception):
            self._on_refused(reply)
        else:
            self._on_answer(_PONG, b"")

    def _on_message(self, channel: bytes, content: bytes) -> None:
        subscription = self._subscriptions.get(channel)
        if subscription is None:
            return
        try:
            subscription.on_message(content)
        except ValueError:
            _logger.warning("ignored a message that is none of ours")
            subscription.on_missed()

    def _on_answer(self, kind: bytes, channel: bytes) -> None:
        is_asked = bool(self._sent) and (kind == _PONG or (kind, channel) == self._sent[0][:2])
        if is_asked:
            subscription = self._sent.popleft().subscription
            if subscription is not None:
                self._on_confirmed(subscription)
        elif kind == self._verbs.unsubscribe and channel in self._subscriptions:
            self._on_lost(self._subscriptions.pop(channel), None)

    def _on_confirmed(self, subscription: Subscription) -> None:
        if not subscription.is_answered.is_set():
            subscription.is_answered.set()
        elif self._subscriptions.get(subscription.channel) is subscription:
            subscription.on_missed()

    def _on_refused(self, refusal: Exception) -> None:
        """Take the answer to the oldest command, which is an error."""
        if not self._sent:
            raise refusal
        subscription = self._sent.popleft().subscription
        if subscription is not None and self.forget(subscription):
            self._on_lost(subscription, refusal)


def give_up(subscription: Subscription, refusal: Exception | None) -> None:
    """Tell who waits for a subscription that it is refused. Who had it before will have to look at the log."""
    if subscription.is_answered.is_set():
        _logger.warning("the server ended a subscription: %s", type(refusal).__name__)
    subscription.refusal = refusal
    subscription.is_answered.set()

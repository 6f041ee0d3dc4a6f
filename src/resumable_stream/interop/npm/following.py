"""Streams that another process publishes, most often a Node process."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from contextlib import suppress
from enum import Enum
from functools import partial
from types import TracebackType
from uuid import uuid4

import anyio
from typing_extensions import Self

from ..._core.backoff import Backoff
from ...backends.redis.listener import Subscription
from ...exceptions import (
    BackendError,
    BackendUnavailableError,
    ConcurrentReadError,
    ContextClosedError,
    PublisherLostError,
    StreamGoneError,
)
from .link import Link
from .protocol import DONE_MESSAGE, DONE_VALUE, Names, Request, count_units

__all__ = ["Follower", "Inbox", "Joined", "NpmStream", "Sentinel"]

_MAX_WAITING_BYTES = 16 * 1024 * 1024
_REQUEST_EXPIRY = 60_000  # milliseconds
_OBSERVATIONS = 2


class Sentinel(Enum):
    """What the key that every stream has says of it."""

    UNKNOWN = "unknown"
    RUNNING = "running"
    DONE = "done"


class Joined(Enum):
    """What became of asking a publisher."""

    YES = "yes"
    IS_DONE = "done"
    IS_UNKNOWN = "unknown"
    NOBODY_ANSWERS = "nobody answers"


class Inbox:
    """What was said to one listener and is not read yet. No I/O: a connection fills it, a reader empties it.

    Once it may have missed something it takes no more: what is in it is a true prefix, to go on after.

    Args:
        max_bytes: What may wait in it, save for one message, which may have any size.
    """

    def __init__(self, max_bytes: int = _MAX_WAITING_BYTES) -> None:
        self.is_done: bool = False
        """Whether the end was heard."""
        self.has_missed: bool = False
        """Whether there may be a hole after what is in it."""
        self.is_closed: bool = False
        """Whether nothing is listened to any more."""
        self.beats: int = 0
        """How many messages came."""
        self._max_bytes = max_bytes
        self._texts: deque[bytes] = deque()
        self._size = 0
        self._changed: anyio.Event | None = None

    def on_message(self, message: bytes) -> None:
        """Take a message."""
        if self.is_done or self.has_missed:
            return
        self.beats += 1
        if message == DONE_MESSAGE:
            self.is_done = True
        elif self._texts and self._size + len(message) > self._max_bytes:
            self.has_missed = True
        elif message:
            self._texts.append(message)
            self._size += len(message)
        self.wake()

    def on_missed(self) -> None:
        """The connection was interrupted."""
        self.has_missed = not self.is_done
        self.wake()

    def close(self) -> None:
        """Nothing will come any more."""
        self.is_closed = True
        self.wake()

    def take(self) -> str | None:
        """Return the next text, or ``None`` if there is none."""
        if not self._texts:
            return None
        message = self._texts.popleft()
        self._size -= len(message)
        return message.decode("utf-8", "replace")

    async def wait(self) -> None:
        """Return when something has changed since this call."""
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    def wake(self) -> None:
        """Have all waiters look."""
        if self._changed is not None:
            self._changed.set()
            self._changed = None


class Follower:
    """One listener's place in the protocol, which it can take again and again, each time under a new listener id.

    Args:
        link: The connections.
        names: Keys and channels.
        stream_id: Of the stream.
        reply_timeout: How many seconds a publisher may take to answer.
    """

    def __init__(self, link: Link, names: Names, stream_id: str, reply_timeout: float) -> None:
        self.stream_id = stream_id
        self.reply_timeout = reply_timeout
        self.inbox: Inbox = Inbox()
        self._link = link
        self._names = names
        self._channel: str | None = None

    async def join(self, skip: int) -> Joined:
        """Ask the publisher for everything after so many UTF-16 units. Cancelling it leaves nothing behind here.

        A request that nobody heard is repeated: the npm package says that a stream runs a moment before it listens.

        Raises:
            BackendError, ContextClosedError: The server is away, or nothing is open.
        """
        request = Request(str(uuid4()), skip)
        self.leave()
        inbox, channel = Inbox(), self._names.chunks(request.listener_id)
        self._channel = channel
        self._link.call_on_close(self, inbox.close)
        has_joined = False
        try:
            await self._link.subscribe(Subscription(channel, inbox.on_message, inbox.on_missed))
            with anyio.move_on_after(self.reply_timeout):
                has_joined = await self._ask(request, inbox)
        finally:
            if not has_joined:
                self.leave()
        if has_joined:
            self.inbox = inbox  # not before: a reader that was cancelled meanwhile is to find that it has to join
            return Joined.YES
        state = await self.look()
        if state is Sentinel.RUNNING:
            return Joined.NOBODY_ANSWERS
        return Joined.IS_DONE if state is Sentinel.DONE else Joined.IS_UNKNOWN

    def leave(self) -> None:
        """Listen no more. Without effect the second time."""
        channel, self._channel = self._channel, None
        self._link.call_on_close(self, None)
        if channel is not None:
            self._link.unsubscribe(channel)

    async def look(self) -> Sentinel:
        """Return what is said of the stream."""
        found = await self._link.send("GET", self._names.sentinel(self.stream_id))
        if not found:
            return Sentinel.UNKNOWN
        return Sentinel.DONE if found.decode(errors="replace") == DONE_VALUE else Sentinel.RUNNING

    async def is_deserted(self) -> bool:
        """Whether nobody is subscribed to what is asked of the stream, as a process that is dead is not.

        A server that does not know of this listener either was restarted or replaced, and cannot tell; nor can one that
        does not let this user ask.
        """
        if self._channel is None:
            return False
        channels = (self._names.requests(self.stream_id), self._channel)
        try:
            _, publishers, _, listeners = await self._link.send("PUBSUB", "NUMSUB", *channels)
        except BackendUnavailableError:
            raise
        except BackendError:
            return False
        return bool(listeners and not publishers)

    async def _ask(self, request: Request, inbox: Inbox) -> bool:
        channel, message = self._names.requests(self.stream_id), request.encode()
        asked, backoff = self._names.asked(request.listener_id), Backoff()
        while not await self._link.run("publish", asked, channel, "listener", 1, message, _REQUEST_EXPIRY):
            if await self.look() is not Sentinel.RUNNING:
                return False
            await anyio.sleep(backoff.next_delay())
        while not (inbox.beats or inbox.has_missed or inbox.is_closed):
            await inbox.wait()
        return True


class NpmStream:
    """An async iterator over the text of a stream that a Node process publishes, to the stream's end.

    Made by `NpmStreams.resume_existing_stream`. Its pieces are those in which the text arrives, and say nothing. If the
    connection to Redis is interrupted, or the reader is so slow that 16 MiB wait for it, the publisher is asked again
    for what follows: no character twice, none missing, as long as that runs.

    **Cancellation.** Cancelling a read is safe: no text is lost, and reading may go on.

    It is safe to drop at any point, with `aclose`, with ``async with``, or by forgetting it.

    Raises, on reading:
        PublisherLostError: The publisher is gone, and the stream had not ended.
        StreamGoneError: It ended while the connection was interrupted, or before a slow reader came back for the rest:
            it was in the memory of the publisher alone.
        BackendUnavailableError: Redis is away, and was not back in time.
        ContextClosedError: The `NpmStreams` that made it was left.
        ConcurrentReadError: Another task is reading from this object.
    """

    def __init__(self, follower: Follower, link: Link, position: int, check_interval: float) -> None:
        self._follower = follower
        self._link = link
        self._position = position
        self._check_interval = check_interval
        self._beats = 0
        self._look_at = 0.0
        self._doubts = _Doubts()
        self._is_reading = False
        self._is_over = False
        self._release = weakref.finalize(self, _release_from_anywhere, asyncio.get_running_loop(), follower)
        self._release.atexit = False

    @property
    def stream_id(self) -> str:
        """The id of the stream."""
        return self._follower.stream_id

    @property
    def position(self) -> int:
        """How many UTF-16 units come before the next piece of text: ``skip_characters`` for who goes on after this."""
        return self._position

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        if self._is_over:
            raise StopAsyncIteration
        if self._is_reading:
            raise ConcurrentReadError("another task is reading from this stream object")
        self._is_reading = True
        try:
            text = await self._next_text()
        except (PublisherLostError, StreamGoneError, ContextClosedError):
            self._end()
            raise
        finally:
            self._is_reading = False
        if text is None:
            self._end()
            raise StopAsyncIteration
        self._position += count_units(text)
        return text

    async def aclose(self) -> None:
        """Stop reading. The stream itself goes on. A read that waits in another task, and any later one, just ends.

        May be called twice.
        """
        self._end()
        self._follower.inbox.wake()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<NpmStream {self.stream_id!r}, at {self._position}>"

    async def _next_text(self) -> str | None:
        while not self._is_over:
            inbox = self._follower.inbox
            text = inbox.take()
            if text is not None:
                return text
            if inbox.is_done:
                return None
            if inbox.is_closed:
                raise ContextClosedError("the npm streams were left")
            if inbox.has_missed:
                await self._join_again()
            elif not await self._hears(inbox) and await self._has_ended(inbox):
                return None
        return None

    async def _hears(self, inbox: Inbox) -> bool:
        """Wait for news; false if there is none for a while. How long is counted over calls that are cancelled, too."""
        if inbox.beats != self._beats:
            self._beats = inbox.beats
            self._doubts.dispel()
            self._look_at = anyio.current_time() + self._check_interval
        with anyio.CancelScope(deadline=self._look_at) as waiting:
            await inbox.wait()
        return not waiting.cancelled_caught

    async def _has_ended(self, inbox: Inbox) -> bool:
        """Look whether the publisher of a silent stream is there. Believe what is bad when it was seen twice.

        Raises:
            PublisherLostError: It is not.
        """
        state = await self._link.patiently(self._follower.look)
        is_done = state is Sentinel.DONE  # its word about the end was lost, or it died before; all else was said
        is_lost = not is_done and await self._link.patiently(self._follower.is_deserted)
        self._look_at = anyio.current_time() + self._check_interval
        if inbox.beats != self._beats or inbox.has_missed or not self._doubts.are_enough(is_done, is_lost):
            return False
        if is_lost:
            raise PublisherLostError(self.stream_id)
        return True

    async def _join_again(self) -> None:
        joined = await self._link.patiently(partial(self._follower.join, self._position), self._follower.reply_timeout)
        if self._is_over:
            return
        if joined is Joined.NOBODY_ANSWERS:
            raise PublisherLostError(self.stream_id)
        if joined is not Joined.YES:
            raise StreamGoneError(self.stream_id)

    def _end(self) -> None:
        self._is_over = True
        self._release.detach()
        self._follower.leave()


class _Doubts:
    """How often in a row a silent stream looked as if it was over, in the same way."""

    def __init__(self) -> None:
        self._seen: tuple[bool, bool] = (False, False)
        self._count = 0

    def are_enough(self, *seen: bool) -> bool:
        self._count = self._count + 1 if seen == self._seen else 1
        self._seen = (seen[0], seen[1])
        return any(seen) and self._count >= _OBSERVATIONS

    def dispel(self) -> None:
        self._count = 0


def _release_from_anywhere(loop: asyncio.AbstractEventLoop, follower: Follower) -> None:
    # A forgotten object may be collected in any thread.
    with suppress(RuntimeError):  # the loop is closed, and everything with it
        loop.call_soon_threadsafe(follower.leave)

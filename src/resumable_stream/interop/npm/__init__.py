"""Streams shared with services that use the npm package ``resumable-stream``, version 2, on the same Redis."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from ..._engine.patience import patiently
from ...exceptions import InvalidSettingError, PublisherLostError, StreamNotFoundError
from ...types import StreamState
from .following import Follower, Joined, NpmStream, Sentinel
from .link import Link
from .offering import Offer, Offers
from .protocol import Names, check_npm_stream_id, check_skip

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from ...context import ResumableStreamContext

__all__ = ["NpmStream", "NpmStreams"]

_CALL_TIMEOUT = 10.0
_MAX_SECONDS = 10 * 366 * 86400


class NpmStreams:
    """Speaks the Redis protocol of the npm package ``resumable-stream``, version 2, in both directions.

    `resume_existing_stream` follows a stream that a Node process publishes. `offer` lets Node processes follow a stream
    of ours: as the ``companion`` of a `ResumableStreamContext` it does so for all that the context publishes.

    It opens two connections, however many streams there are. Making one does no I/O: enter it, around the context if
    it is its companion, for as long as the application lives.

    Args:
        server: Where Node's streams are: a URL or a client of redis-py, as `RedisBackend` takes it, but not a Cluster.
            A client tells which server to use and how; its connections are not used, and it is never closed.
        key_prefix: The ``keyPrefix`` of the Node services. Any text of 1 to 512 characters.
        reply_timeout: How many seconds a Node publisher may take to answer who joins.
        check_interval: After how many seconds of silence a follower looks whether the publisher is still there. If it
            is gone, the second look, so many seconds later, ends the reading.
        outage_timeout: How many seconds a reader waits for Redis while that is away.
        lease: For how many seconds Node takes a stream of ours to run when this process has died without a word.
        tombstone: For how many seconds Node is told that a stream of ours is over. The npm package keeps it for a day.
        to_text: Makes text of a chunk, for Node listeners of ours. ``None``: the chunks are text.

    Raises:
        InvalidSettingError: A setting is malformed or out of range.
    """

    def __init__(
        self,
        server: str | Redis,
        *,
        key_prefix: str = "resumable-stream",
        reply_timeout: float = 5.0,
        check_interval: float = 5.0,
        outage_timeout: float = 60.0,
        lease: float = 15.0,
        tombstone: float = 86400.0,
        to_text: Callable[[Any], str] | None = None,
    ) -> None:
        self._names = Names(key_prefix)
        self._reply_timeout = _seconds("reply_timeout", reply_timeout)
        self._check_interval = _seconds("check_interval", check_interval)
        self._link = Link(server, _seconds("outage_timeout", outage_timeout))
        times = _seconds("lease", lease), _seconds("tombstone", tombstone)
        self._offers = Offers(self._link, self._names, *times, to_text)

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            BackendError: The server cannot be reached.
        """
        await self._link.open(self._offers.renew)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._link.aclose()

    async def resume_existing_stream(self, stream_id: str, *, skip_characters: int = 0) -> NpmStream | None:
        """Follow a stream that a Node process publishes, from a position on.

        Cancelling it leaves nothing behind here. The publisher, once asked, goes on publishing to nobody until its
        stream ends: the npm package knows no way to say that one has left.

        Args:
            stream_id: Whatever the Node service calls it: 1 to 512 characters.
            skip_characters: How many UTF-16 units to skip, as ``skipCharacters`` in Node: what `NpmStream.position`
                says, and ``text.length`` in JavaScript. If that cuts a character in two, U+FFFD comes for its half.

        Returns:
            The stream, or ``None``: it is over, and nothing of it can be had any more.

        Raises:
            StreamNotFoundError: There is none, and there was none for a day.
            PublisherLostError: It is said to run, but for ``reply_timeout`` seconds nobody answered.
            InvalidStreamIdError, InvalidPositionError: See there. Nothing was asked.
            BackendError: Redis failed.
            ContextClosedError: This is not open.
        """
        follower = Follower(self._link, self._names, check_npm_stream_id(stream_id), self._reply_timeout)
        skip = check_skip(skip_characters)
        state = await patiently(follower.look, _CALL_TIMEOUT)
        if state is Sentinel.UNKNOWN:
            raise StreamNotFoundError(stream_id)
        if state is Sentinel.DONE:
            return None
        joined = await patiently(partial(follower.join, skip), _CALL_TIMEOUT + self._reply_timeout)
        if joined is Joined.IS_UNKNOWN:
            raise StreamNotFoundError(stream_id)
        if joined is Joined.NOBODY_ANSWERS:
            raise PublisherLostError(stream_id)
        if joined is Joined.IS_DONE:
            return None
        return NpmStream(follower, self._link, skip, self._check_interval)

    async def has_existing_stream(self, stream_id: str) -> StreamState | None:
        """Return ``RUNNING`` or ``DONE``, or ``None`` if there is no such stream. What has died counts as running.

        Raises:
            InvalidStreamIdError: See there.
            BackendError, ContextClosedError: As above.
        """
        follower = Follower(self._link, self._names, check_npm_stream_id(stream_id), self._reply_timeout)
        state = await patiently(follower.look, _CALL_TIMEOUT)
        if state is Sentinel.UNKNOWN:
            return None
        return StreamState.DONE if state is Sentinel.DONE else StreamState.RUNNING

    @asynccontextmanager
    async def offer(self, context: ResumableStreamContext, stream_id: str) -> AsyncIterator[None]:
        """Let Node processes follow a stream that ``context`` publishes, until it ends.

        Made for the setting ``companion`` of a context. As an ``async with`` of your own, stay in it for as long as the
        stream runs: on leaving, Node is told that it is over, if it is, and listeners get what they do not have yet.

        While nobody listens, it costs one subscription, and a renewal for each third of the lease. Each listener is a
        reader of its own, and has the text from its ``skipCharacters`` on, in frames of at most 64 Ki characters. How a
        stream ended, Node has no word for: one that failed, was stopped or was deleted ends like one that is done.

        If Redis is away, the stream is offered when it is back. If the id is taken by a Node process, it is not
        offered, and the log says so.

        Raises:
            ContextClosedError: This is not open.
        """
        offer = Offer(self._offers, context, stream_id)
        try:
            await offer.begin()
            yield
        finally:
            await offer.end()


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.05 <= value <= _MAX_SECONDS:
        raise InvalidSettingError(f"{name} is a number of seconds, from 0.05 to {_MAX_SECONDS}, not {value!r}")
    return float(value)

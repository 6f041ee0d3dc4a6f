"""The class that most users need, and no other."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from typing_extensions import Self, TypedDict, Unpack

from ._core.ids import check_stream_id
from ._core.positions import Position, parse_position, resolve_start
from ._engine.runtime import Runtime
from ._engine.terms import Source, Terms
from .abc import Codec, StreamBackend
from .exceptions import (
    InvalidFactoryError,
    InvalidPositionError,
    InvalidSettingError,
    StreamExistsError,
)
from .observer import Observer
from .stream import ResumableStream
from .types import Factory, Limits, StreamInfo, StreamRole, StreamState, Takeover, TimelineEntry

if TYPE_CHECKING:
    from redis.asyncio import Redis, RedisCluster

__all__ = ["ResumableStreamContext", "Settings"]

T = TypeVar("T")

_MAX_REASON = 2000
_MAX_LINGER = 0.1
_MAX_SECONDS = 10 * 366 * 86400  # Redis cannot count to everything that a float can

_logger = logging.getLogger("resumable_stream")


Companion: TypeAlias = Callable[["ResumableStreamContext", str], AbstractAsyncContextManager[object]]
"""Called with a context and the id of a stream; returns what goes on beside its publisher."""


class Settings(TypedDict, total=False):
    """What `ResumableStreamContext` can be told, all of it optional. Times are in seconds."""

    lease: float
    """How long a publisher may be silent before it counts as lost; it renews the lease while its factory is slow. At
    least 0.05. Default 15."""
    retention: float
    """How long a stream can be joined after its end. Who joined before has a minute more to finish. Default 3600."""
    tombstone: float
    """How long its id stays taken after the retention, so that the factory is not run again. Default 86400."""
    drain_timeout: float
    """How long leaving the context waits for running factories to come to their end. Default 10."""
    call_timeout: float
    """How long a call waits for a store that is away, before it raises `BackendUnavailableError`. Default 10."""
    outage_timeout: float
    """How long readers wait for a store that is away, before they raise `BackendUnavailableError`; and how long a
    publisher whose factory has come to its end tries to record that. Default 60."""
    linger: float
    """How long after an append the next one is early. One that is, after another that was, waits until it is not, so
    that the chunks of more streams travel together: more of it costs less processor time here, in the store and with
    followers, and comes on top of the latency where many streams are live. A lone chunk does not wait, nor does what
    comes after a large append. 0: none waits. At most 0.1, and a tenth of the lease and of ``outage_timeout``. Default
    0.004."""
    limits: Limits
    """Bounds on what is accepted and held."""
    codec: Codec | None
    """Turns other values into chunks. ``None``, the default: chunks are `str` or `bytes`, as the factory made them."""
    companion: Companion | None
    """What is to go on beside each stream that this context publishes: called with the context and the stream's id, it
    returns an asynchronous context manager. That is entered before the call that made the context the publisher
    returns, after a takeover too, and left when the publisher is over: the stream has ended then, or is somebody
    else's. Whatever it does, the stream goes on: an error is logged, and it is waited for five seconds at most."""
    observer: Observer | None
    """Is told what this context does, such as `resumable_stream.telemetry.OpenTelemetryObserver`. Default: nobody."""


class ResumableStreamContext:
    """Makes streams resumable.

    The first caller of `resumable_stream` for an id becomes the publisher: its factory runs in a task of this context,
    whatever becomes of the caller, and every chunk is logged before anybody sees it. All later callers, in any process
    that uses the same store, read the log from their position and follow it to its end.

    Enter it once per process, for as long as the application lives; it serves any number of streams. It belongs to the
    event loop in which it was entered. Making one does no I/O. Leaving it waits ``drain_timeout`` seconds for running
    factories, then cancels them and records their streams as ``STOPPED`` with the reason ``"shutdown"``. Cancelling
    that cuts the waiting short; the ends are still recorded.

    Args:
        backend: Where streams are kept: a `StreamBackend`, or an asynchronous client of redis-py, for one server, for
            the master that Sentinels name, or for a Cluster. The client tells which servers to use and how; its
            connections are not used, and it is never closed.
        key_prefix: Of keys and channels, if ``backend`` is a client.
        settings: See `Settings`.

    Raises:
        InvalidSettingError: A setting is out of range.
    """

    def __init__(
        self,
        backend: StreamBackend | Redis | RedisCluster,
        *,
        key_prefix: str = "resumable-stream",
        **settings: Unpack[Settings],
    ) -> None:
        unknown = settings.keys() - Settings.__annotations__.keys()
        if unknown:
            raise InvalidSettingError(f"no such setting: {', '.join(sorted(unknown))}")
        self._limits = _instance(settings, "limits", Limits) or Limits()
        self._codec: Codec | None = _instance(settings, "codec", Codec)  # type: ignore[type-abstract]  # mypy#4717
        lease = _seconds(settings, "lease", 15.0, minimum=0.05)
        outage_timeout = _seconds(settings, "outage_timeout", 60.0, minimum=0.1)
        terms = Terms(
            lease=lease,
            retention=_seconds(settings, "retention", 3600.0),
            tombstone=_seconds(settings, "tombstone", 86400.0),
            drain_timeout=_seconds(settings, "drain_timeout", 10.0),
            call_timeout=_seconds(settings, "call_timeout", 10.0, minimum=0.1),
            outage_timeout=outage_timeout,
            linger=_seconds(settings, "linger", 0.004, maximum=min(_MAX_LINGER, lease / 10, outage_timeout / 10)),
        )
        if not isinstance(backend, StreamBackend):
            backend = _redis_backend(backend, key_prefix)
        self._retention = terms.retention
        companion: Companion | None = settings.get("companion")
        if companion is not None and not callable(companion):
            raise InvalidSettingError(f"companion is callable, which {type(companion).__name__} is not")
        observer: Observer | None = _instance(settings, "observer", Observer)
        self._runtime = Runtime(backend, self._limits, terms, companion and partial(companion, self), observer)

    @classmethod
    def from_url(
        cls, url: str | None = None, *, key_prefix: str = "resumable-stream", **settings: Unpack[Settings]
    ) -> Self:
        """Return a context for the store that a URL names.

        Args:
            url: ``redis://``, ``rediss://`` or ``unix://`` as redis-py reads it, ``redis+sentinel://`` or
                ``redis+cluster://`` as `RedisBackend` says, or ``memory://`` for streams that live in this process
                alone. ``None``: the environment variable ``REDIS_URL``, and without it memory.
            key_prefix: Of keys and channels in Redis.
            settings: See `Settings`.

        Raises:
            InvalidSettingError: The URL is of no known kind, or a setting is out of range.
        """
        return cls(backend_from_url(url, key_prefix), **settings)

    @property
    def codec(self) -> Codec | None:
        """What turns the values of factories into chunks; ``None``: they are text or bytes already."""
        return self._codec

    @property
    def retention(self) -> float:
        """How long a stream can be joined after its end, in seconds."""
        return self._retention

    @property
    def is_leaving(self) -> bool:
        """Whether this context is being left just now: what is cancelled then, is so for that reason."""
        return self._runtime.is_leaving

    async def __aenter__(self) -> Self:
        """Connect to the store.

        Raises:
            BackendError: It cannot be reached.
        """
        await self._runtime.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._runtime.stop()

    async def resumable_stream(
        self,
        stream_id: str,
        factory: Factory[T],
        *,
        takeover: Takeover[T] | None = None,
        start_index: int | None = None,
        skip_characters: int | None = None,
        after: str | None = None,
    ) -> ResumableStream[T] | None:
        """Publish a stream, or read it if it exists, or go on with it if its publisher was lost.

        Exactly one caller becomes the publisher, however many race on however many machines. Its factory is called in
        a task of the context, so cancelling this call, or dropping the stream, does not stop it; what it raises is
        recorded, and raised to readers after the last chunk.

        With ``takeover``, a stream whose publisher was lost is continued: now, or as soon as that happens while this
        stream object is held. Of all who offer it, in all processes, one does it; readers who wait notice a pause.

        The position is where to start reading, in one form at most. It must not be beyond the end; for a stream that
        does not exist it must be the start, or nothing is created.

        Args:
            stream_id: 1 to 256 characters: letters, digits, and ``_ . : -``. One answer, one id: never use it again.
            factory: Called without arguments, returns the chunks: an async iterable (such as an async generator), a
                plain one, or an awaitable of one of these. A plain one is iterated on the event loop, so its steps
                must not block. Called at most once for an id.
            takeover: Called with the chunks so far; returns those that follow, as a factory does. Called at most once
                for each time that the stream is lost.
            start_index: How many chunks to skip. Negative: how many to read back from the end, or all there are.
            skip_characters: How many characters (code points) to skip. Only for streams of text.
            after: The event id of the last chunk that was seen.

        Returns:
            The stream, or ``None`` if it has ended and its retention is over.

        Raises:
            InvalidStreamIdError, InvalidPositionError, InvalidFactoryError: See there. Nothing was done.
            LimitExceededError: It would be new, and this context publishes ``max_publishers`` already, or a store in
                memory is full.
            BackendError: The store failed. Calling again is safe: the factory does not run twice. It may not run at
                all, if the store created the stream and could not say so for ``call_timeout`` seconds: then that is
                lost when its lease has lapsed.
            ContextClosedError: The context is not open.
        """
        position = parse_position(start_index, skip_characters, after)
        source = self._source(factory, takeover)
        info, role = await self._acquire(stream_id, source, allow_new=position.is_start)
        if info is None:
            raise InvalidPositionError(f"stream {stream_id!r} does not exist, so nothing of it can have been seen")
        if not info.is_readable:
            return None
        return await self._read(info, position, role, source)

    async def create_new_resumable_stream(self, stream_id: str, factory: Factory[T]) -> ResumableStream[T]:
        """Publish a stream that must not exist yet. Otherwise like `resumable_stream`.

        Raises:
            StreamExistsError: The id is taken, by a stream or by a tombstone. The factory was not called.
        """
        source = self._source(factory, None)
        info, role = await self._acquire(stream_id, source, allow_new=True)
        if info is None or role is not StreamRole.PUBLISHER:
            raise StreamExistsError(stream_id)
        return await self._read(info, Position(), role)

    async def resume_existing_stream(
        self,
        stream_id: str,
        *,
        start_index: int | None = None,
        skip_characters: int | None = None,
        after: str | None = None,
    ) -> ResumableStream[Any] | None:
        """Read a stream that exists. Positions and errors are those of `resumable_stream`.

        Returns:
            The stream, or ``None``: there is none, or its retention is over. `has_existing_stream` tells which.
        """
        position = parse_position(start_index, skip_characters, after)
        info = await self.info(stream_id)
        if info is None or not info.is_readable:
            return None
        return await self._read(info, position, StreamRole.SUBSCRIBER)

    async def has_existing_stream(self, stream_id: str) -> StreamState | None:
        """Return the state of a stream, of its tombstone too; ``None`` if there is neither."""
        info = await self.info(stream_id)
        return None if info is None else info.state

    async def info(self, stream_id: str) -> StreamInfo | None:
        """Describe a stream, or its tombstone; ``None`` if there is neither."""
        check_stream_id(stream_id, self._limits.max_stream_id_length)
        return await self._runtime.describe(stream_id)

    async def stop(self, stream_id: str, *, reason: str = "requested") -> StreamState | None:
        """Stop a stream, wherever its publisher is: cancel the factory, keep what it made, end as ``STOPPED``.

        It is recorded in the store, so it is not lost, whether or not the publisher listens now; if it never does, the
        stream has stopped when its lease has lapsed. A lost stream is not taken over any more. The factory's
        ``finally`` blocks run, and may await for five seconds. The end may come a moment after this returns. Safe to
        repeat, and cancelling it leaves nothing half done.

        Args:
            stream_id: Of the stream. One that is unknown or has ended is no error.
            reason: Becomes `StreamInfo.reason`. 1 to 2,000 characters; the first one asked for is kept.

        Returns:
            The state now: ``RUNNING`` if the publisher is about to stop. ``None``: the stream is unknown.

        Raises:
            InvalidSettingError: The reason is empty or too long.
            BackendUnavailableError: The store is away, and the publisher is not in this process.
        """
        check_stream_id(stream_id, self._limits.max_stream_id_length)
        checked: object = reason
        if not isinstance(checked, str) or not 1 <= len(checked) <= _MAX_REASON:
            raise InvalidSettingError(f"a reason is text of 1 to {_MAX_REASON} characters")
        return await self._runtime.stop_stream(stream_id, reason)

    async def delete(self, stream_id: str) -> bool:
        """Forget a stream with all its chunks, and leave no tombstone: the id is free again.

        If it is running, its factory is cancelled; or, if its process cannot be told, goes on for the readers there.
        All readers get `StreamGoneError`.

        Returns:
            Whether there was one. If the store's reply was lost, it was asked again, and may not have had it any more.
        """
        check_stream_id(stream_id, self._limits.max_stream_id_length)
        return await self._runtime.delete(stream_id)

    def list_streams(self) -> AsyncIterator[StreamInfo]:
        """Describe all streams in the store, tombstones included, in no particular order.

        For tools: it walks through everything there is. One that comes or goes meanwhile may be missing.
        """
        return self._runtime.scan()

    def timeline(self, stream_id: str, *, start_index: int = 0) -> AsyncGenerator[TimelineEntry, None]:
        """Tell when the chunks of a stream were logged, entry by entry, in order and without the chunks.

        It ends with what is logged when it gets there, and does not wait for more: call it again with the index after
        the last one. For tools: it reads the log, a page at a time, so that memory is bounded. One that is unknown, or
        was deleted or forgotten meanwhile, has no further entries.

        Args:
            stream_id: Of the stream.
            start_index: Of a chunk, at least 0. The first entry is the one that contains it.

        Raises:
            InvalidStreamIdError, InvalidPositionError: See there.
            BackendError: The store failed.
            ContextClosedError: The context is not open.
        """
        check_stream_id(stream_id, self._limits.max_stream_id_length)
        checked = parse_position(start_index, None, None).start_index
        if checked < 0:
            raise InvalidPositionError("a timeline starts at an index, which is at least 0")
        return self._runtime.timeline(stream_id, checked)

    def readers(self) -> dict[str, int]:
        """Return how many readers the streams have in this process, by stream id.

        Streams without any are left out, and so are readers of streams that had ended before they came.

        Raises:
            ContextClosedError: The context is not open.
        """
        return self._runtime.readers()

    def _source(self, factory: Factory[T], takeover: Takeover[T] | None) -> Source:
        for made in (factory,) if takeover is None else (factory, takeover):
            if not callable(made):
                raise InvalidFactoryError(f"a factory is callable, which {type(made).__name__} is not")
        codec = self._codec
        return Source(factory, takeover, codec.encode if codec else None, codec.decode if codec else None)

    async def _acquire(
        self, stream_id: str, source: Source, *, allow_new: bool
    ) -> tuple[StreamInfo | None, StreamRole]:
        check_stream_id(stream_id, self._limits.max_stream_id_length)
        acquired = await self._runtime.acquire(stream_id, source, allow_new=allow_new)
        return acquired.info, StreamRole.PUBLISHER if acquired.is_publisher else StreamRole.SUBSCRIBER

    async def _read(
        self, info: StreamInfo, position: Position, role: StreamRole, source: Source | None = None
    ) -> ResumableStream[Any]:
        if position.skip_characters and self._codec is not None:
            raise InvalidPositionError("only streams of text have characters to skip")
        length = self._runtime.length_of(info)
        reader = self._runtime.read(info, resolve_start(position, replace(info, length=length)), source)
        try:
            await reader.skip_characters(position.skip_characters, length)
        except BaseException:
            reader.give_back()
            raise
        return ResumableStream(reader, role, self._codec, is_told_of_loss=position.is_told_of_loss)


def _seconds(
    settings: Settings, name: str, default: float, minimum: float = 0.0, maximum: float = _MAX_SECONDS
) -> float:
    value: object = settings.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not minimum <= value <= maximum:
        raise InvalidSettingError(f"{name} is a number of seconds, from {minimum:g} to {maximum}, not {value!r}")
    return float(value)


def _instance(settings: Settings, name: str, kind: type[T]) -> T | None:
    value: object = settings.get(name)
    if value is not None and not isinstance(value, kind):
        raise InvalidSettingError(f"{name} is a {kind.__name__}, not {type(value).__name__}")
    return value


def backend_from_url(url: str | None, key_prefix: str) -> StreamBackend:
    """Return a backend for the store that a URL names, as `ResumableStreamContext.from_url` says."""
    if url is None:
        url = os.environ.get("REDIS_URL") or "memory://"
        if url == "memory://":
            _logger.info("REDIS_URL is not set: streams are kept in memory, for this process alone")
    scheme = url.partition("://")[0]
    if scheme == "memory":
        from .backends.memory import MemoryBackend

        return MemoryBackend()
    if scheme == "unix" or scheme.partition("+")[0] in ("redis", "rediss"):
        return _redis_backend(url, key_prefix)
    raise InvalidSettingError("a URL starts with memory://, redis://, rediss://, unix://, redis+sentinel:// or such")


def _redis_backend(server: str | Redis | RedisCluster, key_prefix: str) -> StreamBackend:
    # Here, so that who keeps streams in memory does not load the driver.
    from .backends.redis import RedisBackend

    return RedisBackend(server, key_prefix=key_prefix)

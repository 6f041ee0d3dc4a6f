"""The class that most users need, and no other."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import Self, TypedDict, Unpack

from ._core.ids import check_stream_id
from ._core.positions import Position, parse_position, resolve_start
from ._engine.runtime import Runtime, Source
from .abc import Codec, StreamBackend
from .exceptions import (
    InvalidFactoryError,
    InvalidPositionError,
    InvalidSettingError,
    StreamExistsError,
)
from .stream import ResumableStream
from .types import Claim, Factory, Limits, StreamInfo, StreamRole, StreamState

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["ResumableStreamContext", "Settings"]

T = TypeVar("T")

_MAX_SECONDS = 10 * 366 * 86400  # Redis cannot count to everything that a float can

_logger = logging.getLogger("resumable_stream")


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
    limits: Limits
    """Bounds on what is accepted and held."""
    codec: Codec | None
    """Turns other values into chunks. ``None``, the default: chunks are `str` or `bytes`, as the factory made them."""


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
        backend: Where streams are kept: a `StreamBackend`, or an asynchronous client of redis-py. The client tells
            which server to use and how; its connections are not used, and it is never closed.
        key_prefix: Of keys and channels, if ``backend`` is a client.
        settings: See `Settings`.

    Raises:
        InvalidSettingError: A setting is out of range.
    """

    def __init__(
        self, backend: StreamBackend | Redis, *, key_prefix: str = "resumable-stream", **settings: Unpack[Settings]
    ) -> None:
        unknown = settings.keys() - Settings.__annotations__.keys()
        if unknown:
            raise InvalidSettingError(f"no such setting: {', '.join(sorted(unknown))}")
        self._limits = _instance(settings, "limits", Limits) or Limits()
        self._codec: Codec | None = _instance(settings, "codec", Codec)  # type: ignore[type-abstract]  # mypy#4717
        self._lease = _seconds(settings, "lease", 15.0, minimum=0.05)
        self._retention = _seconds(settings, "retention", 3600.0)
        self._tombstone = _seconds(settings, "tombstone", 86400.0)
        drain_timeout = _seconds(settings, "drain_timeout", 10.0)
        if not isinstance(backend, StreamBackend):
            backend = _redis_backend(backend, key_prefix)
        self._runtime = Runtime(backend, self._limits, lease=self._lease, drain_timeout=drain_timeout)

    @classmethod
    def from_url(
        cls, url: str | None = None, *, key_prefix: str = "resumable-stream", **settings: Unpack[Settings]
    ) -> Self:
        """Return a context for the store that a URL names.

        Args:
            url: ``redis://``, ``rediss://`` or ``unix://`` as redis-py reads it, or ``memory://`` for streams that
                live in this process alone. ``None``: the environment variable ``REDIS_URL``, and without it memory.
            key_prefix: Of keys and channels in Redis.
            settings: See `Settings`.

        Raises:
            InvalidSettingError: The URL is of no known kind, or a setting is out of range.
        """
        if url is None:
            url = os.environ.get("REDIS_URL") or "memory://"
            if url == "memory://":
                _logger.info("REDIS_URL is not set: streams are kept in memory, for this process alone")
        return cls(_backend_from_url(url, key_prefix), **settings)

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
        start_index: int | None = None,
        skip_characters: int | None = None,
        after: str | None = None,
    ) -> ResumableStream[T] | None:
        """Publish a stream, or read it if it exists.

        Exactly one caller becomes the publisher, however many race on however many machines. Its factory is called in
        a task of the context, so cancelling this call, or dropping the stream, does not stop it; what it raises is
        recorded, and raised to readers after the last chunk.

        The position is where to start reading, in one form at most. It must not be beyond the end; for a stream that
        does not exist it must be the start, or nothing is created.

        Args:
            stream_id: 1 to 256 characters: letters, digits, and ``_ . : -``. One answer, one id: never use it again.
            factory: Called without arguments, returns the chunks: an async iterable (such as an async generator), a
                plain one, or an awaitable of one of these. A plain one is iterated on the event loop, so its steps
                must not block. Called at most once for an id.
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
                all, if the store created the stream and could not say so: then that is lost when its lease has lapsed.
            ContextClosedError: The context is not open.
        """
        position = parse_position(start_index, skip_characters, after)
        info, role = await self._acquire(stream_id, factory, allow_new=position.is_start)
        if info is None:
            raise InvalidPositionError(f"stream {stream_id!r} does not exist, so nothing of it can have been seen")
        if not info.is_readable:
            return None
        return await self._read(info, position, role)

    async def create_new_resumable_stream(self, stream_id: str, factory: Factory[T]) -> ResumableStream[T]:
        """Publish a stream that must not exist yet. Otherwise like `resumable_stream`.

        Raises:
            StreamExistsError: The id is taken, by a stream or by a tombstone. The factory was not called.
        """
        info, role = await self._acquire(stream_id, factory, allow_new=True)
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
        acquired = await self._runtime.acquire(stream_id, self._claim(allow_new=False))
        return acquired.info

    async def delete(self, stream_id: str) -> bool:
        """Forget a stream with all its chunks, and leave no tombstone: the id is free again.

        If it is running, its factory is cancelled when it appends the next time, or renews its lease. Its readers get
        `StreamGoneError`.

        Returns:
            Whether there was one.
        """
        check_stream_id(stream_id, self._limits.max_stream_id_length)
        return await self._runtime.delete(stream_id)

    def list_streams(self) -> AsyncIterator[StreamInfo]:
        """Describe all streams in the store, tombstones included, in no particular order.

        For tools: it walks through everything there is. One that comes or goes meanwhile may be missing.
        """
        return self._runtime.scan()

    async def _acquire(
        self, stream_id: str, factory: Callable[[], Any], *, allow_new: bool
    ) -> tuple[StreamInfo | None, StreamRole]:
        check_stream_id(stream_id, self._limits.max_stream_id_length)
        if not callable(factory):
            raise InvalidFactoryError(f"a factory is callable, which {type(factory).__name__} is not")
        source = Source(factory, self._codec.encode if self._codec else None)
        acquired = await self._runtime.acquire(stream_id, self._claim(allow_new=allow_new), source)
        return acquired.info, StreamRole.PUBLISHER if acquired.is_publisher else StreamRole.SUBSCRIBER

    async def _read(self, info: StreamInfo, position: Position, role: StreamRole) -> ResumableStream[Any]:
        if position.skip_characters and self._codec is not None:
            raise InvalidPositionError("only streams of text have characters to skip")
        reader = self._runtime.read(info, resolve_start(position, info))
        try:
            first = await reader.skip_characters(position.skip_characters, info.length)
        except BaseException:
            self._runtime.release(reader.feed)
            raise
        decode = self._codec.decode if self._codec else None
        return ResumableStream(reader, role, decode, self._runtime.release, first)

    def _claim(self, *, allow_new: bool) -> Claim:
        return Claim(secrets.token_hex(8), self._lease, self._retention, self._tombstone, allow_new)


def _seconds(settings: Settings, name: str, default: float, minimum: float = 0.0) -> float:
    value: object = settings.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not minimum <= value <= _MAX_SECONDS:
        raise InvalidSettingError(f"{name} is a number of seconds, from {minimum:g} to {_MAX_SECONDS}, not {value!r}")
    return float(value)


def _instance(settings: Settings, name: str, kind: type[T]) -> T | None:
    value: object = settings.get(name)
    if value is not None and not isinstance(value, kind):
        raise InvalidSettingError(f"{name} is a {kind.__name__}, not {type(value).__name__}")
    return value


def _backend_from_url(url: str, key_prefix: str) -> StreamBackend:
    scheme = url.partition("://")[0]
    if scheme == "memory":
        from .backends.memory import MemoryBackend

        return MemoryBackend()
    if scheme in ("redis", "rediss", "unix"):
        return _redis_backend(url, key_prefix)
    raise InvalidSettingError("a URL starts with memory://, redis://, rediss:// or unix://")


def _redis_backend(server: str | Redis, key_prefix: str) -> StreamBackend:
    # Here, so that who keeps streams in memory does not load the driver.
    from .backends.redis import RedisBackend

    return RedisBackend(server, key_prefix=key_prefix)

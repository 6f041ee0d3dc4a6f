"""The blocking twin of the context."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from typing_extensions import ParamSpec, Self, Unpack

from ..abc import Codec, StreamBackend
from ..context import ResumableStreamContext as AsyncContext
from ..context import Settings, backend_from_url
from ..stream import ResumableStream as AsyncStream
from ..types import Factory, StreamInfo, StreamState, Takeover, TimelineEntry
from .factories import for_the_loop
from .pulling import BlockingIterator, iterate
from .session import Session
from .stream import ResumableStream

if TYPE_CHECKING:
    from redis.asyncio import Redis, RedisCluster

__all__ = ["ResumableStreamContext"]

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=AbstractAsyncContextManager[Any])


class ResumableStreamContext:
    """Makes streams resumable, for code that is not asynchronous.

    The blocking twin of `resumable_stream.ResumableStreamContext`: the same methods, arguments, promises and errors,
    over the same implementation, which runs in an event loop in a thread of its own. One context serves all threads of
    a process. Making one does no I/O, and starts no thread.

    **Opening.** It opens itself at its first use, and is closed when the process exits. To have errors early, and an
    end in time, `open` and `close` it, which ``with`` does. Closing waits ``drain_timeout`` seconds for running
    factories, then cancels them and records their streams as ``STOPPED``; an interrupt cuts the waiting short.

    **Forking.** A process that is forked from one with a context (gunicorn, Celery, `multiprocessing`) has a context
    that is not open yet, whether or not it was in its parent, and opens one of its own, with connections of its own,
    when it needs one. Streams that were opened before the fork are the parent's, and cannot be read in the child.

    **Factories.** A factory may block: a plain callable is called, and what it returns is iterated over, in a thread of
    its own, with the context variables of the caller. What `resumable_stream.answers.in_thread` says of such threads
    holds: one that is stopped is closed when it next yields, so give what blocks a timeout. Coroutine functions and
    async generator functions run in the loop. A takeover is treated likewise.

    Args:
        backend: Where streams are kept: a `StreamBackend`, a callable that makes one, or an asynchronous client of
            redis-py, as the twin has it. A backend that is given itself, and was opened before a fork, cannot be used
            after that; of what a callable makes, each process has one of its own.
        key_prefix: Of keys and channels, if ``backend`` is a client.
        settings: See `Settings`. ``decode`` of a codec is called in the threads that read.

    Raises:
        InvalidSettingError: A setting is out of range.
    """

    def __init__(
        self,
        backend: StreamBackend | Redis | RedisCluster | Callable[[], StreamBackend],
        *,
        key_prefix: str = "resumable-stream",
        **settings: Unpack[Settings],
    ) -> None:
        given: Any = backend

        def make() -> AsyncContext:
            return AsyncContext(given() if callable(given) else given, key_prefix=key_prefix, **settings)

        self._session = Session(make(), None if isinstance(given, StreamBackend) else make)

    @classmethod
    def from_url(
        cls, url: str | None = None, *, key_prefix: str = "resumable-stream", **settings: Unpack[Settings]
    ) -> Self:
        """Return a context for the store that a URL names. Arguments and errors are those of the twin.

        Streams that are kept in memory are one process's own: a child begins without any.
        """
        return cls(partial(backend_from_url, url, key_prefix), **settings)

    @property
    def codec(self) -> Codec | None:
        """What turns the values of factories into chunks; ``None``: they are text or bytes already."""
        return self.twin.codec

    @property
    def is_leaving(self) -> bool:
        """Whether this context is being closed just now: what is cancelled then, is so for that reason."""
        return self.twin.is_leaving

    @property
    def twin(self) -> AsyncContext:
        """The asynchronous context that does the work in this process.

        It is for its loop alone: for factories that run there, and for `call`.
        """
        return self._session.context.get()

    def open(self) -> None:
        """Connect to the store, unless the context is open. One that was closed can be opened again.

        Raises:
            BackendError: The store cannot be reached. It may be tried again.
            ChatStoreError: So it is with the store of a `ResumableChat`.
            BlockingCallError: This thread runs an event loop.
        """
        self._session.open()

    def close(self) -> None:
        """Let running factories come to their end for ``drain_timeout`` seconds, then end them; let go of everything.

        Calls after that raise `ContextClosedError`. Without effect if it is not open. May be called twice.
        """
        self._session.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def resumable_stream(
        self,
        stream_id: str,
        factory: Factory[T],
        *,
        takeover: Takeover[T] | None = None,
        start_index: int | None = None,
        skip_characters: int | None = None,
        after: str | None = None,
    ) -> ResumableStream[T] | None:
        """Publish a stream, or read it if it exists, or go on with it if its publisher was lost. See the twin."""
        stream = self.call(
            self.twin.resumable_stream,
            stream_id,
            for_the_loop(factory),
            takeover=takeover and for_the_loop(takeover),
            start_index=start_index,
            skip_characters=skip_characters,
            after=after,
        )
        return None if stream is None else self.adopt(stream)

    def create_new_resumable_stream(self, stream_id: str, factory: Factory[T]) -> ResumableStream[T]:
        """Publish a stream that must not exist yet. See the twin."""
        return self.adopt(self.call(self.twin.create_new_resumable_stream, stream_id, for_the_loop(factory)))

    def resume_existing_stream(
        self,
        stream_id: str,
        *,
        start_index: int | None = None,
        skip_characters: int | None = None,
        after: str | None = None,
    ) -> ResumableStream[Any] | None:
        """Read a stream that exists; ``None``: there is none, or its retention is over. See the twin."""
        stream = self.call(
            self.twin.resume_existing_stream,
            stream_id,
            start_index=start_index,
            skip_characters=skip_characters,
            after=after,
        )
        return None if stream is None else self.adopt(stream)

    def has_existing_stream(self, stream_id: str) -> StreamState | None:
        """Return the state of a stream, of its tombstone too; ``None`` if there is neither."""
        return self.call(self.twin.has_existing_stream, stream_id)

    def info(self, stream_id: str) -> StreamInfo | None:
        """Describe a stream, or its tombstone; ``None`` if there is neither."""
        return self.call(self.twin.info, stream_id)

    def stop(self, stream_id: str, *, reason: str = "requested") -> StreamState | None:
        """Stop a stream, wherever its publisher is. See the twin.

        A factory that blocks cannot be interrupted: it is closed when it next yields, and left to itself if that takes
        longer than five seconds.
        """
        return self.call(self.twin.stop, stream_id, reason=reason)

    def delete(self, stream_id: str) -> bool:
        """Forget a stream with all its chunks, and leave no tombstone: the id is free again. See the twin."""
        return self.call(self.twin.delete, stream_id)

    def list_streams(self) -> BlockingIterator[StreamInfo]:
        """Describe all streams in the store, tombstones included, in no particular order. See the twin."""
        loop = self._session.loop()
        return iterate(loop, self.twin.list_streams())

    def timeline(self, stream_id: str, *, start_index: int = 0) -> BlockingIterator[TimelineEntry]:
        """Tell when the chunks of a stream were logged, entry by entry, without the chunks. See the twin."""
        loop = self._session.loop()
        return iterate(loop, self.twin.timeline(stream_id, start_index=start_index))

    def readers(self) -> dict[str, int]:
        """Return how many readers the streams have in this process, by stream id. See the twin."""

        async def readers() -> dict[str, int]:
            return self.twin.readers()

        return self.call(readers)

    def call(self, function: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call an asynchronous function in the loop of this context, and return what it returns.

        Such as a method of a chat store. An interrupt cancels it, and so does closing the context, at its end.

        Raises:
            BlockingCallError: This thread runs an event loop.
            ContextClosedError: The context was closed.
        """
        return self._session.loop().call(lambda: function(*args, **kwargs))

    def iterate(self, source: AsyncIterable[T]) -> BlockingIterator[T]:
        """Iterate over something asynchronous in the loop of this context, one item for each step.

        To close the iterator, or to forget it, closes the source. Errors are those of `call`.
        """
        return iterate(self._session.loop(), source)

    def adopt(self, stream: AsyncStream[T]) -> ResumableStream[T]:
        """Return the blocking twin of a stream that was opened in the loop of this context, such as by `call`.

        The stream is not to be used in another way then.
        """
        codec = self.codec
        return ResumableStream(self._session.loop(), stream, codec.decode if codec else None)

    def attach(self, manager: M | Callable[[], M]) -> Callable[[], M]:
        """Have something asynchronous entered when this context is opened, before it, and left after it.

        That is for what factories use, such as a pool of connections. If the context is open, it is entered by the next
        call.

        Args:
            manager: What is entered, in the loop; or a callable that makes it: then each process has one of its own,
                also if the context was open when the process was forked.

        Returns:
            A callable that returns that of this process.
        """
        return self._session.attach(manager).get

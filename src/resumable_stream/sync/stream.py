"""The blocking twin of a stream."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Generic, TypeVar

from typing_extensions import Self

from .._core.ids import format_event_id, parse_event_id
from ..stream import ResumableStream as AsyncStream
from ..types import RawChunk, StreamBlock, StreamEvent, StreamRole, StreamState
from .background import BackgroundLoop
from .pulling import BlockingIterator, Puller, Turn, iterate

__all__ = ["ResumableStream"]

T = TypeVar("T")
U = TypeVar("U")


class ResumableStream(Generic[T]):
    """An iterator over the chunks of a stream, which waits for those that are still to come.

    The blocking twin of `resumable_stream.ResumableStream`, with the same positions, ends and errors. It fetches whole
    blocks, so that most chunks cost no more than those of a list, and is never further ahead than one of them.

    It belongs to one thread at a time. Reading in two at once is refused; ask for a stream for each.

    **Interrupts.** A `KeyboardInterrupt` while it waits loses nothing, and reading may go on. To wait for so long only,
    pass a ``timeout`` to `events` or `blocks`.

    **Closing.** `close` may be called by any thread, and never waits. A thread that waits for a chunk gets no more. A
    server of WSGI calls it when the client has gone away, if it is given the stream itself, or a generator with
    ``with stream:`` around its loop. Forgetting a stream does the same. The factory goes on, and so do other readers.

    Raises, on reading:
        BlockingCallError: The thread runs an event loop.
        ContextClosedError: The context was closed, or the process was forked after the stream was made.
        ConcurrentReadError: Another thread is reading from this object.
        PublisherFailedError, PublisherLostError, StreamGoneError, BackendError: As the twin.
    """

    def __init__(self, loop: BackgroundLoop, stream: AsyncStream[T], decode: Callable[[RawChunk], Any] | None) -> None:
        self._loop = loop
        self._stream = stream
        self._decode = decode
        self._blocks: Puller[StreamBlock | None] = Puller(loop, _next_of(stream))
        self._turn = Turn()
        self._chunks: Sequence[RawChunk] = ()
        self._first = stream.index
        self._offset = 0
        self._generation = ""  # told by the first block
        self._is_over = False

    @property
    def stream_id(self) -> str:
        """The id of the stream."""
        return self._stream.stream_id

    @property
    def role(self) -> StreamRole:
        """Whether the call that made this object started the factory."""
        return self._stream.role

    @property
    def state(self) -> StreamState:
        """The state of the stream, as far as this process has heard: it may end before this reader gets there."""
        return self._stream.state

    @property
    def degraded(self) -> bool:
        """Whether the store is away, as far as this process has noticed. The twin says what that means."""
        return self._stream.degraded

    @property
    def index(self) -> int:
        """Index of the next chunk: how many come before it."""
        return self._first + self._offset

    @property
    def event_id(self) -> str | None:
        """Event id of the chunk before the position, to resume after it; ``None`` at the very start."""
        if not self._generation:
            return self._stream.event_id
        return self._event_id(self.index - 1) if self.index else None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        # What `_next_chunk` does, without the calls that it would take.
        if not self._turn.acquire(False):
            raise self._turn.error()
        try:
            chunks, offset = self._chunks, self._offset
            if offset >= len(chunks) or self._decode is not None:
                return self._next_chunk(None)  # type: ignore[no-any-return]  # what the factory yielded
            self._offset = offset + 1
            return chunks[offset]  # type: ignore[return-value]  # likewise
        finally:
            self._turn.release()

    def events(self, *, timeout: float | None = None) -> BlockingIterator[StreamEvent]:
        """Iterate over chunks together with index and event id.

        Args:
            timeout: How many seconds to wait for each, before `TimeoutError` is raised. That loses nothing, and reading
                may go on: send a sign of life to a client who waits, for one. ``None``: as long as it takes.
        """
        return BlockingIterator(lambda: self._next_event(timeout), self.close)

    def blocks(self, *, timeout: float | None = None) -> BlockingIterator[StreamBlock]:
        """Iterate over all chunks that are there at once. ``timeout`` is that of `events`."""
        return BlockingIterator(lambda: self._next_block(self._decode, timeout), self.close)

    def encoded_blocks(self, *, timeout: float | None = None) -> BlockingIterator[StreamBlock]:
        """Iterate as `blocks` does, over chunks as they are logged: without a codec they are the same."""
        return BlockingIterator(lambda: self._next_block(None, timeout), self.close)

    def iterate(self, framed: Callable[[AsyncStream[T]], AsyncIterable[U]]) -> BlockingIterator[U]:
        """Iterate over what a function makes of the asynchronous stream behind this one, in the context's loop.

        Such as the body of a response. Nothing else is to read from this one then. To close the iterator, or to forget
        it, closes what the function made; that closes the stream, if it was begun.
        """
        return iterate(self._loop, framed(self._stream))

    def close(self) -> None:
        """Stop reading. The stream itself goes on. A read that waits in another thread, and any later one, just ends.

        May be called twice, and never waits.
        """
        self._is_over = True
        self._chunks = ()
        self._loop.tell(self._stream.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ResumableStream {self.stream_id!r} {self.role.value}, {self.state.value}, at {self.index}>"

    def _next_chunk(self, timeout: float | None) -> Any:
        chunks, offset = self._chunks, self._offset
        while offset >= len(chunks):
            self._advance(timeout)
            chunks, offset = self._chunks, self._offset
        chunk: Any = chunks[offset]
        if self._decode is not None:
            chunk = self._decode(chunk)
        self._offset = offset + 1
        return chunk

    def _next_event(self, timeout: float | None) -> StreamEvent:
        with self._turn:
            chunk = self._next_chunk(timeout)
            index = self.index - 1
            return StreamEvent(self._event_id(index), index, chunk)

    def _next_block(self, decode: Callable[[RawChunk], Any] | None, timeout: float | None) -> StreamBlock:
        with self._turn:
            while self._offset >= len(self._chunks):
                self._advance(timeout)
            index, chunks = self.index, self._chunks[self._offset :]
            decoded = chunks if decode is None else [decode(chunk) for chunk in chunks]
            self._offset += len(chunks)
            return StreamBlock(self._event_id(self.index - 1), index, decoded)

    def _advance(self, timeout: float | None) -> None:
        """Get the next block.

        Raises:
            StopIteration: There is none: the stream has come to its end.
        """
        block = None if self._is_over else self._blocks.pull(timeout)
        if block is None:
            self._is_over = True
            raise StopIteration
        self._generation = parse_event_id(block.event_id).generation
        self._first, self._offset = block.index, 0
        self._chunks = block.chunks
        if self._is_over:  # closed by another thread meanwhile
            self._chunks = ()

    def _event_id(self, index: int) -> str:
        return format_event_id(self._generation, index)


def _next_of(stream: AsyncStream[Any]) -> Callable[[], Coroutine[Any, Any, StreamBlock | None]]:
    """Return what gets the next block of a stream, in the loop, and holds nothing else."""
    blocks = stream.encoded_blocks()

    async def next_block() -> StreamBlock | None:
        return await anext(blocks, None)

    return next_block

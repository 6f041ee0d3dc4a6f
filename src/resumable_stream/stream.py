"""What a caller holds: one position over one stream."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import Any, Generic, TypeVar

from typing_extensions import Self

from ._core.ids import format_event_id
from ._engine.reader import Reader
from .abc import Codec
from .exceptions import InvalidSettingError
from .types import RawChunk, StreamBlock, StreamEvent, StreamRole, StreamState

__all__ = ["ResumableStream"]

T = TypeVar("T")

MAX_HEARTBEAT = 366 * 86400
"""Seconds. Not all event loops can count to everything that a float can."""


class ResumableStream(Generic[T]):
    """An async iterator over the chunks of a stream, from a position on, to the stream's end.

    Made by `ResumableStreamContext`. Every caller gets one of their own; reading one does not slow the others. Chunks
    come one by one (``async for chunk in stream``), with their positions (`events`), or as many as there are at once
    (`blocks`); the three share one position and may be mixed, but not by two tasks at the same time.

    It ends like the stream does. A stream that is done or was stopped just ends: `state` tells which. Of a stream that
    failed or was lost, all chunks come, and then the matching error.

    **Cancellation.** Cancelling a read is safe: no chunk is lost, and reading may go on.

    It is safe to drop at any point, with `aclose`, with ``async with``, or by forgetting it. That ends nothing but this
    reader: the factory goes on, and so do the others.

    Raises, on reading:
        PublisherFailedError: The factory raised.
        PublisherLostError: The publisher died, or lost its lease.
        StreamGoneError: The stream was deleted, or expired, before all of it was read.
        ContextClosedError: The context was left first.
        BackendError: The store cannot be read, and was not back within ``outage_timeout`` seconds.
        ConcurrentReadError: Another task is reading from this object.
    """

    def __init__(
        self,
        reader: Reader,
        role: StreamRole,
        codec: Codec | None,
        *,
        is_told_of_loss: bool = False,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = reader
        self._role = role
        self._codec = codec
        self._decode = codec.decode if codec else None
        self._told_at = reader.index if is_told_of_loss else None

    @property
    def stream_id(self) -> str:
        """The id of the stream."""
        return self._reader.feed.stream_id

    @property
    def role(self) -> StreamRole:
        """Whether the call that made this object started the factory."""
        return self._role

    @property
    def state(self) -> StreamState:
        """The state of the stream, as far as this process has heard: it may end before this reader gets there."""
        end = self._reader.feed.end
        return StreamState.RUNNING if end is None else end.state

    @property
    def degraded(self) -> bool:
        """Whether the store is away, as far as this process has noticed.

        In the publisher's process chunks then come before they are logged: should it die too, they are lost, and a
        position after them is beyond the end. Elsewhere chunks come when the store is back.
        """
        return self._reader.feed.is_degraded

    @property
    def index(self) -> int:
        """Index of the next chunk: how many come before it."""
        return self._reader.index

    @property
    def length(self) -> int | None:
        """How many chunks there are, once the stream has ended; ``None``: it runs, as far as this process has heard."""
        feed = self._reader.feed
        return None if feed.end is None else feed.window.stop

    @property
    def event_id(self) -> str | None:
        """Event id of the chunk before the position, to resume after it; ``None`` at the very start."""
        return self.event_id_of(self.index - 1) if self.index else None

    @property
    def codec(self) -> Codec | None:
        """What turns the factory's values into what is logged; ``None``: they are text or bytes already."""
        return self._codec

    @property
    def is_told_of_loss(self) -> bool:
        """Whether who reads from here came with the event id of a word that the stream was lost here."""
        return self._told_at == self.index

    def event_id_of(self, index: int) -> str:
        """Return the event id of a chunk. That of the next one after all is for a word about how the stream ended."""
        return format_event_id(self._reader.feed.generation, index)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        reader = self._reader
        while not reader.unread:
            await reader.fetch(reader.hold)
        if self._decode is None:
            return reader.unread.pop()  # type: ignore[return-value]  # what the factory yielded
        chunk = self._decode(reader.unread[-1])
        reader.unread.pop()
        return chunk  # type: ignore[no-any-return]  # likewise

    def events(self) -> AsyncIterator[StreamEvent]:
        """Iterate over chunks together with index and event id."""
        return _Events(self)

    def blocks(self, *, heartbeat: float | None = None) -> AsyncIterator[StreamBlock]:
        """Iterate over all chunks that are there at once, which is several times faster than one by one.

        How chunks are grouped says nothing: it depends on timing, and differs between readers.

        Args:
            heartbeat: After so many seconds without a chunk comes a block without any, and so on: for a sign of life,
                so that nobody on the way takes a connection for dead. It costs next to nothing. A read of the log, or
                the time-out of one, is waited for first. ``None``: never.

        Raises:
            InvalidSettingError: The heartbeat is no number of seconds above 0, or longer than a year.
        """
        return _Blocks(self, self._decode, _checked(heartbeat))

    def encoded_blocks(self, *, heartbeat: float | None = None) -> AsyncIterator[StreamBlock]:
        """Iterate as `blocks` does, over chunks as they are logged: without a codec they are the same.

        For wires that carry what the codec wrote, such as JSON, and need not have it read and written again.
        """
        return _Blocks(self, None, _checked(heartbeat))

    async def aclose(self) -> None:
        """Stop reading. The stream itself goes on. A read that waits in another task, and any later one, just ends.

        May be called twice.
        """
        self._reader.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __copy__(self) -> Self:
        raise TypeError("a stream is one position, and cannot be copied: ask the context for another one")

    def __del__(self) -> None:
        reader: Reader | None = getattr(self, "_reader", None)  # it has none if it could not be made
        if reader is not None and reader.is_held:
            try:  # noqa: SIM105  # at the interpreter's exit, names of this module may be gone
                # It may be collected in any thread.
                self._loop.call_soon_threadsafe(reader.give_back)
            except RuntimeError:  # the loop is closed, and everything with it
                pass

    def __repr__(self) -> str:
        return f"<ResumableStream {self.stream_id!r} {self._role.value}, {self.state.value}, at {self.index}>"


# Not generators: a step that is cancelled would end these, and reading may go on.


class _Events(AsyncIterator[StreamEvent]):
    def __init__(self, stream: ResumableStream[Any]) -> None:
        self._stream = stream

    async def __anext__(self) -> StreamEvent:
        chunk = await anext(self._stream)
        index = self._stream.index - 1
        return StreamEvent(self._stream.event_id_of(index), index, chunk)


class _Blocks(AsyncIterator[StreamBlock]):
    def __init__(
        self, stream: ResumableStream[Any], decode: Callable[[RawChunk], Any] | None, heartbeat: float | None
    ) -> None:
        self._stream = stream  # which gives its reader back when it is forgotten
        self._reader, self._loop = stream._reader, stream._loop  # noqa: SLF001  # this is a part of it
        self._decode = decode
        self._heartbeat = heartbeat

    def __anext__(self) -> Awaitable[StreamBlock]:
        deadline = math.inf if self._heartbeat is None else self._loop.time() + self._heartbeat
        return self._reader.fetch(self._block_of, deadline)

    def _block_of(self, stop: int, chunks: list[RawChunk]) -> StreamBlock:
        event_id = format_event_id(self._reader.feed.generation, stop - 1) if stop else ""
        decoded = chunks if self._decode is None else self._decoded(self._decode, stop, chunks)
        # Each chunk may have one: the class itself would make it in Python, which takes twice as long.
        return tuple.__new__(StreamBlock, (event_id, stop - len(chunks), decoded))

    def _decoded(self, decode: Callable[[RawChunk], Any], stop: int, chunks: list[RawChunk]) -> list[Any]:
        try:
            return list(map(decode, chunks))
        except BaseException:
            self._reader.hold(stop, chunks)  # for the next time
            raise


def _checked(heartbeat: object) -> float | None:
    if heartbeat is None:
        return None
    if isinstance(heartbeat, (int, float)) and not isinstance(heartbeat, bool) and 0 < heartbeat <= MAX_HEARTBEAT:
        return heartbeat
    raise InvalidSettingError(f"heartbeat is a number of seconds above 0, and a year at most, not {heartbeat!r}")

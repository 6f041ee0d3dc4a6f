"""What one process knows of one live stream."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from .._core.packing import unpack
from .._core.window import Window
from ..exceptions import BackendError, ResumableStreamError, StreamGoneError
from ..types import End, Entry, Limits, Page, Push, RawChunk, StreamInfo, StreamState


class Feed:
    """The live end of a stream, shared by all its readers in this process.

    It grows from what the publisher logged, if that is here, or from pushes and the log. Whatever comes twice is taken
    once, and whatever comes too early is left to the log, so all of these may feed it at the same time.
    """

    def __init__(self, info: StreamInfo, limits: Limits) -> None:
        self.stream_id: str = info.stream_id
        self.generation: str = info.generation
        self.epoch: int = info.epoch
        self.created_at: float = info.created_at
        self.window: Window = Window(info.length, limits.window_bytes)
        self.end: End | None = None
        """How the stream ended, once all its chunks are in the window."""
        self.error: ResumableStreamError | None = None
        """Why no more can be read here, although the stream may go on."""
        self.is_over: bool = False
        """Whether nothing more will come: there is an end or an error."""
        self.cause: BaseException | None = None
        """What the factory raised, if it ran here: that of the epoch."""
        self.owner: object | None = None
        """The publisher, if it is here. Nobody else fills the feed then."""
        self.is_degraded: bool = False
        """Whether the store is away: chunks may come before they are logged, if the publisher is here, or late."""
        self.readers: int = 0
        self.was_heard: bool = False
        """Whether anything came since the hub looked last."""
        self.look_at: float = 0.0
        """When the log is to be read if nothing came, on the event loop's clock."""
        self.away_since: float | None = None
        """Since when the store is away, as far as reading this stream has told."""
        self.told_at: float | None = None
        """When readers are told that the stream is lost, if nobody takes it over until then."""
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[object, asyncio.Future[None]] = {}
        """Who waits for a change, or was broken off when it did. Not an event: each chunk would need a new one."""

    @property
    def is_published_here(self) -> bool:
        """Whether its publisher is in this process."""
        return self.owner is not None

    def change(self, reader: object) -> asyncio.Future[None]:
        """Return what is done when something has changed since this call, or somebody calls the reader.

        It is kept until then, or until the reader asks again, even if nobody waits for it any more. Not a coroutine:
        each would have to be gone through, whenever a reader wakes up.
        """
        self._waiting[reader] = change = self._loop.create_future()
        return change

    def call(self, reader: object) -> None:
        """Have one reader look again, if it waits. To be called when one is gone, too: else it would be kept here."""
        change = self._waiting.pop(reader, None)
        if change is not None and not change.done():
            change.set_result(None)

    def offer(self, first: int, chunks: Sequence[RawChunk], size: int) -> bool:
        """Take what is new in logged chunks, which have ``size`` bytes; return whether they joined on."""
        joined = self.window.offer(first, chunks, size)
        if self._waiting:
            self.wake()
        return joined

    def finish(self, end: End) -> None:
        """Take note of the end. All chunks are here."""
        if not self.is_over:
            self.end, self.is_over = end, True
            self.wake()

    def fail(self, error: ResumableStreamError) -> None:
        """Give up: readers get what is here, and then ``error``."""
        if not self.is_over:
            self.error, self.is_over = error, True
            self.wake()

    def publish_from(self, info: StreamInfo) -> bool:
        """Go on under a new epoch, which is published here. False: this feed has chunks that the store lost."""
        if self.window.stop > info.length:
            return False
        # What was found out about a publisher elsewhere would be held against this one, when it is gone.
        self.told_at = self.away_since = None
        self.is_degraded = False
        if self.window.stop < info.length:
            self.window.skip_to(info.length)
            self.wake()
        self._begin_epoch(info.epoch)
        return True

    def take_push(self, push: Push) -> bool:
        """Take what was pushed; return whether it joined on. If not, the log has to be read."""
        self.was_heard = True
        generation, epoch, length, entry, end = push
        if generation != self.generation or epoch != self.epoch:
            return False
        if entry is not None and not self._take_entry(entry):
            return False
        if end is not None:
            if self.window.stop != length:
                return False
            self.finish(end)
        return True

    def take_page(self, page: Page | None, start: int) -> bool:
        """Take what was read from the log at ``start``, the window's end then; return whether that is all there was.

        More may have been pushed since, so that the window is ahead of the page. That a stream is lost does not end it
        here: it may be taken over.
        """
        if page is None or not self._is_continued_by(page.info):
            self.fail(StreamGoneError(self.stream_id))
            return True
        for entry in page.entries:
            if not self._take_entry(entry):
                break
        end = page.info.end
        if self.window.stop == page.info.length and end is not None:
            if end.state is not StreamState.LOST:
                self.finish(end)
        elif end is not None and end.state is StreamState.STOPPED and page.info.length < start:
            self.finish(end)  # what was handed on while the store was away is not in the log, and nothing will be
        elif page.info.length < start or self.window.stop == start < page.info.length:
            self.fail(StreamGoneError(self.stream_id))  # the store lost chunks that it had accepted
        return self.is_over or self.window.stop >= page.info.length

    def _is_continued_by(self, info: StreamInfo) -> bool:
        """Whether what we have is a part of what is logged now, as far as the epochs tell."""
        if info.generation != self.generation:
            return False
        if info.epoch > self.epoch:
            if self.window.stop > info.epoch_start:
                return False  # the store lost chunks, and others may have taken their places
            self._begin_epoch(info.epoch)
        return True

    def _begin_epoch(self, epoch: int) -> None:
        if epoch != self.epoch:
            self.epoch, self.cause = epoch, None

    def _take_entry(self, entry: Entry) -> bool:
        first, count, payload, _ = entry
        try:
            chunks = unpack(payload, count)
        except ValueError as error:
            raise _unreadable(error) from error
        return self.offer(first, chunks, len(payload))

    def wake(self) -> None:
        """Have all readers look again."""
        # The garbage collector may come at any point, and find readers that give up waiting: not in this dictionary.
        waiting, self._waiting = self._waiting, {}
        for change in waiting.values():
            if not change.done():  # else its reader was cancelled just now
                change.set_result(None)


def chunks_of(stream_id: str, entries: Sequence[Entry], start: int) -> list[RawChunk]:
    """Return the chunks of consecutive entries, of which there is one at least, from index ``start`` on.

    Raises:
        StreamGoneError: They do not have that one, or there is a gap between them: the store lost chunks.
        BackendError: A payload is damaged, or was written by something else.
    """
    chunks: list[RawChunk] = []
    first = entries[0].first
    try:
        for entry_first, count, payload, _ in entries:
            if entry_first != first + len(chunks):
                raise StreamGoneError(stream_id)
            chunks += unpack(payload, count)
    except ValueError as error:
        raise _unreadable(error) from error
    if not first <= start < first + len(chunks):
        raise StreamGoneError(stream_id)
    return chunks[start - first :]


def _unreadable(error: ValueError) -> BackendError:
    return BackendError(f"cannot read what is logged: {error}")

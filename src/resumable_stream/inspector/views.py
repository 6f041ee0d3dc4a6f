"""One stream: what is known of it, when its chunks came, and its latest text."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any

import anyio
import anyio.lowlevel

from ..context import ResumableStreamContext
from ..exceptions import ResumableStreamError
from ..http.errors import HTTPError
from ..types import RawChunk, StreamInfo
from .marks import TEXT_BYTES, Marks

__all__ = ["Views"]

_MAX_VIEWS = 32
"""Streams whose marks are kept, so that nobody reads what was read before."""
_MAX_ENTRIES = 20_000
"""That one look reads at most. The next one goes on from there."""
_MAX_BYTES = 16 * 1024 * 1024
_INTERVAL = 0.5
_PATIENCE = 2.0
"""Seconds for the text. What did not come until then is missing."""


class _View:
    def __init__(self, generation: str) -> None:
        self.generation = generation
        self.marks = Marks()
        self.is_complete = False
        self.text_to = 0
        """Index after the last chunk of the text; less than there is, if a look was broken off."""
        self.text: dict[str, Any] = {"text": "", "from": 0, "is_cut": False}


class Views:
    """Looks at single streams, for any number of viewers: at each at most twice a second."""

    def __init__(self, context: ResumableStreamContext) -> None:
        self._context = context
        self._views: OrderedDict[str, _View] = OrderedDict()
        self._answers: dict[str, tuple[float, dict[str, Any]]] = {}
        self._lock: anyio.Lock | None = None  # it belongs to an event loop, which may not run yet
        self._own: Counter[str] = Counter()

    def readers_of(self, stream_id: str) -> int:
        """Return how many readers of a stream are the inspector's."""
        return self._own[stream_id]

    def forget(self, stream_id: str) -> None:
        """Have the next viewer see the stream as it is then."""
        self._answers.pop(stream_id, None)

    async def look(self, stream_id: str, describe: Callable[[StreamInfo], dict[str, Any]]) -> dict[str, Any]:
        """Return what there is to show of a stream; its description is what ``describe`` makes of that.

        Raises:
            HTTPError: There is none.
        """
        if self._lock is None:
            self._lock = anyio.Lock()
        async with self._lock:  # one for all streams: this bounds what the viewers of many cost the others
            answered_at, answer = self._answers.get(stream_id, (0.0, {}))
            if anyio.current_time() - answered_at < _INTERVAL and answer:
                return answer
            info = await self._context.info(stream_id)
            if info is None:
                self._answers.pop(stream_id, None)
                self._views.pop(stream_id, None)
                raise HTTPError(404, "not_found", "there is no such stream")
            view = self._view_of(info)
            await self._go_on(view, stream_id)
            answer = _answer(describe(info), info, view)
            self._answers[stream_id] = (anyio.current_time(), answer)
            return answer

    def _view_of(self, info: StreamInfo) -> _View:
        view = self._views.get(info.stream_id)
        if view is None or view.generation != info.generation:
            view = self._views[info.stream_id] = _View(info.generation)
        self._views.move_to_end(info.stream_id)
        if len(self._views) > _MAX_VIEWS:
            oldest, _ = self._views.popitem(last=False)
            self._answers.pop(oldest, None)
        return view

    async def _go_on(self, view: _View, stream_id: str) -> None:
        """Take in what came since the last look."""
        before, read_bytes, number = view.marks.next_index, 0, 0
        view.is_complete = True
        async with aclosing(self._context.timeline(stream_id, start_index=before)) as timeline:
            async for entry in timeline:
                if number >= _MAX_ENTRIES or read_bytes >= _MAX_BYTES:
                    view.is_complete = False
                    break
                view.marks.add(entry)
                read_bytes += entry.size_bytes
                number += 1
        if view.is_complete and view.marks.next_index > view.text_to:
            view.text, view.text_to = await self._read_text(stream_id, view.marks.text_from, view.marks.next_index)

    async def _read_text(self, stream_id: str, start: int, stop: int) -> tuple[dict[str, Any], int]:
        """Return the text, and the index after its last chunk."""
        chunks: list[RawChunk] = []
        self._own[stream_id] += 1
        try:
            with anyio.move_on_after(_PATIENCE):
                stream = await self._context.resume_existing_stream(stream_id, start_index=start)
                if stream is not None:
                    async with stream:
                        async for block in stream.encoded_blocks():
                            chunks += block.chunks
                            if block.index + len(block.chunks) >= stop:
                                break
            await anyio.lowlevel.checkpoint()  # a reader is released a step after it was closed
        except ResumableStreamError:
            pass  # it went away meanwhile: then there is as much text as there is
        finally:
            self._own[stream_id] -= 1
            self._own += Counter()  # without those that are none
        text = _text_of(chunks)
        shown = {"text": text[-TEXT_BYTES:], "from": start, "is_cut": start > 0 or len(text) > TEXT_BYTES}
        return shown, start + len(chunks)


def _answer(row: dict[str, Any], info: StreamInfo, view: _View) -> dict[str, Any]:
    return {
        "now": time.time(),
        "stream": row,
        "takeovers": [list(start) for start in info.takeovers],
        "marks": [list(mark) for mark in view.marks.marks],
        "is_complete": view.is_complete,
        **view.text,
    }


def _text_of(chunks: Sequence[RawChunk]) -> str:
    if chunks and isinstance(chunks[0], bytes):
        return b"".join(chunk for chunk in chunks if isinstance(chunk, bytes)).decode(errors="replace")
    return "".join(chunk for chunk in chunks if isinstance(chunk, str))

"""From items to the UI message chunks of an answer."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from ..exceptions import InvalidFactoryError, InvalidMessageChunkError
from ..protocols.ai_sdk import chunks
from . import items as i
from .calls import Calls
from .layout import Chunk, Layout, Sdk
from .threads import in_thread

__all__ = ["ChunkWriter", "as_chunks"]

# What becomes no part of the message, and so does not come between two pieces of a text.
_ASIDE = frozenset(("start", "message-metadata"))
# What a text names in the middle of a sentence: clients put it behind the text, which goes on.
_SOURCES = frozenset(("source-url", "source-document"))
_ANSWERS = frozenset(("tool-output-available", "tool-output-error", "tool-output-denied", "tool-input-error"))
_LAST = frozenset(("finish", "abort"))


async def as_chunks(items: AsyncIterable[i.Item] | Iterable[i.Item]) -> AsyncIterator[Chunk]:
    """Turn items into the UI message chunks of an answer.

    Pieces of text that follow each other make one part, whatever they were cut into, and if a source is named between
    them, too; likewise reasoning. Parts and steps are begun and ended where they have to be, and nothing is left open
    at the end: a tool call whose input broke off becomes one whose input is wrong.

    A step begins with the first part. Another one begins with the first text, reasoning or call after all calls so
    far were answered, as that is what the model says to the tools' results.

    A plain generator runs in a thread of its own, as `in_thread` does it, since its steps may block. Other plain
    iterables, such as lists, are iterated on the event loop.

    **Cancellation.** It and the closing of the iterator reach the items' own iterator, whose ``finally`` runs.

    Args:
        items: Texts, what the functions of this package make, and UI message chunks, which are passed on.

    Raises:
        InvalidMessageChunkError: An item is none of that, or comes after the end.
        InvalidFactoryError: The items cannot be iterated over.
    """
    writer = ChunkWriter()
    source = _iterator(items)
    try:
        async for item in source:
            for chunk in writer.add(item):
                yield chunk
    finally:
        aclose: Any = getattr(source, "aclose", None)
        if aclose is not None:
            await aclose()
    for chunk in writer.end():
        yield chunk


def _iterator(items: object) -> AsyncIterator[Any]:
    if isinstance(items, AsyncIterable):
        return aiter(items)
    if inspect.isgenerator(items):
        return in_thread(lambda: items)
    if isinstance(items, Iterable) and not isinstance(items, (str, bytes, Mapping)):
        return _one_by_one(items)
    raise InvalidFactoryError(f"items come from an iterable, async or not, and not from {type(items).__name__}")


async def _one_by_one(items: Iterable[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


class ChunkWriter:
    """Turns items into chunks, one by one: `as_chunks` without the iteration.

    Args:
        sdk: The lowest major version of the AI SDK that is to read the chunks. What it does not know is refused.
    """

    def __init__(self, *, sdk: Sdk = 7) -> None:
        self._layout = Layout(sdk)
        self._calls = Calls(self._layout)
        self._usage: dict[str, int] = {}
        self._reason: str | None = None
        self._is_over = False
        self._handlers: dict[type, Callable[[Any], None]] = {
            str: self._write_text,
            i.Text: self._add_text,
            i.Reasoning: self._add_reasoning,
            i.Step: self._begin_step,
            i.Usage: self._add_usage,
            i.Finished: self._note_reason,
            i.ToolCall: self._calls.start,
            i.CalledTool: self._calls.start,
            i.ToolInputDelta: self._calls.add_input,
            i.ToolInput: self._calls.set_input,
            i.ToolInputError: self._calls.refuse_input,
            i.ToolOutput: self._calls.set_output,
            i.ToolError: self._calls.set_error,
        }

    def add(self, item: i.Item) -> list[Chunk]:
        """Return the chunks that an item makes.

        Raises:
            InvalidMessageChunkError: It is no item, or comes after the end.
        """
        if self._is_over:
            raise InvalidMessageChunkError("nothing comes after the end of a message")
        handler = self._handlers.get(type(item))
        if handler is not None:
            handler(item)
        elif isinstance(item, Mapping):
            self._pass_on(item)
        elif isinstance(item, str):
            self._write_text(str(item))
        else:
            raise InvalidMessageChunkError(f"an answer has texts, parts and chunks, and no {type(item).__name__}")
        return self._taken()

    def end(self) -> list[Chunk]:
        """Return the chunks that have to come at the end. Nothing can be added then."""
        if not self._is_over:
            self._end_step()
            if self._reason is not None:
                self._layout.emit({"type": "finish", "finishReason": self._reason})
        self._is_over = True
        return self._taken()

    def _taken(self) -> list[Chunk]:
        made, self._layout.made = self._layout.made, []
        return made

    def _write_text(self, piece: str) -> None:
        self._layout.write("text", piece, None)

    def _add_text(self, item: i.Text) -> None:
        self._layout.write("text", item.piece, item.provider_metadata)

    def _add_reasoning(self, item: i.Reasoning) -> None:
        self._layout.write("reasoning", item.piece, item.provider_metadata)

    def _begin_step(self, _item: i.Step) -> None:
        if not self._layout.is_in_new_step:
            self._end_step()
            self._layout.begin_step()

    def _end_step(self) -> None:
        self._calls.settle()
        self._layout.end_step()

    def _add_usage(self, item: i.Usage) -> None:
        for name, count in item.tokens.items():
            self._usage[name] = self._usage.get(name, 0) + count
        self._layout.emit(chunks.message_metadata({"usage": dict(self._usage)}))

    def _note_reason(self, item: i.Finished) -> None:
        self._layout.check(chunks.finish(reason=item.reason))
        self._reason = item.reason

    def _pass_on(self, chunk: Mapping[str, Any]) -> None:
        """Pass a chunk on, and take note of what it begins and ends."""
        self._layout.check(chunk)
        kind: str = chunk["type"]
        if kind == "finish-step" and not self._layout.is_in_step:
            return
        if kind not in _ASIDE and chunk.get("transient") is not True:
            self._make_room(kind, chunk)
        self._layout.made.append(dict(chunk))

    def _make_room(self, kind: str, chunk: Mapping[str, Any]) -> None:
        if kind in _LAST:
            self._end_step()
            self._is_over = True
        elif kind in ("start-step", "finish-step"):
            self._pass_step(kind)
        elif kind == "reset-step":
            self._layout.reset_step()
            self._calls.forget_step()
        elif kind in _ANSWERS:
            self._layout.end_part()
            self._layout.note_answer(chunk["toolCallId"], same_step=chunk.get("providerExecuted") is True)
        elif kind in _SOURCES:
            self._layout.begin_aside()
        elif kind.startswith("data-") or not kind.endswith(("-delta", "-end")):
            self._layout.begin_part(by_model=kind.startswith(("text", "reasoning", "tool-input")))
        if kind in ("tool-input-start", "tool-input-available"):
            self._layout.note_call(chunk["toolCallId"])
        self._layout.note_part(chunk)

    def _pass_step(self, kind: str) -> None:
        self._calls.settle()
        if kind == "start-step":
            self._layout.end_step()
        else:
            self._layout.end_parts()
        self._layout.note_step(begun=kind == "start-step")

"""From UI message chunks to the data stream of ai@4, so that one log serves the clients of all majors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from ...chat.reducer import DataStreamPart
from ...exceptions import InvalidMessageChunkError
from .v4_values import as_args, as_file, as_source, signatures_of, usage_of

__all__ = ["DataStreamTranslator"]

_Chunk: TypeAlias = Mapping[str, Any]
_Parts: TypeAlias = list[DataStreamPart]


class _InTurn:
    """Lets one text speak at a time, in the order in which they began.

    A message of ai@4 has one text that grows, so two that grow at the same time would be mixed up.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, _Parts] = {}
        self._ended: set[str] = set()

    def start(self, text_id: str) -> _Parts:
        parts = self.end(text_id) if text_id in self._waiting else []
        if text_id in self._waiting:  # it has ended without having had its turn: what it said is not lost
            parts += self.flush()
        self._waiting[text_id] = []
        return parts

    def say(self, text_id: str, part: DataStreamPart) -> _Parts:
        if text_id not in self._waiting or text_id == next(iter(self._waiting)):
            return [part]
        self._waiting[text_id].append(part)
        return []

    def end(self, text_id: str) -> _Parts:
        """End a text, and return what those had to say whose turn it is now."""
        self._ended.add(text_id)
        said: _Parts = []
        while self._waiting and (first := next(iter(self._waiting))) in self._ended:
            del self._waiting[first]
            self._ended.discard(first)
            said += self._waiting[next(iter(self._waiting))] if self._waiting else []
            if self._waiting:
                self._waiting[next(iter(self._waiting))] = []
        return said

    def flush(self) -> _Parts:
        said = [part for parts in self._waiting.values() for part in parts]
        self._waiting, self._ended = {}, set()
        return said


class DataStreamTranslator:
    """Turns UI message chunks into parts of a data stream, one by one.

    What a client of ai@4 makes of them has the texts, the reasoning, the tool calls with their results, the sources and
    the files of what clients of ai@5 and later make of the chunks. Of what ai@4 has no word for:

    - The failure or refusal of a tool is a result ``{"error": …}``. Input that is no object is ``{"input": …}``.
    - Data, metadata, documents and files that are at a URL become annotations; data that is transient becomes data.
    - Texts of one step become one text, and likewise reasoning.
    - Requests for approval, what a step has taken back, steering and what only one provider knows are left out.

    Args:
        message_id: Of the message, if no ``start`` chunk is going to tell.
    """

    def __init__(self, *, message_id: str | None = None) -> None:
        self._message_id = message_id
        self._texts = _InTurn()
        self._reasonings = _InTurn()
        self._is_in_step = False
        self._streamed: dict[str, bool] = {}
        self._called: set[str] = set()
        self._usage: dict[str, int] | None = None
        self._is_over = False

    def add(self, chunk: _Chunk) -> list[DataStreamPart]:
        """Return the parts that a chunk makes; chunks of unknown types make none.

        Raises:
            InvalidMessageChunkError: The chunk lacks what its type needs.
        """
        kind = chunk.get("type")
        if not isinstance(kind, str):
            raise InvalidMessageChunkError("a chunk needs a text as 'type'")
        if kind.startswith("data-"):
            return self.add_data(chunk)
        handler, *needed = _HANDLERS.get(kind, (_pass_over,))
        for key in needed:
            if not isinstance(chunk.get(key), str):
                raise InvalidMessageChunkError(f"a chunk of type {kind!r} needs a text as {key!r}")
        parts: _Parts = handler(self, chunk)
        return parts

    def end(self) -> list[DataStreamPart]:
        """Return the parts that are left when the stream ends, with or without a ``finish``."""
        return self._flushed()

    def start(self, chunk: _Chunk) -> _Parts:
        """``start``: it names the message, and may begin its metadata."""
        self._message_id = chunk.get("messageId") or self._message_id
        return self.add_metadata(chunk)

    def _in_step(self, *parts: DataStreamPart) -> _Parts:
        """Begin a step if there is none: only that tells ai@4 the id of the message."""
        return list(parts) if self._is_in_step or self._message_id is None else [*self.start_step({}), *parts]

    def start_step(self, _chunk: _Chunk) -> _Parts:
        """``start-step``: a step begins, and so the one before is over."""
        parts = self._step_ended()
        if self._message_id is not None:
            parts.append(("f", {"messageId": self._message_id}))
        self._is_in_step = True
        return parts

    def finish_step(self, _chunk: _Chunk) -> _Parts:
        """``finish-step``: a step is over, and with it what was open in it."""
        return [*self._flushed(), *self._step_ended()]

    def _step_ended(self) -> _Parts:
        if not self._is_in_step:
            return []
        self._is_in_step = False
        return [("e", {"finishReason": "unknown", "isContinued": False})]

    def _flushed(self) -> _Parts:
        return [*self._reasonings.flush(), *self._texts.flush()]

    def start_text(self, chunk: _Chunk) -> _Parts:
        """``text-start``: a text begins."""
        return self._texts.start(chunk["id"])

    def add_text(self, chunk: _Chunk) -> _Parts:
        """``text-delta``: more of a text."""
        return self._in_step(*self._texts.say(chunk["id"], ("0", chunk["delta"])))

    def end_text(self, chunk: _Chunk) -> _Parts:
        """``text-end``: a text is whole."""
        return self._texts.end(chunk["id"])

    def start_reasoning(self, chunk: _Chunk) -> _Parts:
        """``reasoning-start``: a reasoning begins, perhaps one that is not to be read."""
        return self._in_step(*self._reasonings.start(chunk["id"]), *self._signed(chunk))

    def add_reasoning(self, chunk: _Chunk) -> _Parts:
        """``reasoning-delta``: more of a reasoning."""
        said = self._reasonings.say(chunk["id"], ("g", chunk["delta"])) if chunk["delta"] else []
        return self._in_step(*said, *self._signed(chunk))

    def end_reasoning(self, chunk: _Chunk) -> _Parts:
        """``reasoning-end``: a reasoning is whole."""
        return [*self._signed(chunk), *self._reasonings.end(chunk["id"])]

    def _signed(self, chunk: _Chunk) -> _Parts:
        signatures = signatures_of(chunk.get("providerMetadata"))
        return [said for part in signatures for said in self._reasonings.say(chunk["id"], part)]

    def start_call(self, chunk: _Chunk) -> _Parts:
        """``tool-input-start``: a tool is called, its input follows."""
        call_id = chunk["toolCallId"]
        if call_id in self._streamed:  # ai@4 would take it for another call: its input comes when it is whole
            self._streamed[call_id] = False
            return []
        self._streamed[call_id] = chunk.get("inputEncoding") != "text"
        return self._in_step(("b", {"toolCallId": call_id, "toolName": chunk["toolName"]}))

    def add_input(self, chunk: _Chunk) -> _Parts:
        """``tool-input-delta``: more of a tool's input."""
        call_id = chunk["toolCallId"]
        if not self._streamed.get(call_id) or call_id in self._called:
            return []
        return [("c", {"toolCallId": call_id, "argsTextDelta": chunk["inputTextDelta"]})]

    def set_input(self, chunk: _Chunk) -> _Parts:
        """``tool-input-available``: a tool's whole input."""
        call_id = chunk["toolCallId"]
        if call_id in self._called:  # ai@4 would take it for another call
            return []
        self._called.add(call_id)
        args = as_args(chunk.get("input"))
        return self._in_step(("9", {"toolCallId": call_id, "toolName": chunk["toolName"], "args": args}))

    def refuse_input(self, chunk: _Chunk) -> _Parts:
        """``tool-input-error``: the tool cannot take its input."""
        return [*self.set_input(chunk), *self.set_error(chunk)]

    def set_output(self, chunk: _Chunk) -> _Parts:
        """``tool-output-available``: what the tool answered."""
        return [("a", {"toolCallId": chunk["toolCallId"], "result": chunk.get("output")})]

    def set_error(self, chunk: _Chunk) -> _Parts:
        """``tool-output-error``: the tool failed."""
        return [("a", {"toolCallId": chunk["toolCallId"], "result": {"error": chunk["errorText"]}})]

    def deny_output(self, chunk: _Chunk) -> _Parts:
        """``tool-output-denied``: the tool was not allowed to run."""
        call_id = chunk["toolCallId"]
        if call_id not in self._called and call_id not in self._streamed:  # ai@5 passes over it, ai@4 would not
            return []
        return [("a", {"toolCallId": call_id, "result": {"error": "denied"}})]

    def add_source(self, chunk: _Chunk) -> _Parts:
        """``source-url``: a page that the answer rests on."""
        return self._in_step(("h", as_source(chunk)))

    def add_file(self, chunk: _Chunk) -> _Parts:
        """``file``: ai@4 has files that are there, and none that are elsewhere."""
        file = as_file(chunk)
        return self.annotate(chunk) if file is None else self._in_step(("k", file))

    def annotate(self, chunk: _Chunk) -> _Parts:
        """Let a chunk be an annotation of the message."""
        return [("8", [dict(chunk)])]

    def add_data(self, chunk: _Chunk) -> _Parts:
        """``data-…``: the application's own."""
        if chunk.get("transient") is True:
            return [("2", [{key: value for key, value in chunk.items() if key != "transient"}])]
        return self.annotate(chunk)

    def add_metadata(self, chunk: _Chunk) -> _Parts:
        """``message-metadata``, and what others have of it."""
        metadata = chunk.get("messageMetadata")
        if metadata is None:
            return []
        self._usage = usage_of(metadata) or self._usage
        return [("8", [metadata])]

    def pass_error(self, chunk: _Chunk) -> _Parts:
        """``error``: something went wrong."""
        return [*self._flushed(), ("3", chunk["errorText"])]

    def finish(self, chunk: _Chunk) -> _Parts:
        """``finish`` and ``abort``: the message is as whole as it will be."""
        parts = [*self.add_metadata(chunk), *self.finish_step({})]
        reason = chunk.get("finishReason", "unknown")
        end = {"finishReason": "other" if reason == "interrupted" else reason}
        return [*parts, ("d", end if self._usage is None else {**end, "usage": self._usage})]


def _pass_over(_translator: DataStreamTranslator, _chunk: _Chunk) -> _Parts:
    return []


# What becomes of each type, and which texts it needs for that.
_HANDLERS: dict[str, tuple[Any, ...]] = {
    "start": (DataStreamTranslator.start,),
    "start-step": (DataStreamTranslator.start_step,),
    "finish-step": (DataStreamTranslator.finish_step,),
    "text-start": (DataStreamTranslator.start_text, "id"),
    "text-delta": (DataStreamTranslator.add_text, "id", "delta"),
    "text-end": (DataStreamTranslator.end_text, "id"),
    "reasoning-start": (DataStreamTranslator.start_reasoning, "id"),
    "reasoning-delta": (DataStreamTranslator.add_reasoning, "id", "delta"),
    "reasoning-end": (DataStreamTranslator.end_reasoning, "id"),
    "tool-input-start": (DataStreamTranslator.start_call, "toolCallId", "toolName"),
    "tool-input-delta": (DataStreamTranslator.add_input, "toolCallId", "inputTextDelta"),
    "tool-input-available": (DataStreamTranslator.set_input, "toolCallId", "toolName"),
    "tool-input-error": (DataStreamTranslator.refuse_input, "toolCallId", "toolName", "errorText"),
    "tool-output-available": (DataStreamTranslator.set_output, "toolCallId"),
    "tool-output-error": (DataStreamTranslator.set_error, "toolCallId", "errorText"),
    "tool-output-denied": (DataStreamTranslator.deny_output, "toolCallId"),
    "source-url": (DataStreamTranslator.add_source, "sourceId", "url"),
    "source-document": (DataStreamTranslator.annotate,),
    "file": (DataStreamTranslator.add_file, "url", "mediaType"),
    "message-metadata": (DataStreamTranslator.add_metadata,),
    "error": (DataStreamTranslator.pass_error, "errorText"),
    "abort": (DataStreamTranslator.finish,),
    "finish": (DataStreamTranslator.finish,),
}

"""From the streams of ``langchain_core`` and ``langgraph``."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from ...protocols.ai_sdk.chunks import FinishReason
from ..items import Item, finished, reasoning, tool, usage
from .reading import CallTable, as_value, count, look, opened

__all__ = ["from_langchain"]

_REASONS: dict[Any, FinishReason] = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "content_filter": "content-filter",
    "tool_calls": "tool-calls",
    "tool_use": "tool-calls",
}


async def from_langchain(stream: Any) -> AsyncIterator[Item]:
    """Turn a stream of LangChain or LangGraph into items.

    Seen working with langchain-core 1.7.2 and langgraph 1.2.22.

    Text, reasoning and tool calls of the models, and the messages of tools, are passed on; what else runs, is not.
    Every model that the stream tells of is taken to write for the user: leave others out of the stream.

    Args:
        stream: ``model.astream(…)`` or a chain's, which yields messages or texts; ``astream_events(…, version="v2")``;
            or a graph's ``astream(…, stream_mode="messages")``, alone or among other modes.

    Raises:
        InvalidFactoryError: It is no async iterable.
    """
    reader = _Reader()
    async with opened(stream) as made:
        async for thing in made:
            for item in reader.read(thing):
                yield item
    for item in reader.end():
        yield item


class _Reader:
    """Reads messages and events, one by one."""

    def __init__(self) -> None:
        self._calls = CallTable()
        self._keys: dict[Any, dict[Any, None]] = {}  # of the calls in each message: several may come at a time
        self._streamed: set[Any] = set()
        self._inputs: dict[Any, Any] = {}
        self._usage: dict[str, int] = {}
        self._runs: set[Any] = set()
        """Those whose answers came in pieces."""
        self._reason: Any = None

    def read(self, thing: Any) -> Iterator[Item]:
        if isinstance(thing, str):
            yield thing
        elif isinstance(thing, Mapping):
            yield from self._read_event(thing)
        elif isinstance(thing, tuple):
            yield from self._read_tuple(thing)
        elif look(thing, "type") is not None:
            yield from self._read_message(thing)

    def end(self) -> Iterator[Item]:
        yield from self._calls.end_all()
        if self._usage:
            yield usage(**self._usage)
        if self._reason is not None:
            yield finished(_REASONS.get(self._reason, "other"))

    def _read_tuple(self, made: tuple[Any, ...]) -> Iterator[Item]:
        """``(message, metadata)`` of one mode; ``(mode, …)`` and ``(namespace, mode, …)`` of several."""
        if look(made[0], "type") is not None:
            yield from self._read_message(made[0])
        elif len(made) > 1 and "messages" in made[:-1]:
            yield from self._read_tuple(made[-1])

    def _read_event(self, event: Mapping[str, Any]) -> Iterator[Item]:
        kind, data = event.get("event"), event.get("data")
        if kind in ("on_chat_model_stream", "on_llm_stream"):
            self._runs.add(event.get("run_id"))
            yield from self._read_piece(look(data, "chunk"))
        elif kind in ("on_chat_model_end", "on_llm_end"):
            if event.get("run_id") not in self._runs:  # it did not stream, or its answer was in a cache
                yield from self._read_whole(look(data, "output"))
            yield from self._end_message(look(data, "output", "id"))
        elif kind == "on_tool_start":
            self._inputs[event.get("run_id")] = look(data, "input")
        elif kind == "on_tool_end":
            yield from self._read_tool_end(event, look(data, "output"))
        elif kind == "on_tool_error":
            call_id = look(data, "tool_call_id") or event.get("run_id")
            yield from self._answer(call_id, event, look(data, "error"), "error")
        elif event.get("type") == "messages":  # of LangGraph's streams of version 2
            yield from self._read_tuple(tuple(data or ()))

    def _read_piece(self, chunk: Any) -> Iterator[Item]:
        if look(chunk, "type") is not None and look(chunk, "content") is not None:
            yield from self._read_message(chunk)
        else:  # of a model of texts
            yield look(chunk, "text") or ""

    def _read_whole(self, output: Any) -> Iterator[Item]:
        if look(output, "generations") is not None:
            yield _text_of(look(output, "generations"))
        else:
            yield from self._read_message(output)

    def _read_tool_end(self, event: Mapping[str, Any], output: Any) -> Iterator[Item]:
        if look(output, "tool_call_id") is not None:
            yield from self._read_message(output)
        else:
            yield from self._answer(event.get("run_id"), event, output, "success")

    def _answer(self, call_id: Any, told: Any, value: Any, status: Any) -> Iterator[Item]:
        yield from self._calls.end_call(call_id)
        call = self._calls.find(call_id)
        if call is None:  # nobody's model has asked for it
            given = self._inputs.get(look(told, "run_id"), {})
            call = tool(str(look(told, "name") or ""), as_value(given), call_id=call_id)
        yield call.error(str(value)) if status == "error" else call.output(_result(value))

    def _read_message(self, message: Any) -> Iterator[Item]:
        kind, message_id = look(message, "type"), look(message, "id")
        if kind == "tool":
            yield from self._answer_once(message)
        elif kind == "AIMessageChunk":
            self._streamed.add(message_id)
            yield from self._read_chunk(message, message_id)
        elif kind == "ai" and message_id not in self._streamed:
            yield from self._read_chunk(message, message_id)
            for call in look(message, "tool_calls") or ():
                yield from self._calls.begin(call["id"], call["id"], call["name"])
                yield from self._calls.end(call["id"], call["args"])

    def _answer_once(self, message: Any) -> Iterator[Item]:
        call_id = look(message, "tool_call_id")
        if ("tool", call_id) not in self._streamed:
            self._streamed.add(("tool", call_id))
            yield from self._answer(call_id, message, look(message, "content"), look(message, "status"))

    def _read_chunk(self, chunk: Any, message_id: Any) -> Iterator[Item]:
        yield from _contents(chunk)
        for piece in look(chunk, "tool_call_chunks") or ():
            key = (message_id, piece.get("index"))
            self._keys.setdefault(message_id, {})[key] = None
            if piece.get("id") or piece.get("name"):
                yield from self._calls.begin(key, piece.get("id"), piece.get("name"))
            yield from self._calls.add(key, piece.get("args"))
        if look(chunk, "chunk_position") == "last":
            yield from self._end_message(message_id)
        self._note_end(chunk)

    def _end_message(self, message_id: Any) -> Iterator[Item]:
        for key in self._keys.pop(message_id, ()):
            yield from self._calls.end(key)

    def _note_end(self, chunk: Any) -> None:
        tokens = look(chunk, "usage_metadata")
        if tokens is not None:
            found = {
                "input_tokens": count(tokens, "input_tokens"),
                "output_tokens": count(tokens, "output_tokens"),
                "reasoning_tokens": count(tokens, "output_token_details", "reasoning"),
                "cached_input_tokens": count(tokens, "input_token_details", "cache_read"),
            }
            self._usage = {name: self._usage.get(name, 0) + tokens for name, tokens in found.items()}
        told = look(chunk, "response_metadata")
        self._reason = look(told, "finish_reason") or look(told, "stop_reason") or self._reason


def _text_of(generations: Any) -> str:
    """Return what a model of texts has made for its first prompt, of which it may have made several."""
    made = next(iter(next(iter(generations or ()), ())), None)
    text = look(made, "text")
    return text if isinstance(text, str) else ""


def _contents(message: Any) -> Iterator[Item]:
    thought = look(message, "additional_kwargs", "reasoning_content")
    if isinstance(thought, str):
        yield reasoning(thought)
    content = look(message, "content")
    for block in [content] if isinstance(content, str) else content or ():
        yield from _block(block)


def _block(block: Any) -> Iterator[Item]:
    kind = look(block, "type")
    if isinstance(block, str):
        yield block
    elif kind == "text":
        yield look(block, "text") or ""
    elif kind in ("thinking", "reasoning"):
        thought = look(block, "thinking") or look(block, "reasoning")
        signature = look(block, "signature")
        proof = {"anthropic": {"signature": signature}} if isinstance(signature, str) else None
        yield reasoning(thought if isinstance(thought, str) else "", provider_metadata=proof)


def _result(value: Any) -> Any:
    """Return what a tool returned. LangChain writes what is no text as JSON."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return as_value(value)

"""From the runs of ``pydantic_ai``."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from ...protocols.ai_sdk.chunks import FinishReason
from ..items import Item, ToolCall, file, finished, reasoning, text, tool, usage
from .reading import CallTable, as_value, count, look, opened

__all__ = ["from_pydantic_ai"]

_logger = logging.getLogger("resumable_stream")

_MAX_FILE = 1_000_000
"""Characters of a URL that holds a file: somewhat less than a chunk may have by default."""

_REASONS: dict[Any, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content-filter",
    "tool_call": "tool-calls",
    "error": "error",
}


async def from_pydantic_ai(run: Any) -> AsyncIterator[Item]:
    """Turn a run of a Pydantic AI agent into items.

    Seen working with pydantic-ai-slim 2.68.0 and 1.107.10.

    Text, thinking, and the calls of tools with their results come as they are made, and so do files that a chunk has
    room for. A tool that asks the model to try again has failed. Structured output is the result of the call that makes
    it. A call that is deferred, for somebody else to run or to approve, stays without a result.

    Args:
        run: ``agent.run_stream_events(…)`` or ``agent.iter(…)``, entered or not.

    Raises:
        InvalidFactoryError: It is neither.
    """
    reader = _Reader()
    async with opened(run) as events:
        async for event in events:
            if hasattr(event, "event_kind"):
                for item in reader.read(event):
                    yield item
            elif hasattr(event, "stream") and hasattr(events, "ctx"):  # a node of `agent.iter`
                async with event.stream(events.ctx) as inner:
                    async for inner_event in inner:
                        for item in reader.read(inner_event):
                            yield item
        for item in reader.end(look(events, "result")):
            yield item


class _Reader:
    """Reads events, one by one."""

    def __init__(self) -> None:
        self._calls = CallTable()
        self._by_index: dict[int, str] = {}
        self._unanswered: dict[str, ToolCall] = {}
        self._outputs: set[str] = set()
        self._result: Any = None

    def read(self, event: Any) -> Iterator[Item]:
        handler = _EVENTS.get(event.event_kind)
        return iter(()) if handler is None else handler(self, event)

    def end(self, result: Any) -> Iterator[Item]:
        yield from self._calls.end_all()
        result = self._result or result
        if result is None:
            return
        for call_id, call in self._unanswered.items():
            if call_id in self._outputs:  # nobody runs it
                yield call.output(as_value(result.output))
        tokens = result.usage
        if not hasattr(tokens, "input_tokens"):  # before version 2 it is a method
            tokens = tokens()
        yield usage(
            input_tokens=count(tokens, "input_tokens"),
            output_tokens=count(tokens, "output_tokens"),
            cached_input_tokens=count(tokens, "cache_read_tokens"),
            reasoning_tokens=count(tokens, "details", "reasoning_tokens"),
        )
        yield finished(_REASONS.get(look(result, "response", "finish_reason"), "stop"))

    def note_result(self, event: Any) -> Iterator[Item]:
        self._result = event.result
        return iter(())

    def note_output(self, event: Any) -> Iterator[Item]:
        self._outputs.add(event.tool_call_id)  # before version 2 only this tells; of plain text it is nothing
        return iter(())

    def start_part(self, event: Any) -> Iterator[Item]:
        part = event.part
        if part.part_kind == "text":
            yield text(part.content)
        elif part.part_kind == "thinking":
            yield reasoning(part.content, provider_metadata=_signature(part))
        elif part.part_kind == "file":
            yield from _file(part.content)
        elif part.part_kind == "builtin-tool-return":
            yield from self._returned(part)
        elif part.part_kind in ("tool-call", "builtin-tool-call"):
            self._by_index[event.index] = part.tool_call_id
            yield from self._begin(part)
            if isinstance(part.args, str):
                yield from self._calls.add(part.tool_call_id, part.args)

    def _begin(self, part: Any) -> Iterator[Item]:
        call_id = part.tool_call_id
        if self._calls.find(call_id) is not None:
            return
        by_provider = part.part_kind == "builtin-tool-call"
        options = {"dynamic": True, "provider_executed": True} if by_provider else {}
        for item in self._calls.begin(call_id, call_id, part.tool_name, **options):
            if isinstance(item, ToolCall):
                self._unanswered[call_id] = item
            yield item

    def add_delta(self, event: Any) -> Iterator[Item]:
        delta = event.delta
        if delta.part_delta_kind == "text":
            yield text(delta.content_delta)
        elif delta.part_delta_kind == "thinking":
            yield reasoning(delta.content_delta or "", provider_metadata=_signature(delta))
        elif delta.part_delta_kind == "tool_call" and isinstance(delta.args_delta, str):
            yield from self._calls.add(self._by_index.get(event.index), delta.args_delta)

    def end_part(self, event: Any) -> Iterator[Item]:
        if event.part.part_kind in ("tool-call", "builtin-tool-call"):
            yield from self._end_input(event.part)

    def call_tool(self, event: Any) -> Iterator[Item]:
        yield from self._begin(event.part)
        yield from self._end_input(event.part)

    def call_output(self, event: Any) -> Iterator[Item]:
        self._outputs.add(event.part.tool_call_id)
        return self.call_tool(event)

    def return_output(self, event: Any) -> Iterator[Item]:
        """Take note of what an output tool answered. If it took its input, what it made is known at the end."""
        is_refused = event.part.part_kind == "retry-prompt" or look(event.part, "outcome") not in (None, "success")
        return self._returned(event.part) if is_refused else iter(())

    def _end_input(self, part: Any) -> Iterator[Item]:
        yield from self._calls.end(part.tool_call_id, part.args)

    def return_tool(self, event: Any) -> Iterator[Item]:
        yield from self._returned(look(event, "part") or look(event, "result"))

    def _returned(self, part: Any) -> Iterator[Item]:
        call_id = part.tool_call_id
        yield from self._calls.end(call_id)
        call = self._unanswered.pop(call_id, None) or tool(str(part.tool_name), {}, call_id=call_id)
        if part.part_kind == "retry-prompt":  # before version 2
            yield call.error(part.model_response())
        elif look(part, "outcome") not in (None, "success"):
            yield call.error(str(_content_of(part)))
        else:
            yield call.output(_content_of(part))


def _file(content: Any) -> Iterator[Item]:
    if len(content.data_uri) <= _MAX_FILE:
        yield file(content.data_uri, content.media_type)
    else:  # the answer would fail
        _logger.warning("a file that a model made was left out of an answer: a chunk has no room for it")


def _content_of(part: Any) -> Any:
    """Return what a tool returned, as the model is told."""
    if isinstance(part.content, str):
        return part.content
    try:
        return json.loads(part.model_response_str())
    except ValueError:
        return part.model_response_str()


def _signature(part: Any) -> dict[str, Any] | None:
    """Return what proves that the model thought this, as the AI SDK has it."""
    signature = look(part, "signature") or look(part, "signature_delta")
    return {look(part, "provider_name") or "anthropic": {"signature": signature}} if signature else None


_EVENTS: dict[str, Callable[[_Reader, Any], Iterator[Item]]] = {
    "part_start": _Reader.start_part,
    "part_delta": _Reader.add_delta,
    "part_end": _Reader.end_part,
    "function_tool_call": _Reader.call_tool,
    "function_tool_result": _Reader.return_tool,
    "final_result": _Reader.note_output,
    "output_tool_call": _Reader.call_output,
    "output_tool_result": _Reader.return_output,
    "agent_run_result": _Reader.note_result,
}

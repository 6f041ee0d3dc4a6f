"""The events of OpenAI's responses: https://platform.openai.com/docs/api-reference/responses-streaming."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ...protocols.ai_sdk.chunks import FinishReason
from ..items import Item, ToolCall, finished, reasoning, source, tool, usage
from .reading import CallTable, as_value, count, look

_INCOMPLETE: dict[Any, FinishReason] = {"max_output_tokens": "length", "content_filter": "content-filter"}
_BY_PROVIDER = frozenset(
    ("web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call", "mcp_call")
)
_NOT_TOLD = ("id", "type", "status")


class ResponsesReader:
    """Reads events, one by one."""

    def __init__(self) -> None:
        self._calls = CallTable()
        self._has_calls = False
        self._is_thinking = False
        self._in_container: dict[Any, ToolCall] = {}

    def read(self, kind: Any, event: Any) -> Iterator[Item]:
        """Yield the items of an event; events of other types have none.

        Raises:
            RuntimeError: It says that the provider has failed.
        """
        handler = _HANDLERS.get(kind)
        return iter(()) if handler is None else handler(self, event)

    def add_text(self, event: Any) -> Iterator[Item]:
        """More of the text, or of a refusal."""
        yield look(event, "delta") or ""

    def add_reasoning(self, event: Any) -> Iterator[Item]:
        """More of the reasoning, or of a summary of it."""
        self._is_thinking = True
        yield reasoning(look(event, "delta") or "")

    def start_summary(self, _event: Any) -> Iterator[Item]:
        """Another summary of the reasoning begins."""
        if self._is_thinking:
            yield reasoning("\n\n")

    def start_item(self, event: Any) -> Iterator[Item]:
        """A part of the output begins: here, a call."""
        item = look(event, "item")
        if look(item, "type") == "function_call":
            self._has_calls = True
            yield from self._calls.begin(look(event, "output_index"), look(item, "call_id"), look(item, "name"))

    def add_input(self, event: Any) -> Iterator[Item]:
        """More of the arguments of a call."""
        return self._calls.add(look(event, "output_index"), look(event, "delta"))

    def end_item(self, event: Any) -> Iterator[Item]:
        """A part of the output is whole."""
        item = look(event, "item")
        kind = look(item, "type")
        if kind == "function_call":
            yield from self._calls.end(look(event, "output_index"), look(item, "arguments"))
        elif kind == "custom_tool_call":
            self._has_calls = True
            call = tool(look(item, "name"), call_id=look(item, "call_id"))
            yield call.input(look(item, "input"))
        elif kind in _BY_PROVIDER or (kind == "tool_search_call" and look(item, "execution") == "server"):
            yield from _run_by_provider(kind, item)
        elif isinstance(kind, str) and kind.endswith("_call"):
            yield from self._call_built_in(kind, item)
        elif isinstance(kind, str) and kind.endswith("_call_output") and look(item, "call_id") in self._in_container:
            yield self._in_container[look(item, "call_id")].output(as_value(look(item, "output")))
        self._is_thinking = self._is_thinking and kind != "reasoning"

    def _call_built_in(self, kind: str, item: Any) -> Iterator[Item]:
        """A tool that OpenAI has defined and you are to run; but a shell may be in a container of theirs."""
        call_id = look(item, "call_id") or look(item, "id")
        is_theirs = look(item, "environment", "type") == "container_reference"
        call = tool(kind.removesuffix("_call"), call_id=call_id, dynamic=True, provider_executed=is_theirs)
        if is_theirs:
            self._in_container[call_id] = call
        self._has_calls = self._has_calls or not is_theirs
        yield call.input(_fields(item, "call_id", "environment", "caller", "created_by"))

    def add_annotation(self, event: Any) -> Iterator[Item]:
        """The text names a source."""
        if look(event, "annotation", "type") == "url_citation":
            yield source(look(event, "annotation", "url"), look(event, "annotation", "title"))

    def complete(self, event: Any) -> Iterator[Item]:
        """The response is whole."""
        yield from self._end(event)
        yield finished("tool-calls" if self._has_calls else "stop")

    def break_off(self, event: Any) -> Iterator[Item]:
        """The response breaks off."""
        yield from self._end(event)
        yield finished(_INCOMPLETE.get(look(event, "response", "incomplete_details", "reason"), "other"))

    def _end(self, event: Any) -> Iterator[Item]:
        yield from self._calls.end_all()
        tokens = look(event, "response", "usage")
        if tokens is not None:
            yield usage(
                input_tokens=count(tokens, "input_tokens"),
                output_tokens=count(tokens, "output_tokens"),
                reasoning_tokens=count(tokens, "output_tokens_details", "reasoning_tokens"),
                cached_input_tokens=count(tokens, "input_tokens_details", "cached_tokens"),
            )

    def fail(self, event: Any) -> Iterator[Item]:
        """The provider has failed."""
        error = look(event, "response", "error") or event
        raise RuntimeError(f"the provider failed: {look(error, 'code')}: {look(error, 'message')}")


def _run_by_provider(kind: str, item: Any) -> Iterator[Item]:
    call = tool(kind.removesuffix("_call"), {}, call_id=look(item, "id"), dynamic=True, provider_executed=True)
    yield call
    # A picture is left out: it may be larger than a chunk may be, and the answer would fail.
    yield call.output(_fields(item, "result") if kind == "image_generation_call" else _fields(item))


def _fields(item: Any, *left_out: str) -> dict[str, Any]:
    return {
        name: value
        for name, value in as_value(item).items()
        if value is not None and name not in (*_NOT_TOLD, *left_out)
    }


_HANDLERS: dict[Any, Callable[[ResponsesReader, Any], Iterator[Item]]] = {
    "response.output_text.delta": ResponsesReader.add_text,
    "response.refusal.delta": ResponsesReader.add_text,
    "response.reasoning_text.delta": ResponsesReader.add_reasoning,
    "response.reasoning_summary_text.delta": ResponsesReader.add_reasoning,
    "response.reasoning_summary_part.added": ResponsesReader.start_summary,
    "response.output_item.added": ResponsesReader.start_item,
    "response.function_call_arguments.delta": ResponsesReader.add_input,
    "response.output_item.done": ResponsesReader.end_item,
    "response.output_text.annotation.added": ResponsesReader.add_annotation,
    "response.completed": ResponsesReader.complete,
    "response.incomplete": ResponsesReader.break_off,
    "response.failed": ResponsesReader.fail,
    "error": ResponsesReader.fail,
}

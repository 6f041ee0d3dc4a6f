"""The chunks of OpenAI's chat completions: https://platform.openai.com/docs/api-reference/chat-streaming."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...protocols.ai_sdk.chunks import FinishReason
from ..items import Item, finished, reasoning, source, usage
from .reading import CallTable, count, look

_REASONS: dict[Any, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "content-filter",
    "tool_calls": "tool-calls",
    "function_call": "tool-calls",
}


class ChatReader:
    """Reads chunks, one by one."""

    def __init__(self) -> None:
        self._calls = CallTable()
        self._usage: Any = None
        self._last_key: Any = None

    def read(self, chunk: Any) -> Iterator[Item]:
        """Yield the items of a chunk."""
        self._usage = look(chunk, "usage") or self._usage  # some tell the sum so far with each chunk
        for choice in look(chunk, "choices") or ():
            if not look(choice, "index"):
                yield from self._read_delta(look(choice, "delta"))
                yield from self._read_reason(look(choice, "finish_reason"))

    def end(self) -> Iterator[Item]:
        """Yield the items that are left at the end."""
        yield from self._calls.end_all()
        if self._usage is not None:
            yield usage(
                input_tokens=count(self._usage, "prompt_tokens"),
                output_tokens=count(self._usage, "completion_tokens"),
                reasoning_tokens=count(self._usage, "completion_tokens_details", "reasoning_tokens"),
                cached_input_tokens=count(self._usage, "prompt_tokens_details", "cached_tokens"),
            )

    def _read_delta(self, delta: Any) -> Iterator[Item]:
        thought = look(delta, "reasoning_content") or look(delta, "reasoning")  # DeepSeek and LiteLLM; OpenRouter
        if isinstance(thought, str):
            yield reasoning(thought)
        for name in ("content", "refusal"):
            if isinstance(text := look(delta, name), str) and text:
                yield text
        for call in look(delta, "tool_calls") or ():
            yield from self._read_call(call)
        if (legacy := look(delta, "function_call")) is not None:  # what calls were before there could be several
            if name := look(legacy, "name"):
                yield from self._calls.begin("function_call", None, name)
            yield from self._calls.add("function_call", look(legacy, "arguments"))
        for annotation in look(delta, "annotations") or ():
            if isinstance(url := look(annotation, "url_citation", "url"), str):
                yield source(url, look(annotation, "url_citation", "title"))

    def _read_call(self, call: Any) -> Iterator[Item]:
        call_id, name = look(call, "id"), look(call, "function", "name")
        key = look(call, "index")
        if key is None:  # some leave it out
            key = call_id or self._last_key
        self._last_key = key
        if call_id or name:
            yield from self._calls.begin(key, call_id, name)
        yield from self._calls.add(key, look(call, "function", "arguments"))

    def _read_reason(self, reason: Any) -> Iterator[Item]:
        if reason is not None:
            yield from self._calls.end_all()
            yield finished(_REASONS.get(reason, "other"))

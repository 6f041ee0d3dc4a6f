"""The tool calls of an answer: each begins, gets its input, and is answered, in this order."""

from __future__ import annotations

import json
from typing import Any

from ..protocols.ai_sdk import chunks
from . import items as i
from .layout import Layout


class _Call:
    def __init__(self, call: i.ToolCall, step: int) -> None:
        self.call = call
        self.step = step
        self.pieces: list[str] = []
        self.has_input = False


class Calls:
    """What was said of tool calls. What was left out before is made up for: the call itself, and its input."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._calls: dict[str, _Call] = {}

    def start(self, call: i.ToolCall) -> None:
        """Begin a call, unless it has begun."""
        if call.call_id not in self._calls:
            state = self._begun(call)
            if not state.has_input:
                self._layout.emit(chunks.tool_input_start(call.call_id, call.name, **_details(call)))

    def add_input(self, item: i.ToolInputDelta) -> None:
        """Go on with the input, if it is not whole yet."""
        self.start(item.call)
        state = self._calls[item.call.call_id]
        if not state.has_input:
            self._layout.emit(chunks.tool_input_delta(item.call.call_id, item.delta))
            state.pieces.append(item.delta)

    def set_input(self, item: i.ToolInput) -> None:
        """Give the whole input."""
        self._set_input(self._begun(item.call), item.value)

    def refuse_input(self, item: i.ToolInputError) -> None:
        """Say that the tool cannot take the input."""
        self._refuse_input(self._begun(item.call), item.value, item.error_text)

    def set_output(self, item: i.ToolOutput) -> None:
        """Give the answer."""
        self._make_ready(item.call)
        self._layout.emit(
            chunks.tool_output_available(
                item.call.call_id,
                item.value,
                preliminary=item.preliminary or None,
                provider_metadata=item.provider_metadata,
                **_how(item.call),
            )
        )
        if not item.preliminary:
            self._layout.note_answer(item.call.call_id, same_step=item.call.provider_executed)

    def set_error(self, item: i.ToolError) -> None:
        """Say that the tool failed."""
        self._make_ready(item.call)
        self._layout.emit(chunks.tool_output_error(item.call.call_id, item.error_text, **_how(item.call)))
        self._layout.note_answer(item.call.call_id, same_step=item.call.provider_executed)

    def settle(self) -> None:
        """Give each call an input that has none."""
        for state in self._calls.values():
            if not state.has_input:
                self._settle_input(state)

    def forget_step(self) -> None:
        """Take back the calls that were made in this step."""
        self._calls = {name: state for name, state in self._calls.items() if state.step != self._layout.step}

    def _begun(self, call: i.ToolCall) -> _Call:
        state = self._calls.get(call.call_id)
        if state is None:
            self._layout.begin_part()
            state = self._calls[call.call_id] = _Call(call, self._layout.step)
            self._layout.note_call(call.call_id)
            if isinstance(call, i.CalledTool):
                self._set_input(state, call.value)
        return state

    def _make_ready(self, call: i.ToolCall) -> None:
        state = self._begun(call)
        if not state.has_input:
            self._settle_input(state)
        self._layout.end_part()

    def _set_input(self, state: _Call, value: Any) -> None:
        call = state.call
        self._layout.emit(chunks.tool_input_available(call.call_id, call.name, value, **_details(call)))
        state.has_input = True

    def _refuse_input(self, state: _Call, value: Any, error_text: str) -> None:
        call = state.call
        self._layout.emit(chunks.tool_input_error(call.call_id, call.name, value, error_text, **_details(call)))
        state.has_input = True
        self._layout.note_answer(call.call_id)

    def _settle_input(self, state: _Call) -> None:
        """Read the input that has come in pieces; none at all is an empty object."""
        text = "".join(state.pieces)
        try:
            value = json.loads(text) if text.strip() else {}
        except (ValueError, RecursionError):
            self._refuse_input(state, text, "the input of the tool broke off")
        else:
            self._set_input(state, value)


def _how(call: i.ToolCall) -> dict[str, Any]:
    return {"dynamic": call.dynamic or None, "provider_executed": call.provider_executed or None}


def _details(call: i.ToolCall) -> dict[str, Any]:
    return {**_how(call), "title": call.title, "provider_metadata": call.provider_metadata}

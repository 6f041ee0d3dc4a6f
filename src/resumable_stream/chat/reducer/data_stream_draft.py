"""The message of ai@4 while it is being made: what `processChatResponse` keeps, joined lazily.

(``src/process-chat-response.ts`` of @ai-sdk/ui-utils@1.2.11.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...exceptions import InvalidMessageChunkError, InvalidMessageError
from .partial_json import MISSING, parse_partial_json
from .values import copy_json, join_text

_Object = dict[str, Any]


def message_parts(message: Mapping[str, Any]) -> list[_Object]:
    """Return copies of the parts of a message of ai@4, made of its other fields if it has none.

    (`getMessageParts` of @ai-sdk/ui-utils@1.2.11.)
    """
    if message.get("parts") is not None:
        return [copy_json(part) for part in message["parts"]]
    parts = [_tool_part(copy_json(invocation)) for invocation in message.get("toolInvocations") or ()]
    if reasoning := message.get("reasoning"):
        details = [{"type": "text", "text": reasoning}]
        parts.append({"type": "reasoning", "reasoning": reasoning, "details": details})
    if content := message.get("content"):
        parts.append({"type": "text", "text": content})
    return parts


class _Text:
    """A text in one field of an object that grows by pieces."""

    def __init__(self, target: _Object, key: str) -> None:
        self.target, self.key = target, key
        self._pieces = [target[key]] if target.get(key) is not None else []

    def add(self, piece: str) -> None:
        self._pieces.append(piece)

    def settle(self) -> None:
        if self._pieces:
            self.target[self.key] = join_text(self._pieces)


class _PartialCall:
    """A tool call whose arguments are coming in."""

    def __init__(self, invocation: _Object, index: int) -> None:
        self.head = invocation
        self.index = index
        self.pieces: list[str] = []

    def invocation(self) -> _Object:
        args = parse_partial_json(join_text(self.pieces), sdk=4)
        return self.head if args is MISSING else {**self.head, "args": args}


class DataStreamDraft:
    """A message, and what there is to know for going on with it. Each code of the protocol has a method."""

    def __init__(self, message: Mapping[str, Any] | None, message_id: str) -> None:
        self._is_new = message is None or message.get("role") != "assistant"
        self.message: dict[str, Any] = _new_message(message_id)
        self._step = 0
        if message is not None and not self._is_new:
            self.message = _continued(message)
            self._step = 1 + _last_step(self.message)
        self.data: list[Any] = []
        self._calls: dict[str, _PartialCall] = {}
        self._pending: dict[str, _PartialCall] = {}
        self._content = _Text(self.message, "content")
        self._reasoning = _Text(self.message, "reasoning")
        self._text: _Text | None = None
        self._reasoning_part: _Text | None = None
        self._detail: _Text | None = None
        self.finish_reason: str = "unknown"
        self.usage: dict[str, float | None] = dict.fromkeys(("promptTokens", "completionTokens", "totalTokens"))

    def settle(self) -> None:
        """Write down all that is known."""
        for text in (self._content, self._reasoning, self._text, self._reasoning_part, self._detail):
            if text is not None:
                text.settle()
        for call_id in list(self._pending):
            self._settle_call(call_id)

    def _push(self, part: _Object) -> _Object:
        self.message["parts"].append(part)
        return part

    def add_text(self, value: str) -> None:
        """``0``: more of the answer."""
        if self._text is None:
            self._text = _Text(self._push({"type": "text", "text": ""}), "text")
        self._text.add(value)
        self._content.add(value)

    def add_reasoning(self, value: str) -> None:
        """``g``: more of the reasoning."""
        part = self._start_reasoning()
        if self._detail is None:
            detail = {"type": "text", "text": ""}
            part.target["details"].append(detail)
            self._detail = _Text(detail, "text")
        for text in (self._detail, part, self._reasoning):
            text.add(value)

    def _start_reasoning(self) -> _Text:
        if self._reasoning_part is None:
            part = self._push({"type": "reasoning", "reasoning": "", "details": []})
            self._reasoning_part = _Text(part, "reasoning")
        return self._reasoning_part

    def sign_reasoning(self, value: _Object) -> None:
        """``j``: proof of who reasoned."""
        if self._detail is not None:
            self._detail.target["signature"] = value["signature"]

    def redact_reasoning(self, value: _Object) -> None:
        """``i``: reasoning that is not to be read."""
        self._start_reasoning().target["details"].append({"type": "redacted", "data": value["data"]})
        self._end_detail()

    def _end_detail(self) -> None:
        if self._detail is not None:
            self._detail.settle()
        self._detail = None

    def add_file(self, value: _Object) -> None:
        """``k``: a file, whole."""
        self._push({"type": "file", "mimeType": value["mimeType"], "data": value["data"]})

    def add_source(self, value: Any) -> None:
        """``h``: what the answer rests on."""
        self._push({"type": "source", "source": copy_json(value)})

    def start_call(self, value: _Object) -> None:
        """``b``: a tool call begins, its arguments follow."""
        call_id = value["toolCallId"]
        head = {"state": "partial-call", "step": self._step, "toolCallId": call_id, "toolName": value["toolName"]}
        self._settle_call(call_id)
        invocations = self._invocations()
        self._calls[call_id] = _PartialCall(head, len(invocations))
        invocations.append(head)
        self._put_part(head)

    def add_args(self, value: _Object) -> None:
        """``c``: more of a tool call's arguments."""
        call = self._calls.get(value["toolCallId"])
        if call is None:
            raise InvalidMessageChunkError(f"arguments for {value['toolCallId']!r}, a tool call that was not started")
        call.pieces.append(value["argsTextDelta"])
        self._pending[value["toolCallId"]] = call

    def _settle_call(self, call_id: str) -> None:
        """Read the arguments of a partial call now, if there are any that nobody has looked at yet."""
        call = self._pending.pop(call_id, None)
        if call is not None:
            self._put_invocation(call.index, call.invocation())

    def set_call(self, value: _Object) -> None:
        """``9``: a tool call, whole."""
        invocation = {"state": "call", "step": self._step, **copy_json(value)}
        call = self._calls.get(value["toolCallId"])
        self._pending.pop(value["toolCallId"], None)
        invocations = self._invocations()
        if call is None:
            invocations.append(invocation)
            self._put_part(invocation)
        else:
            self._put_invocation(call.index, invocation)

    def set_result(self, value: _Object) -> None:
        """``a``: what a tool answered."""
        self._settle_call(value["toolCallId"])
        invocations = self.message.get("toolInvocations") or []
        calls = (index for index, old in enumerate(invocations) if old.get("toolCallId") == value["toolCallId"])
        index = next(calls, None)
        if index is None:
            raise InvalidMessageChunkError(f"a result of the tool call {value['toolCallId']!r}, which there is not")
        self._put_invocation(index, {**invocations[index], "state": "result", **copy_json(value)})

    def _invocations(self) -> list[_Object]:
        if self.message.get("toolInvocations") is None:
            self.message["toolInvocations"] = []
        invocations: list[_Object] = self.message["toolInvocations"]
        return invocations

    def _put_invocation(self, index: int, invocation: _Object) -> None:
        self.message["toolInvocations"][index] = invocation
        self._put_part(invocation)

    def _put_part(self, invocation: _Object) -> None:
        """Show an invocation in the first part that its call has, or in a new one."""
        for part in self.message["parts"]:
            if part.get("type") == "tool-invocation" and _call_id(part) == invocation["toolCallId"]:
                part["toolInvocation"] = invocation
                return
        self._push(_tool_part(invocation))

    def add_data(self, value: list[Any]) -> None:
        """``2``: the application's own."""
        self.data.extend(copy_json(value))

    def annotate(self, value: list[Any]) -> None:
        """``8``: the application's own, to stay with the message."""
        if annotations := [*(self.message.get("annotations") or ()), *copy_json(value)]:
            self.message["annotations"] = annotations

    def finish_step(self, value: _Object) -> None:
        """``e``: a step is over."""
        self._step += 1
        if value.get("isContinued") is not True:
            self._settle_text()
        self._end_detail()
        if self._reasoning_part is not None:
            self._reasoning_part.settle()
        self._reasoning_part = None

    def _settle_text(self) -> None:
        if self._text is not None:
            self._text.settle()
        self._text = None

    def start_step(self, value: _Object) -> None:
        """``f``: a step begins."""
        if self._is_new:
            self.message["id"] = value["messageId"]
        self._push({"type": "step-start"})

    def finish(self, value: _Object) -> None:
        """``d``: the answer is whole."""
        self.finish_reason = value["finishReason"]
        usage = value.get("usage")
        if isinstance(usage, dict) and "promptTokens" in usage and "completionTokens" in usage:
            prompt, completion = _count(usage["promptTokens"]), _count(usage["completionTokens"])
            total = None if prompt is None or completion is None else prompt + completion
            self.usage = {"promptTokens": prompt, "completionTokens": completion, "totalTokens": total}

    def pass_error(self, _value: str) -> None:
        """``3``: leave the message as it is."""


def _tool_part(invocation: _Object) -> _Object:
    return {"type": "tool-invocation", "toolInvocation": invocation}


def _call_id(part: _Object) -> Any:
    invocation = part.get("toolInvocation")
    return invocation.get("toolCallId") if isinstance(invocation, dict) else None


def _count(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _new_message(message_id: str) -> _Object:
    return {"id": message_id, "role": "assistant", "content": "", "parts": []}


def _continued(message: Mapping[str, Any]) -> _Object:
    for key in ("parts", "toolInvocations"):
        items = message.get(key)
        if items is not None and not (isinstance(items, list) and all(isinstance(item, Mapping) for item in items)):
            raise InvalidMessageError(f"the {key} of a message to go on with are no list of objects")
    copied: _Object = copy_json(message)
    return {**copied, "content": copied.get("content") or "", "parts": message_parts(message)}


def _last_step(message: _Object) -> int:
    """Return the highest step of the message's tool calls, or 0."""
    steps = (invocation.get("step") for invocation in message.get("toolInvocations") or ())
    return max((step for step in steps if isinstance(step, int)), default=0)

"""The message while it is being made: what `createStreamingUIMessageState` of the AI SDK keeps, joined lazily."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...exceptions import InvalidMessageChunkError, InvalidMessageError
from .partial_json import MISSING, parse_partial_json
from .values import copy_json, join_text

Part = dict[str, Any]
Chunk = Mapping[str, Any]


@dataclass(frozen=True)
class Rules:
    """In what the majors of the AI SDK differ, besides the chunks that they know."""

    sdk: int

    @property
    def steps_end_texts(self) -> bool:
        """Whether texts and reasonings that are open at the end of a step cannot go on after it."""
        return self.sdk < 7

    @property
    def has_tool_details(self) -> bool:
        """Whether a tool has a title, metadata and an encoding, its result metadata of its own, and can be renamed."""
        return self.sdk >= 6

    @property
    def keeps_refused_input(self) -> bool:
        """Whether input that a static tool cannot take is its ``input``, instead of its ``rawInput``."""
        return self.sdk >= 7


@dataclass
class OpenText:
    """A text or reasoning that goes on: its part, and the pieces of its text."""

    part: Part
    pieces: list[str] = field(default_factory=list)

    def settle(self) -> None:
        """Write the text into the part."""
        self.part["text"] = join_text(self.pieces)


@dataclass
class PartialCall:
    """A tool call whose input is coming in."""

    tool_name: str
    is_dynamic: bool
    details: dict[str, Any]
    """What each delta writes into the part again: encoding, title and metadata, as far as there are any."""
    pieces: list[str] = field(default_factory=list)
    part: Part | None = None
    """The part that the last delta wrote to, and is to write to as long as the step is the same."""
    step: int = -1


class Draft:
    """A message, and what there is to know for going on with it.

    The text of open parts, and the input of partial calls, are pieces until `settle` is called.
    """

    def __init__(self, message: Part, rules: Rules) -> None:
        self.rules = rules
        self.message = message
        self.parts: list[Part] = message["parts"]
        self.texts: dict[str, OpenText] = {}
        self.reasonings: dict[str, OpenText] = {}
        self.calls: dict[str, PartialCall] = {}
        self.finish_reason: str | None = None
        self.step: int = 0
        """Changes whenever the parts of the current step may be other ones."""
        self.step_start: int = 0
        """Index of the current step's first part."""
        self._pending: dict[int, tuple[Part, PartialCall]] = {}
        self._take_up()

    def _take_up(self) -> None:
        """Go on with the tools whose input was cut off."""
        starts = [index for index, part in enumerate(self.parts) if part.get("type") == "step-start"]
        self.step_start = starts[-1] + 1 if starts else 0
        for part in self.parts[self.step_start :]:
            if is_tool(part) and part.get("state") == "input-streaming" and isinstance(part.get("toolCallId"), str):
                self.calls[part["toolCallId"]] = self._cut_off(part)

    def _cut_off(self, part: Part) -> PartialCall:
        names = ("inputEncoding", "title", "toolMetadata") if self.rules.has_tool_details else ()
        details = {name: part[name] for name in names if name in part}
        text = part.get("rawInput")
        is_dynamic = part["type"] == "dynamic-tool"
        name = part.get("toolName", "") if is_dynamic else static_tool_name(part)
        return PartialCall(name, is_dynamic, details, [text] if isinstance(text, str) else [])

    def push(self, part: Part) -> Part:
        """Add a part at the end."""
        self.parts.append(part)
        return part

    def start_step(self) -> None:
        """Begin a step."""
        self.push({"type": "step-start"})
        self.step += 1
        self.step_start = len(self.parts)

    def reset_step(self) -> None:
        """Forget the parts of the current step, and whatever was going on."""
        self.settle()
        self.end_texts()
        self.calls = {}
        self.step += 1
        del self.parts[self.step_start :]

    def end_texts(self) -> None:
        """Let no open text go on."""
        for text in (*self.texts.values(), *self.reasonings.values()):
            text.settle()
        self.texts, self.reasonings = {}, {}

    def is_pending(self, call: PartialCall) -> bool:
        """Return whether nothing has changed the call's part since its last delta."""
        return call.step == self.step and id(call.part) in self._pending

    def postpone(self, call: PartialCall, part: Part) -> None:
        """Write the call's input into the part later, when somebody looks at it."""
        self._pending[id(part)] = (part, call)

    def drop_input(self, part: Part) -> None:
        """Forget what was postponed for the part: its input is about to be replaced."""
        self._pending.pop(id(part), None)

    def settle_tool(self, part: Part) -> None:
        """Write a tool's input into its part now, if that was postponed."""
        pending = self._pending.pop(id(part), None)
        if pending is not None:
            write_input(part, pending[1], self.rules)

    def settle(self) -> None:
        """Write down all that is known."""
        for text in (*self.texts.values(), *self.reasonings.values()):
            text.settle()
        for part, _ in list(self._pending.values()):
            self.settle_tool(part)

    def find_tool(self, call_id: str, *, is_dynamic: bool | None = None) -> Part | None:
        """Return the current step's first tool part of a call: static, dynamic, or (``None``) either."""
        for part in self.parts[self.step_start :]:
            if is_tool(part, is_dynamic) and part.get("toolCallId") == call_id:
                return part
        return None

    def tool_of(self, call_id: str, *, is_dynamic: bool | None = None) -> Part:
        """Return the tool part of a call: of the current step if it has one, otherwise the last.

        Raises:
            InvalidMessageChunkError: There is none.
        """
        part = self.find_tool(call_id, is_dynamic=is_dynamic)
        if part is not None:
            return part
        for part in reversed(self.parts):
            if is_tool(part, is_dynamic) and part.get("toolCallId") == call_id:
                return part
        raise InvalidMessageChunkError(f"there is no tool call {call_id!r}")


def write_input(part: Part, call: PartialCall, rules: Rules) -> None:
    """Write a partial call's input into its part: the text, and what can be read from it."""
    text = join_text(call.pieces)
    part["rawInput"] = text
    is_text = call.details.get("inputEncoding") == "text"
    value = text if is_text else parse_partial_json(text, sdk=rules.sdk)
    if value is MISSING:
        part.pop("input", None)
    else:
        part["input"] = value


def is_tool(part: Part, is_dynamic: bool | None = None) -> bool:
    """Return whether it is the part of a tool: static, dynamic, or (``None``) either."""
    kind = part.get("type")
    if kind == "dynamic-tool":
        return is_dynamic is not False
    return is_dynamic is not True and isinstance(kind, str) and kind.startswith("tool-")


def static_tool_name(part: Part) -> str:
    """Return the name of a static tool, which is in the part's type."""
    name: str = part["type"].removeprefix("tool-")
    return name


def new_message(message_id: str) -> Part:
    """Return an assistant's message without parts."""
    return {"id": message_id, "role": "assistant", "parts": []}


def continued_message(message: Mapping[str, Any] | None, message_id: str) -> Part:
    """Return a copy of a message to go on with, or a new one if it is not an assistant's.

    Raises:
        InvalidMessageError: It has no list of parts.
    """
    if message is None or message.get("role") != "assistant":
        return new_message(message_id)
    parts = message.get("parts")
    if not isinstance(parts, list) or not all(isinstance(part, Mapping) for part in parts):
        raise InvalidMessageError("an assistant's message needs a list of objects as parts")
    copied: Part = copy_json(message)
    return copied


def text_of(chunk: Chunk, key: str) -> str:
    """Return a field of a chunk that has to be a text.

    Raises:
        InvalidMessageChunkError: It is missing, or something else.
    """
    value = chunk.get(key)
    if isinstance(value, str):
        return value
    raise InvalidMessageChunkError(f"a chunk of type {chunk.get('type')!r} needs a text as {key!r}")


def copied_fields(chunk: Chunk, *names: str) -> dict[str, Any]:
    """Return copies of those of a chunk's fields that it has."""
    return {name: copy_json(chunk[name]) for name in names if name in chunk}

"""Messages of ai@4, and how they become those of later majors, and back.

The shapes are those of ``src/types.ts`` of @ai-sdk/ui-utils@1.2.11. What resumes a stream that is over is the part
``append-message``, after the guide "Chatbot Message Persistence" of ai@4.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ...chat.reducer import DataStreamPart
from ...exceptions import InvalidMessageError
from .json_text import as_json
from .v4_values import as_args, as_file, as_source, signatures_of

__all__ = ["append_message_part", "message_from_v4", "message_to_v4"]

_Object: TypeAlias = dict[str, Any]
_RESULTS = {"output-available", "output-error", "output-denied"}
_ANNOTATIONS = "annotations"
_ANY_MEDIA = "application/octet-stream"


def message_to_v4(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored UI message as ai@4 has it.

    It is the message that a client of ai@4 makes of the stream that made this one, as `DataStreamTranslator` has it:
    what ai@4 has no word for is an annotation, or left out. ``createdAt`` is for the caller to add.

    Args:
        message: With an id, a role and parts.

    Raises:
        InvalidMessageError: It has no such parts.
    """
    made = _V4Parts(by_user=message.get("role") == "user")
    for part in _objects_of(message, "parts"):
        made.add(part)
    more: _Object = {
        "reasoning": "".join(made.reasoning),
        "toolInvocations": made.invocations,
        "annotations": [*_annotations_of(message.get("metadata")), *made.annotations],
        "experimental_attachments": made.attachments,
    }
    base = {"id": message.get("id"), "role": message.get("role"), "content": "".join(made.content), "parts": made.parts}
    return base | {key: value for key, value in more.items() if value}


def _objects_of(message: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    objects = message.get(key)
    if not isinstance(objects, (list, tuple)) or not all(isinstance(item, Mapping) for item in objects):
        raise InvalidMessageError(f"the {key!r} of a message are a list of objects")
    return list(objects)


def _annotations_of(metadata: Any) -> list[Any]:
    if isinstance(metadata, Mapping) and isinstance(metadata.get(_ANNOTATIONS), list):
        rest = {key: value for key, value in metadata.items() if key != _ANNOTATIONS}
        return [*metadata[_ANNOTATIONS], *([rest] if rest else [])]
    return [] if metadata is None else [metadata]


class _V4Parts:
    """The parts of a message of ai@4, and what it says twice."""

    def __init__(self, *, by_user: bool) -> None:
        self._by_user = by_user
        self.parts: list[_Object] = []
        self.content: list[str] = []
        self.reasoning: list[str] = []
        self.invocations: list[_Object] = []
        self.annotations: list[Any] = []
        self.attachments: list[_Object] = []
        self._step = 0

    def add(self, part: Mapping[str, Any]) -> None:
        kind = str(part.get("type"))
        handler = _TO_V4.get(kind)
        if handler is not None:
            handler(self, part)
        elif kind.startswith("tool-") or kind == "dynamic-tool":
            self._add_tool(part, kind)
        elif kind.startswith("data-"):
            self.annotate(part)

    def start_step(self, _part: Mapping[str, Any]) -> None:
        self._step += bool(self.parts)
        self.parts.append({"type": "step-start"})

    def add_text(self, part: Mapping[str, Any]) -> None:
        text = _text_of(part, "text")
        self.content.append(text)
        self.parts.append({"type": "text", "text": text})

    def add_reasoning(self, part: Mapping[str, Any]) -> None:
        text = _text_of(part, "text")
        self.reasoning.append(text)
        details: list[_Object] = [{"type": "text", "text": text}] if text else []
        for code, value in signatures_of(part.get("providerMetadata")):
            if code == "i":
                details.append({"type": "redacted", **value})
            elif details:
                details[0] |= value
        self.parts.append({"type": "reasoning", "reasoning": text, "details": details})

    def _add_tool(self, part: Mapping[str, Any], kind: str) -> None:
        name = part.get("toolName") if kind == "dynamic-tool" else kind.removeprefix("tool-")
        state = part.get("state")
        invocation: _Object = {"state": _STATES.get(state, "call"), "step": self._step}
        invocation |= {"toolCallId": part.get("toolCallId"), "toolName": name}
        if state != "input-streaming" or part.get("input") is not None:
            invocation["args"] = as_args(part.get("input", part.get("rawInput")))
        if state in _RESULTS:
            invocation["result"] = _result_of(part)
        self.invocations.append(invocation)
        self.parts.append({"type": "tool-invocation", "toolInvocation": invocation})

    def add_source(self, part: Mapping[str, Any]) -> None:
        _check_texts(part, "sourceId", "url")
        self.parts.append({"type": "source", "source": as_source(part)})

    def add_file(self, part: Mapping[str, Any]) -> None:
        if self._by_user:
            attachment = {"name": part.get("filename"), "contentType": part.get("mediaType"), "url": part.get("url")}
            self.attachments.append({key: value for key, value in attachment.items() if value is not None})
            return
        _check_texts(part, "mediaType", "url")
        if (file := as_file(part)) is not None:
            self.parts.append({"type": "file", **file})
        else:
            self.annotate(part)

    def annotate(self, part: Mapping[str, Any]) -> None:
        self.annotations.append(dict(part))


def _check_texts(part: Mapping[str, Any], *fields: str) -> None:
    for field in fields:
        _text_of(part, field)


def _text_of(part: Mapping[str, Any], key: str) -> str:
    text = part.get(key)
    if not isinstance(text, str):
        raise InvalidMessageError(f"a part of type {part.get('type')!r} needs a text as {key!r}")
    return text


def _result_of(part: Mapping[str, Any]) -> Any:
    if part["state"] == "output-available":
        return part.get("output")
    return {"error": part.get("errorText", "denied")}


_STATES: Mapping[Any, str] = {"input-streaming": "partial-call", **dict.fromkeys(_RESULTS, "result")}
_TO_V4: dict[str, Callable[[_V4Parts, Mapping[str, Any]], None]] = {
    "step-start": _V4Parts.start_step,
    "text": _V4Parts.add_text,
    "reasoning": _V4Parts.add_reasoning,
    "source-url": _V4Parts.add_source,
    "source-document": _V4Parts.annotate,
    "file": _V4Parts.add_file,
}


def message_from_v4(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message that a client of ai@4 sent as later majors have it.

    A user's message keeps its texts, files and attachments; an assistant's, which comes back when a page has run a
    tool, its texts, reasoning, tool calls and sources. Annotations become ``annotations`` in the metadata.

    Args:
        message: As it came: anything. Its id is passed on, and not checked.

    Raises:
        InvalidMessageError: It is no object, of another role, or has something that does not fit.
    """
    given: object = message
    if not isinstance(given, Mapping) or given.get("role") not in ("user", "assistant", "system"):
        raise InvalidMessageError("a message has the role 'user', 'assistant' or 'system'")
    parts = [_part_from_v4(part) for part in _v4_parts(message)]
    if message.get("experimental_attachments") is not None:
        parts += [_file_from_attachment(item) for item in _objects_of(message, "experimental_attachments")]
    annotations = message.get("annotations")
    more: _Object = {"metadata": {_ANNOTATIONS: annotations}} if annotations else {}
    kept = [part for part in parts if part is not None]
    return {"id": message.get("id"), "role": message["role"], "parts": kept, **more}


def _v4_parts(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the parts of a message, or those that its older fields stand for.

    (`getMessageParts` of @ai-sdk/ui-utils@1.2.11.)
    """
    if message.get("parts") is not None:
        return _objects_of(message, "parts")
    parts: list[Mapping[str, Any]] = []
    if message.get("toolInvocations") is not None:
        invocations = _objects_of(message, "toolInvocations")
        parts += [{"type": "tool-invocation", "toolInvocation": invocation} for invocation in invocations]
    if message.get("reasoning"):
        parts.append({"type": "reasoning", "reasoning": message["reasoning"]})
    if message.get("content"):
        parts.append({"type": "text", "text": message["content"]})
    return parts


def _part_from_v4(part: Mapping[str, Any]) -> _Object | None:
    """Return a part as later majors have it; ``None``: they have none like that."""
    kind = str(part.get("type"))
    if _is_of_later_majors(kind, part):
        return dict(part)
    handler = _FROM_V4.get(kind)
    return None if handler is None else handler(part)


def _is_of_later_majors(kind: str, part: Mapping[str, Any]) -> bool:
    # A page that was given a stored message as it is sends it back like that.
    if kind in ("file", "reasoning"):
        return ("url" if kind == "file" else "text") in part
    return kind in _LATER or (kind.startswith("tool-") and kind != "tool-invocation")


def _text_from_v4(part: Mapping[str, Any]) -> _Object:
    return {"type": "text", "text": _text_of(part, "text")}


def _reasoning_from_v4(part: Mapping[str, Any]) -> _Object:
    return {"type": "reasoning", "text": _text_of(part, "reasoning")}


def _tool_from_v4(part: Mapping[str, Any]) -> _Object:
    invocation = part.get("toolInvocation")
    if not isinstance(invocation, Mapping):
        raise InvalidMessageError("a part of type 'tool-invocation' needs an object as 'toolInvocation'")
    name, call_id = _text_of(invocation, "toolName"), _text_of(invocation, "toolCallId")
    made: _Object = {"type": f"tool-{name}", "toolCallId": call_id, "input": invocation.get("args")}
    if invocation.get("state") == "result":
        return {**made, "state": "output-available", "output": invocation.get("result")}
    return {**made, "state": "input-streaming" if invocation.get("state") == "partial-call" else "input-available"}


def _source_from_v4(part: Mapping[str, Any]) -> _Object:
    source = part.get("source")
    if not isinstance(source, Mapping):
        raise InvalidMessageError("a part of type 'source' needs an object as 'source'")
    optional = {key: source[key] for key in ("title", "providerMetadata") if source.get(key) is not None}
    return {"type": "source-url", "sourceId": _text_of(source, "id"), "url": _text_of(source, "url"), **optional}


def _file_from_v4(part: Mapping[str, Any]) -> _Object:
    media_type, content = _text_of(part, "mimeType"), _text_of(part, "data")
    return {"type": "file", "mediaType": media_type, "url": f"data:{media_type};base64,{content}"}


def _file_from_attachment(attachment: Mapping[str, Any]) -> _Object:
    url, name, media_type = _text_of(attachment, "url"), attachment.get("name"), attachment.get("contentType")
    file: _Object = {"type": "file", "mediaType": media_type or _guessed_media(url, name), "url": url}
    return file if name is None else {**file, "filename": name}


def _guessed_media(url: str, name: Any) -> str:
    """Return what a file is by its ``data:`` URL or its name; ai@4 does not have to tell, and later majors have to."""
    if url[:5].lower() == "data:":
        return url[5:].partition(",")[0].partition(";")[0] or "text/plain"
    guesses = (_guess(text) for text in (name, url.partition("?")[0]) if isinstance(text, str))
    return next((guess for guess in guesses if guess is not None), _ANY_MEDIA)


def _guess(name: str) -> str | None:
    try:
        return mimetypes.guess_type(name)[0]
    except ValueError:  # from Python 3.13 on, of what looks like a URL and is none
        return None


_LATER = frozenset(("source-url", "source-document", "dynamic-tool"))

_FROM_V4: dict[str, Callable[[Mapping[str, Any]], _Object]] = {
    "step-start": lambda _part: {"type": "step-start"},
    "text": _text_from_v4,
    "reasoning": _reasoning_from_v4,
    "tool-invocation": _tool_from_v4,
    "source": _source_from_v4,
    "file": _file_from_v4,
}


def append_message_part(message: Mapping[str, Any]) -> DataStreamPart:
    """Return the part that answers ``experimental_resume`` when the stream is over, and its message is stored.

    The page appends that message to those that it has. It is written as JSON within the JSON.

    Args:
        message: The stored UI message; it is converted.

    Raises:
        InvalidMessageError: As `message_to_v4` has it.
        InvalidMessageChunkError: It has something that JSON has not.
    """
    return "2", [{"type": "append-message", "message": as_json(message_to_v4(message))}]

"""What the AI SDK's clients accept: the schemas of UI message chunks of ai@5.0.277, ai@6.0.326 and ai@7.0.173.

(``uiMessageChunkSchema``, in ``src/ui-message-stream/ui-message-chunks.ts``.) A client ends the whole stream with an
error at the first chunk that its schema refuses, so it is better to refuse it here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from ...exceptions import InvalidMessageChunkError, InvalidSettingError

__all__ = ["check_chunk"]


class _Field(NamedTuple):
    is_right: Callable[[Any], bool]
    kind: str
    is_required: bool = False


class _Rule(NamedTuple):
    since: int
    fields: dict[str, _Field]


def check_chunk(chunk: Mapping[str, Any], *, sdk: Literal[5, 6, 7] = 7) -> None:
    """Raise unless clients accept a chunk.

    What is one of the AI SDK's values of any kind (``input``, ``output``, ``data``, ``messageMetadata``) may be
    missing, as in JavaScript it may be ``undefined``.

    Args:
        chunk: What is to be sent.
        sdk: The lowest major version of the clients that it is sent to. They take fields that they do not know, and
            no types.

    Raises:
        InvalidMessageChunkError: It is no object, of an unknown type, or lacks a field or has one of another type.
            An optional field that is ``None`` is such a one: leave it out.
        InvalidSettingError: The major is not one of the three.
    """
    if sdk not in _SDKS:
        raise InvalidSettingError(f"the major version of the AI SDK is 5, 6 or 7, not {sdk!r}")
    if not isinstance(chunk, Mapping):
        raise InvalidMessageChunkError(f"a chunk is an object, not {type(chunk).__name__}")
    kind = chunk.get("type")
    if not isinstance(kind, str):
        raise InvalidMessageChunkError("a chunk needs a text as 'type'")
    rule = _DATA if kind.startswith("data-") else _RULES.get(kind)
    if rule is None or rule.since > sdk:
        raise InvalidMessageChunkError(f"clients of ai@{sdk} know no chunks of type {kind!r}")
    _check_fields(chunk, rule)
    if kind == "finish":
        _check_reason(chunk, sdk)


def _check_fields(chunk: Mapping[str, Any], rule: _Rule) -> None:
    for name, (is_right, kind, is_required) in rule.fields.items():
        if name in chunk:
            if not is_right(chunk[name]):
                raise InvalidMessageChunkError(f"{name!r} of a chunk of type {chunk['type']!r} has to be {kind}")
        elif is_required:
            raise InvalidMessageChunkError(f"a chunk of type {chunk['type']!r} needs {kind} as {name!r}")


def _check_reason(chunk: Mapping[str, Any], sdk: int) -> None:
    reason = chunk.get("finishReason", "stop")
    if reason not in (*_REASONS, _MORE_REASONS[sdk]):
        raise InvalidMessageChunkError(f"clients of ai@{sdk} know no reason {reason!r} for the end")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping)


def _is_by_provider(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(item, Mapping) for item in value.values())


def _is_list_of(is_item: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, (list, tuple)) and all(map(is_item, value))


def _is_citation(value: Any) -> bool:
    if not isinstance(value, Mapping) or not _has(value.get("source"), {"type": _SOURCE}):
        return False
    kind = value["source"].get("sourceType")
    fields = _CITED.get(kind) if isinstance(kind, str) else None
    return fields is not None and _has(value["source"], fields) and _has(value, _CITATION)


def _is_steering_part(value: Any) -> bool:
    return (_has(value, {"type": _TEXT, **_STEERING["text"]}) and value["type"] == "text") or _is_steering_file(value)


def _is_steering_file(value: Any) -> bool:
    return _has(value, {"type": _TEXT, **_STEERING["file"]}) and value["type"] == "file"


def _has(value: Any, fields: Mapping[str, _Field]) -> bool:
    if not isinstance(value, Mapping):
        return False
    return all(
        field.is_right(value[name]) if name in value else not field.is_required for name, field in fields.items()
    )


def _is_index(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and 0 <= value < math.inf and value == int(value)


_SDKS = (5, 6, 7)
_REASONS = ("stop", "length", "content-filter", "tool-calls", "error", "other")
_MORE_REASONS = {5: "unknown", 6: "other", 7: "interrupted"}

_TEXT = _Field(_is_text, "a text", is_required=True)
_BOOLEAN = _Field(lambda value: isinstance(value, bool), "true or false", is_required=True)
_MAYBE_TEXT = _Field(_is_text, "a text")
_MAYBE_BOOLEAN = _Field(_BOOLEAN.is_right, "true or false")
_MAYBE_OBJECT = _Field(_is_object, "an object")
_MAYBE_INDEX = _Field(_is_index, "a whole number")
_BY_PROVIDER = {"providerMetadata": _Field(_is_by_provider, "an object of objects")}
_SOURCE = _Field(lambda value: value == "source", "'source'", is_required=True)
_ENCODING = _Field(lambda value: value in ("json", "text"), "'json' or 'text'")

_CITATION = {"startIndex": _MAYBE_INDEX, "endIndex": _MAYBE_INDEX, "citedText": _MAYBE_TEXT}
_CITED: dict[Any, dict[str, _Field]] = {
    "url": {"id": _TEXT, "url": _TEXT, "title": _MAYBE_TEXT, **_BY_PROVIDER},
    "document": {"id": _TEXT, "mediaType": _TEXT, "title": _TEXT, "filename": _MAYBE_TEXT, **_BY_PROVIDER},
}
_BY_NAME = _Field(lambda value: _is_object(value) and all(map(_is_text, value.values())), "an object of texts")
_STEERING: dict[str, dict[str, _Field]] = {
    "text": {"text": _TEXT, **_BY_PROVIDER},
    "file": {
        "mediaType": _TEXT,
        "url": _TEXT,
        "filename": _MAYBE_TEXT,
        "providerReference": _BY_NAME,
        **_BY_PROVIDER,
    },
}

_PART = {"id": _TEXT, **_BY_PROVIDER}
_DELTA = {**_PART, "delta": _TEXT}
_TOOL = {
    "toolCallId": _TEXT,
    "providerExecuted": _MAYBE_BOOLEAN,
    **_BY_PROVIDER,
    "toolMetadata": _MAYBE_OBJECT,
    "dynamic": _MAYBE_BOOLEAN,
}
_TOOL_INPUT = {**_TOOL, "toolName": _TEXT, "title": _MAYBE_TEXT}
_FILE = {"url": _TEXT, "mediaType": _TEXT, **_BY_PROVIDER}

_DATA = _Rule(5, {"id": _MAYBE_TEXT, "transient": _MAYBE_BOOLEAN})
_RULES: dict[str, _Rule] = {
    "text-start": _Rule(5, _PART),
    "text-delta": _Rule(5, _DELTA),
    "text-end": _Rule(5, {**_PART, "citations": _Field(_is_list_of(_is_citation), "a list of citations")}),
    "reasoning-start": _Rule(5, _PART),
    "reasoning-delta": _Rule(5, _DELTA),
    "reasoning-end": _Rule(5, _PART),
    "tool-input-start": _Rule(5, {**_TOOL_INPUT, "inputEncoding": _ENCODING}),
    "tool-input-delta": _Rule(5, {"toolCallId": _TEXT, "inputTextDelta": _TEXT}),
    "tool-input-available": _Rule(5, _TOOL_INPUT),
    "tool-input-error": _Rule(5, {**_TOOL_INPUT, "errorText": _TEXT}),
    "tool-approval-request": _Rule(
        6,
        {
            "approvalId": _TEXT,
            "toolCallId": _TEXT,
            "reason": _MAYBE_TEXT,
            "isAutomatic": _MAYBE_BOOLEAN,
            "signature": _MAYBE_TEXT,
        },
    ),
    "tool-approval-response": _Rule(
        7,
        {
            "approvalId": _TEXT,
            "approved": _BOOLEAN,
            "reason": _MAYBE_TEXT,
            "providerExecuted": _MAYBE_BOOLEAN,
            **_BY_PROVIDER,
        },
    ),
    "tool-output-available": _Rule(5, {**_TOOL, "preliminary": _MAYBE_BOOLEAN}),
    "tool-output-error": _Rule(5, {**_TOOL, "errorText": _TEXT}),
    "tool-output-denied": _Rule(6, {"toolCallId": _TEXT}),
    "source-url": _Rule(5, {"sourceId": _TEXT, "url": _TEXT, "title": _MAYBE_TEXT, **_BY_PROVIDER}),
    "source-document": _Rule(
        5, {"sourceId": _TEXT, "mediaType": _TEXT, "title": _TEXT, "filename": _MAYBE_TEXT, **_BY_PROVIDER}
    ),
    "file": _Rule(5, _FILE),
    "reasoning-file": _Rule(7, _FILE),
    "custom": _Rule(7, {"kind": _TEXT, **_BY_PROVIDER}),
    "steering-message": _Rule(
        7, {"id": _TEXT, "parts": _Field(_is_list_of(_is_steering_part), "a list of texts and files", is_required=True)}
    ),
    "start": _Rule(5, {"messageId": _MAYBE_TEXT}),
    "start-step": _Rule(5, {}),
    "finish-step": _Rule(5, {}),
    "reset-step": _Rule(7, {}),
    "message-metadata": _Rule(5, {}),
    "error": _Rule(5, {"errorText": _TEXT}),
    "abort": _Rule(5, {"reason": _MAYBE_TEXT}),
    "finish": _Rule(5, {}),
}

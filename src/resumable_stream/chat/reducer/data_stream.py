r"""The data stream protocol of ai@4: lines of a one-character code, a colon and JSON, such as ``0:"Hello"\n``.

What each code needs is from ``src/data-stream-parts.ts`` of @ai-sdk/ui-utils@1.2.11.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from ...exceptions import InvalidMessageChunkError
from .partial_json import parse_plain_json

__all__ = ["DataStreamPart", "check_data_stream_part", "parse_data_stream", "parse_data_stream_line"]

DataStreamPart: TypeAlias = tuple[str, Any]
"""A part of a data stream: its code, and its value as JSON has it."""


def parse_data_stream(text: str) -> Iterator[DataStreamPart]:
    """Yield the parts of whole lines; empty ones are passed over.

    Raises:
        InvalidMessageChunkError: A line is no part.
    """
    return (parse_data_stream_line(line) for line in text.split("\n") if line)


def parse_data_stream_line(line: str) -> DataStreamPart:
    """Return the part that a line holds.

    Raises:
        InvalidMessageChunkError: It has no code, an unknown one, or a value that is no JSON or not what the code needs.
    """
    code, colon, text = line.removesuffix("\n").partition(":")
    if not colon:
        raise InvalidMessageChunkError("a line of a data stream has a code, a colon and a value")
    if code not in _CHECKS:
        raise InvalidMessageChunkError(f"a data stream has no parts of code {code!r}")
    try:
        value = parse_plain_json(text)
    except (ValueError, RecursionError) as error:
        raise InvalidMessageChunkError(f"the value of a part {code!r} is no JSON: {error}") from None
    check_data_stream_part(code, value)
    return code, value


def check_data_stream_part(code: str, value: Any) -> None:
    """Raise `InvalidMessageChunkError` unless there is such a code, and the value has what it needs."""
    check = _CHECKS.get(code)
    if check is None:
        raise InvalidMessageChunkError(f"a data stream has no parts of code {code!r}")
    if not check(value):
        raise InvalidMessageChunkError(f"a part {code!r} of a data stream lacks what it needs")


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_object(value: Any) -> bool:
    return isinstance(value, (dict, list))


def _has_texts(*keys: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(isinstance(value.get(key), str) for key in keys)


def _is_call(value: Any) -> bool:
    # In JavaScript `null` is an object too.
    has_args = isinstance(value, dict) and "args" in value and isinstance(value["args"], (dict, list, type(None)))
    return has_args and _has_texts("toolCallId", "toolName")(value)


def _is_result(value: Any) -> bool:
    return _has_texts("toolCallId")(value) and "result" in value


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "0": _is_text,
    "2": _is_list,
    "3": _is_text,
    "8": _is_list,
    "9": _is_call,
    "a": _is_result,
    "b": _has_texts("toolCallId", "toolName"),
    "c": _has_texts("toolCallId", "argsTextDelta"),
    "d": _has_texts("finishReason"),
    "e": _has_texts("finishReason"),
    "f": _has_texts("messageId"),
    "g": _is_text,
    "h": _is_object,
    "i": _has_texts("data"),
    "j": _has_texts("signature"),
    "k": _has_texts("data", "mimeType"),
}

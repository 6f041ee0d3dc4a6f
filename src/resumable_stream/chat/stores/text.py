r"""How values and ids become text that any store keeps, and what they become again.

**JSON** is written by `dump` and read by `load`, and comes back as it was: the order of keys, ``1.0`` apart from ``1``,
whole numbers of any size, ``\u0000``, and surrogates that stand alone. Two surrogates in a row are the one character
that they stand for: JSON knows no difference. So a store keeps the text, and no type of its own for JSON, such as
``jsonb``, which sorts keys and refuses ``\u0000``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...chat_types import ChatChange
from ...exceptions import InvalidMessageError

__all__ = ["copy", "copy_change", "dump", "escape_id", "load", "unescape_id"]

_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED = re.compile("[\\\\\0\ud800-\udfff]")
_ESCAPE = re.compile(r"\\(\\|z|[0-7][0-9a-f]{2})")
_FIRST_SURROGATE = 0xD800


def dump(value: Mapping[str, Any]) -> str:
    """Return a value as JSON, in text that UTF-8 can encode and that has no NUL.

    Raises:
        InvalidMessageError: It is not JSON.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        if not text.isascii() and _SURROGATE.search(text):
            text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidMessageError("messages and metadata are JSON: objects, arrays, text, numbers, no NaN") from error
    return text


def load(text: str | bytes) -> dict[str, Any]:
    """Return the value of what `dump` returned, new each time.

    Raises:
        ValueError: It is not what `dump` returned.
    """
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not an object")  # noqa: TRY004  # what is wrong is the value of the text
    return value


def copy(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value as a store that writes it down returns it.

    Raises:
        InvalidMessageError: It is not JSON.
    """
    return load(dump(value))


def copy_change(change: ChatChange) -> ChatChange:
    """Return a change that shares nothing with the one of the caller.

    Raises:
        InvalidMessageError: A message, or the metadata, is not JSON.
    """
    metadata = None if change.metadata is None else copy(change.metadata)
    return replace(change, put=[copy(message) for message in change.put], metadata=metadata)


def escape_id(text: str) -> str:
    """Return an id as text that UTF-8 can encode and that has no NUL. Most ids are that already, and stay as they are.

    No character becomes longer than four bytes: databases limit what they index.
    """
    return _ESCAPED.sub(_escape, text)


def unescape_id(text: str) -> str:
    """Return the id of what `escape_id` returned."""
    return _ESCAPE.sub(_unescape, text)


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if character == "\\":
        return "\\\\"
    return "\\z" if character == "\0" else f"\\{ord(character) - _FIRST_SURROGATE:03x}"


def _unescape(found: re.Match[str]) -> str:
    escape = found[1]
    if escape == "\\":
        return "\\"
    return "\0" if escape == "z" else chr(_FIRST_SURROGATE + int(escape, 16))

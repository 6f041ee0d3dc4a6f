"""Values as JSON texts of one line."""

from __future__ import annotations

import json
from typing import Any

from ...exceptions import InvalidMessageChunkError

__all__ = ["as_json", "escaped_if_cut"]

_encode_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_encode_ascii = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def as_json(value: Any) -> str:
    """Return a value as a JSON text of one line that can be written as UTF-8.

    Raises:
        InvalidMessageChunkError: It has something that JSON has not.
    """
    try:
        text = _encode_json(value)
    except (TypeError, ValueError, RecursionError):
        raise InvalidMessageChunkError("a chunk has something that JSON has not") from None
    return escaped_if_cut(text, value)


def escaped_if_cut(text: str, value: Any) -> str:
    """Return the JSON text of a value, escaped if it has half a surrogate pair.

    A model may cut a character in two. Escaped, both halves arrive, and JavaScript joins them.
    """
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return _encode_ascii(value)
    return text

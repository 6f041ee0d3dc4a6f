"""JSON values as JavaScript treats them, where Python would do otherwise."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...exceptions import InvalidMessageChunkError

MAX_DEPTH = 100
"""How deep JSON may be nested. What reads and writes it would give up at a depth that nobody chose."""

_SURROGATE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
# A merge must not reach the prototype of an object: `mergeObjects` of the AI SDK skips these.
_UNMERGED = frozenset({"__proto__", "constructor", "prototype"})


def copy_json(value: Any) -> Any:
    """Return a copy of a JSON value that shares no object and no array with it.

    Raises:
        InvalidMessageChunkError: It is nested deeper than the interpreter can follow.
    """
    try:
        return _copy(value)
    except RecursionError:
        raise InvalidMessageChunkError("a value is nested too deeply") from None


def _copy(value: Any) -> Any:
    if isinstance(value, (str, int, float)) or value is None:
        return value
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copy(item) for item in value]
    return value


def is_deeper(value: object, depth: int) -> bool:
    """Return whether a JSON value is nested deeper than that."""
    level: list[Any] = [value]
    for _ in range(depth):
        level = [
            child
            for one in level
            if isinstance(one, (Mapping, list, tuple))
            for child in (one.values() if isinstance(one, Mapping) else one)
        ]
    return bool(level)


def is_truthy(value: Any) -> bool:
    """Return whether a condition holds for it in JavaScript, where an empty object or array is true."""
    return bool(value) or isinstance(value, (Mapping, list))


def join_text(pieces: list[str]) -> str:
    """Join pieces in place, and return the text.

    A character outside the basic plane that was cut into two surrogates, one at the end of a piece and one at the
    start of the next, becomes whole again, as it does in JavaScript.
    """
    text = "".join(pieces)
    if not text.isascii():
        text = _SURROGATE_PAIR.sub(_whole, text)
    pieces[:] = (text,)
    return text


def _whole(match: re.Match[str]) -> str:
    return match[0].encode("utf-16", "surrogatepass").decode("utf-16")


def merge_metadata(base: Any, new: Any) -> Any:
    """Return ``base`` with ``new`` merged into it: objects deeply, everything else replaced. Neither is changed.

    What is no object is taken apart as JavaScript does it: an array or a text into its items by index, a number into
    nothing. (`mergeObjects` of ai@5 to ai@7, ``src/util/merge-objects.ts``.)

    Raises:
        InvalidMessageChunkError: ``base`` is a text, a number or a boolean, in which no key can be looked up.
    """
    result = dict(_properties(base))
    for key, value in _properties(new).items():
        if key in _UNMERGED:
            continue
        if not isinstance(base, (dict, list)):
            raise InvalidMessageChunkError("metadata cannot be merged into metadata that is no object")
        old = result.get(key)
        result[key] = merge_metadata(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _properties(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    if isinstance(value, list):
        return {str(index): item for index, item in enumerate(value)}
    if isinstance(value, str):
        units = value.encode("utf-16-le", "surrogatepass")
        return {str(at // 2): units[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(units), 2)}
    return {}

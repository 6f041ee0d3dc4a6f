"""JSON that is still being written: the input of a tool, as far as it has come.

A text that does not parse is cut after the last character that completed something, and what is open there is closed.
The states and what they let pass are those of ``fixJson`` (ai@7.0.173, ``src/util/fix-json.ts``), its oddities
included: garbage after a value is passed over, and a quote ends a key even behind a backslash.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final, TypeAlias

from .values import MAX_DEPTH, is_deeper

__all__ = ["MISSING", "fix_json", "parse_json", "parse_partial_json", "parse_plain_json"]


class _Missing(Enum):
    MISSING = auto()


MISSING: Final = _Missing.MISSING
"""What JavaScript calls ``undefined``: there is no value, not even ``null``."""

_EXACT_DIGITS = 15  # any integer of so many digits is exact in a double
_EXACT = 2**53
_LITERALS = ("true", "false", "null")
_PLAIN_TEXT = re.compile(r'[^"\\]+')
_DIGITS = re.compile(r"[0-9]+")
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")


def parse_partial_json(text: str, *, sdk: int = 7) -> Any:
    """Return the value of a JSON text, or of the repaired text if it breaks off; `MISSING` if there is none.

    A value that is nested deeper than a message may be counts as none: nobody could write it down, or read it again.

    Args:
        text: The text.
        sdk: The major version of the AI SDK whose rules count.
    """
    for repair in (None, fix_json):
        try:
            value = parse_json(repair(text, sdk=sdk) if repair else text, sdk=sdk)
        except (ValueError, RecursionError):
            continue
        return MISSING if is_deeper(value, MAX_DEPTH) else value
    return MISSING


def parse_json(text: str, *, sdk: int = 7) -> Any:
    """Return the value of a JSON text as the AI SDK's `secureJsonParse` does: see also `parse_plain_json`.

    Args:
        text: The text.
        sdk: The major version of the AI SDK. With ai@4, which uses secure-json-parse@2.7.0, a byte order mark is
            skipped, and a key ``constructor`` with ``null`` is refused.

    Raises:
        ValueError: It is no JSON (``NaN`` and ``Infinity`` are none), or has a key that could reach a prototype.
    """
    if sdk < 5:
        text = text.removeprefix("\ufeff")
    value = parse_plain_json(text)
    if "proto" in text or "constructor" in text or "\\u00" in text:
        _refuse_prototypes(value, sdk)
    return value


def parse_plain_json(text: str) -> Any:
    """Return the value of a JSON text as `JSON.parse` of JavaScript does.

    Numbers are doubles, as there: an integer beyond 2**53 comes back as the nearest one, a `float`; one that is beyond
    all doubles as `None`, which is what becomes of it when the message is written as JSON; ``1.0`` and ``-0`` as `int`.
    Of keys that occur twice the last one counts. Lone surrogates pass.

    Raises:
        ValueError: It is no JSON. ``NaN`` and ``Infinity`` are none.
        RecursionError: It is nested deeper than the interpreter can follow.
    """
    return _DECODER.decode(text)


def _refuse_prototypes(value: Any, sdk: int) -> None:
    """Raise if a key at any depth is one by which a prototype could be changed."""
    nodes = [value]
    for node in nodes:  # it grows
        if isinstance(node, dict):
            constructor = node.get("constructor", MISSING)
            is_suspect = isinstance(constructor, dict) and "prototype" in constructor
            if "__proto__" in node or is_suspect or (sdk < 5 and constructor is None):
                raise ValueError("the object has a forbidden key")
            nodes.extend(node.values())
        elif isinstance(node, list):
            nodes.extend(node)


def _parse_integer(digits: str) -> int | float | None:
    if len(digits) <= _EXACT_DIGITS:
        return int(digits)
    return _parse_number(digits)


def _parse_number(digits: str) -> int | float | None:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        return None
    return int(number) if number.is_integer() and abs(number) <= _EXACT else number


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_int=_parse_integer, parse_float=_parse_number, parse_constant=_refuse)


def fix_json(text: str, *, sdk: int = 7) -> str:
    """Return the text, cut after what is complete in it, with what is open closed.

    Takes time in proportion to the text. The result need not be JSON: what is broken in the middle stays so.
    """
    return _Repair(text, sdk).run()


_Step: TypeAlias = "Callable[[_Repair, str, int], int]"


class _Repair:
    """One scan of one text: a stack of states, and the end of what is complete.

    A state is the method that takes the next character: it looks at it, and returns where to look next.
    """

    def __init__(self, text: str, sdk: int) -> None:
        self._text = text
        self._sdk = sdk
        self._stack: list[_Step] = [_Repair.before]
        self._end = 0
        self._literal = 0
        self._code_digits = 0

    def run(self) -> str:
        at = 0
        while at < len(self._text):
            at = self._stack[-1](self, self._text[at], at)
        return self._text[: self._end] + "".join(map(self._closing, reversed(self._stack)))

    def _closing(self, state: _Step) -> str:
        if state is not _Repair.literal:
            return _CLOSING.get(state, "")
        begun = self._text[self._literal :]
        return next(literal for literal in _LITERALS if literal.startswith(begun)).removeprefix(begun)

    def _keep(self, at: int) -> int:
        self._end = at + 1
        return at + 1

    def _close(self, at: int) -> int:
        self._stack.pop()
        return self._keep(at)

    def _value(self, char: str, at: int, then: _Step) -> int:
        opened = _OPENERS.get(char)
        if opened is None:
            return at + 1
        self._stack[-1] = then
        self._stack.append(opened)
        if opened is _Repair.literal:
            self._literal = at
        return at + 1 if char == "-" else self._keep(at)

    def before(self, char: str, at: int) -> int:
        return self._value(char, at, _Repair.done)

    def done(self, _char: str, _at: int) -> int:
        return len(self._text)

    def inside_object(self, char: str, at: int) -> int:
        return self._close(at) if char == "}" else self.after_item_comma(char, at)

    def after_item_comma(self, char: str, at: int) -> int:
        if char == '"':
            self._stack[-1] = _Repair.key
        return at + 1

    def key(self, char: str, at: int) -> int:
        if char == '"':
            self._stack[-1] = _Repair.after_key
        return at + 1

    def after_key(self, char: str, at: int) -> int:
        if char == ":":
            self._stack[-1] = _Repair.before_item
        return at + 1

    def before_item(self, char: str, at: int) -> int:
        return self._value(char, at, _Repair.after_item)

    def after_item(self, char: str, at: int) -> int:
        if char == ",":
            self._stack[-1] = _Repair.after_item_comma
        return self._close(at) if char == "}" else at + 1

    def inside_array(self, char: str, at: int) -> int:
        if char == "]":
            return self._close(at)
        if self._sdk < 7:  # there whatever comes first in an array stays, and the text may not parse
            self._keep(at)
        return self._value(char, at, _Repair.after_element)

    def after_element(self, char: str, at: int) -> int:
        return self._after_element(char, at) if char in ",]" else self._keep(at)

    def _after_element(self, char: str, at: int) -> int:
        if char == ",":
            self._stack[-1] = _Repair.after_element_comma
        return self._close(at) if char == "]" else at + 1

    def after_element_comma(self, char: str, at: int) -> int:
        return self._value(char, at, _Repair.after_element)

    def inside_text(self, char: str, at: int) -> int:
        if char == '"':
            return self._close(at)
        if char == "\\":
            self._stack.append(_Repair.escape)
            return at + 1
        return self._skip(_PLAIN_TEXT, at)

    def _skip(self, run: re.Pattern[str], at: int) -> int:
        """Keep a run of characters at once: there is one at ``at``."""
        match = run.match(self._text, at)
        assert match is not None
        return self._keep(match.end() - 1)

    def escape(self, char: str, at: int) -> int:
        self._stack.pop()
        if char != "u" or self._sdk < 6:  # before ai@6 a code that is cut stays, and the text does not parse
            return self._keep(at)
        self._stack.append(_Repair.code)
        self._code_digits = 0
        return at + 1

    def code(self, char: str, at: int) -> int:
        self._code_digits += char in _HEX_DIGITS
        return self._close(at) if char in _HEX_DIGITS and self._code_digits == 4 else at + 1

    def number(self, char: str, at: int) -> int:
        if "0" <= char <= "9":
            return self._skip(_DIGITS, at)
        if char in "eE-.":
            return at + 1
        self._stack.pop()
        return self._after_value(char, at)

    def literal(self, char: str, at: int) -> int:
        begun = self._text[self._literal : at + 1]
        if any(literal.startswith(begun) for literal in _LITERALS):
            return self._keep(at)
        self._stack.pop()
        return self._after_value(char, at)

    def _after_value(self, char: str, at: int) -> int:
        """Look at the character that ended a number or a literal, which may end more."""
        if self._stack[-1] is _Repair.after_item:
            return self.after_item(char, at)
        if self._stack[-1] is _Repair.after_element:
            return self._after_element(char, at)
        return at + 1


_OPENERS: dict[str, _Step] = {
    '"': _Repair.inside_text,
    "{": _Repair.inside_object,
    "[": _Repair.inside_array,
    **dict.fromkeys("tfn", _Repair.literal),
    **dict.fromkeys("-0123456789", _Repair.number),
}
_CLOSING: dict[_Step, str] = {
    _Repair.inside_text: '"',
    **dict.fromkeys((_Repair.inside_object, _Repair.key, _Repair.after_key, _Repair.before_item), "}"),
    **dict.fromkeys((_Repair.after_item, _Repair.after_item_comma), "}"),
    **dict.fromkeys((_Repair.inside_array, _Repair.after_element, _Repair.after_element_comma), "]"),
}

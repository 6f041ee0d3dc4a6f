"""Newline-delimited JSON: one value per line (``application/x-ndjson``)."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from ..exceptions import InvalidChunkError

__all__ = ["HEADERS", "NDJSONDecoder", "encode_line", "encode_lines"]

HEADERS: Mapping[str, str] = MappingProxyType(
    {"content-type": "application/x-ndjson", "cache-control": "no-cache", "x-accel-buffering": "no"}
)
"""Of the response."""


def encode_line(value: Any) -> bytes:
    """Return one line.

    Raises:
        InvalidChunkError: The value has something that JSON has not, such as a number that is not finite.
    """
    return _line(value)


def encode_lines(values: Iterable[Any]) -> bytes:
    """Return many lines at once. Errors are those of `encode_line`."""
    return b"".join(map(_line, values))


_encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def _line(value: Any) -> bytes:
    try:
        return f"{_encode(value)}\n".encode("ascii")  # escaped, even half a surrogate pair arrives
    except (TypeError, ValueError, RecursionError):
        raise InvalidChunkError("the value has something that JSON has not") from None


class NDJSONDecoder:
    """Reads lines that come in pieces, cut anywhere."""

    def __init__(self) -> None:
        self._characters = codecs.getincrementaldecoder("utf-8")()
        self._line: list[str] = []

    def feed(self, data: bytes, *, final: bool = False) -> list[Any]:
        """Take more bytes, and return the values of the lines that they complete. Empty lines are passed over.

        Args:
            data: More bytes.
            final: Whether these are the last, so that a line needs no end.

        Raises:
            InvalidChunkError: A line is no JSON, or the bytes are no UTF-8. The decoder is of no use any more.
        """
        try:
            lines = self._lines(self._characters.decode(data, final), final=final)
            return [json.loads(line) for line in lines if line and not line.isspace()]
        except (ValueError, RecursionError):
            raise InvalidChunkError("a line is no JSON") from None

    def _lines(self, text: str, *, final: bool) -> list[str]:
        first, *lines = text.split("\n")
        self._line.append(first)
        if lines or final:
            lines.insert(0, "".join(self._line))
            self._line = [] if final else [lines.pop()]
        return lines

"""Plain text: what an answer says, and nothing else (``text/plain``), as `TextStreamChatTransport` of ai@7 reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["HEADERS", "PlainTextEncoder", "text_of"]

HEADERS: Mapping[str, str] = MappingProxyType(
    {"content-type": "text/plain; charset=utf-8", "cache-control": "no-cache", "x-accel-buffering": "no"}
)
"""Of the response."""


def text_of(chunk: object) -> str:
    """Return what a chunk adds to the text of an answer: a text itself, the delta of a ``text-delta``, or nothing."""
    if isinstance(chunk, str):
        return chunk
    if isinstance(chunk, Mapping) and chunk.get("type") == "text-delta":
        delta: Any = chunk.get("delta")
        return delta if isinstance(delta, str) else ""
    return ""


class PlainTextEncoder:
    """Turns texts and UI message chunks into UTF-8.

    Half of a surrogate pair waits for its other half. One that stays alone becomes a replacement character.
    """

    def __init__(self) -> None:
        self._half = ""

    def encode(self, chunks: Iterable[object]) -> bytes:
        """Return what some chunks add to the text."""
        text = self._half + "".join(map(text_of, chunks))
        is_cut = "\ud800" <= text[-1:] <= "\udbff"
        self._half = text[-1:] if is_cut else ""
        return _as_utf8(text[:-1] if is_cut else text)

    def end(self) -> bytes:
        """Return what is left at the end."""
        half, self._half = self._half, ""
        return _as_utf8(half)


def _as_utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()

"""Plain text: what an answer says, and nothing else (``text/plain``), as `TextStreamChatTransport` of ai@7 reads it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from .._core.whole_texts import WholeTexts

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
    """Turns texts, UTF-8 and UI message chunks into UTF-8.

    What ends in the middle of a character waits for the rest. What stays alone becomes a replacement character.
    """

    def __init__(self) -> None:
        self._texts = WholeTexts()

    def encode(self, chunks: Iterable[object]) -> bytes:
        """Return what some chunks add to the text."""
        pieces = [chunk if isinstance(chunk, bytes) else text_of(chunk) for chunk in chunks]
        return "".join([text for piece in pieces if piece and (text := self._texts.add(piece))]).encode()

    def end(self) -> bytes:
        """Return what is left at the end."""
        return self._texts.end().encode()

"""Plain text: what an answer says, and nothing else (``text/plain``), as `TextStreamChatTransport` of ai@7 reads it."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["HEADERS", "PlainTextEncoder", "WholeTexts", "text_of"]

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


class WholeTexts:
    """Puts characters together again that were cut in two, be they text or UTF-8: a text waits for its last character.

    What is no UTF-8 becomes a replacement character, and so does half of a surrogate pair that stays alone.
    """

    def __init__(self) -> None:
        self._characters = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.is_waiting: bool = False
        """Whether there is something that waits."""

    def add(self, chunk: str | bytes) -> str | None:
        """Return the text that has come since the last one, or ``None`` if it ends in the middle of a character."""
        if isinstance(chunk, str):
            self._held += self._characters.decode(b"", True) + chunk
        else:
            self._held += self._characters.decode(chunk)
        self.is_waiting = self._characters.getstate()[0] != b"" or "\ud800" <= self._held[-1:] <= "\udbff"
        return None if self.is_waiting else self._taken()

    def end(self) -> str:
        """Return what is left at the end."""
        self._held += self._characters.decode(b"", True)
        self.is_waiting = False
        return self._taken()

    def _taken(self) -> str:
        text, self._held = self._held, ""
        return _as_whole(text)


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


def _as_whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text

"""Texts that were cut in the middle of a character."""

from __future__ import annotations

import codecs

__all__ = ["WholeTexts"]


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


def _as_whole(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text

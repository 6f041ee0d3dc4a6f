"""Ids of messages and chats, of the same form as those of the AI SDK."""

from __future__ import annotations

import secrets

from ..exceptions import InvalidSettingError

__all__ = ["ALPHABET", "IdGenerator"]

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""Digits and Latin letters."""


class IdGenerator:
    """Makes ids that nobody can guess: ``prefix``, ``separator`` and random characters, such as ``msg-3kT9…``.

    The settings are those of `createIdGenerator` (@ai-sdk/provider-utils@5.0.81, ``src/generate-id.ts``), but the
    characters come from the system's secure source.

    Args:
        prefix: What every id starts with. Without one there is no separator either.
        size: How many random characters there are. 16 of the usual alphabet are 95 bits.
        separator: What stands between the two. With a prefix, it must not be in the alphabet.
        alphabet: The characters to choose from, each as likely as the others.

    Raises:
        InvalidSettingError: The size is less than 1, the alphabet has no two characters or has one twice, or the
            separator is in it.
    """

    def __init__(self, prefix: str = "", size: int = 16, *, separator: str = "-", alphabet: str = ALPHABET) -> None:
        if size < 1:
            raise InvalidSettingError(f"an id has at least one random character, not {size}")
        if len(set(alphabet)) < max(2, len(alphabet)):
            raise InvalidSettingError("an alphabet has two characters or more, none of them twice")
        if prefix and separator in alphabet:
            raise InvalidSettingError(f"the separator {separator!r} is in the alphabet, so a prefix would have no end")
        self._start = f"{prefix}{separator}" if prefix else ""
        self._size = size
        self._alphabet = alphabet

    def __call__(self) -> str:
        """Return a new id."""
        return self._start + "".join(secrets.choice(self._alphabet) for _ in range(self._size))

"""What the model of these tests answers: a function of the question, so that tests can foretell it."""

from __future__ import annotations

import re

__all__ = ["words_of"]


def words_of(question: str) -> str:
    """Return the text that answers ``count 3 sheep``: ``sheep1 sheep2 sheep3``. It begins with ``think`` as well."""
    asked = re.fullmatch(r"(?:count|think) (\d+) (\w+)", question)
    if asked is None:
        return "Ask me to count."
    return " ".join(f"{asked[2]}{number}" for number in range(1, int(asked[1]) + 1))

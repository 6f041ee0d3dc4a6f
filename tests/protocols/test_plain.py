"""Plain text."""

from __future__ import annotations

from typing import Any

import pytest

from resumable_stream.protocols.plain import HEADERS, PlainTextEncoder, text_of


@pytest.mark.parametrize(
    ("chunk", "text"),
    [
        ("a", "a"),
        ({"type": "text-delta", "id": "t", "delta": "b"}, "b"),
        ({"type": "text-delta", "id": "t", "delta": 1}, ""),
        ({"type": "reasoning-delta", "id": "r", "delta": "c"}, ""),
        (7, ""),
    ],
)
def test_what_is_text(chunk: Any, text: str) -> None:
    """Texts and the deltas of texts are text, and nothing else is."""
    assert text_of(chunk) == text


def test_a_character_that_was_cut() -> None:
    """Half a character waits for its other half; one that stays alone is replaced."""
    encoder = PlainTextEncoder()
    assert encoder.encode(["a", "\ud83d"]) == b"a"
    assert encoder.encode(["\ude00b"]) == "😀b".encode()
    assert encoder.encode(["\ude00"]) == "\ufffd".encode()
    assert encoder.encode(["\ud83d"]) == b""
    assert encoder.end() == "\ufffd".encode()
    assert encoder.end() == b""


def test_headers() -> None:
    """The response says what it is."""
    assert HEADERS["content-type"] == "text/plain; charset=utf-8"

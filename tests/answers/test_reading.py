"""What the adapters share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel

from resumable_stream.answers.adapters.reading import as_value, count, look


class Model(BaseModel):
    """An object of pydantic."""

    x: int = 1


@dataclass
class Plain:
    """An object of none."""

    x: int = 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Model(), {"x": 1}),
        ([Plain()], [{"x": 1}]),
        ({1}, [1]),
        (Plain, str(Plain)),
        ({(1,): 2}, "{(1,): 2}"),
        (None, None),
    ],
)
def test_values(value: Any, expected: Any) -> None:
    """What a tool returns becomes the JSON that says the same, or else a text."""
    assert as_value(value) == expected


def test_looking() -> None:
    """Keys and attributes are looked at alike, and what is missing is nothing; truth is no count."""
    assert look({"a": Plain()}, "a", "x") == 1
    assert look(None, "a", "b") is None
    assert count({"a": True}, "a") == count({}, "a") == 0

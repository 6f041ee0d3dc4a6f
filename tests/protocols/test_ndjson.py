"""Newline-delimited JSON."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_stream.exceptions import InvalidChunkError
from resumable_stream.protocols.ndjson import HEADERS, NDJSONDecoder, encode_line, encode_lines

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(values, max_size=4), st.integers(min_value=1, max_value=7))
def test_round_trip(made: list[Any], size: int) -> None:
    """What was written is read again, wherever it is cut."""
    data = encode_lines(made)
    assert data == b"".join(map(encode_line, made))
    decoder = NDJSONDecoder()
    assert [value for at in range(0, len(data), size) for value in decoder.feed(data[at : at + size])] == made


def test_the_last_line_needs_no_end() -> None:
    """At the end what has come is a line; empty lines are none."""
    decoder = NDJSONDecoder()
    assert decoder.feed(b"\n \n[1") == []
    assert decoder.feed(b"]", final=True) == [[1]]
    assert decoder.feed(b"", final=True) == []


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}])
def test_what_json_has_not(value: Any) -> None:
    """A value that is no JSON is refused."""
    with pytest.raises(InvalidChunkError):
        encode_line(value)


@pytest.mark.parametrize("data", [b"{\n", b"\xff\n"])
def test_lines_that_are_no_json(data: bytes) -> None:
    """So is a line."""
    with pytest.raises(InvalidChunkError):
        NDJSONDecoder().feed(data)


def test_headers() -> None:
    """The response says what it is, and that nobody is to keep it."""
    assert HEADERS["content-type"] == "application/x-ndjson"

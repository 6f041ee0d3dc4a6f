"""The payload of an entry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_stream._core.packing import encoded_size, pack, unpack

# All code points, lone surrogates too: JSON that was cut inside an emoji has them.
texts = st.text(st.characters(exclude_categories=()), max_size=20)


@given(st.one_of(st.lists(texts, min_size=1), st.lists(st.binary(max_size=20), min_size=1)))
def test_round_trip(chunks: list[str] | list[bytes]) -> None:
    """Chunks come back as they were: any text, any bytes, empty ones too."""
    assert unpack(pack(chunks), len(chunks)) == chunks


@pytest.mark.parametrize("length", [0, 255, 256, 65_535, 65_536])
@pytest.mark.parametrize("chunk", ["x", "ü", b"x"])
def test_widths(length: int, chunk: str | bytes) -> None:
    """Lengths take one byte, two or four, whatever the longest needs."""
    for chunks in ([chunk * length, chunk, chunk * 0], [chunk * length]):
        assert unpack(pack(chunks), len(chunks)) == chunks


def test_small_chunks_cost_one_byte_more() -> None:
    """A batch of short chunks takes one byte a chunk, and two in all, besides the chunks."""
    assert pack(["Hel", "lo"]) == b"t\x01\x03\x02Hello"
    assert pack(["Hello"]) == b"t\x01\x05Hello"


@given(texts)
def test_encoded_size(text: str) -> None:
    """The size is that of the UTF-8 form."""
    assert encoded_size(text) == len(text.encode("utf-8", "surrogatepass"))
    assert encoded_size(b"\xff" * 3) == 3


@pytest.mark.parametrize(
    ("payload", "count"),
    [
        (b"", 1),
        (b"t", 1),
        (b"t\x01", 1),
        (b"x\x01\x01a", 1),
        (b"t\x03\x01a", 1),
        (b"t\x01\x02a", 1),
        (b"t\x01\x01ab", 1),
        (b"t\x01\x01" + b"a" * 257, 1),
        (b"t\x01", 0),
    ],
)
def test_damaged(payload: bytes, count: int) -> None:
    """A payload that `pack` cannot have made is an error, not other chunks."""
    with pytest.raises(ValueError, match="payload"):
        unpack(payload, count)

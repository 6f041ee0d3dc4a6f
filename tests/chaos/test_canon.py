"""The judges: that they see what is wrong, or chaos would prove nothing."""

from __future__ import annotations

import pytest

from .canon import Evidence, is_canonical, make_chunk, until

_CHUNKS = [make_chunk("s", index, "w") for index in range(5)]


def _counts(chunks: list[str]) -> tuple[int, int, int, int]:
    evidence = Evidence("s")
    for chunk in chunks:
        evidence.take(chunk)
    return evidence.lost, evidence.doubled, evidence.reordered, evidence.wrong


@pytest.mark.parametrize(
    ("order", "counts"),
    [
        ([0, 1, 2, 3, 4], (0, 0, 0, 0)),
        ([], (0, 0, 0, 0)),
        ([0, 1, 3, 4], (1, 0, 0, 0)),
        ([2, 3], (2, 0, 0, 0)),
        ([0, 1, 1, 2], (0, 1, 0, 0)),
        ([0, 1, 0, 1, 2], (0, 2, 0, 0)),
        ([0, 2, 1, 3], (0, 0, 1, 0)),
        ([0, 2, 1, 1, 4], (1, 1, 1, 0)),
    ],
)
def test_faults_are_told_apart(order: list[int], counts: tuple[int, int, int, int]) -> None:
    """Lost, doubled and reordered chunks are counted, each as what it is."""
    assert _counts([_CHUNKS[index] for index in order]) == counts


@pytest.mark.parametrize(
    "chunk",
    [make_chunk("t", 1, "w"), _CHUNKS[1][:-1], _CHUNKS[1] + "x", _CHUNKS[1].replace(" 1 ", " 2 "), "", "s x w y"],
)
def test_wrong_text(chunk: str) -> None:
    """A chunk of another stream, a damaged one, and one that is none at all are wrong."""
    assert _counts([_CHUNKS[0], chunk])[3] == 1
    assert not is_canonical("s", [_CHUNKS[0], chunk])


def test_writers() -> None:
    """Who wrote which part of the text is noted, and can be cut to a prefix."""
    evidence = Evidence("s")
    for index, writer in enumerate("aabbba"):
        evidence.take(make_chunk("s", index, writer))
    assert evidence.segments == [("a", 0), ("b", 2), ("a", 5)]
    assert until(evidence.segments, 5) == [("a", 0), ("b", 2)]
    assert until(evidence.segments, 2) == [("a", 0)]

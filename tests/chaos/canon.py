"""What every chunk of a stream has to be, so that each reader can be judged by itself."""

from __future__ import annotations

from typing import Any, NamedTuple
from zlib import crc32

_FILLER = "the quick brown fox jumps over the lazy dog. Größe, naïveté, 流れは続く, ∑ 0123456789 and so on and on"
_LONGEST = 40


class Spec(NamedTuple):
    """A stream as it is meant to be."""

    stream_id: str
    length: int
    pace: float
    """Seconds between two chunks, on average."""


def make_chunk(stream_id: str, index: int, writer: str) -> str:
    """Return a chunk. All of it but the name of its writer follows from the stream and the index."""
    number = crc32(f"{stream_id}/{index}".encode())
    start = number % (len(_FILLER) - _LONGEST)
    return f"{stream_id} {index} {writer} {_FILLER[start : start + (number >> 8) % _LONGEST]}\n"


class Evidence:
    """What one reader got, compared with what it should have got."""

    def __init__(self, stream_id: str) -> None:
        self._stream_id = stream_id
        self._next = 0
        self._missing: set[int] = set()
        self.count: int = 0
        """Chunks that came, whatever they were."""
        self.doubled: int = 0
        self.reordered: int = 0
        """Chunks that came after a later one."""
        self.wrong: int = 0
        """Chunks with another text, or of another stream."""
        self.segments: list[tuple[str, int]] = []
        """Who wrote the text: each writer with the place of the first chunk of theirs."""

    @property
    def lost(self) -> int:
        """Chunks that did not come although a later one did."""
        return len(self._missing)

    def take(self, chunk: str) -> None:
        """Take note of the next chunk that came."""
        index, writer = self._identify(chunk)
        if index is None:
            self.wrong += 1
        elif index >= self._next:
            self._missing.update(range(self._next, index))
            self._next = index + 1
        elif index in self._missing:
            self._missing.discard(index)
            self.reordered += 1
        else:
            self.doubled += 1
        if not self.segments or self.segments[-1][0] != writer:
            self.segments.append((writer, self.count))
        self.count += 1

    def to_dict(self) -> dict[str, Any]:
        """Return all counts, for JSON."""
        return {
            "count": self.count,
            "lost": self.lost,
            "doubled": self.doubled,
            "reordered": self.reordered,
            "wrong": self.wrong,
            "segments": self.segments,
        }

    def _identify(self, chunk: str) -> tuple[int | None, str]:
        parts = chunk.split(" ", 3)
        if len(parts) != 4 or not parts[1].isdecimal():
            return None, ""
        index, writer = int(parts[1]), parts[2]
        return (index if chunk == make_chunk(self._stream_id, index, writer) else None), writer


def is_canonical(stream_id: str, chunks: list[str]) -> bool:
    """Whether these are the first chunks of the stream, whoever wrote them."""
    evidence = Evidence(stream_id)
    for chunk in chunks:
        evidence.take(chunk)
    return not (evidence.lost or evidence.doubled or evidence.reordered or evidence.wrong)


def until(segments: list[tuple[str, int]], count: int) -> list[tuple[str, int]]:
    """Return who wrote the first ``count`` chunks."""
    return [segment for segment in segments if segment[1] < count]

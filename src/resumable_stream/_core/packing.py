r"""The payload of an entry: a batch of chunks in one value.

Layout: one byte of kind, one byte of width, the length of each chunk as a little-endian integer of that width, and the
chunks joined. Text is joined as UTF-8 and measured in code points, so that a whole batch is decoded once and sliced::

    pack(["Hel", "lo"])  ==  b"t\x01" + b"\x03\x02" + b"Hello"

Lone surrogates, which come from JSON that was cut inside an emoji, survive: chunks come back as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from ..types import RawChunk

_TEXT, _BYTES = ord("t"), ord("b")
_HEADER_BYTES = 2
_WIDTHS = (1, 2, 4)
_NARROW_TEXT = bytes((_TEXT, 1))
_SHORT_TEXTS = [bytes((_TEXT, 1, length)) for length in range(256)]
"""What comes before a text that is alone, by its length."""

Joined: TypeAlias = str | bytes


def encoded_size(chunk: RawChunk) -> int:
    """Return how many bytes a chunk takes, without its length."""
    if isinstance(chunk, bytes) or chunk.isascii():
        return len(chunk)
    return len(_encode(chunk))


def pack(chunks: Sequence[RawChunk]) -> bytes:
    """Return the payload of a batch. The chunks are all text or all bytes, and at least one."""
    alone = chunks[0]
    if len(chunks) == 1 and isinstance(alone, str) and len(alone) < len(_SHORT_TEXTS):
        return _SHORT_TEXTS[len(alone)] + alone.encode("utf-8", "surrogatepass")  # most are: sources are slow
    lengths = list(map(len, chunks))
    longest = max(lengths)
    width = next(width for width in _WIDTHS if longest < 1 << 8 * width)
    table = bytes(lengths) if width == 1 else b"".join(length.to_bytes(width, "little") for length in lengths)
    if isinstance(chunks[0], str):
        return bytes((_TEXT, width)) + table + _encode("".join(chunks))  # type: ignore[arg-type]  # all are text
    return bytes((_BYTES, width)) + table + b"".join(chunks)  # type: ignore[arg-type]  # all are bytes


def unpack(payload: bytes, count: int) -> list[RawChunk]:
    """Return the chunks of a payload.

    Raises:
        ValueError: It is not one that `pack` made of ``count`` chunks.
    """
    if count == 1 and payload[:_HEADER_BYTES] == _NARROW_TEXT and len(payload) > _HEADER_BYTES:
        alone = payload[_HEADER_BYTES + 1 :].decode("utf-8", "surrogatepass")
        if len(alone) == payload[_HEADER_BYTES]:
            return [alone]
    lengths, joined = _split(payload, count)
    start = 0
    chunks: list[RawChunk] = [joined[start : (start := start + length)] for length in lengths]
    if start != len(joined) or not chunks:
        raise ValueError("the payload of an entry is damaged")
    return chunks


def _split(payload: bytes, count: int) -> tuple[Sequence[int], Joined]:
    kind, width = payload[:_HEADER_BYTES] if len(payload) >= _HEADER_BYTES else (0, 0)
    if kind not in (_TEXT, _BYTES) or width not in _WIDTHS:
        raise ValueError("the payload of an entry has an unknown format")
    start = _HEADER_BYTES + width * count
    table, body = payload[_HEADER_BYTES:start], payload[start:]
    lengths: Sequence[int] = table
    if width > 1:
        lengths = [int.from_bytes(table[at : at + width], "little") for at in range(0, len(table), width)]
    return lengths, _decode(body) if kind == _TEXT else body


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "surrogatepass")

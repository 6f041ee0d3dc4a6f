"""What a publisher has not yet logged."""

from __future__ import annotations

from enum import Enum

import pytest

from resumable_stream import InvalidChunkError, LimitExceededError, Limits, StreamInfo, StreamState
from resumable_stream._core.outbox import Outbox
from resumable_stream._core.packing import unpack
from resumable_stream.types import End


def make(length: int = 0, **limits: int) -> Outbox:
    """An outbox of epoch 3, with a log of so many chunks."""
    info = StreamInfo("s", "gen", 3, StreamState.RUNNING, length, 0.0, None, is_readable=True)
    return Outbox(info, Limits(**limits))


def test_chunks_travel_together() -> None:
    """What is put before a take goes in it, under the generation and epoch that were acquired."""
    outbox = make(length=5)
    outbox.put("a")
    outbox.put("b")
    append = outbox.take()
    assert (append.stream_id, append.generation, append.epoch) == ("s", "gen", 3)
    assert (append.first, append.count, append.stop, append.end) == (5, 2, 7, None)
    assert unpack(append.payload, 2) == ["a", "b"]


def test_chunks_collect_while_one_is_in_flight() -> None:
    """What is put while an append is in flight goes in the next one, from where the first ends."""
    outbox = make()
    outbox.put("a")
    outbox.take()
    outbox.put("b")
    outbox.put("c")
    acknowledged, batch = outbox.acknowledge()
    assert (acknowledged.first, acknowledged.count, batch.chunks, batch.size) == (0, 1, ["a"], 1)
    assert outbox.has_more
    assert (outbox.take().first, outbox.has_more) == (1, False)


def test_nothing_to_take_is_a_renewal() -> None:
    """Without chunks, an append says where the log ends, and renews the lease."""
    outbox = make(length=4)
    append = outbox.take()
    assert (append.first, append.count, append.payload, append.end) == (4, 0, b"", None)


def test_end_goes_with_the_last_chunks() -> None:
    """The end is in the append of the last chunks, once."""
    outbox = make()
    outbox.put("a")
    outbox.finish(End(StreamState.DONE))
    append = outbox.take()
    assert (append.count, append.end) == (1, End(StreamState.DONE))
    assert not outbox.has_more


def test_full_at_either_bound() -> None:
    """An outbox is full at its count of chunks or at its bytes, and empty again when they are taken."""
    by_count = make(pending_chunks=2)
    assert [by_count.put(""), by_count.put(""), by_count.is_full] == [False, True, True]
    by_count.take()
    assert not by_count.is_full
    by_bytes = make(pending_bytes=4)
    assert [by_bytes.put("ü"), by_bytes.put("ü"), by_bytes.is_full] == [False, True, True]


def test_chunk_over_the_limit() -> None:
    """A chunk of exactly the limit passes; one byte more is refused, counted as UTF-8, and nothing is added."""
    outbox = make(max_chunk_bytes=4)
    outbox.put("üü")
    with pytest.raises(LimitExceededError, match="max_chunk_bytes=4"):
        outbox.put("üüx")
    assert outbox.take().count == 1


def test_stream_over_the_limit() -> None:
    """All chunks of a run together stay within the limit."""
    outbox = make(max_stream_bytes=6)
    outbox.put("abc")
    outbox.take()
    outbox.acknowledge()
    with pytest.raises(LimitExceededError, match="max_stream_bytes=6"):
        outbox.put("de")
    outbox.put("d")
    with pytest.raises(LimitExceededError):
        outbox.put("")


@pytest.mark.parametrize("chunk", [None, 1, 1.5, {"a": 1}, ["a"], object()])
def test_wrong_types(chunk: object) -> None:
    """Neither text nor bytes is refused, and nothing is added."""
    outbox = make()
    with pytest.raises(InvalidChunkError):
        outbox.put(chunk)
    assert not outbox.has_more


@pytest.mark.parametrize(("first", "second"), [("a", b"b"), (b"a", "b")])
def test_one_kind_per_stream(first: object, second: object) -> None:
    """The first chunk decides whether a stream is text or bytes."""
    outbox = make()
    outbox.put(first)
    with pytest.raises(InvalidChunkError):
        outbox.put(second)
    outbox.put(first)
    assert outbox.take().count == 2


def test_disguised_chunks() -> None:
    """Subclasses and buffers are logged as the plain text or bytes that they hold."""

    class Word(str, Enum):
        HELLO = "hello"

    text = make()
    text.put("x")
    text.put(Word.HELLO)
    text.take()
    chunks = text.acknowledge()[1].chunks
    assert chunks == ["x", "hello"]
    assert type(chunks[1]) is str
    raw = make()
    raw.put(bytearray(b"a"))
    raw.put(memoryview(b"b"))
    raw.take()
    assert raw.acknowledge()[1].chunks == [b"a", b"b"]

"""What a publisher has not yet logged."""

from __future__ import annotations

import gc
from enum import Enum

import pytest

from resumable_stream import InvalidChunkError, LimitExceededError, Limits, StreamInfo, StreamState
from resumable_stream._core.allowance import Allowance
from resumable_stream._core.outbox import Outbox
from resumable_stream._core.packing import unpack
from resumable_stream.types import End


def make_info(length: int = 0, epoch: int = 3) -> StreamInfo:
    """A running stream with a log of so many chunks."""
    return StreamInfo("s", "gen", epoch, StreamState.RUNNING, length, 0.0, None, is_readable=True)


def make(length: int = 0, allowance: int = 1000, **limits: int) -> Outbox:
    """An outbox of epoch 3, with a log of so many chunks."""
    return Outbox(make_info(length), Limits(**limits), Allowance(allowance))


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
    batch = outbox.acknowledge()
    assert (batch.first, batch.chunks, batch.size) == (0, ["a"], 1)
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
    chunks = text.acknowledge().chunks
    assert chunks == ["x", "hello"]
    assert type(chunks[1]) is str
    raw = make()
    raw.put(bytearray(b"a"))
    raw.put(memoryview(b"b"))
    raw.take()
    assert raw.acknowledge().chunks == [b"a", b"b"]


def test_watched_source() -> None:
    """While it is watched, each chunk says so; afterwards only when the source should wait."""
    outbox = make()
    assert not outbox.put("a")
    outbox.watch(True)
    assert outbox.put("b")
    outbox.watch(False)
    assert not outbox.put("c")


def test_full_batches_wait_behind_each_other() -> None:
    """A full batch is rolled behind the others, and they go out one by one, in order, with the end at last."""
    outbox = make(pending_chunks=2)
    for chunk in "abcde":
        outbox.put(chunk)
        assert outbox.roll()
    assert outbox.is_full
    outbox.finish(End(StreamState.DONE))
    appends = []
    while outbox.has_more:
        appends.append(outbox.take())
        outbox.acknowledge()
    assert [(append.first, unpack(append.payload, append.count)) for append in appends] == [
        (0, ["a", "b"]),
        (2, ["c", "d"]),
        (4, ["e"]),
    ]
    assert [append.end is not None for append in appends] == [False, False, True]
    assert outbox.logged == 5
    assert not outbox.is_full


def test_allowance_is_shared_and_given_back() -> None:
    """What waits counts against the allowance, its objects too, until it is handed out or dropped."""
    allowance = Allowance(300)
    first, second = (Outbox(make_info(), Limits(pending_chunks=2), allowance) for _ in range(2))
    for outbox in (first, second):
        outbox.put("a")
        outbox.put("b")
    assert first.roll()  # 130 bytes
    assert second.roll()
    first.put("c")
    first.put("d")
    assert not first.roll()
    second.take()
    assert first.roll()
    first.drop_backlog()
    assert allowance.take(300)
    assert not allowance.take(1)


def test_giving_up() -> None:
    """After giving up, what is in flight is still logged; then only the end goes out, from where the log is."""
    outbox = make(pending_chunks=2)
    outbox.put("a")
    outbox.take()
    for chunk in "bcd":
        outbox.put(chunk)
    outbox.roll()
    outbox.give_up(End(StreamState.FAILED))
    assert outbox.put("e")
    assert outbox.discard().chunks == ["e"]
    assert outbox.discard().chunks == []
    outbox.acknowledge()
    assert outbox.has_more
    append = outbox.take()
    assert (append.first, append.count, append.end) == (1, 0, End(StreamState.FAILED))
    outbox.acknowledge()
    assert not outbox.has_more


def test_giving_up_what_was_refused() -> None:
    """Where the log is shorter than it should be, the end goes there."""
    outbox = make(length=10)
    outbox.put("a")
    outbox.take()
    outbox.give_up(End(StreamState.FAILED), logged=7)
    assert outbox.take().first == 7


def test_what_is_not_logged() -> None:
    """What is in flight, what waits and what is pending, from an index on."""
    outbox = make(length=5, pending_chunks=2)
    for chunk in "ab":
        outbox.put(chunk)
    outbox.take()
    for chunk in "cde":
        outbox.put(chunk)
        outbox.roll()
    for index, texts in ((5, ["ab", "cd", "e"]), (6, ["b", "cd", "e"]), (8, ["d", "e"]), (9, ["e"]), (10, [])):
        unlogged = outbox.unlogged_from(index)
        assert ["".join(map(str, chunks)) for _, chunks, _ in unlogged] == texts
        assert [size for _, _, size in unlogged] == list(map(len, texts))
        assert [first for first, _, _ in unlogged][:1] == ([index] if texts else [])


@pytest.mark.parametrize(("length", "firsts"), [(0, [0, 1]), (1, [1])])
def test_append_in_flight_is_taken_back(length: int, firsts: list[int]) -> None:
    """Under a new epoch, what was in flight is handed out anew, or is logged already; the end is not lost."""
    outbox = make()
    outbox.put("a")
    outbox.take()
    outbox.put("b")
    outbox.finish(End(StreamState.DONE))
    assert outbox.retract(make_info(length, epoch=4))
    taken = []
    while outbox.has_more:
        taken.append(outbox.take())
        outbox.acknowledge()
    assert {append.epoch for append in taken} == {4}
    assert [append.first for append in taken] == firsts
    assert [append.end for append in taken][-1] == End(StreamState.DONE)


def test_append_that_cannot_be_taken_back() -> None:
    """A log that ends elsewhere has lost chunks."""
    outbox = make(length=3)
    outbox.put("a")
    outbox.take()
    assert not outbox.retract(make_info(2, epoch=4))


def test_resuming_counts_what_was_logged() -> None:
    """What was logged before counts as the stream's own, for its size and its type."""
    outbox = make(length=2, max_stream_bytes=10)
    outbox.resume(["abc", "ä"])  # 3 + 1 and 2 + 1
    outbox.put("b")
    with pytest.raises(InvalidChunkError):
        outbox.put(b"b")
    with pytest.raises(LimitExceededError):
        outbox.put("c")


def test_nothing_is_put_after_the_end() -> None:
    """Who goes on after the end, as a factory that cannot be cancelled may, is refused."""
    outbox = make()
    outbox.put("a")
    outbox.finish(End(StreamState.STOPPED))
    with pytest.raises(InvalidChunkError):
        outbox.put("b")
    assert outbox.take().count == 1


def test_garbage_collector_is_not_called() -> None:
    """An append on its way is one object more, however many streams have one at the same time."""
    outboxes = [make() for _ in range(100)]
    for chunk in "ab":
        for outbox in outboxes:
            outbox.put(chunk)
            outbox.take()
            outbox.acknowledge()
    gc.collect()
    before = len(gc.get_objects())
    for outbox in outboxes:
        outbox.put("c")
    appends = [outbox.take() for outbox in outboxes]
    assert len(gc.get_objects()) - before <= len(appends) + 10
    for outbox in outboxes:
        outbox.put("d")  # which does not get into what is on its way
        assert outbox.acknowledge().chunks == ["c"]

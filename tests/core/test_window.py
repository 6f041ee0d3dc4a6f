"""The latest chunks of a live stream."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_stream._core.window import Block, Window, tail_of


def block(first: int, count: int) -> Block:
    """A block of chunks that say their index."""
    return Block(first, tuple(str(index) for index in range(first, first + count)))


def test_blocks_join() -> None:
    """Blocks are handed out by ordinal, in the order in which they joined."""
    window = Window(3, 10_000)
    assert (window.start, window.stop) == (3, 3)
    assert window.offer(*block(3, 2), 2)
    assert window.offer(*block(5, 1), 1)
    assert (window.start, window.stop) == (3, 6)
    assert [window.block_at(0), window.block_at(1), window.block_at(2)] == [block(3, 2), block(5, 1), None]


def test_hole_is_refused() -> None:
    """A block that does not join on is refused and not taken."""
    window = Window(0, 10_000)
    assert not window.offer(*block(1, 1), 1)
    assert window.stop == 0


def test_doubles_are_taken_once() -> None:
    """What is here already is not taken again; what overlaps is taken from where it is new."""
    window = Window(0, 10_000)
    window.offer(*block(0, 3), 3)
    assert window.offer(*block(0, 3), 3)
    assert window.offer(*block(1, 1), 1)
    assert window.offer(*block(2, 3), 3)
    assert window.stop == 5
    assert window.block_at(1) == block(3, 2)


def test_old_blocks_are_dropped() -> None:
    """Past the size, the oldest blocks go; the newest stays, however large."""
    window = Window(0, 1000)
    for index in range(100):
        window.offer(*block(index, 1), 100)
    assert window.stop == 100
    assert 90 < window.start < 99
    window.offer(*block(100, 1), 10**9)
    assert (window.start, window.stop) == (100, 101)


def test_many_tiny_blocks_are_bounded_too() -> None:
    """Chunks without characters count for what their objects take."""
    window = Window(0, 6_400)
    for index in range(1000):
        window.offer(index, [""], 0)
    assert window.stop - window.start <= 100


def test_garbage_collector_has_nothing_to_walk_through() -> None:
    """However many blocks are kept, the collector has a handful of objects to see to; lone chunks do not call it."""
    window = Window(0, 10**9)
    gc.collect()
    before, passes = len(gc.get_objects()), gc.get_stats()[0]["collections"]
    for index in range(10_000):
        window.offer(index, [str(index)], 5)
    assert gc.get_stats()[0]["collections"] - passes <= 1
    for index in range(10_000, 20_000, 2):
        window.offer(index, [str(index), str(index)], 5)
    gc.collect()
    assert len(gc.get_objects()) - before < 100


def test_dropped_ordinal() -> None:
    """Asking for a dropped block is an error, and its chunks have no ordinal."""
    window = Window(0, 100)
    window.offer(*block(0, 1), 90)
    window.offer(*block(1, 1), 90)
    with pytest.raises(LookupError):
        window.block_at(0)
    assert window.ordinal_of(0) is None
    assert window.ordinal_of(1) == 1


def test_tail() -> None:
    """The part of a block from an index on keeps its place."""
    whole = block(4, 3)
    assert tail_of(whole, 2) is whole
    assert tail_of(whole, 4) is whole
    assert tail_of(whole, 6) == Block(6, ("6",))
    assert tail_of(whole, 6).stop == 7


@given(st.lists(st.integers(1, 4), max_size=30), st.integers(0, 100), st.integers(100, 2000))
def test_every_chunk_that_is_here_is_found(counts: list[int], start: int, max_bytes: int) -> None:
    """The block at the ordinal of an index contains it, for each index from the window's start to its end."""
    window = Window(start, max_bytes)
    for count in counts:
        window.offer(*block(window.stop, count), count)
    for index in range(window.start, window.stop):
        ordinal = window.ordinal_of(index)
        assert ordinal is not None
        found = window.block_at(ordinal)
        assert found is not None
        assert found.first <= index < found.stop
    last = window.ordinal_of(window.stop)
    assert last is not None
    assert window.block_at(last) is None
    assert window.start == start or window.ordinal_of(window.start - 1) is None


def test_skipping() -> None:
    """After a skip, the window goes on elsewhere, and nobody takes its next block for the one that should be next."""
    window = Window(0, 10_000)
    window.offer(*block(0, 2), 2)
    next_ordinal = window.ordinal_of(2)
    assert next_ordinal is not None
    window.skip_to(5)
    window.offer(*block(5, 1), 1)
    assert (window.start, window.stop) == (5, 6)
    with pytest.raises(LookupError):
        window.block_at(next_ordinal)
    assert window.ordinal_of(2) is None
    ordinal = window.ordinal_of(5)
    assert ordinal is not None
    assert window.block_at(ordinal) == block(5, 1)

"""The latest chunks of a live stream."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_stream._core.window import Window
from resumable_stream.types import RawChunk


def texts(start: int, stop: int) -> list[RawChunk]:
    """Chunks that say their index."""
    return [str(index) for index in range(start, stop)]


def all_from(window: Window, index: int) -> list[RawChunk]:
    """What a reader gets that goes on until there is no more."""
    found: list[RawChunk] = []
    while chunks := window.chunks_from(index + len(found)):
        found += chunks
    return found


def test_chunks_join() -> None:
    """Whatever way they came, a reader goes on from any of them."""
    window = Window(3, 10_000)
    assert (window.start, window.stop) == (3, 3)
    assert window.chunks_from(3) == []
    assert window.offer(3, ["3", "4"], 2)
    assert window.offer(5, ["5"], 1)
    assert (window.start, window.stop) == (3, 6)
    assert [window.chunks_from(index) for index in range(3, 7)] == [["3", "4", "5"], ["4", "5"], ["5"], []]


def test_what_is_handed_out_is_the_readers_own() -> None:
    """A reader that changes its list, or a publisher its own, changes nothing for the others."""
    window = Window(0, 10_000)
    made = texts(0, 2)
    window.offer(0, made, 2)
    made.clear()
    window.chunks_from(0).clear()
    assert window.chunks_from(0) == ["0", "1"]


def test_hole_is_refused() -> None:
    """What does not join on is refused and not taken."""
    window = Window(0, 10_000)
    assert not window.offer(1, ["1"], 1)
    assert window.stop == 0


def test_doubles_are_taken_once() -> None:
    """What is here already is not taken again; what overlaps is taken from where it is new."""
    window = Window(0, 10_000)
    window.offer(0, texts(0, 3), 3)
    assert window.offer(0, texts(0, 3), 3)
    assert window.offer(1, texts(1, 2), 1)
    assert window.offer(2, texts(2, 5), 3)
    assert window.stop == 5
    assert window.chunks_from(0) == texts(0, 5)


def test_oldest_are_dropped() -> None:
    """Past the size, the oldest go; what came last stays, however large."""
    window = Window(0, 1000)
    for index in range(100):
        window.offer(index, [str(index)], 100)
    assert window.stop == 100
    assert 90 < window.start < 95
    assert window.chunks_from(window.start - 1) == []
    window.offer(100, ["100"], 10**9)
    assert (window.start, window.stop) == (100, 101)


@pytest.mark.parametrize("size", [0, 20, 1000])
def test_memory_is_bounded(size: int) -> None:
    """At least as much as wanted is kept, an eighth more at most; chunks without characters count, too."""
    window = Window(0, 100_000)
    for index in range(10_000):
        window.offer(index, [""], size)
        kept = (window.stop - window.start) * (size + 64)
        assert kept <= 112_500
        assert window.start == 0 or kept >= 100_000


def test_bound_that_changes() -> None:
    """It takes effect with what comes next, up and down."""
    window = Window(0, 1)
    for index, max_bytes in enumerate([1] * 5 + [10_000] * 50 + [500] * 5):
        window.max_bytes = max_bytes
        window.offer(index, [str(index)], 36)
        if index == 4:
            assert window.start == 4
        if index == 54:
            assert window.start == 4
    assert 53 < window.start < 56
    assert all_from(window, window.start) == texts(window.start, 60)


def test_garbage_collector_has_nothing_to_walk_through() -> None:
    """However many chunks are kept or forgotten, it has a handful of objects to see to, and is hardly called."""
    for max_bytes in (10**9, 256 * 1024):
        window = Window(0, max_bytes)
        gc.collect()
        before, passes = len(gc.get_objects()), gc.get_stats()[0]["collections"]
        for index in range(10_000):
            window.offer(index, [str(index)], 5)
        for index in range(10_000, 20_000, 2):
            window.offer(index, [str(index), str(index)], 5)
        assert gc.get_stats()[0]["collections"] - passes <= 1
        gc.collect()
        assert len(gc.get_objects()) - before < 100


def test_piece_that_is_too_large() -> None:
    """It goes with what comes next, and does not stay until that fills the window; after an outage neither."""
    window = Window(0, 1000)
    window.offer(0, ["0"], 10**6)
    window.offer(1, ["1"], 1)
    assert window.chunks_from(0) == []
    window.max_bytes = 10**6
    for index in range(2, 500):
        window.offer(index, [str(index)], 36)
    assert window.start == 1
    window.max_bytes = 1000
    window.offer(500, ["500"], 36)
    assert (window.stop - window.start) * 100 <= 1100


@given(st.lists(st.integers(1, 4), max_size=30), st.integers(0, 100), st.integers(1, 2000))
def test_every_chunk_that_is_here_is_found(counts: list[int], start: int, max_bytes: int) -> None:
    """From each index, from the window's start to its end, come all chunks to the end; from before it, none."""
    window = Window(start, max_bytes)
    for count in counts:
        window.offer(window.stop, texts(window.stop, window.stop + count), count)
    assert window.stop == start + sum(counts)
    for index in range(window.start, window.stop + 1):
        assert all_from(window, index) == texts(index, window.stop)
    assert window.start == start or window.chunks_from(window.start - 1) == []
    assert not counts or window.start <= window.stop - counts[-1]


def test_skipping() -> None:
    """After a skip, the window goes on elsewhere, and has nothing of what was before."""
    window = Window(0, 10_000)
    window.offer(0, ["0", "1"], 2)
    window.skip_to(5)
    assert (window.start, window.stop) == (5, 5)
    window.offer(5, ["5"], 1)
    assert (window.start, window.stop) == (5, 6)
    assert [window.chunks_from(index) for index in (0, 2, 4)] == [[], [], []]
    assert window.chunks_from(5) == ["5"]

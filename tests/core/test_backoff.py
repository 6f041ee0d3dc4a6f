"""Delays between attempts."""

from __future__ import annotations

from resumable_stream._core.backoff import FIRST_DELAY, LONGEST_DELAY, Backoff


def test_delays_double_up_to_a_bound() -> None:
    """Delays double from the first to the longest, and begin again after a success."""
    backoff = Backoff()
    delays = [backoff.next_delay() for _ in range(8)]
    assert delays[:3] == [FIRST_DELAY, FIRST_DELAY * 2, FIRST_DELAY * 4]
    assert delays[-1] == LONGEST_DELAY
    backoff.reset()
    assert backoff.next_delay() == FIRST_DELAY

"""How long to wait before trying again."""

from __future__ import annotations

FIRST_DELAY = 0.05
LONGEST_DELAY = 0.5


class Backoff:
    """Delays that double, up to half a second: short enough to be back soon, long enough not to storm a server."""

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next = FIRST_DELAY

    def next_delay(self) -> float:
        """Return the seconds to wait now."""
        delay, self._next = self._next, min(self._next * 2, LONGEST_DELAY)
        return delay

    def reset(self) -> None:
        """Begin again: it worked."""
        self._next = FIRST_DELAY

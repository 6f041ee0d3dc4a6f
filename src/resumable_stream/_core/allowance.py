"""A bound that many share."""

from __future__ import annotations


class Allowance:
    """So much, for all who take from it together."""

    __slots__ = ("_left", "total")

    def __init__(self, total: int) -> None:
        self.total: int = total
        self._left = total

    def take(self, amount: int) -> bool:
        """Take so much. False: it is not there, and nothing was taken."""
        if amount > self._left:
            return False
        self._left -= amount
        return True

    def give_back(self, amount: int) -> None:
        """Return what was taken."""
        self._left += amount

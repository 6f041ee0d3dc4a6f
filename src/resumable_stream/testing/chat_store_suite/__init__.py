"""The contract of `ChatStore`, as tests: one for each of its sentences."""

from __future__ import annotations

from .changing import ChangingTests
from .harness import ChatStoreHarness
from .keeping import KeepingTests
from .listing import ListingTests
from .racing import RacingTests

__all__ = ["ChatStoreHarness", "ChatStoreSuite"]


class ChatStoreSuite(KeepingTests, ChangingTests, ListingTests, RacingTests):
    """Subclass it under a name that your runner collects, with a fixture ``harness`` that makes a `ChatStoreHarness`.

    The tests are coroutines: the runner needs a plugin such as pytest-asyncio in its automatic mode.
    """

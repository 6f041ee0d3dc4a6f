"""The contract of `StreamBackend`, as tests: one for each of its sentences."""

from __future__ import annotations

from .following import FollowingTests
from .harness import BackendHarness
from .log import LogTests
from .ownership import OwnershipTests
from .stopping import StoppingTests

__all__ = ["BackendHarness", "BackendSuite"]


class BackendSuite(OwnershipTests, LogTests, FollowingTests, StoppingTests):
    """Subclass it under a name that your runner collects, with a fixture ``harness`` that makes a `BackendHarness`.

    The tests are coroutines: the runner needs a plugin such as pytest-asyncio in its automatic mode.
    """

"""Every backend keeps the contract."""

from __future__ import annotations

import pytest

from resumable_stream.testing import BackendSuite
from tests.stores import Store


class TestContract(BackendSuite):
    """The shipped suite, over every store."""

    @pytest.fixture
    def harness(self, store: Store) -> Store:
        """The suite's name for a store."""
        return store

"""Every chat store keeps the contract."""

from __future__ import annotations

import pytest

from resumable_stream.testing.chat_store_suite import ChatStoreSuite
from tests.chat.stores.kinds import Place


class TestContract(ChatStoreSuite):
    """The shipped suite, over every place."""

    @pytest.fixture
    def harness(self, place: Place) -> Place:
        """The suite's name for a place."""
        return place

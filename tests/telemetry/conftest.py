"""What is observed happens over one store of each kind."""

from __future__ import annotations

import pytest

from tests.conftest import STORE_KINDS, clean_store

store = pytest.fixture(params=STORE_KINDS)(clean_store)

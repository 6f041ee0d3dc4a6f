"""Fixtures for applications that processes serve."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.conftest import REAL_SERVERS, GetServer
from tests.stores import InRedis


@pytest.fixture
async def redis_url(server_of: GetServer) -> AsyncIterator[str]:
    """A real server, empty, that outlives what is served."""
    store = InRedis(server_of(REAL_SERVERS[0]).url)
    yield store.url
    await store.check_clean()

"""The example, served once for all tests that need no settings of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tests.conftest import REAL_SERVERS, GetServer
from tests.examples.serving import App, serving
from tests.stores import InRedis


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The example with its streams in memory, and its chats in a file."""
    with serving(tmp_path_factory.mktemp("chat"), {"DEMO_DELAY": "0.005"}) as app:
        yield app


@pytest.fixture
def client(served: App) -> Iterator[httpx.Client]:
    """One that talks to it."""
    with served.client() as client:
        yield client


@pytest.fixture
async def redis_url(server_of: GetServer) -> AsyncIterator[str]:
    """A real server, empty, on which the processes of one test meet."""
    store = InRedis(server_of(REAL_SERVERS[0]).url)
    yield store.url
    await store.check_clean()

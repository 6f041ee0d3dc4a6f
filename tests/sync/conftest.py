"""Blocking contexts, and a look at the threads that they leave."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.conftest import REAL_SERVERS, SET_SERVER, GetServer
from tests.servers import Server
from tests.sync.adapter import BlockingStore


@pytest.fixture
async def store(request: pytest.FixtureRequest, server_of: GetServer) -> AsyncIterator[BlockingStore]:
    """A real server, also where a test would like memory: what is in there belongs to one loop."""
    name = getattr(request, "param", SET_SERVER)
    server = server_of(name if name in REAL_SERVERS else SET_SERVER)
    made = BlockingStore(server.url, factories_block=getattr(request.module, "FACTORIES_BLOCK", False))
    yield made
    await made.check_clean()


@pytest.fixture
def redis_server(server_of: GetServer) -> Server:
    """A real server."""
    return server_of(SET_SERVER)


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """After each test, no thread of ours is left."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("resumable-stream"):
            thread.join(5)
            assert not thread.is_alive(), thread

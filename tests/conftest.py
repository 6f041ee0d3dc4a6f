"""Fixtures for all tests: the stores, and a check that nothing is left behind."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import uvloop

from tests.servers import ClusterSet, SentinelSet, Server, binaries, running
from tests.stores import InCluster, InFakeRedis, InMemory, InRedis, InSentinel, Store

REAL_SERVERS = sorted(binaries())
SET_SERVER = "redis-server" if "redis-server" in REAL_SERVERS else REAL_SERVERS[-1]
STORE_KINDS = ["memory", "fakeredis", SET_SERVER, "cluster"]  # what Sentinels watch is one server, once it is found
ALL_STORES = ["memory", "fakeredis", *REAL_SERVERS, "sentinel", "cluster"]

# A job that a shell starts in the background is born deaf to Ctrl-C, and so are its children. Some tests press it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

GetServer = Callable[[str], Server]
GetSentinels = Callable[[str], SentinelSet]
GetCluster = Callable[[str], ClusterSet]
MakeStore = Callable[[str], Store]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what needs a browser, unless it is asked for by name."""
    return True if collection_path.name == "e2e" and not any("e2e" in name for name in config.args) else None


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run what is made of tasks on both event loops that people use."""
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
    if {"context", "engine"} & set(item.path.parts):
        loops["uvloop"] = uvloop.new_event_loop
    return loops


@pytest.fixture(scope="session")
def server_of() -> Iterator[GetServer]:
    """Returns the running server of a name, started when it is first asked for."""
    started: dict[str, Server] = {}
    with ExitStack() as stack:

        def get(name: str) -> Server:
            if name not in started:
                started[name] = stack.enter_context(running(binaries()[name]))
            return started[name]

        yield get


@pytest.fixture(scope="session")
def sentinels_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GetSentinels]:
    """Returns a set of running servers of a name and their Sentinels, started when it is first asked for."""
    started: dict[str, SentinelSet] = {}

    def get(name: str) -> SentinelSet:
        if name not in started:
            started[name] = SentinelSet(binaries()[name], tmp_path_factory.mktemp("sentinels"))
            started[name].start()
        return started[name]

    yield get
    for servers in started.values():
        servers.stop()


@pytest.fixture(scope="session")
def cluster_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GetCluster]:
    """Returns the running Cluster of servers of a name, started when it is first asked for."""
    started: dict[str, ClusterSet] = {}

    def get(name: str) -> ClusterSet:
        if name not in started:
            started[name] = ClusterSet(binaries()[name], tmp_path_factory.mktemp("cluster"))
            started[name].start()
        return started[name]

    yield get
    for servers in started.values():
        servers.stop()


@pytest.fixture(scope="session")
def make_store(server_of: GetServer, sentinels_of: GetSentinels, cluster_of: GetCluster) -> MakeStore:
    """Returns a new store of a name."""
    kinds: dict[str, Callable[[], Store]] = {
        "memory": InMemory,
        "fakeredis": InFakeRedis,
        "sentinel": lambda: InSentinel(sentinels_of(SET_SERVER)),
        "cluster": lambda: InCluster(cluster_of(SET_SERVER)),
    }
    return lambda name: kinds[name]() if name in kinds else InRedis(server_of(name).url)


async def clean_store(request: pytest.FixtureRequest, make_store: MakeStore) -> AsyncIterator[Store]:
    """A store of the kind that the parameter says, in which nothing is to be left behind."""
    made = make_store(request.param)
    yield made
    await made.check_clean()


store = pytest.fixture(params=ALL_STORES)(clean_store)
"""Every store there is."""


@pytest.fixture(params=REAL_SERVERS)
async def redis_store(request: pytest.FixtureRequest, server_of: GetServer) -> AsyncIterator[InRedis]:
    """Real servers only, for what processes share."""
    made = InRedis(server_of(request.param).url)
    yield made
    await made.check_clean()


@pytest.fixture(autouse=True)
async def no_task_left() -> AsyncIterator[None]:
    """After each test, no task is left."""
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)  # what was cancelled last comes to its end
    left = [task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()]
    assert not left, left

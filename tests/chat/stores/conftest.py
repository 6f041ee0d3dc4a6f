"""Fixtures for chat stores: the places that they keep chats in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.chat.stores.kinds import (
    InCluster,
    InFakeRedis,
    InJSONFiles,
    InMemory,
    InPostgreSQL,
    InRedis,
    InSentinel,
    InSQLite,
    Place,
)
from tests.chat.stores.postgresql import PostgreSQL, running
from tests.conftest import REAL_SERVERS, SET_SERVER, GetCluster, GetSentinels, GetServer

ALL_PLACES = [
    "memory",
    "json-files",
    "sqlite",
    "postgresql",
    "fakeredis",
    *REAL_SERVERS,
    "redis-expiring",
    "sentinel",
    "cluster",
]
SHARED_PLACES = ["json-files", "sqlite", "postgresql", SET_SERVER, "cluster"]
"""Those that several processes can share, one of each kind."""

GetPostgreSQL = Callable[[], PostgreSQL]
MakePlace = Callable[[str], Place]


@pytest.fixture(scope="session")
def postgresql_of() -> Iterator[GetPostgreSQL]:
    """Returns the running PostgreSQL, started when it is first asked for."""
    started: list[PostgreSQL] = []
    with ExitStack() as stack:

        def get() -> PostgreSQL:
            if not started:
                started.append(stack.enter_context(running()))
            return started[0]

        yield get


@pytest.fixture
def make_place(
    tmp_path: Path,
    server_of: GetServer,
    sentinels_of: GetSentinels,
    cluster_of: GetCluster,
    postgresql_of: GetPostgreSQL,
) -> MakePlace:
    """Returns a new place of a name."""
    kinds: dict[str, Callable[[], Place]] = {
        "memory": InMemory,
        "json-files": lambda: InJSONFiles(tmp_path / "chats"),
        "sqlite": lambda: InSQLite(tmp_path),
        "postgresql": lambda: InPostgreSQL(postgresql_of().url_of()),
        "fakeredis": InFakeRedis,
        "redis-expiring": lambda: InRedis(server_of(SET_SERVER).url, expiry=3600.0),
        "sentinel": lambda: InSentinel(sentinels_of(SET_SERVER)),
        "cluster": lambda: InCluster(cluster_of(SET_SERVER)),
    }
    return lambda name: kinds[name]() if name in kinds else InRedis(server_of(name).url)


async def clean_place(request: pytest.FixtureRequest, make_place: MakePlace) -> AsyncIterator[Place]:
    """A place of the kind that the parameter says, in which nothing is to be left behind."""
    made = make_place(request.param)
    await made.prepare()
    yield made
    await made.check_clean()


place = pytest.fixture(params=ALL_PLACES)(clean_place)
"""Every place there is."""

shared_place = pytest.fixture(params=SHARED_PLACES)(clean_place)
"""Those that several processes can share."""

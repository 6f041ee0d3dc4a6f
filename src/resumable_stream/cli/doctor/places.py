"""The servers that a URL means: one, the master that Sentinels name, or all masters of a Cluster."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

from ...backends.redis.cluster import ClusterServers
from ...backends.redis.connections import Connect, DirectConnection, make_closed_error
from ...backends.redis.errors import translated_errors
from ...backends.redis.keys import Keys
from ...backends.redis.layout import slot_of
from ...backends.redis.servers import Servers
from ...backends.redis.single import SingleServer
from ...backends.redis.topology import servers_of
from ..options import Store


class Place(NamedTuple):
    """One server that streams are written to."""

    name: str
    connection: DirectConnection
    push_command: str
    """How scripts push there."""
    probe_id: str
    """A stream id that nobody has, and that belongs there."""


@asynccontextmanager
async def places_of(store: Store) -> AsyncIterator[Sequence[Place]]:
    """Connect to all servers of a store that take writes.

    Raises:
        BackendError: They cannot be reached, or do not let us in.
        InvalidSettingError: The URL or the prefix is malformed.
    """
    keys = Keys(store.key_prefix)
    servers = servers_of(store.url, wait_replicas=0, wait_timeout=1.0)
    places: list[Place] = []
    try:
        with translated_errors("answer"):
            await servers.connect(keys.notices, _ignore, _ignore)
        places += _places(servers, store, keys)
        yield places
    finally:
        for place in places:
            await place.connection.aclose(make_closed_error)
        await servers.aclose()


def _places(servers: Servers, store: Store, keys: Keys) -> list[Place]:
    if isinstance(servers, SingleServer):
        return [_place(store.name, servers.make_connection, servers, _probe_id())]
    assert isinstance(servers, ClusterServers), "there are two kinds"
    owners = servers.layout.owners
    return [
        _place(
            f"{address.host}:{address.port}",
            partial(servers.make_connection_to, address),
            servers,
            _probe_id(lambda stream_id: owners[slot_of(keys.of(stream_id)[0])] == address),  # noqa: B023  # called here
        )
        for address in servers.layout.masters
    ]


def _place(name: str, connect: Connect, servers: Servers, probe_id: str) -> Place:
    return Place(name, DirectConnection(connect), servers.push_command, probe_id)


def _probe_id(is_there: Callable[[str], bool] = lambda _: True) -> str:
    while True:
        stream_id = f"doctor-{uuid.uuid4().hex}"
        if is_there(stream_id):
            return stream_id


def _ignore(*_: bytes) -> None:
    """Hear what nobody here wants to know."""

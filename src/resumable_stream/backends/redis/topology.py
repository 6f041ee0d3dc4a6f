"""Which servers a URL or a client means."""

from __future__ import annotations

import math
import re
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from redis.asyncio import ConnectionPool, RedisCluster
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.asyncio.sentinel import SentinelConnectionPool
from redis.exceptions import RedisError

from ...exceptions import InvalidSettingError
from .cluster import ClusterServers
from .commands import Replicas
from .connections import Address, Connections
from .sentinel import SentinelMaster
from .servers import Servers
from .single import SingleServer

if TYPE_CHECKING:
    from redis.asyncio import Redis

_SET_URL = re.compile(
    r"(?P<scheme>rediss?)\+(?P<kind>sentinel|cluster)://(?P<user>[^/?#]*@)?(?P<hosts>[^/?#]+)"
    r"(?P<path>/[^?#]*)?(?P<query>\?[^#]*)?"
)
_HOST = re.compile(r"(?:\[(?P<ip>[^]]+)\]|(?P<name>[^][:]+))(?::(?P<port>[0-9]{1,5}))?")
_SERVICE = re.compile(r"/(?P<name>[^/]+)(?:/(?P<db>[0-9]*))?")
_SENTINEL_PORT, _CLUSTER_PORT = 26379, 6379

# What is about the master, and not for the Sentinels.
_MASTERS_OWN = {"client_name", "credential_provider", "db", "password", "username"}

# What a client of a Cluster sets for itself: a parser for redirections, and what makes replicas answer.
_CLUSTERS_OWN = {"parser_class", "redis_connect_func"}


def servers_of(server: str | Redis | RedisCluster, *, wait_replicas: int, wait_timeout: float) -> Servers:
    """Return the servers that a URL names, or that a client of redis-py is made for.

    Raises:
        InvalidSettingError: It is neither, or a setting is malformed.
    """
    replicas = _replicas(wait_replicas, wait_timeout)
    try:
        return _of_url(server, replicas) if isinstance(server, str) else _of_client(server, replicas)
    except InvalidSettingError:
        raise
    except (TypeError, ValueError, RedisError) as error:
        raise InvalidSettingError("not a URL or a client that redis-py can make a connection of") from error


def _replicas(count: object, timeout: object) -> Replicas:
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise InvalidSettingError("wait_replicas is a whole number, at least 0")
    if not isinstance(timeout, int | float) or isinstance(timeout, bool) or not 0 < timeout < math.inf:
        raise InvalidSettingError("wait_timeout is a number of seconds above 0")
    return Replicas(count, timeout)


def _of_url(url: str, replicas: Replicas) -> Servers:
    found = _SET_URL.fullmatch(url)
    if found is None:
        return _single(ConnectionPool.from_url(url), replicas)
    # The driver reads all but hosts and path.
    pool = ConnectionPool.from_url(f"{found['scheme']}://{found['user'] or ''}localhost{found['query'] or ''}")
    settings = dict(pool.connection_kwargs)
    if found["kind"] == "cluster":
        if found["path"] not in {None, "/", "/0"} or settings.get("db"):
            raise InvalidSettingError("a Cluster has no databases to choose from")
        start = _addresses(found["hosts"], _CLUSTER_PORT)
        return ClusterServers(start, Connections(pool.connection_class, settings), replicas)
    service = _SERVICE.fullmatch(found["path"] or "")
    if service is None:
        raise InvalidSettingError("a URL of Sentinels names a service: redis+sentinel://host:port,host:port/service/db")
    if service["db"]:
        settings["db"] = int(service["db"])
    own = {name: settings.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    asking = Connections(pool.connection_class, {n: v for n, v in settings.items() if n not in _MASTERS_OWN} | own)
    sentinels = [partial(asking.connect, address) for address in _addresses(found["hosts"], _SENTINEL_PORT)]
    master = SentinelMaster(sentinels, unquote(service["name"]), Connections(pool.connection_class, settings))
    return SingleServer(master.connect, replicas, master)


def _addresses(hosts: str, default_port: int) -> list[Address]:
    return [_address(host, default_port) for host in hosts.split(",")]


def _address(text: str, default_port: int) -> Address:
    found = _HOST.fullmatch(text)
    if found is None or not 0 < int(found["port"] or default_port) < 65536:
        raise InvalidSettingError("hosts are host:port,host:port")
    return Address(found["ip"] or unquote(found["name"]), int(found["port"] or default_port))


def _of_client(client: Redis | RedisCluster, replicas: Replicas) -> Servers:
    if isinstance(client, RedisCluster):
        return _cluster(client, replicas)
    pool: object = getattr(client, "connection_pool", None)
    if isinstance(pool, SentinelConnectionPool):
        return _watched(pool, replicas)
    if isinstance(pool, ConnectionPool):
        return _single(pool, replicas)
    raise InvalidSettingError("a backend is a StreamBackend, a URL, or a client of redis.asyncio")


def _single(pool: ConnectionPool, replicas: Replicas) -> SingleServer:
    return SingleServer(Connections.of_pool(pool).connect, replicas)


def _watched(pool: SentinelConnectionPool, replicas: Replicas) -> SingleServer:
    if not pool.is_master:
        raise InvalidSettingError("a client of replicas cannot write: make one with master_for")
    manager = pool.sentinel_manager
    pools = [sentinel.connection_pool for sentinel in manager.sentinels]
    master = SentinelMaster(
        [Connections.of_pool(pool).connect for pool in pools],
        pool.service_name,
        Connections(_plain(pool.connection_class), pool.connection_kwargs),
        min_other_sentinels=manager.min_other_sentinels,
        host=getattr(manager, "_force_master_ip", None),  # which older versions do not have
    )
    return SingleServer(master.connect, replicas, master)


def _cluster(client: RedisCluster, replicas: Replicas) -> ClusterServers:
    nodes = client.nodes_manager
    start = [Address(node.host, int(node.port)) for node in nodes.startup_nodes.values()]
    settings: dict[str, Any] = dict(client.get_connection_kwargs())
    connection_class = settings.pop("connection_class")
    for name in _CLUSTERS_OWN:
        settings.pop(name, None)
    return ClusterServers(start, Connections(connection_class, settings), replicas, nodes.address_remap)


def _plain(connection_class: type[AbstractConnection]) -> type[AbstractConnection]:
    """Return what connects where it is told, in place of what asks the Sentinels."""
    return SSLConnection if issubclass(connection_class, SSLConnection) else Connection

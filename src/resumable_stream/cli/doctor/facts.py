"""What a server says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from redis.exceptions import RedisError

from ...backends.redis.connections import DirectConnection

_SETTINGS = (
    "maxmemory-policy",
    "timeout",
    "appendonly",
    "appendfsync",
    "save",
    "client-output-buffer-limit",
)


class Facts(NamedTuple):
    """What it says. What it does not tell is missing."""

    info: Mapping[str, str]
    config: Mapping[str, str]

    @property
    def is_replica(self) -> bool:
        """Whether it is known to be a copy of another server."""
        return self.info.get("role", "master") != "master"


async def ask(connection: DirectConnection) -> Facts:
    """Ask a server for all that checks want to know.

    Raises:
        RedisError, OSError: It cannot be reached.
    """
    commands = [("INFO",), *(("CONFIG", "GET", name) for name in _SETTINGS)]
    info, *settings = await connection.execute(*commands)
    config: dict[str, str] = {}
    for reply in settings:
        if isinstance(reply, list):
            words = [word.decode(errors="replace") for word in reply]
            config |= zip(words[::2], words[1::2], strict=True)
    return Facts({} if isinstance(info, RedisError) else _read_info(info), config)


def _read_info(reply: bytes) -> dict[str, str]:
    lines = reply.decode(errors="replace").splitlines()
    pairs = (line.partition(":") for line in lines if not line.startswith("#"))
    return {name: value for name, colon, value in pairs if colon}

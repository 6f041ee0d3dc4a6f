"""The same work with nothing but redis-py, as lean as it offers: its `Connection`, without client or pool."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from redis.asyncio import Connection

from .stamps import GAP, stamp

END = b"end"
"""What is published after the last stamp."""


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    """A connection to a server on the loopback interface, on which silence is no error."""
    connection = Connection(host="127.0.0.1", port=port, protocol=2, socket_timeout=None)
    await connection.connect()
    try:
        yield connection
    finally:
        await connection.disconnect()


async def publish_stamps(port: int, channel: str, count: int) -> None:
    """Publish the time at which it is published, at a slow and even pace."""
    async with connected(port) as connection:
        for _ in range(count):
            await anyio.sleep(GAP)
            await connection.send_command("PUBLISH", channel, stamp())
            await connection.read_response()
        await connection.send_command("PUBLISH", channel, END)
        await connection.read_response()


async def subscribe(connection: Connection, channel: str) -> AsyncIterator[bytes]:
    """Yield what comes on a channel. The first, which is empty, says that the server has confirmed."""
    await connection.send_command("SUBSCRIBE", channel)
    await connection.read_response(disable_decoding=True)
    yield b""
    while True:
        _, _, content = await connection.read_response(disable_decoding=True)
        if content == END:
            return
        yield content


async def read_log(port: int, key: str, page_entries: int) -> int:
    """Fetch all entries of a Redis stream, page by page; return how many there are."""
    entries, start = 0, b"-"
    async with connected(port) as connection:
        while True:
            await connection.send_command("XRANGE", key, start, "+", "COUNT", page_entries)
            page = await connection.read_response(disable_decoding=True)
            entries += len(page)
            if len(page) < page_entries:
                return entries
            start = b"(" + page[-1][0]

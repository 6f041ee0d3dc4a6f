"""The same work with nothing but redis-py, as lean as it offers: its `Connection`, without client or pool.

Chunks are published and not logged, one command for each, awaited: the shortest way from one process to another.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio.connection import Connection

from .serve import Factory, main

END = b"end"


class BareRedisPy:
    """One connection to publish, and one for each follower."""

    async def open(self, url: str) -> None:
        self._address = urlsplit(url)
        self._connection = await self._connect()

    async def close(self) -> None:
        await self._connection.disconnect()

    async def publish(self, stream_id: str, factory: Factory) -> AsyncIterator[str]:
        return self._publish(stream_id, factory())

    async def follow(self, stream_id: str, *, in_blocks: bool) -> AsyncIterator[str]:
        del in_blocks
        connection = await self._connect()
        await connection.send_command("SUBSCRIBE", stream_id)
        await connection.read_response(disable_decoding=True)
        return _subscribed(connection)

    async def special(self, do: str, **details: Any) -> Any:
        if do == "read_log":
            return await self._read_log(**details)
        raise NotImplementedError(do)

    async def _connect(self) -> Connection:
        # RESP2: there a push is a reply like any other. Silence is no error.
        host, port = self._address.hostname or "", self._address.port or 0
        connection = Connection(host=host, port=port, protocol=2, socket_timeout=None)
        await connection.connect()
        return connection

    async def _publish(self, stream_id: str, chunks: AsyncIterator[str]) -> AsyncIterator[str]:
        async for chunk in chunks:
            await self._send(stream_id, chunk)
            yield chunk
        await self._exchange("PUBLISH", stream_id, END)

    async def _send(self, stream_id: str, chunk: str) -> None:
        await self._exchange("PUBLISH", stream_id, chunk)

    async def _exchange(self, *command: str | bytes | int) -> Any:
        await self._connection.send_command(*command)
        return await self._connection.read_response(disable_decoding=True)

    async def _read_log(self, key: str, page: int) -> dict[str, float]:
        """Fetch all entries of a log of ours, page by page, and look at none."""
        entries, first = 0, 0.0
        started = time.perf_counter()
        while True:
            found = await self._exchange("LRANGE", key, entries, entries + page - 1)
            first = first or time.perf_counter()
            entries += len(found)
            if len(found) < page:
                return {"entries": entries, "first": first - started, "all": time.perf_counter() - started}


async def _subscribed(connection: Connection) -> AsyncIterator[str]:
    try:
        while True:
            _, _, content = await connection.read_response(disable_decoding=True)
            if content == END:
                return
            yield content.decode()
    finally:
        await connection.disconnect()


if __name__ == "__main__":
    main(BareRedisPy)

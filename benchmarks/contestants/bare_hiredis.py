"""The same work with nothing but an asyncio protocol and hiredis: the floor for a client in Python."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from typing_extensions import override

from .replies import Replies, pack
from .serve import Factory, main

END = b"end"


class _Connection(Replies):
    """Keeps replies until someone asks for them."""

    def __init__(self) -> None:
        super().__init__()
        self._replies: deque[Any] = deque()
        self._waiter: asyncio.Future[None] | None = None

    @override
    def take(self, reply: Any) -> None:
        self._replies.append(reply)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def send(self, *words: str | bytes) -> None:
        self.write(pack(*words))

    async def reply(self) -> Any:
        while not self._replies:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._replies.popleft()


class BareHiredis:
    """One connection to publish, and one for each follower."""

    async def open(self, url: str) -> None:
        self._address = urlsplit(url)
        self._connection = await self._connect()

    async def close(self) -> None:
        self._connection.close()

    async def publish(self, stream_id: str, factory: Factory) -> AsyncIterator[str]:
        return self._publish(stream_id, factory())

    async def follow(self, stream_id: str, *, in_blocks: bool) -> AsyncIterator[str]:
        del in_blocks
        connection = await self._connect()
        connection.send("SUBSCRIBE", stream_id)
        await connection.reply()
        return _subscribed(connection)

    async def special(self, do: str, **details: Any) -> Any:
        raise NotImplementedError(do)

    async def _connect(self) -> _Connection:
        loop = asyncio.get_running_loop()
        host, port = self._address.hostname or "", self._address.port or 0
        _, connection = await loop.create_connection(_Connection, host, port)
        return connection

    async def _publish(self, stream_id: str, chunks: AsyncIterator[str]) -> AsyncIterator[str]:
        async for chunk in chunks:
            self._connection.send("PUBLISH", stream_id, chunk)
            await self._connection.reply()
            yield chunk
        self._connection.send("PUBLISH", stream_id, END)
        await self._connection.reply()


async def _subscribed(connection: _Connection) -> AsyncIterator[str]:
    try:
        while True:
            _, _, content = await connection.reply()
            if content == END:
                return
            yield content.decode()
    finally:
        connection.close()


if __name__ == "__main__":
    main(BareHiredis)

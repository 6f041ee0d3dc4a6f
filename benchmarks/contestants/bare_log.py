"""As little as Python can do for many streams that are logged before anybody sees them: the floor for their cost.

One connection appends and one listens, with nothing but an asyncio protocol and hiredis on them. Each chunk is one run
of a script that logs it and publishes it. There is no lease, no fencing and no replay, and the source runs in the task
of its first caller, unless it is published apart.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from typing_extensions import override

from .bare_append import SCRIPT
from .replies import Replies, pack
from .serve import Factory, main

END = "end"


class _Commands(Replies):
    """Sends what comes in one turn of the loop in one packet."""

    def __init__(self) -> None:
        super().__init__()
        self._packets: list[bytes] = []
        self._unanswered: deque[asyncio.Future[Any]] = deque()

    @override
    def take(self, reply: Any) -> None:
        self._unanswered.popleft().set_result(reply)

    def ask(self, *words: str | bytes | int) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        if not self._packets:
            loop.call_soon(self._flush)
        self._packets.append(pack(*words))
        answer = loop.create_future()
        self._unanswered.append(answer)
        return answer

    def _flush(self) -> None:
        packets, self._packets = self._packets, []
        self.write(b"".join(packets))


class _Reader:
    """Takes what one reader has not read yet, without more than that needs."""

    def __init__(self) -> None:
        self._unread: deque[str] = deque()
        self._change: asyncio.Future[None] | None = None

    def take(self, chunk: str) -> None:
        self._unread.append(chunk)
        self.wake()

    def wake(self) -> None:
        change, self._change = self._change, None
        if change is not None:
            change.set_result(None)

    def changed(self) -> asyncio.Future[None]:
        self._change = change = asyncio.get_running_loop().create_future()
        return change

    async def chunks(self) -> AsyncIterator[str]:
        unread = self._unread
        while True:
            while not unread:
                await self.changed()
            chunk = unread.popleft()
            if chunk == END:
                return
            yield chunk


class _Channels(Replies):
    """Hears all channels, for all their readers."""

    def __init__(self) -> None:
        super().__init__()
        self._readers: dict[bytes, list[_Reader]] = {}

    @override
    def take(self, reply: Any) -> None:
        kind, channel, content = reply
        if kind == b"message":
            chunk = content.decode()
            for reader in self._readers[channel]:
                reader.take(chunk)
        else:
            for reader in self._readers[channel]:
                reader.wake()

    async def subscribe(self, name: str) -> AsyncIterator[str]:
        reader = _Reader()
        self._readers.setdefault(name.encode(), []).append(reader)
        self.write(pack("SUBSCRIBE", name))
        await reader.changed()
        return reader.chunks()


class BareLog:
    """Two connections for all streams."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, url: str) -> None:
        address, loop = urlsplit(url), asyncio.get_running_loop()
        where = address.hostname or "", address.port or 0
        _, self._commands = await loop.create_connection(_Commands, *where)
        _, self._channels = await loop.create_connection(_Channels, *where)
        self._digest = await self._commands.ask("SCRIPT", "LOAD", SCRIPT)

    async def close(self) -> None:
        self._commands.close()
        self._channels.close()

    async def publish(self, stream_id: str, factory: Factory) -> AsyncIterator[str]:
        return self._publish(stream_id, factory())

    async def publish_apart(self, stream_id: str, factory: Factory) -> AsyncIterator[str]:
        """Publish in a task of its own, which goes on when nobody reads."""
        chunks: asyncio.Queue[str | None] = asyncio.Queue()
        task = asyncio.create_task(self._pump(stream_id, factory, chunks))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return _taken(chunks)

    async def follow(self, stream_id: str, *, in_blocks: bool) -> AsyncIterator[str]:
        del in_blocks
        return await self._channels.subscribe(stream_id)

    async def special(self, do: str, **details: Any) -> Any:
        raise NotImplementedError(do)

    async def _pump(self, stream_id: str, factory: Factory, chunks: asyncio.Queue[str | None]) -> None:
        async for chunk in self._publish(stream_id, factory()):
            chunks.put_nowait(chunk)
        chunks.put_nowait(None)

    async def _publish(self, stream_id: str, chunks: AsyncIterator[str]) -> AsyncIterator[str]:
        log = f"{{{stream_id}}}:log"
        async for chunk in chunks:
            await self._commands.ask("EVALSHA", self._digest, 2, log, stream_id, chunk)
            yield chunk
        await self._commands.ask("PUBLISH", stream_id, END)


async def _taken(chunks: asyncio.Queue[str | None]) -> AsyncIterator[str]:
    while (chunk := await chunks.get()) is not None:
        yield chunk


if __name__ == "__main__":
    main(BareLog)

"""The npm package's protocol by hand, so that tests can leave out a step of it, or be late with one."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

DONE = "\n\n\nDONE_SENTINEL_hasdfasudfyge374%$%^$EDSATRTYFtydryrte\n"
A_DAY = 24 * 60 * 60


def emojis(text: str) -> str:
    """What JavaScript sends of a text that was cut anywhere."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


class Publisher:
    """Publishes one stream as Node does."""

    def __init__(self, client: Redis, prefix: str, stream_id: str) -> None:
        self._client = client
        self._prefix = f"{prefix}:rs"
        self._stream_id = stream_id
        self._listeners: list[str] = []
        self._text = ""
        self._pubsub: PubSub | None = None
        self.requests: list[dict[str, Any]] = []
        """What was asked."""
        self.was_asked = anyio.Event()

    @property
    def sentinel(self) -> str:
        """The key that says whether the stream runs."""
        return f"{self._prefix}:sentinel:{self._stream_id}"

    async def claim(self, value: str = "1") -> None:
        """Say that the stream runs."""
        await self._client.set(self.sentinel, value, ex=A_DAY)

    @asynccontextmanager
    async def listening(self, *, answers: bool = True) -> AsyncIterator[None]:
        """Answer requests. On leaving, the process is as good as dead."""
        channel = f"{self._prefix}:request:{self._stream_id}"
        async with self._client.pubsub() as self._pubsub, anyio.create_task_group() as tasks:
            await self._pubsub.subscribe(channel)
            await self._pubsub.get_message(timeout=5)  # that it is subscribed
            tasks.start_soon(self._answer, self._pubsub, answers)
            yield
            tasks.cancel_scope.cancel()

    async def say(self, *chunks: str) -> None:
        """Publish chunks."""
        for chunk in chunks:
            self._text += chunk
            for listener in self._listeners:
                await self._publish(listener, chunk)

    async def end(self, *, with_word: bool = True) -> None:
        """Say that the stream is over: in the sentinel, and to listeners."""
        await self._client.set(self.sentinel, "DONE", ex=A_DAY)
        if self._pubsub is not None:
            await self._pubsub.unsubscribe()
        for listener in self._listeners if with_word else ():
            await self._publish(listener, DONE)

    async def _answer(self, pubsub: PubSub, answers: bool) -> None:
        while True:
            message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=None)
            if message is None:
                continue
            request = json.loads(message["data"])
            self.requests.append(request)
            if answers:
                self._listeners.append(request["listenerId"])
                units = self._text.encode("utf-16-le")[2 * request.get("skipCharacters", 0) :]
                await self._publish(request["listenerId"], units.decode("utf-16-le", "replace"))
            self.was_asked.set()

    async def _publish(self, listener: str, message: str) -> None:
        await self._client.publish(f"{self._prefix}:chunk:{listener}", message)


class Listener:
    """Follows one stream as Node does."""

    def __init__(self, client: Redis, pubsub: PubSub, prefix: str, stream_id: str) -> None:
        self.listener_id = str(uuid.uuid4())
        self.channel = f"{prefix}:rs:chunk:{self.listener_id}"
        self._client = client
        self._pubsub = pubsub
        self._requests = f"{prefix}:rs:request:{stream_id}"

    async def ask(self, skip: Any = None) -> int:
        """Publish the request; return how many heard it."""
        request: dict[str, Any] = {"listenerId": self.listener_id}
        if skip is not None:
            request["skipCharacters"] = skip
        return int(await self._client.publish(self._requests, json.dumps(request)))

    async def leave(self) -> None:
        """Listen no more."""
        await self._pubsub.unsubscribe(self.channel)
        await self._pubsub.get_message(timeout=5)

    async def come_back(self) -> None:
        """Listen again."""
        await self._pubsub.subscribe(self.channel)
        await self._pubsub.get_message(timeout=5)

    async def hear(self) -> str:
        """Return the next message."""
        with anyio.fail_after(20):
            while True:
                message = await self._pubsub.get_message(ignore_subscribe_messages=True, timeout=None)
                if message is not None:
                    return str(message["data"])

    async def hear_all(self) -> list[str]:
        """Return all messages to the end, without that about the end."""
        messages: list[str] = []
        while (message := await self.hear()) != DONE:
            messages.append(message)
        return messages


@asynccontextmanager
async def listening(client: Redis, prefix: str, stream_id: str) -> AsyncIterator[Listener]:
    """Make a listener that is subscribed and has not asked."""
    async with client.pubsub() as pubsub:
        listener = Listener(client, pubsub, prefix, stream_id)
        await listener.come_back()
        yield listener


async def until(is_so: Callable[[], Awaitable[object]]) -> None:
    """Return when something is so, which a server tells nobody."""
    with anyio.fail_after(20):
        while not await is_so():
            await anyio.sleep(0.01)

"""Streams in Redis, Valkey, or another server that speaks the protocol, from Redis 6.2 on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from anyio.lowlevel import checkpoint
from redis.asyncio import ConnectionPool
from redis.exceptions import NoScriptError, RedisError
from typing_extensions import override

from ...abc import OnPush, StreamBackend
from ...exceptions import ContextClosedError, InvalidSettingError
from ...types import Acquired, Append, Appended, Claim, Page, StreamInfo
from .connections import Connections, DirectConnection
from .errors import translated_errors
from .keys import Keys
from .listener import Listener
from .scripts import (
    Description,
    decode_appended,
    decode_description,
    decode_page,
    encode_end,
    load,
    milliseconds,
)

if TYPE_CHECKING:
    from redis.asyncio import Redis

__all__ = ["RedisBackend"]

T = TypeVar("T")

_READING_CONNECTIONS = 2
_MAX_PAGE_ENTRIES = 4096
_SCAN_COUNT = 500


class RedisBackend(StreamBackend):
    """Keeps streams on one Redis server.

    It opens four connections at most, however many streams and readers there are: one that appends, one that listens,
    and two for everything else. Each step is one Lua script, so it is atomic, and safe to repeat. Every key has an
    expiry from its first moment on.

    Args:
        server: A ``redis://``, ``rediss://`` or ``unix://`` URL as redis-py reads it, or a client of redis-py: then its
            server, credentials and TLS settings are used, but not its connections, and it is never closed.
        key_prefix: In front of all keys and channels. 1 to 100 characters: letters, digits, and ``_ . : -``.

    Raises:
        InvalidSettingError: The URL or the prefix is malformed.
    """

    def __init__(self, server: str | Redis, *, key_prefix: str = "resumable-stream") -> None:
        self._keys = Keys(key_prefix)
        self._connections = _connections_of(server)
        self._appending: DirectConnection | None = None
        self._reading: Redis | None = None
        self._calls: set[anyio.CancelScope] = set()
        self._listener: Listener | None = None
        self._listening: asyncio.Task[None] | None = None

    @override
    async def connect(self) -> None:
        self._appending = DirectConnection(self._connections)
        self._reading = self._connections.make_client(_READING_CONNECTIONS)
        self._listener = Listener(self._connections)
        with translated_errors("answer"):
            await self._reading.ping()
            await self._listener.connect()
        self._listening = asyncio.create_task(self._listener.run(), name="resumable-stream listener")

    @override
    async def aclose(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
        if self._listener is not None:
            await self._listener.disconnect()
        while self._calls:  # left alone, one whose connection is closed would open another
            for call in self._calls:
                call.cancel()
            await checkpoint()
        with suppress(RedisError, OSError):  # there is nothing left to lose on them
            if self._appending is not None:
                await self._appending.aclose()
            if self._reading is not None:
                await self._reading.aclose(close_connection_pool=True)
        self._appending = self._reading = self._listener = self._listening = None

    @override
    async def acquire(self, stream_id: str, claim: Claim) -> Acquired:
        terms = (milliseconds(claim.lease), milliseconds(claim.retention), milliseconds(claim.tombstone))
        flags = (int(claim.allow_new), int(claim.allow_lost))
        with translated_errors("acquire a stream"):
            is_publisher, reply = await self._run("acquire", stream_id, claim.token, *terms, *flags)
            description = decode_description(stream_id, reply)
        return Acquired(bool(is_publisher), description and description.info)

    @override
    async def append(self, appends: Sequence[Append]) -> list[Appended]:
        keys: list[str] = []
        args: list[str | bytes | int] = []
        for append in appends:
            record, log, channel = self._keys.of(append.stream_id)
            keys += (record, log)
            args += (channel, append.generation, append.epoch, append.first, append.count, append.payload)
            args += encode_end(append.end)
        with translated_errors("append"):
            return decode_appended(await _eval(self._open(self._appending), "append", keys, args))

    @override
    async def read(self, stream_id: str, start: int, max_bytes: int) -> Page | None:
        with translated_errors("read a stream"):
            reply, entries = await self._run("read", stream_id, start, max_bytes, _MAX_PAGE_ENTRIES)
            description = decode_description(stream_id, reply)
            return description and Page(description.info, decode_page(entries))

    @override
    async def subscribe(self, stream_id: str, on_push: OnPush) -> None:
        await self._open(self._listener).subscribe(self._keys.of(stream_id).channel, on_push)

    @override
    async def unsubscribe(self, stream_id: str) -> None:
        await self._open(self._listener).unsubscribe(self._keys.of(stream_id).channel)

    @override
    async def delete(self, stream_id: str) -> bool:
        with translated_errors("delete a stream"):
            return bool(await self._run("delete", stream_id, self._keys.of(stream_id).channel))

    @override
    async def scan(self) -> AsyncIterator[StreamInfo]:
        seen: set[str] = set()
        cursor = 0
        while True:
            with translated_errors("list streams"):
                cursor, records = await self._open(self._reading).scan(
                    cursor, match=self._keys.record_pattern, count=_SCAN_COUNT
                )
            for record in records:
                stream_id = self._keys.stream_id_of(record.decode() if isinstance(record, bytes) else record)
                if stream_id not in seen:
                    seen.add(stream_id)
                    description = await self._describe(stream_id)
                    if description is not None and not description.is_id_free:
                        yield description.info
            if cursor == 0:
                return

    async def _describe(self, stream_id: str) -> Description | None:
        with translated_errors("describe a stream"):
            reply, _ = await self._run("read", stream_id, 0, 0, 0)
            return decode_description(stream_id, reply)

    async def _run(self, script: str, stream_id: str, *args: str | bytes | int) -> Any:
        record, log, _ = self._keys.of(stream_id)
        with anyio.CancelScope() as call:
            self._calls.add(call)
            try:
                return await _eval(self._open(self._reading), script, (record, log), args)
            finally:
                self._calls.discard(call)
        raise ContextClosedError("the backend was closed")

    @staticmethod
    def _open(part: T | None) -> T:
        if part is None:
            raise ContextClosedError("the backend is not connected")
        return part


def _connections_of(server: str | Redis) -> Connections:
    if not isinstance(server, str):
        pool: object = getattr(server, "connection_pool", None)
        if not isinstance(pool, ConnectionPool):
            raise InvalidSettingError("a backend is a StreamBackend, a URL, or a redis.asyncio.Redis")
        return Connections(pool)
    try:
        return Connections.from_url(server)
    except ValueError as error:
        raise InvalidSettingError("not a URL of a Redis server") from error


async def _eval(
    client: Redis | DirectConnection, name: str, keys: Sequence[str], args: Sequence[str | bytes | int]
) -> Any:
    """Run a script by its name in the server's cache; send its text where the cache does not have it."""
    script = load(name)
    try:
        return await client.execute_command("EVALSHA", script.sha, len(keys), *keys, *args)
    except NoScriptError:
        return await client.execute_command("EVAL", script.text, len(keys), *keys, *args)

"""Streams in Redis, Valkey, or another server that speaks the protocol, from Redis 6.2 on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from ...abc import OnNotice, OnPush, StreamBackend
from ...types import Acquired, Append, Appended, AppendStatus, Claim, End, Page, StreamInfo, StreamState
from .errors import is_passing, translated_errors
from .keys import Keys
from .scripts import (
    SCRIPTS,
    Description,
    decode_appended,
    decode_description,
    decode_page,
    encode_end,
    milliseconds,
)
from .servers import AppendCall, ScriptCall
from .topology import servers_of

if TYPE_CHECKING:
    from redis.asyncio import Redis, RedisCluster

__all__ = ["RedisBackend"]

_MAX_PAGE_ENTRIES = 4096
_ACCEPTED = Appended(AppendStatus.ACCEPTED)


class RedisBackend(StreamBackend):
    """Keeps streams on a Redis server, on a set watched by Sentinels, or on a Cluster.

    It opens a constant number of connections, however many streams and readers there are: four to a single server (one
    that appends, one that listens, and two for everything else), and as many to each master of a Cluster. Each step is
    one Lua script, so it is atomic, and safe to repeat. Every key has an expiry from its first moment on.

    Args:
        server: A URL, or a client of redis-py: then its servers, credentials and TLS settings are used, but not its
            connections, and it is never closed. URLs are those of redis-py (``redis://``, ``rediss://``, ``unix://``),
            ``redis+sentinel://host:port,host:port/service/db`` and ``redis+cluster://host:port,host:port``; both can
            have ``rediss`` in front, a user and a password, and the options that redis-py reads after the ``?``.
        key_prefix: In front of all keys and channels. 1 to 100 characters: letters, digits, and ``_ . : -``.
        wait_replicas: How many replicas have to confirm each append before it counts as logged. With 0, the default, a
            failover can lose the last appends of a stream: it fails then, and never goes on with a gap.
        wait_timeout: How many seconds to wait for them. Then the append counts as not made, and is repeated.

    Raises:
        InvalidSettingError: The URL, the prefix or another setting is malformed.
    """

    def __init__(
        self,
        server: str | Redis | RedisCluster,
        *,
        key_prefix: str = "resumable-stream",
        wait_replicas: int = 0,
        wait_timeout: float = 1.0,
    ) -> None:
        self._keys = Keys(key_prefix)
        self._servers = servers_of(server, wait_replicas=wait_replicas, wait_timeout=wait_timeout)

    @override
    async def connect(self, on_notice: OnNotice) -> None:
        with translated_errors("answer"):
            await self._servers.connect(
                self._keys.notices, lambda message: on_notice(message.decode()), lambda: on_notice(None)
            )

    @override
    async def aclose(self) -> None:
        await self._servers.aclose()

    @override
    async def acquire(self, stream_id: str, claim: Claim) -> Acquired:
        terms = (milliseconds(claim.lease), milliseconds(claim.retention), milliseconds(claim.tombstone))
        flags = (int(claim.allow_new), int(claim.allow_lost), claim.lost_epoch)
        pushed = (self._servers.push_command, self._channel_of(stream_id), self._keys.notices, stream_id)
        with translated_errors("acquire a stream"):
            is_publisher, reply = await self._run("acquire", stream_id, claim.token, *terms, *flags, *pushed)
            description = decode_description(stream_id, reply)
        return Acquired(bool(is_publisher), description and description.info)

    @override
    async def append(self, appends: Sequence[Append]) -> list[Appended]:
        calls = map(self._append_call, appends)
        with translated_errors("append"):
            answers = await self._servers.append(SCRIPTS["append"], self._servers.push_command, calls)
            if answers and all(isinstance(answer, Exception) for answer in answers):
                raise next(filter(is_passing, answers), answers[0])
            return [_appended(answer) if answer else _ACCEPTED for answer in answers]

    @override
    async def read(self, stream_id: str, start: int, max_bytes: int) -> Page | None:
        with translated_errors("read a stream"):
            reply, entries = await self._run("read", stream_id, start, max_bytes, _MAX_PAGE_ENTRIES)
            description = decode_description(stream_id, reply)
            if description is None:
                return None
            return Page(description.info, decode_page(entries, description.info.created_at))

    @override
    async def subscribe(self, stream_id: str, on_push: OnPush) -> None:
        with translated_errors("subscribe"):
            await self._servers.subscribe(self._channel_of(stream_id), on_push)

    @override
    async def unsubscribe(self, stream_id: str) -> None:
        with translated_errors("unsubscribe"):
            await self._servers.unsubscribe(self._channel_of(stream_id))

    @override
    async def request_stop(self, stream_id: str, reason: str) -> StreamInfo | None:
        end = encode_end(End(StreamState.STOPPED, reason=reason))
        with translated_errors("ask a stream to stop"):
            reply = await self._run("stop", stream_id, end, self._keys.notices, stream_id)
            description = decode_description(stream_id, reply)
        return description and description.info

    @override
    async def delete(self, stream_id: str) -> bool:
        pushed = (self._servers.push_command, self._channel_of(stream_id), self._keys.notices, stream_id)
        with translated_errors("delete a stream"):
            return bool(await self._run("delete", stream_id, *pushed))

    @override
    async def scan(self) -> AsyncIterator[StreamInfo]:
        seen: set[str] = set()
        records = self._servers.scan(self._keys.record_pattern)
        while True:
            with translated_errors("list streams"):
                record = await anext(records, None)
            if record is None:
                return
            stream_id = self._keys.stream_id_of(record)
            if stream_id not in seen:
                seen.add(stream_id)
                description = await self._describe(stream_id)
                if description is not None and not description.is_id_free:
                    yield description.info

    def _append_call(self, append: Append) -> AppendCall:
        stream_id, generation, epoch, first, count, payload, end = append
        record, log, channel = self._keys.of(stream_id)
        owner, start = f"{generation} {epoch} ", str(first)
        entry_id = f"{start}-{count}" if count else ""
        args = channel, owner + start, owner + str(first + count), entry_id, payload
        return (record, log), args, encode_end(end) if end else ""

    def _channel_of(self, stream_id: str) -> str:
        _, _, channel = self._keys.of(stream_id)
        return channel

    async def _describe(self, stream_id: str) -> Description | None:
        with translated_errors("describe a stream"):
            reply, *_ = await self._run("read", stream_id, 0, 0, 0)
            return decode_description(stream_id, reply)

    async def _run(self, script: str, stream_id: str, *args: str | bytes | int) -> Any:
        record, log, _ = self._keys.of(stream_id)
        return await self._servers.run(SCRIPTS[script], ScriptCall((record, log), args))


def _appended(answer: Sequence[Any] | Exception) -> Appended:
    # An error that will not pass is one of one node: it is raised when that append is repeated, and no other with it.
    return Appended(AppendStatus.UNAVAILABLE) if isinstance(answer, Exception) else decode_appended(answer)

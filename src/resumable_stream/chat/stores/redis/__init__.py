"""Chats in Redis, Valkey, or another server that speaks the protocol, from Redis 6.2 on."""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import anyio
from redis.exceptions import RedisError
from typing_extensions import override

from ....abc import ChatStore
from ....backends.redis.servers import ScriptCall
from ....backends.redis.topology import servers_of
from ....chat_types import Chat, ChatChange, ChatInfo, ChatPage, StreamRecord
from ....exceptions import (
    ChatChangedError,
    ChatExistsError,
    ChatNotFoundError,
    ChatStoreError,
    InvalidSettingError,
)
from ...changes import PagePosition
from ...finishing import to_the_end
from ..text import dump
from .keys import Entry, Keys, decode_id, encode_id
from .scripts import (
    SCRIPTS,
    Described,
    Status,
    decode_described,
    decode_messages,
    decode_streams,
    text_of,
)

if TYPE_CHECKING:
    from redis.asyncio import Redis, RedisCluster

__all__ = ["RedisChatStore"]

T = TypeVar("T")

_logger = logging.getLogger("resumable_stream")

_MAX_SECONDS = 10.0
_MAX_UPKEEP_SECONDS = 2.0
_BATCH = 32
_FAILURES = (RedisError, OSError, EOFError, TimeoutError, ValueError)
_HOUR = 3600.0
_DAY = 86_400.0


class _Deleted(NamedTuple):
    """A chat that was deleted."""

    owner: str
    created_at: int
    streams: Sequence[StreamRecord]


class RedisChatStore(ChatStore):
    """Keeps chats on a Redis server, on a set watched by Sentinels, or on a Cluster. Several processes may share it.

    A chat is changed by one Lua script, so atomically. What Redis keeps after a crash is up to its settings: without
    ``appendfsync always``, and with a failover, it can lose the last changes.

    Which chats an owner has, and in which chat a stream is, is kept apart from the chats, in a Cluster on other
    servers. Such an entry is written before the chat and removed after it, and believed only if the chat says so too:
    whatever is lost in between, the answers are right. Entries of no use are removed when they are met, and those of a
    chat that is in use are written anew every now and then.

    Args:
        server: A URL, or a client of redis-py: then its servers, credentials and TLS settings are used, but not its
            connections, and it is never closed. URLs are those of `RedisBackend`.
        key_prefix: In front of all keys. 1 to 100 characters: letters, digits, and ``_ . : -``.
        expiry: How many seconds after its last change a chat is forgotten. ``None``: never.

    Raises:
        InvalidSettingError: The URL, the prefix or another setting is malformed.
    """

    def __init__(
        self, server: str | Redis | RedisCluster, *, key_prefix: str = "resumable-chats", expiry: float | None = None
    ) -> None:
        if expiry is not None and not 0 < expiry < math.inf:
            raise InvalidSettingError("expiry is a number of seconds above 0, or None")
        self._keys = Keys(key_prefix)
        self._servers = servers_of(server, wait_replicas=0, wait_timeout=1.0)
        # An entry of an index outlives the chat: it is renewed when half of the chat's time has passed, or at the next
        # change after that, which comes before the end of the chat's time; and that renewal may get lost.
        self._expiry = 0 if expiry is None else max(round(expiry * 1000), 1)
        self._entry_expiry = 0 if expiry is None else 3 * self._expiry + round(_HOUR * 1000)
        self._renewal = _DAY if expiry is None else min(expiry / 2, _DAY)

    @override
    async def connect(self) -> None:
        await _run("answer", self._servers.connect(self._keys.notices, lambda _message: None, lambda: None))

    @override
    async def aclose(self) -> None:
        await self._servers.aclose()

    @override
    async def create(self, chat_id: str, owner: str, metadata: Mapping[str, Any]) -> ChatInfo:
        return await _run("create a chat", self._create(chat_id, owner, dump(metadata)))

    @override
    async def describe(self, chat_id: str) -> ChatInfo | None:
        return await _run("read a chat", self._describe(chat_id))

    @override
    async def load(self, chat_id: str) -> Chat | None:
        return await _run("read a chat", self._load(chat_id))

    @override
    async def list(self, owner: str, limit: int, after: str | None) -> ChatPage:
        position = None if after is None else PagePosition.decode(after)
        return await _run("list chats", self._list(owner, limit, position))

    @override
    async def save(self, chat_id: str, change: ChatChange) -> ChatInfo:
        messages = [part for one in change.put for part in (_bytes_of(one["id"]), dump(one))]
        metadata = None if change.metadata is None else dump(change.metadata)
        described, has_entered = await _run("save a chat", self._save(chat_id, change, metadata, messages))
        if change.begin is not None and not has_entered:  # who wrote the entry may have taken it back meanwhile
            await _keep_up(self._point(chat_id, change.begin.stream_id))
        if described.info.updated_at - described.renewed_at / 1_000_000 > self._renewal:
            await _keep_up(self._renew(chat_id, described))
        return described.info

    @override
    async def delete(self, chat_id: str, *, if_owner: str | None = None) -> Sequence[StreamRecord] | None:
        deleted = await _run("delete a chat", self._delete(chat_id, if_owner))
        if deleted is None:
            return None
        await _keep_up(self._leave(chat_id, deleted))
        return deleted.streams

    @override
    async def list_streams(self, chat_id: str) -> Sequence[StreamRecord]:
        return await _run("read a chat", self._streams(chat_id))

    @override
    async def find_by_stream(self, stream_id: str) -> ChatInfo | None:
        return await _run("find a chat", self._find_by_stream(stream_id))

    async def _create(self, chat_id: str, owner: str, metadata: str) -> ChatInfo:
        index = self._keys.of_owner(owner)
        created_at = (await self._call("enter", [index], encode_id(chat_id), "", self._entry_expiry)).decode()
        args = (_token(), _bytes_of(owner), metadata, created_at, self._expiry)
        status, *reply = await self._call("create", self._keys.of_chat(chat_id), *args)
        if status == Status.OK:
            return decode_described(chat_id, reply[0]).info
        await self._call("leave", [index], Entry(int(created_at), chat_id).encode())
        if status == Status.LATE:
            raise _late_error()
        raise ChatExistsError(chat_id)

    async def _describe(self, chat_id: str) -> ChatInfo | None:
        status, *reply = await self._call("read", self._keys.of_chat(chat_id), "info")
        return decode_described(chat_id, reply[0]).info if status == Status.OK else None

    async def _load(self, chat_id: str) -> Chat | None:
        status, *reply = await self._call("read", self._keys.of_chat(chat_id), "messages")
        if status != Status.OK:
            return None
        described, ids, messages = reply
        return Chat(decode_described(chat_id, described).info, decode_messages(ids, messages))

    async def _streams(self, chat_id: str) -> Sequence[StreamRecord]:
        status, *reply = await self._call("read", self._keys.of_chat(chat_id), "streams")
        return decode_streams(chat_id, reply[1]) if status == Status.OK else []

    async def _list(self, owner: str, limit: int, after: PagePosition | None) -> ChatPage:
        chats: list[ChatInfo] = []
        last = "" if after is None else Entry(round(after.created_at * 1_000_000), after.chat_id).encode()
        while True:
            now, members = await self._call("page", [self._keys.of_owner(owner)], last, limit + 1)
            for member in members:
                info = await self._entered(owner, Entry.decode(member), int(now))
                if info is not None and len(chats) == limit:
                    return ChatPage(chats, PagePosition.of(chats[-1]).encode())
                if info is not None:
                    chats.append(info)
            if len(members) <= limit:
                return ChatPage(chats, None)
            last = members[-1].decode()

    async def _entered(self, owner: str, entry: Entry, now: int) -> ChatInfo | None:
        """Return the chat of an entry; if there is none, and none can be on its way, remove the entry."""
        status, *reply = await self._call("read", self._keys.of_chat(entry.chat_id), "info")
        described = decode_described(entry.chat_id, reply[0]) if status == Status.OK else None
        if described and (described.info.owner, described.created_at) == (owner, entry.created_at):
            return described.info
        if _is_old(entry.created_at, now):
            await self._call("leave", [self._keys.of_owner(owner)], entry.encode())
        return None

    async def _save(
        self, chat_id: str, change: ChatChange, metadata: str | None, messages: Sequence[str | bytes]
    ) -> tuple[Described, bool]:
        begin = change.begin
        now, entry = (b"0", b"") if begin is None else await self._point(chat_id, begin.stream_id)
        args = (
            _optional(None if change.if_version is None else str(change.if_version)),
            _optional(change.if_active),
            _optional(change.if_owner),
            _optional(change.drop_after),
            _optional(metadata),
            _optional(begin and begin.stream_id),
            _bytes_of(begin.replies_to if begin else ""),
            now,
            int(change.clear_active),
        )
        status, *reply = await self._call("save", self._keys.of_chat(chat_id), _token(), self._expiry, *args, *messages)
        if status != Status.OK:
            if begin is not None and entry:
                await _keep_up(self._take_back(chat_id, begin.stream_id, entry))
            raise _refusal(Status(status), chat_id)
        return decode_described(chat_id, reply[0]), bool(entry)

    async def _delete(self, chat_id: str, if_owner: str | None) -> _Deleted | None:
        keys = [*self._keys.of_chat(chat_id), self._keys.of_deleted(chat_id, _token())]
        status, *reply = await self._call("delete", keys, _optional(if_owner))
        if status != Status.OK:
            return None
        owner, created_at, kept = reply
        return _Deleted(text_of(owner), int(created_at), decode_streams(chat_id, kept))

    async def _leave(self, chat_id: str, deleted: _Deleted) -> None:
        """Remove the entries of a chat."""
        entry, pointer = Entry(deleted.created_at, chat_id).encode(), f" {encode_id(chat_id)}"
        await self._call("leave", [self._keys.of_owner(deleted.owner)], entry)
        await _for_each(
            deleted.streams, lambda stream: self._call("forget", [self._keys.of_stream(stream.stream_id)], pointer)
        )

    async def _find_by_stream(self, stream_id: str) -> ChatInfo | None:
        key = self._keys.of_stream(stream_id)
        now, entry = await self._call("follow", [key])
        if not entry:
            return None
        written_at, _, chat = entry.partition(b" ")
        chat_id = decode_id(chat.decode("ascii"))
        status, *reply = await self._call("read", self._keys.of_chat(chat_id), "streams")
        if status == Status.OK and _bytes_of(stream_id) in reply[1][::2]:
            return decode_described(chat_id, reply[0]).info
        if _is_old(int(written_at), int(now)):
            await self._call("forget", [key], entry)
        return None

    async def _renew(self, chat_id: str, described: Described) -> None:
        """Write all entries of a chat anew: they may be about to expire, or a failover may have lost them."""
        created_at = f"{described.created_at:016d}"
        index = self._keys.of_owner(described.info.owner)
        await self._call("enter", [index], encode_id(chat_id), created_at, self._entry_expiry)
        await _for_each(await self._streams(chat_id), lambda stream: self._point(chat_id, stream.stream_id))
        await self._call("renewed", self._keys.of_chat(chat_id), created_at)

    async def _point(self, chat_id: str, stream_id: str) -> tuple[bytes, bytes]:
        now, entry = await self._call(
            "point", [self._keys.of_stream(stream_id)], encode_id(chat_id), self._entry_expiry
        )
        return now, entry

    async def _take_back(self, chat_id: str, stream_id: str, entry: bytes) -> None:
        if all(stream.stream_id != stream_id for stream in await self._streams(chat_id)):
            await self._call("forget", [self._keys.of_stream(stream_id)], entry)

    async def _call(self, script: str, keys: Sequence[str], *args: str | bytes | int) -> Any:
        return await self._servers.run(SCRIPTS[script], ScriptCall(keys, args))


async def _run(doing: str, call: Coroutine[Any, Any, T]) -> T:
    with _translated_errors(doing):
        return await to_the_end(_in_time(call))


async def _in_time(call: Awaitable[T], seconds: float = _MAX_SECONDS) -> T:
    with anyio.fail_after(seconds):
        return await call


async def _keep_up(upkeep: Coroutine[Any, Any, object]) -> None:
    """Bring the indexes up to date after a change that was made: if that fails, the change has not.

    It will be made up for: an entry that is missing is written when the chat's entries are renewed, and one that is
    of no use is removed when it is met.
    """
    try:
        await to_the_end(_in_time(upkeep, _MAX_UPKEEP_SECONDS))
    except _FAILURES as error:
        _logger.warning("the entries of a chat in Redis could not be brought up to date: %s", type(error).__name__)


async def _for_each(streams: Sequence[StreamRecord], call: Callable[[StreamRecord], Awaitable[object]]) -> None:
    """Make a call for each stream, some at a time."""
    for start in range(0, len(streams), _BATCH):
        calls = map(call, streams[start : start + _BATCH])
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome


@contextmanager
def _translated_errors(doing: str) -> Iterator[None]:
    """Raise what goes wrong inside as `ChatStoreError`, with the driver's error as the cause.

    A `ValueError` is a reply that cannot be: something else wrote to our keys. The text names the kind of error only: a
    driver's own words may quote what was sent.
    """
    try:
        yield
    except _FAILURES as error:
        raise ChatStoreError(f"Redis failed to {doing}: {type(error).__name__}") from error


def _refusal(status: Status, chat_id: str) -> Exception:
    if status == Status.NOT_FOUND:
        return ChatNotFoundError(chat_id)
    return _late_error() if status == Status.LATE else ChatChangedError(chat_id)


def _late_error() -> ChatStoreError:
    return ChatStoreError("Redis took longer than half an hour, or its servers' clocks differ by as much")


def _is_old(written_at: int, now: int) -> bool:
    """Whether what an entry is about would be there, if it came at all."""
    return now - written_at > _HOUR * 1_000_000


def _optional(value: str | None) -> bytes:
    return b"" if value is None else b"=" + _bytes_of(value)


def _bytes_of(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _token() -> str:
    return secrets.token_hex(8)

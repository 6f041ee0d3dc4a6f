"""Chats in Redis: expiry, indexes that were lost or left, and keys of others."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from resumable_stream.backends.redis.scripts import Script
from resumable_stream.backends.redis.servers import ScriptCall
from resumable_stream.chat.stores.redis import RedisChatStore
from resumable_stream.chat.stores.redis.keys import Entry
from resumable_stream.chat_types import ChatChange, StreamRecord
from resumable_stream.exceptions import ChatStoreError, InvalidSettingError
from resumable_stream.testing.chat_store_suite.harness import error_of
from tests.chat.stores.conftest import clean_place
from tests.chat.stores.kinds import InRedis
from tests.conftest import REAL_SERVERS

_HOUR = 3_600_000_000
_CHANGE = ChatChange(put=[{"id": "m"}], begin=StreamRecord("s", ""))

place = pytest.fixture(params=REAL_SERVERS)(clean_place)
expiring_place = pytest.fixture(params=["redis-expiring"])(clean_place)


def _client(place: InRedis) -> Any:
    return Redis.from_url(place.url, protocol=2, decode_responses=True)


async def _age(client: Any, key: str, hours: float) -> None:
    """Make a time that a chat has hours older."""
    (chat,) = [name async for name in client.scan_iter("*}:chat") if ":stream:" not in name]
    await client.hset(chat, key, int(await client.hget(chat, key)) - int(hours * _HOUR))


async def _left(client: Any, place: InRedis) -> list[str]:
    """The keys that are left, but for what deletions keep for a minute."""
    return [key async for key in client.scan_iter(f"{place.prefix}:*") if ":deleted:" not in key]


async def test_chat_expires(expiring_place: InRedis) -> None:
    """All keys of a chat expire together, so long after its last change; entries of indexes expire after it."""
    async with expiring_place.make_store() as store, _client(expiring_place) as client:
        await store.create("c", "o", {})
        await store.save("c", _CHANGE)
        chat = [f"{expiring_place.prefix}:{{c}}:{name}" for name in ("chat", "messages", "order", "streams")]
        for key in chat:
            await client.pexpire(key, 1000)
        await store.save("c", ChatChange())
        ends = {await client.execute_command("PTTL", key) // 1000 for key in chat}
        assert max(ends) - min(ends) <= 1
        assert 3590 < min(ends) <= 3600
        entries = [key async for key in client.scan_iter(f"{expiring_place.prefix}:*") if key not in chat]
        assert len(entries) == 2
        for key in entries:
            assert await client.pttl(key) > 3 * 3_600_000


async def test_expired_chat_is_forgotten(expiring_place: InRedis) -> None:
    """Of a chat that expired nothing is found, though the indexes still have it; and its id is free."""
    async with expiring_place.make_store() as store, _client(expiring_place) as client:
        await store.create("c", "o", {})
        await store.save("c", _CHANGE)
        for name in ("chat", "messages", "order", "streams"):
            assert await client.pexpire(f"{expiring_place.prefix}:{{c}}:{name}", 0)
        assert await store.describe("c") is None
        assert await store.find_by_stream("s") is None
        assert (await store.list("o", 9, None)).chats == []
        info = await store.create("c", "o", {})
        assert (await store.list("o", 9, None)).chats == [info]
        assert await store.find_by_stream("s") is None


async def test_entries_are_renewed_in_time(expiring_place: InRedis) -> None:
    """Entries of a chat that goes on being changed do not expire."""
    async with expiring_place.make_store() as store, _client(expiring_place) as client:
        await store.create("c", "o", {})
        await store.save("c", _CHANGE)
        entries = [key for key in await _left(client, expiring_place) if "{c}" not in key]
        for key in entries:
            await client.expire(key, 5000)
        await store.save("c", ChatChange())
        assert max([await client.ttl(key) for key in entries]) <= 5000  # it is early yet
        await _age(client, "renewed_at", 0.6)
        await store.save("c", ChatChange())
        assert min([await client.ttl(key) for key in entries]) > 10_000
        for key in entries:
            await client.expire(key, 5000)
        await store.save("c", ChatChange())
        assert max([await client.ttl(key) for key in entries]) <= 5000


async def test_lost_entries_come_back(place: InRedis) -> None:
    """Entries that a failover lost are written anew within a day of use."""
    async with place.make_store() as store, _client(place) as client:
        await store.create("c", "o", {})
        await store.save("c", _CHANGE)
        await client.delete(*[key for key in await _left(client, place) if "{c}" not in key])
        assert (await store.list("o", 9, None)).chats == []
        assert await store.find_by_stream("s") is None
        await _age(client, "renewed_at", 25)
        info = await store.save("c", ChatChange())
        assert (await store.list("o", 9, None)).chats == [info]
        assert await store.find_by_stream("s") == info


async def test_entries_without_a_chat(place: InRedis) -> None:
    """An entry that a dead process left is not believed; it is removed once no chat can come of it."""
    index, pointer = f"{place.prefix}:owner:{{o}}:chats", f"{place.prefix}:stream:{{s}}:chat"
    async with place.make_store() as store, _client(place) as client:
        info = await store.create("c", "o", {})
        now = round(info.created_at * 1_000_000)
        old, new = Entry(now - 2 * _HOUR, "c").encode(), Entry(now + 7, "c").encode()
        await client.zadd(index, {old: 0, new: 0})
        for entry in (f"{now - 2 * _HOUR} c", f"{now} c"):
            await client.set(pointer, entry)
            assert await store.find_by_stream("s") is None
            assert await client.exists(pointer) == (entry == f"{now} c")
        assert (await store.list("o", 1, None)).chats == [info]
        assert (await store.list("o", 1, None)).next is None
        assert await client.zrange(index, 0, -1) == [Entry(now, "c").encode(), new]


async def test_nothing_is_left(place: InRedis) -> None:
    """Of chats that were deleted, and of streams that did not begin, no key is left."""
    async with place.make_store() as store, _client(place) as client:
        await store.create("c", "o", {})
        await store.save("c", _CHANGE)
        before = sorted(await _left(client, place))
        for change in (ChatChange(begin=StreamRecord("t", ""), if_version=1),):
            with pytest.raises(Exception, match="changed"):
                await store.save("c", change)
        with pytest.raises(Exception, match="no chat"):
            await store.save("x", ChatChange(begin=StreamRecord("t", "")))
        with pytest.raises(Exception, match="exists"):
            await store.create("c", "p", {})
        assert sorted(await _left(client, place)) == before
        await store.delete("c")
        assert await _left(client, place) == []


@pytest.mark.parametrize("key", ["chat", "messages", "order", "streams"])
async def test_key_of_somebody_else(place: InRedis, key: str) -> None:
    """A key that something else wrote is an error of the store, the server's is its cause, and nothing is changed."""
    async with place.make_store() as store, _client(place) as client:
        await store.create("c", "o", {})
        await store.save("c", _CHANGE)
        name = f"{place.prefix}:{{c}}:{key}"
        await client.delete(name)
        await client.set(name, "poison")
        before = [await client.dump(other) for other in sorted(await _left(client, place))]
        change = ChatChange(drop_after="m", put=[{"id": "n"}], begin=StreamRecord("s2", ""), metadata={"x": 1})
        error = await error_of(store.save("c", change), ChatStoreError)
        assert error.__cause__ is not None
        await client.delete(f"{place.prefix}:stream:{{s2}}:chat")
        assert [await client.dump(other) for other in sorted(await _left(client, place))] == before


async def test_malformed_values(place: InRedis) -> None:
    """A value that something else wrote is an error of the store."""
    async with place.make_store() as store, _client(place) as client:
        await store.create("c", "o", {})
        await store.save("c", _CHANGE)
        base = f"{place.prefix}:{{c}}"
        for key, field, value in (
            (f"{base}:messages", "m", "{"),
            (f"{base}:messages", "other", "{}"),
            (f"{base}:streams", "s", "x"),
            (f"{base}:chat", "metadata", "[]"),
        ):
            kept = await client.hget(key, field)
            await client.hset(key, field, value)
            await error_of(store.load("c"), ChatStoreError)
            await (client.hdel(key, field) if kept is None else client.hset(key, field, kept))
        assert await store.load("c") is not None


async def test_lost_replies(place: InRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A script that is repeated because its reply was lost changes nothing more, and answers the same."""
    async with place.make_store() as store:
        run = store._servers.run

        async def run_twice(script: Script, call: ScriptCall) -> Any:
            await run(script, call)
            return await run(script, call)

        monkeypatch.setattr(store._servers, "run", run_twice)
        info = await store.create("c", "o", {})
        saved = await store.save("c", ChatChange(put=[{"id": "m"}], begin=StreamRecord("s", ""), if_version=1))
        assert (info.version, saved.version) == (1, 2)
        assert (await store.list("o", 9, None)).chats == [saved]
        assert await store.find_by_stream("s") == saved
        assert await store.delete("c") == [saved.active_stream]
        assert await store.describe("c") is None


async def test_indexes_that_fail_fail_no_change(place: InRedis, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the entries of a chat cannot be written or removed after a change, that is logged, and the change is made."""
    async with place.make_store() as store, _client(place) as client:
        await store.create("c", "o", {})
        for number in range(70):
            await store.save("c", ChatChange(begin=StreamRecord(f"s{number}", "")))
        run, failed = store._servers.run, set[str]()

        async def run_badly(script: Script, call: ScriptCall) -> Any:
            if call.keys[0].endswith("}:chats") or ":stream:" in call.keys[0]:
                failed.add(call.keys[0])
                raise ConnectionError
            return await run(script, call)

        await _age(client, "renewed_at", 25)
        monkeypatch.setattr(store._servers, "run", run_badly)
        assert (await store.save("c", ChatChange(put=[{"id": "m"}]))).version == 72
        assert failed
        monkeypatch.setattr(store._servers, "run", run)
        await client.delete(*[key for key in await _left(client, place) if "{c}" not in key])
        info = await store.save("c", ChatChange())
        assert (await store.list("o", 9, None)).chats == [info]
        for number in range(70):
            assert await store.find_by_stream(f"s{number}") == info
        failed.clear()
        monkeypatch.setattr(store._servers, "run", run_badly)
        assert len(await store.delete("c") or ()) == 70
        assert failed
        monkeypatch.setattr(store._servers, "run", run)
        assert await store.describe("c") is None
        assert (await store.list("o", 9, None)).chats == []
        assert await store.find_by_stream("s0") is None


@pytest.mark.parametrize("is_there", [True, False])
async def test_deletion_whose_reply_was_lost(
    place: InRedis, monkeypatch: pytest.MonkeyPatch, *, is_there: bool
) -> None:
    """A deletion that is repeated does not delete a chat that somebody else made under the same id meanwhile."""
    async with place.make_store() as store, place.make_store() as other:
        run = store._servers.run

        async def run_late(script: Script, call: ScriptCall) -> Any:
            await run(script, call)
            monkeypatch.setattr(store._servers, "run", run)
            await other.create("c", "p", {})
            return await run(script, call)

        if is_there:
            await store.create("c", "o", {})
            await store.save("c", _CHANGE)
        monkeypatch.setattr(store._servers, "run", run_late)
        streams = await store.delete("c")
        assert [stream.stream_id for stream in streams or ()] == (["s"] if is_there else [])
        info = await other.describe("c")
        assert info is not None
        assert info.owner == "p"
        assert (await other.list("p", 9, None)).chats == [info]
        assert (await other.list("o", 9, None)).chats == []


async def test_client_of_the_user(place: InRedis) -> None:
    """A client that was passed in is not closed, whatever it does to replies."""
    async with _client(place) as client:
        for _ in range(2):
            store = RedisChatStore(client, key_prefix=place.prefix)
            async with store:
                if await store.describe("c") is None:
                    await store.create("c", "o", {"ü": "\x00"})
                await store.save("c", _CHANGE)
        assert await client.ping()


@pytest.mark.parametrize("settings", [{"expiry": 0}, {"expiry": -1.0}, {"expiry": float("inf")}, {"key_prefix": "{x}"}])
def test_wrong_settings(settings: dict[str, Any]) -> None:
    """What cannot be is refused at once."""
    with pytest.raises(InvalidSettingError):
        RedisChatStore("redis://localhost", **settings)


async def test_server_cannot_be_reached() -> None:
    """A server that is not there is an error of the store."""
    store = RedisChatStore("redis://127.0.0.1:1")
    assert (await error_of(store.connect(), ChatStoreError)).__cause__ is not None
    await store.aclose()

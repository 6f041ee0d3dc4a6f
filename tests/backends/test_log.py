"""How a log is read on the server."""

from __future__ import annotations

import math
from collections.abc import Sequence

import anyio
import pytest
from redis.asyncio import Redis

from resumable_stream import StreamBackend
from resumable_stream._core.packing import pack, unpack
from resumable_stream.types import Append, AppendStatus, Claim, RawChunk
from tests.stores import InRedis

_EVEN = {"one by one": [1] * 200, "sevens": [7] * 200}
_UNEVEN = {
    "large in the midst": [*[1] * 100, 20_000, *[1] * 100],
    "large at the start": [20_000, *[1] * 200],
    "large at the end": [*[1] * 200, 20_000],
    "growing": [1 + number * number for number in range(200)],
}


async def log(backend: StreamBackend, batches: Sequence[Sequence[RawChunk]]) -> list[int]:
    """Log each batch as an entry of stream "s", and return where they begin."""
    acquired = await backend.acquire("s", Claim("gen", 60, 60, 60))
    assert acquired.info is not None
    append = Append("s", acquired.info.generation, 1, first=0)
    firsts: list[int] = []
    for batch in batches:
        append = append._replace(first=append.stop, count=len(batch), payload=pack(batch))
        await backend.append([append])
        firsts.append(append.first)
    return firsts


@pytest.mark.parametrize("counts", [*_EVEN.values(), *_UNEVEN.values()], ids=[*_EVEN, *_UNEVEN])
async def test_an_entry_is_found_with_few_looks(redis_store: InRedis, counts: list[int]) -> None:
    """With one where entries are alike, and else with no more than twice as many as halving would take."""
    async with redis_store.open() as backend, Redis.from_url(redis_store.url) as client:
        firsts = await log(backend, [["x"] * count for count in counts])
        looks: list[int] = []
        for first, count in list(zip(firsts, counts, strict=True))[::5]:
            for start in (first, first + count - 1):
                before = await _lookups(client)
                page = await backend.read("s", start, 1)
                assert page is not None
                assert page.entries[0].first == first
                looks.append(await _lookups(client) - before)
        most = 1 if counts in _EVEN.values() else 2 * math.ceil(math.log2(len(counts))) + 1
        assert 1 <= max(looks) <= most


async def _lookups(client: Redis) -> int:
    stats = await client.info("commandstats")
    return int(stats.get("cmdstat_lindex", {"calls": 0})["calls"])


async def test_many_small_entries(redis_store: InRedis) -> None:
    """A page ends after some thousand entries, however small they are; page by page, each comes once."""
    count = 6_000
    async with redis_store.open() as backend:
        await log(backend, [["x"]] * count)
        found: list[int] = []
        while len(found) < count:
            page = await backend.read("s", len(found), 10_000_000)
            assert page is not None
            assert 0 < len(page.entries) < 5_500
            found += [entry.first for entry in page.entries]
    assert found == list(range(count))


@pytest.mark.parametrize("sizes", [[5, 60_000] * 40, [*[5] * 20, 60_000] * 20, [60_000, *[5] * 20] * 20])
async def test_little_is_fetched_in_vain(redis_store: InRedis, sizes: list[int]) -> None:
    """Where entries differ in size, the server gets out of the log not much more than the page has."""
    async with redis_store.open() as backend, Redis.from_url(redis_store.url) as client:
        firsts = await log(backend, [["x" * size] for size in sizes])
        for first in firsts[:-8]:
            async with client.monitor() as monitor:
                page = await backend.read("s", first, 128_000)
                fetched = 0
                await client.echo("over")
                with anyio.fail_after(5):
                    while (words := (await monitor.next_command())["command"].split()) != ["ECHO", "over"]:
                        if words[0].upper() == "LRANGE":
                            fetched += sum(sizes[int(words[2]) : int(words[3]) + 1])
            assert page is not None
            assert fetched <= sum(len(entry.payload) for entry in page.entries) + 4 * 60_000


async def test_record_that_is_older_than_its_log(redis_store: InRedis) -> None:
    """As when keys were copied one by one: who takes the stream over goes on where the record says it ends."""
    async with redis_store.open() as backend, Redis.from_url(redis_store.url) as client:
        claim = Claim("gen", 0.5, 60, 60)
        acquired = await backend.acquire("s", claim)
        assert acquired.info is not None
        append = Append("s", acquired.info.generation, 1, first=0, count=1, payload=pack(["a"]))
        await backend.append([append])
        record = f"{redis_store.prefix}:{{s}}:record"
        head = await client.hget(record, "head")
        for first in (1, 2):
            await backend.append([append._replace(first=first, payload=pack(["old"]))])
        await client.hset(record, "head", head or b"")
        await anyio.sleep(0.6)
        acquired = await backend.acquire("s", claim._replace(token="other", allow_lost=True))
        assert acquired.is_publisher
        (answer,) = await backend.append([append._replace(epoch=2, first=1, payload=pack(["new"]))])
        assert answer.status is AppendStatus.ACCEPTED
        page = await backend.read("s", 0, 1000)
        assert page is not None
        assert [unpack(entry.payload, entry.count) for entry in page.entries] == [["a"], ["new"]]

"""Keys in Redis expire by themselves, and not while somebody publishes."""

from __future__ import annotations

import fakeredis
import pytest

from resumable_stream._core.packing import pack
from resumable_stream.backends.memory import MemoryStore
from resumable_stream.backends.redis import RedisBackend
from resumable_stream.testing import ManualClock
from resumable_stream.types import Append, AppendStatus, Claim, End, StreamState

_LEASE, _RETENTION, _TOMBSTONE, _GRACE = 10.0, 100.0, 1000.0, 60.0


@pytest.mark.parametrize("step", [0.3, 0.999, 1.0, 3.0])
async def test_expiries_are_renewed(monkeypatch: pytest.MonkeyPatch, step: float) -> None:
    """However fast appends come: the log outlives its lease by the retention, and the record by the tombstone too."""
    clock = ManualClock(1_700_000_000.5)
    monkeypatch.setattr("time.time", clock)  # by which the server tells the time of day
    server = fakeredis.FakeServer()
    client = fakeredis.FakeAsyncRedis(server=server)
    backend = RedisBackend(fakeredis.FakeAsyncRedis(server=server))
    await backend.connect(lambda _stream_id: None)
    try:
        acquired = await backend.acquire("s", Claim("gen", _LEASE, _RETENTION, _TOMBSTONE))
        assert acquired.info is not None
        append = Append("s", acquired.info.generation, 1, 0, 1, pack(["x"]))
        for index in range(10):
            append = append._replace(first=index)
            (answer,) = await backend.append([append])
            assert answer.status is AppendStatus.ACCEPTED
            left = {key.endswith(b":log"): await client.pttl(key) / 1000 async for key in client.scan_iter()}
            assert _LEASE + _RETENTION + _GRACE <= left[True] <= _LEASE + _RETENTION + _GRACE + 1
            assert _LEASE + _RETENTION + _TOMBSTONE <= left[False] <= _LEASE + _RETENTION + _TOMBSTONE + 1
            clock.advance(step)
        end = append._replace(first=10, count=0, payload=b"", end=End(StreamState.DONE))
        assert (await backend.append([end]))[0].status is AppendStatus.ACCEPTED
        left = {key.endswith(b":log"): await client.pttl(key) / 1000 async for key in client.scan_iter()}
        assert left == {True: _RETENTION + _GRACE, False: _RETENTION + _TOMBSTONE}
    finally:
        await backend.aclose()
        await client.aclose()


def test_memory_keeps_no_chunks_after_the_retention() -> None:
    """Of a stream that has ended, memory has no chunks longer than Redis has, not even those that came last."""
    clock = ManualClock()
    store = MemoryStore(clock=clock)
    info = store.acquire("s", Claim("gen", _LEASE, _RETENTION, _TOMBSTONE)).info
    assert info is not None
    append = Append("s", info.generation, 1, 0, 1, pack(["x"]), End(StreamState.DONE))
    assert store.append(append).status is AppendStatus.ACCEPTED
    clock.advance(_RETENTION + _GRACE + 1)
    assert store.append(append).status is AppendStatus.FENCED
    record = store._records["s"]
    assert (record.entries, record.last) == ([], None)

"""The contract of `StreamBackend`, as tests: one for each of its sentences."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any

import anyio
import anyio.lowlevel

from .._core.packing import pack, unpack
from ..abc import StreamBackend
from ..types import Acquired, Append, Appended, AppendStatus, Claim, End, Page, Push, StreamInfo, StreamState

__all__ = ["BackendHarness", "BackendSuite"]

_DONE = End(StreamState.DONE)
_ENOUGH = 1024 * 1024


class BackendHarness(ABC):
    """How the suite gets at a store. One harness is one empty store."""

    lease: float = 0.3
    """A lease that is short for the store, in seconds: the suite waits several of them."""

    @abstractmethod
    def open(self) -> AbstractAsyncContextManager[StreamBackend]:
        """Return a connected backend on the store. The suite opens several, as several processes would."""

    async def advance(self, seconds: float) -> None:
        """Let the store's clock pass so many seconds. Without a clock that can be moved: wait."""
        await anyio.sleep(seconds)


class BackendSuite:
    """Subclass it under a name that your runner collects, with a fixture ``harness`` that makes a `BackendHarness`.

    The tests are coroutines: the runner needs a plugin such as pytest-asyncio in its automatic mode.
    """

    # --- acquire

    async def test_unknown_stream_is_created(self, harness: BackendHarness) -> None:
        """An unknown stream is created running, empty, with the token as generation, in epoch 1."""
        async with harness.open() as backend:
            is_publisher, info = await backend.acquire("s", _claim("abc"))
        assert is_publisher
        assert info is not None
        assert (info.stream_id, info.generation, info.epoch) == ("s", "abc", 1)
        assert (info.state, info.length, info.is_readable) == (StreamState.RUNNING, 0, True)
        assert info.created_at > 0
        assert info.ended_at is None

    async def test_unknown_stream_is_not_created_unless_allowed(self, harness: BackendHarness) -> None:
        """Where the claim does not allow it, nothing is written."""
        async with harness.open() as backend:
            assert await backend.acquire("s", _claim(allow_new=False)) == Acquired(False, None)
            assert await backend.read("s", 0, _ENOUGH) is None
            assert (await backend.acquire("s", _claim())).is_publisher

    async def test_exactly_one_of_many_callers_publishes(self, harness: BackendHarness) -> None:
        """However many callers race, exactly one is told that it is the publisher."""
        answers: list[Acquired] = []

        async def race(backend: StreamBackend) -> None:
            answers.append(await backend.acquire("s", _claim()))

        async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
            backends = [await stack.enter_async_context(harness.open()) for _ in range(3)]
            for number in range(30):
                tasks.start_soon(race, backends[number % 3])
        assert [answer.is_publisher for answer in answers].count(True) == 1
        assert len({_info(answer).generation for answer in answers}) == 1

    async def test_running_stream_is_left_as_it_is(self, harness: BackendHarness) -> None:
        """A stream that runs is described to others and not changed, also for one who may take over a lost one."""
        async with harness.open() as backend:
            first = await backend.acquire("s", _claim())
            second = await backend.acquire("s", _claim(allow_lost=True))
        assert second == Acquired(False, first.info)

    async def test_repeated_claim_is_answered_alike(self, harness: BackendHarness) -> None:
        """A claim repeated with the same token is answered alike: the first reply may have been lost."""
        async with harness.open() as backend:
            claim = _claim()
            first = await backend.acquire("s", claim)
            assert await backend.acquire("s", claim) == first

    async def test_streams_are_apart(self, harness: BackendHarness) -> None:
        """One stream's chunks, end and deletion do not touch another's, however alike the ids are."""
        ids = ["a", "a:record", "a:", "A", "a-1", "a.1", "1", "a" * 256]
        async with harness.open() as backend:
            for stream_id in ids:
                info = await _create(backend, stream_id)
                await _append(backend, info, 0, [stream_id])
            await backend.delete("a")
            for stream_id in ids[1:]:
                assert _chunks(await backend.read(stream_id, 0, _ENOUGH)) == [stream_id]

    # --- append

    async def test_append_extends_the_log(self, harness: BackendHarness) -> None:
        """An append that begins where the log ends is accepted, and its chunks can be read."""
        async with harness.open() as backend, harness.open() as other:
            info = await _create(backend)
            assert await _append(backend, info, 0, ["a", "b"]) == Appended(AppendStatus.ACCEPTED, 2)
            assert await _append(backend, info, 2, ["ü"]) == Appended(AppendStatus.ACCEPTED, 3)
            page = await other.read("s", 0, _ENOUGH)
        assert _chunks(page) == ["a", "b", "ü"]
        assert page is not None
        assert page.info.length == 3

    async def test_any_bytes_are_kept(self, harness: BackendHarness) -> None:
        """A payload comes back as it was, whatever is in it."""
        payloads = [bytes(range(256)), b"\n", b"\r\n \x00", b"{}", b"x" * 300_000]
        async with harness.open() as backend:
            info = await _create(backend)
            for index, payload in enumerate(payloads):
                append = Append("s", info.generation, info.epoch, index, 1, payload)
                assert (await backend.append([append]))[0].status is AppendStatus.ACCEPTED
            page = await backend.read("s", 0, _ENOUGH)
        assert page is not None
        assert [entry.payload for entry in page.entries] == payloads

    async def test_repeated_append_changes_nothing(self, harness: BackendHarness) -> None:
        """The last append, repeated, is accepted again and changes nothing: its reply may have been lost."""
        async with harness.open() as backend:
            info = await _create(backend)
            for _ in range(3):
                assert await _append(backend, info, 0, ["a", "b"]) == Appended(AppendStatus.ACCEPTED, 2)
            for _ in range(3):
                assert await _append(backend, info, 2, ["c"]) == Appended(AppendStatus.ACCEPTED, 3)
            assert _chunks(await backend.read("s", 0, _ENOUGH)) == ["a", "b", "c"]

    async def test_repeated_final_append_changes_nothing(self, harness: BackendHarness) -> None:
        """The append that ended the stream, repeated, is accepted again and changes nothing."""
        async with harness.open() as backend:
            info = await _create(backend)
            first = await _append(backend, info, 0, ["a"], end=_DONE)
            before = await backend.read("s", 0, _ENOUGH)
            assert await _append(backend, info, 0, ["a"], end=_DONE) == first == Appended(AppendStatus.ACCEPTED, 1)
            assert await backend.read("s", 0, _ENOUGH) == before

    async def test_misplaced_append_is_refused(self, harness: BackendHarness) -> None:
        """An append that does not begin where the log ends is refused: before it, beyond it, or over its end."""
        async with harness.open() as backend:
            info = await _create(backend)
            await _append(backend, info, 0, ["a", "b"])
            await _append(backend, info, 2, ["c"])
            for first, chunks in ((0, ["x"]), (4, ["x"]), (2, ["x", "y"])):
                assert await _append(backend, info, first, chunks) == Appended(AppendStatus.MISPLACED, 3)
            assert _chunks(await backend.read("s", 0, _ENOUGH)) == ["a", "b", "c"]

    async def test_append_to_unknown_stream_is_refused(self, harness: BackendHarness) -> None:
        """An append to a stream that is not there is refused, and does not create it."""
        async with harness.open() as backend:
            append = Append("s", "abc", 1, 0, 1, pack(["a"]))
            assert [answer.status for answer in await backend.append([append])] == [AppendStatus.GONE]
            assert await backend.read("s", 0, _ENOUGH) is None

    async def test_append_of_older_generation_is_refused(self, harness: BackendHarness) -> None:
        """The publisher of a deleted stream cannot write into a new one of the same id (assistant-ui#7198)."""
        async with harness.open() as backend:
            old = await _create(backend)
            await backend.delete("s")
            await _create(backend)
            assert (await _append(backend, old, 0, ["stale"])).status is AppendStatus.GONE
            assert _chunks(await backend.read("s", 0, _ENOUGH)) == []

    async def test_append_after_the_end_is_refused(self, harness: BackendHarness) -> None:
        """A stream that has ended takes no further append."""
        async with harness.open() as backend:
            info = await _create(backend)
            await _append(backend, info, 0, ["a"], end=_DONE)
            assert (await _append(backend, info, 1, ["b"])).status is AppendStatus.FENCED
            assert (await _append(backend, info, 1, [], end=End(StreamState.STOPPED))).status is AppendStatus.FENCED
            assert _chunks(await backend.read("s", 0, _ENOUGH)) == ["a"]
            assert await _state(backend) is StreamState.DONE

    async def test_many_streams_in_one_call(self, harness: BackendHarness) -> None:
        """The answers are in order; a refused append does not keep the others from happening."""
        async with harness.open() as backend:
            infos = [await _create(backend, f"s{number}") for number in range(5)]
            appends = [_make_append(info, 0, [info.stream_id]) for info in infos]
            appends[2] = appends[2]._replace(first=7)
            answers = await backend.append(appends)
            read = [_chunks(await backend.read(info.stream_id, 0, _ENOUGH)) for info in infos]
        assert [answer.status is AppendStatus.ACCEPTED for answer in answers] == [True, True, False, True, True]
        assert read == [["s0"], ["s1"], [], ["s3"], ["s4"]]

    async def test_no_streams_in_one_call(self, harness: BackendHarness) -> None:
        """Nothing to append is answered with nothing."""
        async with harness.open() as backend:
            assert await backend.append([]) == []

    async def test_end_is_recorded(self, harness: BackendHarness) -> None:
        """Each end comes back as it was recorded, with or without chunks, and stops the lease."""
        ends = [
            _DONE,
            End(StreamState.FAILED, error_type="ValueError", error_message='line\nbreak, "quotes", ü, \x00'),
            End(StreamState.STOPPED, reason="shutdown"),
        ]
        async with harness.open() as backend:
            for number, end in enumerate(ends):
                info = await _create(backend, f"s{number}", lease=harness.lease)
                await _append(backend, info, 0, ["a"] * number, end=end)
            await harness.advance(harness.lease * 1.5)
            for number, end in enumerate(ends):
                page = await backend.read(f"s{number}", 0, _ENOUGH)
                assert page is not None
                assert (page.info.end, page.info.length) == (end, number)
                assert page.info.ended_at is not None
                assert page.info.ended_at >= page.info.created_at

    # --- leases and epochs

    async def test_silent_publisher_is_lost(self, harness: BackendHarness) -> None:
        """A stream whose lease has lapsed is lost; what it logged can be read."""
        async with harness.open() as backend, harness.open() as other:
            info = await _create(backend, lease=harness.lease)
            await _append(backend, info, 0, ["a"])
            assert await _state(other) is StreamState.RUNNING
            await harness.advance(harness.lease * 1.5)
            assert await _state(other) is StreamState.LOST
            assert _chunks(await other.read("s", 0, _ENOUGH)) == ["a"]

    async def test_append_renews_the_lease(self, harness: BackendHarness) -> None:
        """Each append renews the lease, one without chunks too."""
        async with harness.open() as backend:
            info = await _create(backend, lease=harness.lease)
            for first, chunks in ((0, ["a"]), (1, []), (1, ["b"]), (2, [])):
                await harness.advance(harness.lease * 0.6)
                assert (await _append(backend, info, first, chunks)).status is AppendStatus.ACCEPTED
            assert await _state(backend) is StreamState.RUNNING

    async def test_publisher_without_lease_cannot_append(self, harness: BackendHarness) -> None:
        """An owner whose lease has lapsed is refused, chunks and end and renewal, though nobody took over."""
        async with harness.open() as backend:
            info = await _create(backend, lease=harness.lease)
            await harness.advance(harness.lease * 1.5)
            for append in (_make_append(info, 0, ["x"]), _make_append(info, 0, [], _DONE), _make_append(info, 0, [])):
                assert [answer.status for answer in await backend.append([append])] == [AppendStatus.FENCED]
            assert await _state(backend) is StreamState.LOST

    async def test_lost_stream_is_left_unless_allowed(self, harness: BackendHarness) -> None:
        """A claim that does not allow it leaves a lost stream as it is."""
        async with harness.open() as backend:
            await _create(backend, lease=harness.lease)
            await harness.advance(harness.lease * 1.5)
            answer = await backend.acquire("s", _claim())
        assert not answer.is_publisher
        assert _info(answer).state is StreamState.LOST

    async def test_lost_stream_is_taken_over(self, harness: BackendHarness) -> None:
        """A lost stream runs again under the next epoch, with its chunks and its generation, and a new lease."""
        async with harness.open() as backend, harness.open() as other:
            old = await _create(backend, lease=harness.lease)
            await _append(backend, old, 0, ["a"])
            await harness.advance(harness.lease * 1.5)
            claim = _claim(allow_lost=True)
            answer = await other.acquire("s", claim)
            assert await other.acquire("s", claim) == answer
            new = _info(answer)
            assert answer.is_publisher
            assert (new.generation, new.epoch, new.state, new.length) == (old.generation, 2, StreamState.RUNNING, 1)
            assert (await _append(other, new, 1, ["b"])).status is AppendStatus.ACCEPTED
            assert _chunks(await backend.read("s", 0, _ENOUGH)) == ["a", "b"]

    async def test_exactly_one_takes_over(self, harness: BackendHarness) -> None:
        """However many race for a lost stream, exactly one gets the next epoch."""
        answers: list[Acquired] = []

        async def race(backend: StreamBackend) -> None:
            answers.append(await backend.acquire("s", _claim(allow_lost=True)))

        async with harness.open() as backend, harness.open() as other:
            await _create(backend, lease=harness.lease)
            await harness.advance(harness.lease * 1.5)
            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    tasks.start_soon(race, (backend, other)[number % 2])
        assert [answer.is_publisher for answer in answers].count(True) == 1
        assert {_info(answer).epoch for answer in answers} == {2}

    async def test_older_epoch_cannot_append(self, harness: BackendHarness) -> None:
        """The old owner comes back and is refused, where its append would fit and where it was the last one."""
        async with harness.open() as backend:
            old = await _create(backend, lease=harness.lease)
            await _append(backend, old, 0, ["a"])
            await harness.advance(harness.lease * 1.5)
            new = _info(await backend.acquire("s", _claim(allow_lost=True)))
            for first, chunks in ((1, ["x"]), (1, []), (0, ["a"])):
                assert (await _append(backend, old, first, chunks)).status is AppendStatus.FENCED
            assert (await _append(backend, old, 1, [], end=_DONE)).status is AppendStatus.FENCED
            assert (await _append(backend, new, 1, ["b"])).status is AppendStatus.ACCEPTED
            assert _chunks(await backend.read("s", 0, _ENOUGH)) == ["a", "b"]

    async def test_finished_stream_is_not_taken_over(self, harness: BackendHarness) -> None:
        """Only a lost stream can be taken over."""
        async with harness.open() as backend:
            info = await _create(backend)
            await _append(backend, info, 0, [], end=_DONE)
            assert not (await backend.acquire("s", _claim(allow_lost=True))).is_publisher
            assert await _state(backend) is StreamState.DONE

    # --- retention

    async def test_ended_stream_is_readable_for_the_retention(self, harness: BackendHarness) -> None:
        """An ended stream is readable until its retention has passed; then its tombstone is described."""
        unit = harness.lease
        async with harness.open() as backend:
            info = await _create(backend, retention=unit * 2, tombstone=1000.0)
            await _append(backend, info, 0, ["a"], end=_DONE)
            await harness.advance(unit)
            assert _info(await backend.acquire("s", _claim())).is_readable
            await harness.advance(unit * 2)
            is_publisher, tombstone = await backend.acquire("s", _claim())
        assert tombstone is not None
        assert (is_publisher, tombstone.is_readable, tombstone.state) == (False, False, StreamState.DONE)
        assert tombstone.generation == info.generation

    async def test_id_is_free_after_the_tombstone(self, harness: BackendHarness) -> None:
        """When the tombstone has passed too, the stream is unknown, and its id free for a new generation."""
        unit = harness.lease
        async with harness.open() as backend:
            old = await _create(backend, retention=unit / 2, tombstone=unit / 2)
            await _append(backend, old, 0, ["a"], end=_DONE)
            await harness.advance(unit * 1.5)
            assert await backend.acquire("s", _claim(allow_new=False)) == Acquired(False, None)
            assert [info async for info in backend.scan()] == []
            new = await _create(backend)
            assert (new.generation != old.generation, new.length) == (True, 0)
            assert _chunks(await backend.read("s", 0, _ENOUGH)) == []

    async def test_readers_who_joined_can_finish(self, harness: BackendHarness) -> None:
        """Without any retention, entries can still be read for a while by those who joined before."""
        async with harness.open() as backend:
            info = await _create(backend, retention=0.0, tombstone=0.0)
            await _append(backend, info, 0, ["a"], end=_DONE)
            page = await backend.read("s", 0, _ENOUGH)
            assert _chunks(page) == ["a"]
            assert page is not None
            assert not page.info.is_readable

    async def test_lost_stream_is_kept_like_an_ended_one(self, harness: BackendHarness) -> None:
        """Retention and tombstone of a lost stream count from the end of its lease; past them it is not taken over."""
        unit = harness.lease
        async with harness.open() as backend:
            await _create(backend, lease=unit, retention=unit, tombstone=unit)
            await harness.advance(unit * 1.5)
            assert _info(await backend.acquire("s", _claim())).is_readable
            await harness.advance(unit)
            late = await backend.acquire("s", _claim(allow_lost=True))
            assert (late.is_publisher, _info(late).is_readable) == (False, False)
            await harness.advance(unit)
            assert (await backend.acquire("s", _claim())).is_publisher

    # --- read

    async def test_read_starts_at_the_entry_that_contains_the_chunk(self, harness: BackendHarness) -> None:
        """The first entry of a page contains the chunk that was asked for; at the length there is none."""
        async with harness.open() as backend:
            info = await _create(backend)
            await _append(backend, info, 0, ["a", "b", "c"])
            await _append(backend, info, 3, ["d"])
            await _append(backend, info, 4, ["e", "f"])
            firsts = [_firsts(await backend.read("s", start, _ENOUGH)) for start in range(7)]
            assert _firsts(await backend.read("s", 10**15, _ENOUGH)) == []
        assert firsts == [[0, 3, 4], [0, 3, 4], [0, 3, 4], [3, 4], [4], [4], []]

    async def test_pages_are_bounded(self, harness: BackendHarness) -> None:
        """A page ends when its payloads reach the size; page by page, every entry comes once, in order."""
        async with harness.open() as backend:
            info = await _create(backend)
            for index in range(150):
                await _append(backend, info, index, ["x" * 1000])
            firsts: list[int] = []
            while True:
                page = await backend.read("s", len(firsts), 10_000)
                assert page is not None
                if not page.entries:
                    break
                assert sum(len(entry.payload) for entry in page.entries) < 10_000 + 1100
                firsts += _firsts(page)
        assert firsts == list(range(150))

    async def test_first_entry_comes_however_large(self, harness: BackendHarness) -> None:
        """The first entry of a page is returned though it is larger than the page; none if nothing was asked for."""
        async with harness.open() as backend:
            info = await _create(backend)
            await _append(backend, info, 0, ["x" * 100_000])
            await _append(backend, info, 1, ["y"])
            assert _firsts(await backend.read("s", 0, 1)) == [0]
            assert _firsts(await backend.read("s", 0, 0)) == []

    async def test_read_of_unknown_stream(self, harness: BackendHarness) -> None:
        """Of a stream that is not there, there is nothing to read."""
        async with harness.open() as backend:
            assert await backend.read("s", 0, _ENOUGH) is None

    # --- subscribe

    async def test_appends_are_pushed(self, harness: BackendHarness) -> None:
        """Each append after the subscription is pushed, in order, once, with its end; a renewal is not."""
        async with harness.open() as backend, harness.open() as other:
            info = await _create(backend)
            await _append(backend, info, 0, ["before"])
            pushes = _Pushes()
            await other.subscribe("s", pushes)
            await _append(backend, info, 1, ["a", "b"])
            await _append(backend, info, 3, [])
            await _append(backend, info, 3, ["c"])
            await _append(backend, info, 3, ["c"])
            await _append(backend, info, 4, [], end=_DONE)
            await pushes.wait_for(3)
        assert [push and (push.generation, push.length, push.end) for push in pushes.received] == [
            (info.generation, 3, None),
            (info.generation, 4, None),
            (info.generation, 4, _DONE),
        ]
        entries = [push.entry for push in pushes.received if push and push.entry]
        assert [(entry.first, unpack(entry.payload, entry.count)) for entry in entries] == [(1, ["a", "b"]), (3, ["c"])]

    async def test_refused_appends_are_not_pushed(self, harness: BackendHarness) -> None:
        """What is not in the log is not pushed."""
        async with harness.open() as backend, harness.open() as other:
            info = await _create(backend)
            pushes = _Pushes()
            await other.subscribe("s", pushes)
            await _append(backend, info, 5, ["misplaced"])
            await backend.append([_make_append(info, 0, ["fenced"])._replace(epoch=9)])
            await _append(backend, info, 0, ["a"])
            await pushes.wait_for(1)
        assert [push and push.length for push in pushes.received] == [1]

    async def test_subscription_to_a_stream_that_is_not_there_yet(self, harness: BackendHarness) -> None:
        """The stream need not exist: the subscription hears what is appended later."""
        async with harness.open() as backend, harness.open() as other:
            pushes = _Pushes()
            await other.subscribe("s", pushes)
            await _append(backend, await _create(backend), 0, ["a"])
            await pushes.wait_for(1)

    async def test_deletion_is_pushed(self, harness: BackendHarness) -> None:
        """A deletion makes followers look."""
        async with harness.open() as backend, harness.open() as other:
            await _create(backend)
            pushes = _Pushes()
            await other.subscribe("s", pushes)
            await backend.delete("s")
            await pushes.wait_for(1)
        assert pushes.received == [None]

    async def test_nothing_is_pushed_after_unsubscribing(self, harness: BackendHarness) -> None:
        """After `unsubscribe`, the callback is not called; without a subscription it does nothing."""
        async with harness.open() as backend, harness.open() as other:
            info = await _create(backend)
            old, new = _Pushes(), _Pushes()
            await other.unsubscribe("s")
            await other.subscribe("s", old)
            await other.unsubscribe("s")
            await _append(backend, info, 0, ["a"])
            await other.subscribe("s", new)
            await _append(backend, info, 1, ["b"])
            await new.wait_for(1)
        assert old.received == []
        assert [push and push.length for push in new.received] == [2]

    # --- delete and scan

    async def test_deleted_stream_is_unknown(self, harness: BackendHarness) -> None:
        """Deletion forgets a stream, running or ended, and leaves no tombstone."""
        async with harness.open() as backend:
            for end in (None, _DONE):
                info = await _create(backend)
                await _append(backend, info, 0, ["a"], end=end)
                assert await backend.delete("s") is True
                assert await backend.delete("s") is False
                assert await backend.read("s", 0, _ENOUGH) is None
                assert await backend.acquire("s", _claim(allow_new=False)) == Acquired(False, None)

    async def test_scan_describes_each_stream_once(self, harness: BackendHarness) -> None:
        """Every stream is described once, as `read` describes it."""
        async with harness.open() as backend:
            for number in range(120):
                info = await _create(backend, f"s{number}")
                await _append(backend, info, 0, ["a"], end=_DONE if number % 2 else None)
            found = [info async for info in backend.scan()]
            assert sorted(info.stream_id for info in found) == sorted(f"s{number}" for number in range(120))
            for info in found[:5]:
                page = await backend.read(info.stream_id, 0, 0)
                assert page is not None
                assert page.info == info

    # --- the backend as a whole

    async def test_closing_twice(self, harness: BackendHarness) -> None:
        """Closing works twice."""
        async with harness.open() as backend:
            await backend.aclose()
            await backend.aclose()

    async def test_cancelled_calls_leave_the_backend_usable(self, harness: BackendHarness) -> None:
        """A cancelled call was carried out or not, never in part, and repeating it is safe."""
        async with harness.open() as backend:
            info = await _create(backend)
            for index in range(20):
                chunks = [f"{index}"] * 3
                for checkpoints in range(4):
                    await _cancel_after(checkpoints, backend.append([_make_append(info, index * 3, chunks)]))
                assert await _append(backend, info, index * 3, chunks) == Appended(AppendStatus.ACCEPTED, index * 3 + 3)
            page = await backend.read("s", 0, _ENOUGH)
        assert _chunks(page) == [f"{index}" for index in range(20) for _ in range(3)]


class _Pushes:
    """Collects what is pushed."""

    def __init__(self) -> None:
        self.received: list[Push | None] = []
        self._came = anyio.Event()

    def __call__(self, push: Push | None) -> None:
        self.received.append(push)
        self._came.set()

    async def wait_for(self, count: int) -> None:
        with anyio.fail_after(10):
            while len(self.received) < count:
                self._came = anyio.Event()
                await self._came.wait()


def _claim(token: str | None = None, **changes: Any) -> Claim:
    return Claim(token or secrets.token_hex(8), lease=60.0, retention=60.0, tombstone=60.0)._replace(**changes)


def _info(answer: Acquired) -> StreamInfo:
    assert answer.info is not None
    return answer.info


async def _create(backend: StreamBackend, stream_id: str = "s", **changes: Any) -> StreamInfo:
    answer = await backend.acquire(stream_id, _claim(**changes))
    assert answer.is_publisher
    return _info(answer)


def _make_append(info: StreamInfo, first: int, chunks: list[str], end: End | None = None) -> Append:
    payload = pack(chunks) if chunks else b""
    return Append(info.stream_id, info.generation, info.epoch, first, len(chunks), payload, end)


async def _append(
    backend: StreamBackend, info: StreamInfo, first: int, chunks: list[str], end: End | None = None
) -> Appended:
    (answer,) = await backend.append([_make_append(info, first, chunks, end)])
    return answer


async def _state(backend: StreamBackend) -> StreamState:
    page = await backend.read("s", 0, 0)
    assert page is not None
    return page.info.state


def _chunks(page: Page | None) -> list[str | bytes]:
    assert page is not None
    return [chunk for entry in page.entries for chunk in unpack(entry.payload, entry.count)]


def _firsts(page: Page | None) -> list[int]:
    assert page is not None
    return [entry.first for entry in page.entries]


async def _cancel_after(checkpoints: int, call: Any) -> None:
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await call

        tasks.start_soon(run)
        for _ in range(checkpoints):
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()

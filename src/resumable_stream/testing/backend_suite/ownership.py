"""Who may write a stream, and for how long it is kept."""

from __future__ import annotations

from contextlib import AsyncExitStack
from itertools import pairwise

import anyio

from ...abc import StreamBackend
from ...types import Acquired, AppendStatus, StreamState
from .harness import (
    DONE,
    ENOUGH,
    BackendHarness,
    append,
    chunks_of,
    create,
    info_of,
    make_append,
    make_claim,
    state_of,
)


class OwnershipTests:
    """Acquiring, leases and epochs, retention."""

    async def test_unknown_stream_is_created(self, harness: BackendHarness) -> None:
        """An unknown stream is created running, empty, with the token as generation, in epoch 1."""
        async with harness.open() as backend:
            is_publisher, info = await backend.acquire("s", make_claim("abc"))
        assert is_publisher
        assert info is not None
        assert (info.stream_id, info.generation, info.epoch) == ("s", "abc", 1)
        assert (info.state, info.length, info.is_readable) == (StreamState.RUNNING, 0, True)
        assert info.created_at > 0
        assert info.ended_at is None

    async def test_unknown_stream_is_not_created_unless_allowed(self, harness: BackendHarness) -> None:
        """Where the claim does not allow it, nothing is written."""
        async with harness.open() as backend:
            assert await backend.acquire("s", make_claim(allow_new=False)) == Acquired(False, None)
            assert await backend.read("s", 0, ENOUGH) is None
            assert (await backend.acquire("s", make_claim())).is_publisher

    async def test_exactly_one_of_many_callers_publishes(self, harness: BackendHarness) -> None:
        """However many callers race, exactly one is told that it is the publisher."""
        answers: list[Acquired] = []

        async def race(backend: StreamBackend) -> None:
            answers.append(await backend.acquire("s", make_claim()))

        async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
            backends = [await stack.enter_async_context(harness.open()) for _ in range(3)]
            for number in range(30):
                tasks.start_soon(race, backends[number % 3])
        assert [answer.is_publisher for answer in answers].count(True) == 1
        assert len({info_of(answer).generation for answer in answers}) == 1

    async def test_running_stream_is_left_as_it_is(self, harness: BackendHarness) -> None:
        """A stream that runs is described to others and not changed, also for one who may take over a lost one."""
        async with harness.open() as backend:
            first = await backend.acquire("s", make_claim())
            second = await backend.acquire("s", make_claim(allow_lost=True))
        assert second == Acquired(False, first.info)

    async def test_repeated_claim_is_answered_alike(self, harness: BackendHarness) -> None:
        """A claim repeated with the same token is answered alike: the first reply may have been lost."""
        async with harness.open() as backend:
            claim = make_claim()
            first = await backend.acquire("s", claim)
            assert await backend.acquire("s", claim) == first

    async def test_streams_are_apart(self, harness: BackendHarness) -> None:
        """One stream's chunks, end and deletion do not touch another's, however alike the ids are."""
        ids = ["a", "a:record", "a:", "A", "a-1", "a.1", "1", "a" * 256]
        async with harness.open() as backend:
            for stream_id in ids:
                info = await create(backend, stream_id)
                await append(backend, info, 0, [stream_id])
            await backend.delete("a")
            for stream_id in ids[1:]:
                assert chunks_of(await backend.read(stream_id, 0, ENOUGH)) == [stream_id]

    async def test_silent_publisher_is_lost(self, harness: BackendHarness) -> None:
        """A stream whose lease has lapsed is lost; what it logged can be read."""
        async with harness.open() as backend, harness.open() as other:
            info = await create(backend, lease=harness.lease)
            await append(backend, info, 0, ["a"])
            assert await state_of(other) is StreamState.RUNNING
            await harness.advance(harness.lease * 1.5)
            assert await state_of(other) is StreamState.LOST
            assert chunks_of(await other.read("s", 0, ENOUGH)) == ["a"]

    async def test_rest_of_the_lease_is_told(self, harness: BackendHarness) -> None:
        """A description says how long the lease still lasts, and for how long a lost stream has been lost."""
        unit = harness.lease
        async with harness.open() as backend:
            info = await create(backend, lease=unit)
            assert unit / 2 < info.lease_left <= unit
            await harness.advance(unit * 2)
            lost = info_of(await backend.acquire("s", make_claim()))
            assert -unit * 2 < lost.lease_left < 0
            done = await create(backend, "done")
            await append(backend, done, 0, [], end=DONE)
            assert info_of(await backend.acquire("done", make_claim())).lease_left == 0

    async def test_start_of_the_epoch_is_told(self, harness: BackendHarness) -> None:
        """A description says how much was logged when the newest epoch began."""
        async with harness.open() as backend:
            info = await create(backend, lease=harness.lease)
            assert info.epoch_start == 0
            await append(backend, info, 0, ["a", "b"])
            await harness.advance(harness.lease * 1.5)
            new = info_of(await backend.acquire("s", make_claim(allow_lost=True)))
            assert (new.epoch, new.epoch_start) == (2, 2)
            await append(backend, new, 2, ["c"])
            assert info_of(await backend.acquire("s", make_claim())).epoch_start == 2

    async def test_append_renews_the_lease(self, harness: BackendHarness) -> None:
        """Each append renews the lease, one without chunks too."""
        async with harness.open() as backend:
            info = await create(backend, lease=harness.lease)
            for first, chunks in ((0, ["a"]), (1, []), (1, ["b"]), (2, [])):
                await harness.advance(harness.lease * 0.6)
                assert (await append(backend, info, first, chunks)).status is AppendStatus.ACCEPTED
            assert await state_of(backend) is StreamState.RUNNING

    async def test_publisher_without_lease_cannot_append(self, harness: BackendHarness) -> None:
        """An owner whose lease has lapsed is refused, chunks and end and renewal, though nobody took over."""
        async with harness.open() as backend:
            info = await create(backend, lease=harness.lease)
            await harness.advance(harness.lease * 1.5)
            for append in (make_append(info, 0, ["x"]), make_append(info, 0, [], DONE), make_append(info, 0, [])):
                assert [answer.status for answer in await backend.append([append])] == [AppendStatus.FENCED]
            assert await state_of(backend) is StreamState.LOST

    async def test_lost_stream_is_left_unless_allowed(self, harness: BackendHarness) -> None:
        """A claim that does not allow it leaves a lost stream as it is."""
        async with harness.open() as backend:
            await create(backend, lease=harness.lease)
            await harness.advance(harness.lease * 1.5)
            answer = await backend.acquire("s", make_claim())
        assert not answer.is_publisher
        assert info_of(answer).state is StreamState.LOST

    async def test_lost_stream_is_taken_over(self, harness: BackendHarness) -> None:
        """A lost stream runs again under the next epoch, with its chunks and its generation, and a new lease."""
        async with harness.open() as backend, harness.open() as other:
            old = await create(backend, lease=harness.lease)
            await append(backend, old, 0, ["a"])
            await harness.advance(harness.lease * 1.5)
            claim = make_claim(allow_lost=True)
            answer = await other.acquire("s", claim)
            assert await other.acquire("s", claim) == answer
            new = info_of(answer)
            assert answer.is_publisher
            assert (new.generation, new.epoch, new.state, new.length) == (old.generation, 2, StreamState.RUNNING, 1)
            assert (await append(other, new, 1, ["b"])).status is AppendStatus.ACCEPTED
            assert chunks_of(await backend.read("s", 0, ENOUGH)) == ["a", "b"]

    async def test_lost_stream_of_an_epoch_is_taken_over(self, harness: BackendHarness) -> None:
        """A claim for a certain epoch takes over only what was lost in that epoch."""
        async with harness.open() as backend:
            await create(backend, lease=harness.lease)
            await harness.advance(harness.lease * 1.5)
            claim = make_claim(allow_lost=True, lease=harness.lease)
            assert not (await backend.acquire("s", claim._replace(lost_epoch=2))).is_publisher
            second = await backend.acquire("s", claim._replace(lost_epoch=1))
            assert second.is_publisher
            assert await backend.acquire("s", claim._replace(lost_epoch=1)) == second
            await harness.advance(harness.lease * 1.5)
            assert not (await backend.acquire("s", make_claim(allow_lost=True, lost_epoch=1))).is_publisher
            third = await backend.acquire("s", make_claim(allow_lost=True, lost_epoch=2))
            assert (third.is_publisher, info_of(third).epoch) == (True, 3)

    async def test_takeovers_are_remembered(self, harness: BackendHarness) -> None:
        """A stream says when it was taken over, and what was logged then: the newest 20 times, and none at first."""
        short = harness.lease / 6
        async with harness.open() as backend:
            info = await create(backend, lease=harness.lease)
            assert info.takeovers == ()
            await append(backend, info, 0, ["a"])
            await harness.advance(harness.lease * 1.5)
            for epoch in range(2, 24):
                has_time = epoch > 20  # to log something before its lease lapses
                lease = harness.lease if has_time else short
                info = info_of(await backend.acquire("s", make_claim(allow_lost=True, lease=lease)))
                length = max(epoch - 20, 1)
                assert info.takeovers[-1][:2] == (epoch, length)
                if has_time:
                    await append(backend, info, length, ["b"])
                await harness.advance(lease * 1.5)
            page = await backend.read("s", 0, ENOUGH)
            assert page is not None
            assert page.info.takeovers == info.takeovers
            await backend.delete("s")
            assert (await create(backend)).takeovers == ()
        assert [start.epoch for start in info.takeovers] == list(range(4, 24))
        times = [info.created_at, *(start.at for start in info.takeovers)]
        assert all(later - earlier >= short for earlier, later in pairwise(times))
        assert [start.at <= page.entries[start.length].at for start in info.takeovers] == [True] * 20

    async def test_exactly_one_takes_over(self, harness: BackendHarness) -> None:
        """However many race for a lost stream, exactly one gets the next epoch."""
        answers: list[Acquired] = []

        async def race(backend: StreamBackend) -> None:
            answers.append(await backend.acquire("s", make_claim(allow_lost=True)))

        async with harness.open() as backend, harness.open() as other:
            await create(backend, lease=harness.lease)
            await harness.advance(harness.lease * 1.5)
            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    tasks.start_soon(race, (backend, other)[number % 2])
        assert [answer.is_publisher for answer in answers].count(True) == 1
        assert {info_of(answer).epoch for answer in answers} == {2}

    async def test_older_epoch_cannot_append(self, harness: BackendHarness) -> None:
        """The old owner comes back and is refused, where its append would fit and where it was the last one."""
        async with harness.open() as backend:
            old = await create(backend, lease=harness.lease)
            await append(backend, old, 0, ["a"])
            await harness.advance(harness.lease * 1.5)
            new = info_of(await backend.acquire("s", make_claim(allow_lost=True)))
            for first, chunks in ((1, ["x"]), (1, []), (0, ["a"])):
                assert (await append(backend, old, first, chunks)).status is AppendStatus.FENCED
            assert (await append(backend, old, 1, [], end=DONE)).status is AppendStatus.FENCED
            assert (await append(backend, new, 1, ["b"])).status is AppendStatus.ACCEPTED
            assert chunks_of(await backend.read("s", 0, ENOUGH)) == ["a", "b"]

    async def test_finished_stream_is_not_taken_over(self, harness: BackendHarness) -> None:
        """Only a lost stream can be taken over."""
        async with harness.open() as backend:
            info = await create(backend)
            await append(backend, info, 0, [], end=DONE)
            assert not (await backend.acquire("s", make_claim(allow_lost=True))).is_publisher
            assert await state_of(backend) is StreamState.DONE

    async def test_ended_stream_is_readable_for_the_retention(self, harness: BackendHarness) -> None:
        """An ended stream is readable until its retention has passed; then its tombstone is described."""
        unit = harness.lease
        async with harness.open() as backend:
            info = await create(backend, retention=unit * 2, tombstone=1000.0)
            await append(backend, info, 0, ["a"], end=DONE)
            await harness.advance(unit)
            assert info_of(await backend.acquire("s", make_claim())).is_readable
            await harness.advance(unit * 2)
            is_publisher, tombstone = await backend.acquire("s", make_claim())
        assert tombstone is not None
        assert (is_publisher, tombstone.is_readable, tombstone.state) == (False, False, StreamState.DONE)
        assert tombstone.generation == info.generation

    async def test_id_is_free_after_the_tombstone(self, harness: BackendHarness) -> None:
        """When the tombstone has passed too, the stream is unknown, and its id free for a new generation."""
        unit = harness.lease
        async with harness.open() as backend:
            old = await create(backend, retention=unit / 2, tombstone=unit / 2)
            await append(backend, old, 0, ["a"], end=DONE)
            await harness.advance(unit * 1.5)
            assert await backend.acquire("s", make_claim(allow_new=False)) == Acquired(False, None)
            assert [info async for info in backend.scan()] == []
            new = await create(backend)
            assert (new.generation != old.generation, new.length) == (True, 0)
            assert chunks_of(await backend.read("s", 0, ENOUGH)) == []

    async def test_readers_who_joined_can_finish(self, harness: BackendHarness) -> None:
        """Without any retention, entries can still be read for a while by those who joined before."""
        async with harness.open() as backend:
            info = await create(backend, retention=0.0, tombstone=0.0)
            await append(backend, info, 0, ["a"], end=DONE)
            page = await backend.read("s", 0, ENOUGH)
            assert chunks_of(page) == ["a"]
            assert page is not None
            assert not page.info.is_readable

    async def test_lost_stream_is_kept_like_an_ended_one(self, harness: BackendHarness) -> None:
        """Retention and tombstone of a lost stream count from the end of its lease; past them it is not taken over."""
        unit = harness.lease
        async with harness.open() as backend:
            await create(backend, lease=unit, retention=unit, tombstone=unit)
            await harness.advance(unit * 1.5)
            assert info_of(await backend.acquire("s", make_claim())).is_readable
            await harness.advance(unit)
            late = await backend.acquire("s", make_claim(allow_lost=True))
            assert (late.is_publisher, info_of(late).is_readable) == (False, False)
            await harness.advance(unit)
            assert (await backend.acquire("s", make_claim())).is_publisher

"""Stops, and what publishers are told."""

from __future__ import annotations

import anyio

from ...types import AppendStatus, End, StreamState
from .harness import (
    DONE,
    ENOUGH,
    BackendHarness,
    Pushes,
    append,
    chunks_of,
    create,
    info_of,
    make_claim,
    state_of,
)


class Notices:
    """Collects the ids that a backend is told."""

    def __init__(self) -> None:
        self.received: list[str | None] = []
        self._came = anyio.Event()

    def __call__(self, stream_id: str | None) -> None:
        """Take a notice."""
        self.received.append(stream_id)
        self._came.set()

    async def wait_for(self, stream_id: str) -> None:
        """Return when there was one."""
        with anyio.fail_after(10):
            while stream_id not in self.received:
                self._came = anyio.Event()
                await self._came.wait()


class StoppingTests:
    """Asking for a stop, and notices."""

    async def test_stop_is_told_with_each_append(self, harness: BackendHarness) -> None:
        """A stop is recorded, changes nothing by itself, and is told by every answer, also to repeated appends."""
        async with harness.open() as backend, harness.open() as other:
            info = await create(backend)
            assert (await append(backend, info, 0, ["a"])).stop_reason == ""
            answer = await other.request_stop("s", "enough")
            assert answer is not None
            assert (answer.state, answer.length, answer.generation) == (StreamState.RUNNING, 1, info.generation)
            for first, chunks in ((0, ["a"]), (1, ["b"]), (2, [])):
                told = await append(backend, info, first, chunks)
                assert (told.status, told.stop_reason) == (AppendStatus.ACCEPTED, "enough")
            assert await state_of(other) is StreamState.RUNNING

    async def test_first_stop_is_kept(self, harness: BackendHarness) -> None:
        """Of several stops, the first one's reason is kept, whatever is in it."""
        async with harness.open() as backend:
            info = await create(backend)
            for reason in ('"first"\n{}\x00ü', "second"):
                await backend.request_stop("s", reason)
            assert (await append(backend, info, 0, [])).stop_reason == '"first"\n{}\x00ü'

    async def test_stop_of_what_does_not_run(self, harness: BackendHarness) -> None:
        """An unknown stream stays unknown, and one that ended stays as it is."""
        async with harness.open() as backend:
            assert await backend.request_stop("s", "why") is None
            assert await backend.acquire("s", make_claim(allow_new=False)) == (False, None)
            info = await create(backend)
            await append(backend, info, 0, ["a"], end=DONE)
            before = await backend.read("s", 0, ENOUGH)
            answer = await backend.request_stop("s", "why")
            assert before is not None
            assert answer == before.info
            assert await backend.read("s", 0, ENOUGH) == before

    async def test_stop_of_what_is_forgotten(self, harness: BackendHarness) -> None:
        """When retention and tombstone have passed, the stream is unknown."""
        async with harness.open() as backend:
            info = await create(backend, retention=0.0, tombstone=0.0)
            await append(backend, info, 0, ["a"], end=DONE)
            assert await backend.request_stop("s", "why") is None

    async def test_stopped_stream_without_publisher(self, harness: BackendHarness) -> None:
        """A stream that was asked to stop and whose lease lapses has stopped; it is not taken over."""
        async with harness.open() as backend:
            info = await create(backend, lease=harness.lease)
            await append(backend, info, 0, ["a"])
            await backend.request_stop("s", "why")
            await harness.advance(harness.lease * 1.5)
            answer = await backend.acquire("s", make_claim(allow_lost=True))
            stopped = info_of(answer)
            assert not answer.is_publisher
            assert stopped.end == End(StreamState.STOPPED, reason="why")
            assert stopped.ended_at is not None
            assert stopped.lease_left == 0
            assert (await append(backend, info, 1, ["b"])).status is AppendStatus.FENCED
            assert chunks_of(await backend.read("s", 0, ENOUGH)) == ["a"]

    async def test_stop_of_a_lost_stream(self, harness: BackendHarness) -> None:
        """A lost stream that is asked to stop has stopped, and is not taken over."""
        async with harness.open() as backend:
            await create(backend, lease=harness.lease)
            await harness.advance(harness.lease * 1.5)
            answer = await backend.request_stop("s", "why")
            assert answer is not None
            assert answer.end == End(StreamState.STOPPED, reason="why")
            assert await state_of(backend) is StreamState.STOPPED
            assert not (await backend.acquire("s", make_claim(allow_lost=True))).is_publisher

    async def test_stop_after_the_retention_of_a_lost_stream(self, harness: BackendHarness) -> None:
        """A lost stream that cannot be read any more stays lost."""
        unit = harness.lease
        async with harness.open() as backend:
            await create(backend, lease=unit, retention=unit / 2, tombstone=1000.0)
            await harness.advance(unit * 2)
            answer = await backend.request_stop("s", "why")
            assert answer is not None
            assert answer.state is StreamState.LOST

    async def test_stop_is_noticed(self, harness: BackendHarness) -> None:
        """A stop is noticed by the backends of all processes, the publisher's among them."""
        here, there = Notices(), Notices()
        async with harness.open(here) as backend, harness.open(there) as other:
            await create(backend)
            await other.request_stop("s", "why")
            await here.wait_for("s")
            await there.wait_for("s")

    async def test_takeover_is_noticed_and_pushed(self, harness: BackendHarness) -> None:
        """A takeover is noticed by the old publisher, and makes followers look."""
        notices, pushes = Notices(), Pushes()
        async with harness.open(notices) as backend, harness.open() as other:
            await create(backend, lease=harness.lease)
            await other.subscribe("s", pushes)
            await harness.advance(harness.lease * 1.5)
            await other.acquire("s", make_claim(allow_lost=True))
            await notices.wait_for("s")
            await pushes.wait_for(1)
        assert pushes.received == [None]

    async def test_deletion_is_noticed(self, harness: BackendHarness) -> None:
        """A deletion is noticed by the publisher."""
        notices = Notices()
        async with harness.open(notices) as backend, harness.open() as other:
            await create(backend)
            await other.delete("s")
            await notices.wait_for("s")

    async def test_nothing_is_noticed_after_closing(self, harness: BackendHarness) -> None:
        """A closed backend notices nothing."""
        notices = Notices()
        async with harness.open() as backend:
            async with harness.open(notices):
                pass
            await create(backend)
            await backend.request_stop("s", "why")
        assert notices.received == []

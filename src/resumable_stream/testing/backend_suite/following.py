"""What followers hear."""

from __future__ import annotations

from ..._core.packing import unpack
from .harness import (
    DONE,
    BackendHarness,
    Pushes,
    append,
    create,
    make_append,
)


class FollowingTests:
    """Subscriptions and pushes."""

    async def test_appends_are_pushed(self, harness: BackendHarness) -> None:
        """Each append after the subscription is pushed, in order, once, with its end; a renewal is not."""
        async with harness.open() as backend, harness.open() as other:
            info = await create(backend)
            await append(backend, info, 0, ["before"])
            pushes = Pushes()
            await other.subscribe("s", pushes)
            await append(backend, info, 1, ["a", "b"])
            await append(backend, info, 3, [])
            await append(backend, info, 3, ["c"])
            await append(backend, info, 3, ["c"])
            await append(backend, info, 4, [], end=DONE)
            await pushes.wait_for(3)
        assert [push and (push.generation, push.epoch, push.length, push.end) for push in pushes.received] == [
            (info.generation, 1, 3, None),
            (info.generation, 1, 4, None),
            (info.generation, 1, 4, DONE),
        ]
        entries = [push.entry for push in pushes.received if push and push.entry]
        assert [(entry.first, unpack(entry.payload, entry.count)) for entry in entries] == [(1, ["a", "b"]), (3, ["c"])]

    async def test_refused_appends_are_not_pushed(self, harness: BackendHarness) -> None:
        """What is not in the log is not pushed."""
        async with harness.open() as backend, harness.open() as other:
            info = await create(backend)
            pushes = Pushes()
            await other.subscribe("s", pushes)
            await append(backend, info, 5, ["misplaced"])
            await backend.append([make_append(info, 0, ["fenced"])._replace(epoch=9)])
            await append(backend, info, 0, ["a"])
            await pushes.wait_for(1)
        assert [push and push.length for push in pushes.received] == [1]

    async def test_subscription_to_a_stream_that_is_not_there_yet(self, harness: BackendHarness) -> None:
        """The stream need not exist: the subscription hears what is appended later."""
        async with harness.open() as backend, harness.open() as other:
            pushes = Pushes()
            await other.subscribe("s", pushes)
            await append(backend, await create(backend), 0, ["a"])
            await pushes.wait_for(1)

    async def test_deletion_is_pushed(self, harness: BackendHarness) -> None:
        """A deletion makes followers look."""
        async with harness.open() as backend, harness.open() as other:
            await create(backend)
            pushes = Pushes()
            await other.subscribe("s", pushes)
            await backend.delete("s")
            await pushes.wait_for(1)
        assert pushes.received == [None]

    async def test_nothing_is_pushed_after_unsubscribing(self, harness: BackendHarness) -> None:
        """After `unsubscribe`, the callback is not called; without a subscription it does nothing."""
        async with harness.open() as backend, harness.open() as other:
            info = await create(backend)
            old, new = Pushes(), Pushes()
            await other.unsubscribe("s")
            await other.subscribe("s", old)
            await other.unsubscribe("s")
            await append(backend, info, 0, ["a"])
            await other.subscribe("s", new)
            await append(backend, info, 1, ["b"])
            await new.wait_for(1)
        assert old.received == []
        assert [push and push.length for push in new.received] == [2]

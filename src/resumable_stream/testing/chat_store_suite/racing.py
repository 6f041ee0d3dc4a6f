"""Many at the same time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import anyio
from anyio.lowlevel import checkpoint

from ...abc import ChatStore
from ...chat_types import ChatChange, ChatInfo
from ...exceptions import ChatChangedError, ChatExistsError
from .harness import ChatStoreHarness, active_in, create, ids_of, load, message, put, stream

_TASKS = 20


async def _race(count: int, run: Callable[[int], Coroutine[Any, Any, None]]) -> None:
    async with anyio.create_task_group() as tasks:
        for number in range(count):
            tasks.start_soon(run, number)


async def _cancel_after(checkpoints: int, call: Coroutine[Any, Any, object]) -> None:
    """Start a call, and cancel it after so many steps of the event loop."""
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            await call

        tasks.start_soon(run)
        for _ in range(checkpoints):
            await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()


class RacingTests:
    """Callers who get in each other's way, or go away."""

    async def test_racing_creates(self, harness: ChatStoreHarness) -> None:
        """Of all who make the same chat at the same time, one succeeds."""
        made: list[ChatInfo] = []
        refused: list[int] = []
        async with harness.make_store() as store, harness.make_store() as other:

            async def make(number: int) -> None:
                try:
                    made.append(await (store, other)[number % 2].create("c", f"o{number % 3}", {"by": number}))
                except ChatExistsError:
                    refused.append(number)

            await _race(_TASKS, make)
            assert (len(made), len(refused)) == (1, _TASKS - 1)
            assert await store.describe("c") == made[0]
            owners = [owner for owner in ("o0", "o1", "o2") if (await store.list(owner, 9, None)).chats]
            assert owners == [made[0].owner]

    async def test_racing_appends(self, harness: ChatStoreHarness) -> None:
        """Of many messages that are put at the same time none is lost, and each change has a version of its own."""
        versions: list[int] = []
        async with harness.make_store() as store, harness.make_store() as other:
            await create(store)

            async def write(number: int) -> None:
                info = await (store, other)[number % 2].save("c", put(f"m{number}"))
                versions.append(info.version)

            await _race(_TASKS, write)
            assert sorted(versions) == list(range(2, _TASKS + 2))
            assert sorted(await ids_of(store)) == sorted(f"m{number}" for number in range(_TASKS))
            assert await ids_of(store) == await ids_of(other)

    async def test_racing_changes_of_one_version(self, harness: ChatStoreHarness) -> None:
        """Of all who change the same version at the same time, one succeeds, and nothing is left of the others."""
        begun: list[str] = []
        async with harness.make_store() as store, harness.make_store() as other:
            await create(store)

            async def begin(number: int) -> None:
                change = ChatChange(put=[message(f"m{number}")], begin=stream(f"s{number}"), if_version=1)
                try:
                    await (store, other)[number % 2].save("c", change)
                except ChatChangedError:
                    assert await store.find_by_stream(f"s{number}") is None
                else:
                    begun.append(f"s{number}")

            await _race(_TASKS, begin)
            assert len(begun) == 1
            assert await active_in(store) == begun[0]
            assert [record.stream_id for record in await store.list_streams("c")] == begun
            assert await ids_of(store) == [f"m{begun[0][1:]}"]
            assert await store.find_by_stream(begun[0]) == await store.describe("c")

    async def test_racing_counters(self, harness: ChatStoreHarness) -> None:
        """Who is refused, loads again and repeats loses nothing, and undoes nothing of others."""
        async with harness.make_store() as store, harness.make_store() as other:
            await store.create("c", "o", {"count": 0})

            async def count(number: int) -> None:
                mine = (store, other)[number % 2]
                while True:
                    info = (await load(mine)).info
                    counted = ChatChange(metadata={"count": info.metadata["count"] + 1}, if_version=info.version)
                    try:
                        await mine.save("c", counted)
                    except ChatChangedError:
                        continue
                    return

            await _race(8, count)
            assert (await load(store)).info.metadata == {"count": 8}

    async def test_no_reader_sees_half_of_a_change(self, harness: ChatStoreHarness) -> None:
        """Whoever loads a chat sees each change whole or not at all."""
        is_over = False
        async with harness.make_store() as store, harness.make_store() as other:
            await create(store)
            await self._write(store, 0)

            async def read(_: int) -> None:
                while not is_over:
                    await checkpoint()  # a store's load need not wait for anything
                    chat = await load(other)
                    number = chat.info.metadata["number"]
                    assert chat.info.version == number + 2
                    assert chat.messages == [message("a", str(number)), message(f"m{number}")]

            async with anyio.create_task_group() as tasks:
                for number in range(3):
                    tasks.start_soon(read, number)
                for number in range(1, 40):
                    await self._write(store, number)
                is_over = True

    async def _write(self, store: ChatStore, number: int) -> None:
        change = ChatChange(
            drop_after="a", put=[message("a", str(number)), message(f"m{number}")], metadata={"number": number}
        )
        await store.save("c", change)

    async def test_racing_deletes(self, harness: ChatStoreHarness) -> None:
        """Of all who delete the same chat at the same time, one is given its streams."""
        given: list[list[str]] = []
        async with harness.make_store() as store, harness.make_store() as other:
            await create(store)
            await store.save("c", ChatChange(begin=stream("s")))

            async def delete(number: int) -> None:
                streams = await (store, other)[number % 2].delete("c")
                if streams is not None:
                    given.append([record.stream_id for record in streams])

            await _race(_TASKS, delete)
            assert given == [["s"]]

    async def test_many_chats_at_once(self, harness: ChatStoreHarness) -> None:
        """Calls about many chats at once do not get in each other's way."""
        async with harness.make_store() as store:

            async def run(number: int) -> None:
                chat_id = f"c{number}"
                await create(store, chat_id)
                info = await store.save(chat_id, ChatChange(put=[message("m", chat_id)], begin=stream(f"s{number}")))
                assert (await load(store, chat_id)).messages == [message("m", chat_id)]
                assert await store.find_by_stream(f"s{number}") == info

            await _race(_TASKS, run)
            assert len((await store.list("o", _TASKS, None)).chats) == _TASKS

    async def test_cancelled_saves(self, harness: ChatStoreHarness) -> None:
        """A cancelled change was made or not, and never in part; the store goes on, and nothing is made later."""
        async with harness.make_store() as store, harness.make_store() as other:
            await create(store)
            for number in range(24):
                before = await load(store)
                change = ChatChange(
                    put=[message(f"m{number}"), message(f"n{number}")],
                    begin=stream(f"s{number}"),
                    metadata={"number": number},
                )
                await _cancel_after(number % 12, store.save("c", change))
                after = await load(other)
                made = after.info.version - before.info.version
                assert made in {0, 1}
                assert len(after.messages) == len(before.messages) + 2 * made
                is_found = await other.find_by_stream(f"s{number}") is not None
                assert is_found == (after.info.metadata == {"number": number}) == bool(made)
                info = await store.save("c", ChatChange(put=[message("last", str(number))]))
                assert info.version == after.info.version + 1

"""What a change does, and when it is not made."""

from __future__ import annotations

from random import Random

from ...abc import ChatStore
from ...chat.changes import apply_change
from ...chat_types import ChatChange, StreamRecord
from ...exceptions import ChatChangedError
from .harness import ChatStoreHarness, active_in, create, error_of, ids_of, load, message, put, stream


async def _assert_refused(store: ChatStore, change: ChatChange) -> None:
    """Fail unless a change is refused, and changes nothing."""
    before = await store.load("c"), await store.list_streams("c")
    assert (await error_of(store.save("c", change), ChatChangedError)).chat_id == "c"
    assert (await store.load("c"), await store.list_streams("c")) == before


class ChangingTests:
    """One change after the other."""

    async def test_messages_are_added_or_replaced(self, harness: ChatStoreHarness) -> None:
        """A message is added at the end; one whose id is there already takes the place of that one."""
        async with harness.make_store() as store:
            await create(store)
            await store.save("c", put("a", "b"))
            await store.save("c", put("c"))
            await store.save("c", ChatChange(put=[message("d"), message("b", "new"), message("e")]))
            assert await ids_of(store) == ["a", "b", "c", "d", "e"]
            assert (await load(store)).messages[1] == message("b", "new")

    async def test_one_id_twice_in_a_change(self, harness: ChatStoreHarness) -> None:
        """Of two messages with one id, the later takes the place of the earlier."""
        async with harness.make_store() as store:
            await create(store)
            await store.save("c", ChatChange(put=[message("a", "1"), message("b"), message("a", "2")]))
            assert (await load(store)).messages == [message("a", "2"), message("b")]

    async def test_messages_are_forgotten(self, harness: ChatStoreHarness) -> None:
        """The messages after one are forgotten; if that one is not there, none is."""
        async with harness.make_store() as store:
            await create(store)
            await store.save("c", put("a", "b", "c", "d"))
            for unknown in ("x", ""):
                await store.save("c", ChatChange(drop_after=unknown))
                assert await ids_of(store) == ["a", "b", "c", "d"]
            for last, left in (("d", ["a", "b", "c", "d"]), ("b", ["a", "b"]), ("a", ["a"])):
                await store.save("c", ChatChange(drop_after=last))
                assert await ids_of(store) == left
            await store.save("c", put("d", "b"))
            assert await ids_of(store) == ["a", "d", "b"]

    async def test_forgetting_comes_before_putting(self, harness: ChatStoreHarness) -> None:
        """Messages are forgotten first, and put then: one that was forgotten is added at the end."""
        async with harness.make_store() as store:
            await create(store)
            await store.save("c", put("a", "b", "c"))
            await store.save("c", ChatChange(drop_after="a", put=[message("c"), message("b"), message("a", "new")]))
            assert await ids_of(store) == ["a", "c", "b"]
            await store.save("c", ChatChange(drop_after="x", put=[message("x")]))
            assert await ids_of(store) == ["a", "c", "b", "x"]

    async def test_stream_is_recorded(self, harness: ChatStoreHarness) -> None:
        """A stream that begins is recorded with the chat's id and the store's time, and is the active one."""
        async with harness.make_store() as store, harness.make_store() as other:
            created = await create(store)
            first = await store.save("c", ChatChange(begin=stream("s2", "m")))
            second = await store.save("c", ChatChange(begin=stream("s1")))
            for info, expected in ((first, ("s2", "c", "m")), (second, ("s1", "c", ""))):
                assert info.active_stream is not None
                stream_id, chat_id, created_at, replies_to = info.active_stream
                assert (stream_id, chat_id, replies_to) == expected
                assert created_at >= created.created_at
            assert await other.describe("c") == second
            assert list(await other.list_streams("c")) == [first.active_stream, second.active_stream]

    async def test_recorded_stream_begins_again(self, harness: ChatStoreHarness) -> None:
        """A stream that is recorded already is active again, and its record stays as it is."""
        async with harness.make_store() as store:
            await create(store)
            first = await store.save("c", ChatChange(begin=stream("s1", "m")))
            second = await store.save("c", ChatChange(begin=stream("s2")))
            again = await store.save("c", ChatChange(begin=stream("s1", "other")))
            assert again.active_stream == first.active_stream
            assert list(await store.list_streams("c")) == [first.active_stream, second.active_stream]
            assert await store.find_by_stream("s1") == again

    async def test_active_stream_is_cleared(self, harness: ChatStoreHarness) -> None:
        """No stream is the active one once it is cleared; its record stays, even if it began in the same change."""
        async with harness.make_store() as store:
            await create(store)
            await store.save("c", ChatChange(begin=stream("s1")))
            assert await active_in(store) == "s1"
            assert (await store.save("c", ChatChange(clear_active=True))).active_stream is None
            await store.save("c", ChatChange(begin=stream("s2"), clear_active=True))
            assert await active_in(store) is None
            assert [record.stream_id for record in await store.list_streams("c")] == ["s1", "s2"]
            assert (await store.save("c", ChatChange(clear_active=True))).active_stream is None

    async def test_metadata_is_replaced(self, harness: ChatStoreHarness) -> None:
        """Metadata is replaced as a whole, and stays if a change has none."""
        async with harness.make_store() as store:
            await store.create("c", "o", {"a": 1})
            assert (await store.save("c", ChatChange(metadata={"b": 2}))).metadata == {"b": 2}
            assert (await store.save("c", put("a"))).metadata == {"b": 2}
            assert (await store.save("c", ChatChange(metadata={}))).metadata == {}

    async def test_version_grows_by_one(self, harness: ChatStoreHarness) -> None:
        """Each change makes the version grow by one and sets the time, whatever it changes; nothing else does."""
        async with harness.make_store() as store:
            info = await create(store)
            for change in (ChatChange(), put("a"), put("a", "b"), ChatChange(begin=stream("s")), ChatChange()):
                changed = await store.save("c", change)
                assert changed.version == info.version + 1
                assert changed.updated_at >= info.updated_at
                assert (changed.created_at, changed.owner) == (info.created_at, "o")
                assert await store.describe("c") == (await load(store)).info == changed
                info = changed

    async def test_stale_version_is_refused(self, harness: ChatStoreHarness) -> None:
        """A change of another version than there is, is refused, and nothing of it is made."""
        change = ChatChange(
            drop_after="a", put=[message("c")], begin=stream("new"), clear_active=True, metadata={"x": 1}
        )
        async with harness.make_store() as store:
            await create(store)
            await store.save("c", ChatChange(put=[message("a"), message("b")], begin=stream("s")))
            for version in (1, 3, 0, -1):
                await _assert_refused(store, ChatChange(**(vars(change) | {"if_version": version})))
            assert await store.find_by_stream("new") is None
            assert (await store.save("c", ChatChange(if_version=2))).version == 3

    async def test_stale_stream_is_refused(self, harness: ChatStoreHarness) -> None:
        """A change on the condition that a stream is active is refused if it is not: a new one is left alone."""
        async with harness.make_store() as store:
            await create(store)
            await _assert_refused(store, ChatChange(clear_active=True, if_active="s1"))
            await store.save("c", ChatChange(begin=stream("s1")))
            await store.save("c", ChatChange(begin=stream("s2")))
            for stale in ("s1", "s", "S2", ""):
                await _assert_refused(store, ChatChange(put=[message("a")], clear_active=True, if_active=stale))
            assert await active_in(store) == "s2"
            await store.save("c", ChatChange(put=[message("a")], clear_active=True, if_active="s2"))
            await _assert_refused(store, ChatChange(clear_active=True, if_active="s2"))
            assert await ids_of(store) == ["a"]

    async def test_other_owner_is_refused(self, harness: ChatStoreHarness) -> None:
        """A change of a chat of one owner is refused if the chat is another one's."""
        async with harness.make_store() as store:
            info = await create(store)
            for other in ("", info.owner + "x", info.owner.upper()):
                await _assert_refused(store, ChatChange(put=[message("a")], if_owner=other))
            await store.save("c", ChatChange(put=[message("a")], if_owner=info.owner))
            assert await ids_of(store) == ["a"]

    async def test_both_conditions_have_to_hold(self, harness: ChatStoreHarness) -> None:
        """Of two conditions, both have to hold."""
        async with harness.make_store() as store:
            await create(store)
            await store.save("c", ChatChange(begin=stream("s")))
            await _assert_refused(store, ChatChange(if_version=1, if_active="s"))
            await _assert_refused(store, ChatChange(if_version=2, if_active="x"))
            assert (await store.save("c", ChatChange(if_version=2, if_active="s"))).version == 3

    async def test_any_changes(self, harness: ChatStoreHarness) -> None:
        """Whatever changes are made, one after the other, a chat becomes what `apply_change` makes of it."""
        random = Random(1)  # noqa: S311  # to be repeated, not to be secret
        async with harness.make_store() as store, harness.make_store() as other:
            await create(store)
            chat, streams = await load(store), list[StreamRecord]()
            for number in range(120):
                change = _any_change(random, chat.info.version, number)
                try:
                    expected = apply_change(chat, streams, change, 0.0)
                except ChatChangedError:
                    await _assert_refused(store, change)
                    continue
                info = await store.save("c", change)
                chat = await load(other)
                assert chat.info == info
                assert chat.messages == expected.chat.messages
                assert (info.version, info.metadata) == (expected.chat.info.version, expected.chat.info.metadata)
                streams = list(await other.list_streams("c"))
                assert _timeless(streams) == _timeless(expected.streams)
                assert _timeless([info.active_stream]) == _timeless([expected.chat.info.active_stream])


def _any_change(random: Random, version: int, number: int) -> ChatChange:
    def perhaps(chance: float) -> bool:
        return random.random() < chance

    ids = [f"m{random.randrange(12)}" for _ in range(random.randrange(4))]
    return ChatChange(
        drop_after=f"m{random.randrange(14)}" if perhaps(0.3) else None,
        put=[message(message_id, str(number)) for message_id in ids],
        begin=stream(f"s{random.randrange(6)}", f"m{number}") if perhaps(0.3) else None,
        clear_active=perhaps(0.2),
        metadata={"number": number} if perhaps(0.2) else None,
        if_version=version - perhaps(0.3) if perhaps(0.3) else None,
        if_active=f"s{random.randrange(6)}" if perhaps(0.2) else None,
    )


def _timeless(streams: list[StreamRecord] | list[StreamRecord | None]) -> list[StreamRecord | None]:
    return [record and record._replace(created_at=0.0) for record in streams]

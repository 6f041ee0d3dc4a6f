"""What is made, kept, found and forgotten."""

from __future__ import annotations

import json
from typing import Any

from ...chat_types import ChatChange, ChatInfo
from ...exceptions import ChatExistsError, ChatNotFoundError, InvalidMessageError
from .harness import ODD_IDS, ChatStoreHarness, create, error_of, ids_of, load, message, put, stream

_JSON: dict[str, Any] = {
    "id": "m",
    "z": 1,
    "a": {"nested": [None, [None, {}], {"": None}], "b": True, "a": False},
    "numbers": [0, -1, 1.0, 1, 0.1, 1e300, 5e-324, -0.0, 10**30, 2**63, 1.7976931348623157e308],
    "text": ["", "ü", "🦜", "\u2028", "\x00", "a\x00b", "\x7f", "\ud800", "\udfff x", "\\u0000", '"', "\n", "\ufeff"],
    "\x00": "\x00",
    "__proto__": {"$ref": "#"},
}


def _written(value: Any) -> str:
    """All that there is to see of a value: the order of keys, too, and the types of numbers."""
    return json.dumps(value)


class KeepingTests:
    """Making, reading and deleting chats, and the store as a whole."""

    async def test_created_chat_is_described(self, harness: ChatStoreHarness) -> None:
        """A chat that is made has its owner and metadata, version 1, the time, no stream, and no messages."""
        async with harness.make_store() as store, harness.make_store() as other:
            info = await store.create("c", "o", {"title": "T"})
            assert info == ChatInfo("c", "o", info.created_at, info.created_at, 1, None, {"title": "T"})
            assert info.created_at > 0
            assert await other.describe("c") == info
            chat = await load(other)
            assert (chat.info, chat.messages) == (info, [])
            assert list(await other.list_streams("c")) == []

    async def test_id_is_taken(self, harness: ChatStoreHarness) -> None:
        """A chat that is there is not made again, whoever asks, and stays as it is."""
        async with harness.make_store() as store:
            await create(store)
            await store.save("c", put("a"))
            before = await store.load("c")
            for owner in ("o", "p"):
                error = await error_of(store.create("c", owner, {"title": "other"}), ChatExistsError)
                assert error.chat_id == "c"
                assert await store.load("c") == before
            assert [info.chat_id for info in (await store.list("o", 9, None)).chats] == ["c"]
            assert (await store.list("p", 9, None)).chats == []

    async def test_unknown_chat(self, harness: ChatStoreHarness) -> None:
        """Of a chat that is not there, nothing is known, and it cannot be changed."""
        async with harness.make_store() as store:
            assert await store.describe("c") is None
            assert await store.load("c") is None
            assert await store.delete("c") is None
            assert list(await store.list_streams("c")) == []
            assert await store.find_by_stream("s") is None
            for change in (put("a"), ChatChange(begin=stream("s"), if_version=1), ChatChange(if_active="s")):
                error = await error_of(store.save("c", change), ChatNotFoundError)
                assert error.chat_id == "c"
            assert await store.describe("c") is None
            assert await store.find_by_stream("s") is None

    async def test_json_is_kept(self, harness: ChatStoreHarness) -> None:
        """JSON comes back as it was given: the order of keys, numbers, text, and what means something elsewhere."""
        async with harness.make_store() as store, harness.make_store() as other:
            made = await store.create("c", "o", _JSON)
            saved = await store.save("c", ChatChange(put=[_JSON]))
            chat = await load(other)
            for value in (made.metadata, saved.metadata, chat.info.metadata, chat.messages[0]):
                assert _written(value) == _written(_JSON)
            changed = await store.save("c", ChatChange(metadata={"b": 1, "a": [_JSON]}))
            assert _written(changed.metadata) == _written({"b": 1, "a": [_JSON]})
            assert await other.describe("c") == changed

    async def test_large_messages_are_kept(self, harness: ChatStoreHarness) -> None:
        """Large messages, and many of them, come back as they were given."""
        messages = [message("large", "ü\x00" * 300_000), *(message(f"m{number}") for number in range(1500))]
        async with harness.make_store() as store:
            await create(store)
            await store.save("c", ChatChange(put=messages))
            assert (await load(store)).messages == messages
            await store.save("c", ChatChange(drop_after="large"))
            assert await ids_of(store) == ["large"]

    async def test_what_is_not_json_is_refused(self, harness: ChatStoreHarness) -> None:
        """What is not JSON is refused before anything is done."""
        async with harness.make_store() as store:
            before = await create(store)
            for value in (float("nan"), float("inf"), b"", object(), {1, 2}):
                for call in (
                    store.create("d", "o", {"value": value}),
                    store.save("c", ChatChange(put=[message("a"), message("b") | {"value": value}])),
                    store.save("c", ChatChange(metadata={"value": value}, put=[message("a")])),
                ):
                    await error_of(call, InvalidMessageError)
            assert await store.describe("c") == before
            assert await ids_of(store) == []
            assert await store.describe("d") is None

    async def test_values_are_the_callers_own(self, harness: ChatStoreHarness) -> None:
        """Changing what was given, or what came back, changes nothing that is kept."""
        given, metadata = message("a", "text"), {"tags": ["x"]}
        async with harness.make_store() as store:
            await store.create("c", "o", metadata)
            await store.save("c", ChatChange(put=[given], metadata=metadata))
            given["parts"].clear()
            metadata["tags"].clear()
            for _ in range(2):
                chat = await load(store)
                info = await store.describe("c")
                assert chat.messages == [message("a", "text")]
                assert info is not None
                assert info.metadata == chat.info.metadata == {"tags": ["x"]}
                chat.messages[0]["parts"].clear()
                chat.info.metadata["tags"].clear()
                info.metadata["tags"].clear()
                chat.messages.clear()

    async def test_odd_ids_of_chats(self, harness: ChatStoreHarness) -> None:
        """An id of a chat is any text, and names nothing but its chat."""
        async with harness.make_store() as store, harness.make_store() as other:
            for chat_id in ODD_IDS:
                await store.create(chat_id, "o", {"of": chat_id})
                await store.save(chat_id, ChatChange(put=[message("m", chat_id)]))
            for chat_id in ODD_IDS:
                chat = await load(other, chat_id)
                assert (chat.info.chat_id, chat.info.metadata) == (chat_id, {"of": chat_id})
                assert chat.messages == [message("m", chat_id)]
            listed: list[str] = []
            after = None
            while after or not listed:
                page = await other.list("o", 5, after)
                listed += [info.chat_id for info in page.chats]
                after = page.next
            assert sorted(listed) == sorted(ODD_IDS)
            for chat_id in ODD_IDS:
                assert await store.delete(chat_id) == []
                assert await store.describe(chat_id) is None
            assert (await store.list("o", 5, None)).chats == []

    async def test_odd_ids_of_owners_messages_and_streams(self, harness: ChatStoreHarness) -> None:
        """So is an owner, and an id of a message or a stream."""
        async with harness.make_store() as store:
            for number, odd_id in enumerate(ODD_IDS):
                await store.create(f"c{number}", odd_id, {})
                await store.save("c0", ChatChange(put=[message(odd_id)], begin=stream(odd_id, odd_id)))
            assert await ids_of(store, "c0") == ODD_IDS
            assert [record.stream_id for record in await store.list_streams("c0")] == ODD_IDS
            for number, odd_id in enumerate(ODD_IDS):
                assert [info.chat_id for info in (await store.list(odd_id, 2, None)).chats] == [f"c{number}"]
                found = await store.find_by_stream(odd_id)
                assert found is not None
                assert (found.chat_id, found.owner) == ("c0", ODD_IDS[0])
                info = await store.save("c0", ChatChange(begin=stream(odd_id), if_active=ODD_IDS[number - 1]))
                assert info.active_stream is not None
                assert (info.active_stream.stream_id, info.active_stream.replies_to) == (odd_id, odd_id)
            await store.save("c0", ChatChange(drop_after=ODD_IDS[3]))
            assert await ids_of(store, "c0") == ODD_IDS[:4]

    async def test_deletion_may_be_for_one_owner(self, harness: ChatStoreHarness) -> None:
        """A chat that is to be deleted if it is somebody's stays as it is, if it is another's."""
        async with harness.make_store() as store:
            for number, owner in enumerate(ODD_IDS):
                await store.create(f"c{number}", owner, {})
                info = await store.save(f"c{number}", ChatChange(put=[message("a")], begin=stream("s")))
                for other in ("o", f"{owner} ", ODD_IDS[number - 1]):
                    assert await store.delete(f"c{number}", if_owner=other) is None
                chat = await load(store, f"c{number}")
                assert (chat.info, chat.messages) == (info, [message("a")])
                assert (await store.list(owner, 2, None)).chats == [info]
                assert await store.delete(f"c{number}", if_owner=owner) == [info.active_stream]
                assert await store.delete(f"c{number}", if_owner=owner) is None

    async def test_deleted_chat_is_forgotten(self, harness: ChatStoreHarness) -> None:
        """Deletion returns the streams of a chat, oldest first, and forgets it, its messages and its streams."""
        async with harness.make_store() as store, harness.make_store() as other:
            await create(store)
            await create(store, "d")
            await store.save("c", ChatChange(put=[message("a")], begin=stream("s2")))
            await store.save("c", ChatChange(begin=stream("s1"), metadata={"title": "T"}))
            streams = await store.list_streams("c")
            assert await store.delete("c") == streams
            assert [record.stream_id for record in streams] == ["s2", "s1"]
            assert await store.delete("c") is None
            assert await other.load("c") is None
            assert await other.find_by_stream("s1") is None
            assert list(await other.list_streams("c")) == []
            assert [info.chat_id for info in (await other.list("o", 9, None)).chats] == ["d"]

            info = await other.create("c", "p", {})
            chat = await load(store)
            assert (chat.info, chat.messages, info.version) == (info, [], 1)
            assert list(await store.list_streams("c")) == []
            assert await store.find_by_stream("s1") is None
            assert [info.chat_id for info in (await store.list("p", 9, None)).chats] == ["c"]
            assert [info.chat_id for info in (await store.list("o", 9, None)).chats] == ["d"]

    async def test_chat_is_found_by_its_streams(self, harness: ChatStoreHarness) -> None:
        """The chat of a stream is found, active or not, and by nothing else."""
        async with harness.make_store() as store, harness.make_store() as other:
            await create(store)
            await create(store, "d")
            for number in range(3):
                await store.save("c", ChatChange(put=[message("m")], begin=stream(f"s{number}")))
            info = await store.save("c", ChatChange(clear_active=True))
            for number in range(3):
                assert await other.find_by_stream(f"s{number}") == info
            for nothing in ("m", "c", "d", "s", "s3"):
                assert await other.find_by_stream(nothing) is None

    async def test_closing_twice(self, harness: ChatStoreHarness) -> None:
        """Closing works twice, and without connecting; what was kept is there for the next one."""
        async with harness.make_store() as store:
            await create(store)
            await store.aclose()
            await store.aclose()
        await harness.make_store().aclose()
        async with harness.make_store() as other:
            assert await other.describe("c") is not None

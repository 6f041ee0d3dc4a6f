"""The chats of an owner, page by page."""

from __future__ import annotations

from ...abc import ChatStore
from ...chat_types import ChatPage
from ...exceptions import InvalidPositionError
from .harness import ChatStoreHarness, create, error_of, put


def _ids(page: ChatPage) -> list[str]:
    return [info.chat_id for info in page.chats]


async def _pages(store: ChatStore, limit: int) -> list[list[str]]:
    pages: list[list[str]] = []
    after = None
    while after or not pages:
        page = await store.list("o", limit, after)
        pages.append(_ids(page))
        after = page.next
    return pages


class ListingTests:
    """Listing chats."""

    async def test_newest_come_first(self, harness: ChatStoreHarness) -> None:
        """The chats of an owner are listed as they are described, those made last first, whatever changed since."""
        async with harness.make_store() as store, harness.make_store() as other:
            made = [await create(store, chat_id) for chat_id in ("b", "c", "a")]
            await create(store, "d", owner="p")
            await store.save("b", put("m"))
            page = await other.list("o", 10, None)
            assert page.next is None
            newest_first = sorted(made, key=lambda info: (info.created_at, info.chat_id), reverse=True)
            assert page.chats == [await store.describe(info.chat_id) for info in newest_first]
            assert _ids(await other.list("p", 10, None)) == ["d"]
            assert await other.list("nobody", 10, None) == ChatPage([], None)

    async def test_pages(self, harness: ChatStoreHarness) -> None:
        """Page by page, each chat comes once and in order; the last page says that nothing is next."""
        async with harness.make_store() as store:
            for number in range(7):
                await create(store, f"c{number}")
            whole = _ids(await store.list("o", 100, None))
            assert sorted(whole) == [f"c{number}" for number in range(7)]
            for limit in (1, 2, 3, 6, 7, 8):
                pages = await _pages(store, limit)
                assert [chat_id for page in pages for chat_id in page] == whole
                assert all(len(page) == limit for page in pages[:-1])
                assert 0 < len(pages[-1]) <= limit

    async def test_pages_while_chats_come_and_go(self, harness: ChatStoreHarness) -> None:
        """Each chat that exists all the while comes exactly once, whatever is made and deleted from page to page."""
        async with harness.make_store() as store, harness.make_store() as other:
            for number in range(12):
                await create(store, f"c{number}")
            whole = _ids(await store.list("o", 100, None))
            gone, seen, after = [whole[5], whole[1]], list[str](), None
            for step in range(6):
                page = await store.list("o", 3, after)
                seen += _ids(page)
                after = page.next
                await create(other, f"new{step}")
                if gone:
                    await other.delete(gone.pop())  # the one before, and the one that the next page begins after
                if after is None:
                    break
            stayed = [chat_id for chat_id in seen if chat_id not in {whole[1], whole[5]}]
            assert stayed == [chat_id for chat_id in whole if chat_id not in {whole[1], whole[5]}]
            assert len(seen) == len(set(seen))

    async def test_position_of_a_deleted_chat(self, harness: ChatStoreHarness) -> None:
        """A page follows the one before though all chats of that one were deleted, or made anew."""
        async with harness.make_store() as store:
            for number in range(4):
                await create(store, f"c{number}")
            first = await store.list("o", 2, None)
            second = await store.list("o", 2, first.next)
            for info in first.chats:
                await store.delete(info.chat_id)
            assert await store.list("o", 2, first.next) == second
            for info in first.chats:
                await create(store, info.chat_id)
            assert await store.list("o", 2, first.next) == second

    async def test_malformed_positions(self, harness: ChatStoreHarness) -> None:
        """What is not a position that a page says is refused."""
        async with harness.make_store() as store:
            await create(store, "c1")
            await create(store, "c2")
            said = (await store.list("o", 1, None)).next
            assert said is not None
            for wrong in ("", "x", said[:-3], said + "x", said + said, "é", "\x00", "bnVsbA", "W10", "c1", "9" * 5000):
                await error_of(store.list("o", 1, wrong), InvalidPositionError)

"""What an application has going on beside its publishers."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from resumable_stream import InvalidSettingError, ResumableStreamContext, StreamState
from resumable_stream._engine import companion as engine
from resumable_stream.types import Claim
from tests.stores import InMemory, Store
from tests.streams import Tap, collect, factory_of, never, take


class Diary:
    """A companion that writes down when it comes and goes."""

    def __init__(self, *, coming: Any = None, going: Any = None) -> None:
        self.lines: list[str] = []
        self.has_gone = anyio.Event()
        self._coming = coming
        self._going = going

    @asynccontextmanager
    async def __call__(self, context: ResumableStreamContext, stream_id: str) -> AsyncIterator[None]:
        """Write."""
        self.lines.append(f"{stream_id} begins")
        if self._coming is not None:
            await self._coming()
        try:
            yield
        finally:
            info = await context.info(stream_id)
            self.lines.append(f"{stream_id} {info.state.value if info else 'gone'}")
            self.has_gone.set()
            if self._going is not None:
                await self._going()


async def fail() -> None:
    """What goes wrong."""
    raise LookupError("no")


async def test_it_is_there_while_the_publisher_is(store: Store) -> None:
    """It comes before the caller gets the stream, goes when the stream has ended, and comes once for each."""
    diary, tap = Diary(), Tap("a")
    async with store.make_context(companion=diary) as context, store.make_context(companion=diary) as other:
        stream = await context.resumable_stream("s", tap)
        assert diary.lines == ["s begins"]
        again, elsewhere = await context.resumable_stream("s", never), await other.resumable_stream("s", never)
        assert await take(again, 1) == await take(elsewhere, 1) == ["a"]
        tap.end("b")
        assert await collect(stream) == ["a", "b"]
        with anyio.fail_after(5):
            await diary.has_gone.wait()
        assert diary.lines == ["s begins", "s done"]


async def test_leaving_the_context_waits_for_it(store: Store) -> None:
    """When the context is left it goes after the end is recorded, and the stream can still be read then."""
    diary = Diary()
    async with store.make_context(companion=diary) as context:
        await context.resumable_stream("s", Tap("a"))
    assert diary.lines == ["s begins", "s stopped"]


async def test_a_deleted_stream_ends_it(store: Store) -> None:
    """It goes when its publisher is cut off."""
    diary = Diary()
    async with store.make_context(companion=diary) as context:
        await context.resumable_stream("s", Tap("a"))
        await context.delete("s")
        with anyio.fail_after(5):
            await diary.has_gone.wait()
    assert diary.lines == ["s begins", "s gone"]


async def test_a_takeover_has_one(store: Store) -> None:
    """Who takes a lost stream over has one beside that, too."""
    diary = Diary()
    async with store.open() as dead:
        await dead.acquire("s", Claim(secrets.token_hex(8), 0.2, 60.0, 60.0))
        async with store.make_context(companion=diary, lease=0.2) as context:
            stream = await context.resumable_stream("s", never, takeover=lambda _chunks: ["a"])
            assert stream is not None
            if isinstance(store, InMemory):
                await store.advance(0.3)
            assert await collect(stream) == ["a"]
            with anyio.fail_after(5):
                await diary.has_gone.wait()
    assert diary.lines == ["s begins", "s done"]


@pytest.mark.parametrize("when", ["coming", "going"])
async def test_its_errors_are_its_own(store: Store, caplog: pytest.LogCaptureFixture, when: str) -> None:
    """What it raises is logged, by its type alone, and the stream goes on."""
    diary = Diary(**{when: fail})
    async with store.make_context(companion=diary) as context:
        stream = await context.resumable_stream("s", factory_of("abc"))
        assert await collect(stream) == ["a", "b", "c"]
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warnings == ["the companion of stream s raised LookupError"]


async def test_one_that_cannot_be_made(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """So is what the callable itself raises."""

    def make(_context: ResumableStreamContext, stream_id: str) -> Any:
        raise LookupError(stream_id)

    async with store.make_context(companion=make) as context:
        assert await collect(await context.resumable_stream("s", factory_of("a"))) == ["a"]
    assert "the companion of stream s raised LookupError" in caplog.text


async def test_one_that_is_slow_to_come(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for a while, and the stream runs meanwhile."""
    monkeypatch.setattr(engine, "_ENTER_TIMEOUT", 0.05)
    monkeypatch.setattr(engine, "_LEAVE_TIMEOUT", 0.05)
    diary = Diary(coming=anyio.sleep_forever)
    with anyio.fail_after(10):
        async with store.make_context(companion=diary) as context:
            stream = await context.resumable_stream("s", factory_of("abc"))
            assert await collect(stream) == ["a", "b", "c"]
            assert stream is not None
            assert stream.state is StreamState.DONE
    assert diary.lines == ["s begins"]


async def test_one_that_is_slow_to_go(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Leaving the context waits for it for a while only."""
    monkeypatch.setattr(engine, "_LEAVE_TIMEOUT", 0.05)
    diary = Diary(going=anyio.sleep_forever)
    with anyio.fail_after(10):
        async with store.make_context(companion=diary) as context:
            await context.resumable_stream("s", Tap("a"))
    assert diary.lines == ["s begins", "s stopped"]
    assert "gave up waiting for the companion of stream s" in caplog.text


async def test_a_caller_who_is_cancelled_changes_nothing(store: Store) -> None:
    """It comes, and stays, though the call that began the stream is cancelled while it comes."""
    is_coming, may_come = anyio.Event(), anyio.Event()

    async def come_slowly() -> None:
        is_coming.set()
        await may_come.wait()

    diary, tap = Diary(coming=come_slowly), Tap("a")
    async with store.make_context(companion=diary) as context:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(context.resumable_stream, "s", tap)
            await is_coming.wait()
            tasks.cancel_scope.cancel()
        may_come.set()
        tap.end("b")
        assert await collect(await context.resumable_stream("s", never)) == ["a", "b"]
        with anyio.fail_after(5):
            await diary.has_gone.wait()
    assert diary.lines == ["s begins", "s done"]


def test_what_is_none_is_refused() -> None:
    """A companion is callable."""
    with pytest.raises(InvalidSettingError):
        ResumableStreamContext.from_url("memory://", companion="npm")  # type: ignore[arg-type]

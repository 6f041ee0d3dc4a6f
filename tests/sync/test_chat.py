"""Chats of blocking applications. What they share with the asynchronous ones is not tested again."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from resumable_stream import InvalidSettingError, JSONCodec
from resumable_stream.chat import Turn
from resumable_stream.chat.stores.memory import MemoryChats, MemoryChatStore
from resumable_stream.chat.stores.sql import SQLChatStore
from resumable_stream.exceptions import (
    ChatBusyError,
    ChatForbiddenError,
    ChatNotFoundError,
    ChatStoreError,
    InvalidFactoryError,
)
from resumable_stream.sync import ResumableChat, ResumableStreamContext
from tests.chat.conftest import ALICE, BOB, text_of, user_message
from tests.sync.steering import BlockingTap


def make_context(**settings: Any) -> ResumableStreamContext:
    """Return a context for chats."""
    return ResumableStreamContext.from_url("memory://", codec=JSONCodec(), drain_timeout=0.0, **settings)


def says(turn: Turn) -> Iterator[str]:
    """Answer from a thread."""
    yield f"{len(turn.messages)} messages, "
    yield threading.current_thread().name


def test_a_chat_from_end_to_end() -> None:
    """An answer that blocks is made, read, found in the chat, and forgotten: all by calls that wait."""
    context = make_context()
    chat = ResumableChat(context, MemoryChatStore())
    with context:
        created = chat.create(ALICE, chat_id="c", metadata={"title": "x"})
        assert created.owner == ALICE
        stream = chat.send(ALICE, "c", says, message=user_message("u1"))
        chunks = list(stream)
        assert (chunks[0]["type"], chunks[-1]["type"]) == ("start", "finish")
        loaded = chat.load(ALICE, "c")
        assert text_of(loaded.messages) == ["Hello?", "1 messages, resumable-stream-answer"]
        assert (loaded.active_stream_id, loaded.info.metadata) == (None, {"title": "x"})
        assert (chat.resume(ALICE, "c"), chat.active_stream(ALICE, "c")) == (None, None)
        again = chat.resume_stream(ALICE, stream.stream_id, start_index=1)
        assert again is not None
        assert list(again) == chunks[1:]
        latest = chat.latest_stream(ALICE, "c")
        assert latest is not None
        assert latest == chat.stream_info(ALICE, stream.stream_id, chat_id="c")
        assert chat.set_metadata(ALICE, "c", {}).metadata == {}
        assert [info.chat_id for info in chat.list(ALICE).chats] == ["c"]
        with pytest.raises(ChatForbiddenError):
            chat.load(BOB, "c")
        chat.delete(ALICE, "c")
        with pytest.raises(ChatNotFoundError):
            chat.load(ALICE, "c")


def test_an_answer_that_is_being_made() -> None:
    """It is resumed while it blocks, refused a second one, and stopped when it goes on; what there was is kept."""
    with make_context() as context:
        chat = ResumableChat(context, MemoryChatStore(), new_message_id=iter(["m1", "m2", "m3"]).__next__)
        tap = BlockingTap("Half")
        stream = chat.send(ALICE, "c", lambda _turn: tap(), message=user_message("u1"))
        assert [next(stream)["type"] for _ in range(4)] == ["start", "start-step", "text-start", "text-delta"]
        with pytest.raises(ChatBusyError):
            chat.send(ALICE, "c", says, message=user_message("u2"))
        resumed = chat.resume(ALICE, "c", after=stream.event_id)
        assert resumed is not None
        threading.Timer(0.05, tap.let, ["an answer"]).start()
        assert chat.stop(ALICE, "c", stream_id=stream.stream_id)
        assert list(resumed) == list(stream)
        loaded = chat.load(ALICE, "c")
        assert text_of(loaded.messages) == ["Hello?", "Half"]
        assert loaded.messages[1]["metadata"] == {"interrupted": "stopped"}


def test_an_asynchronous_answer() -> None:
    """An answer may be asynchronous, and use the asynchronous twins."""
    context = make_context()
    chat = ResumableChat(context, MemoryChatStore())

    async def answer(turn: Turn) -> AsyncIterator[str]:
        info = await context.twin.info(turn.stream_id)
        assert info is not None
        yield f"{info.state.value} in {len((await chat.twin.list(ALICE)).chats)} chat"

    list(chat.send(ALICE, "c", answer, message=user_message("u1")))
    assert text_of(chat.load(ALICE, "c").messages)[1] == "running in 1 chat"
    context.close()


class Told(MemoryChatStore):
    """Tells when it is entered and left."""

    def __init__(self, chats: MemoryChats, told: list[str]) -> None:
        super().__init__(chats)
        self._told = told

    @override
    async def connect(self) -> None:
        self._told.append("connected")

    @override
    async def aclose(self) -> None:
        self._told.append("closed")


def test_store_lives_longer_than_the_context() -> None:
    """The store is entered before the context, left after it, so that an answer that is cut off is saved."""
    chats, told = MemoryChats(), list[str]()
    context = make_context()
    chat = ResumableChat(context, Told(chats, told))

    async def answer(_turn: Turn) -> AsyncIterator[str]:
        try:
            yield "Half"
            yield await anyio_sleep()
        finally:
            told.append("cut off")

    async def anyio_sleep() -> str:
        import anyio

        await anyio.sleep_forever()
        return ""

    with context:
        assert told == ["connected"]
        stream = chat.send(ALICE, "c", answer, message=user_message("u1"))
        while next(stream)["type"] != "text-delta":
            pass
    assert told == ["connected", "cut off", "closed"]
    with context:
        assert text_of(chat.load(ALICE, "c").messages) == ["Hello?", "Half"]
    assert told[3:] == ["connected", "closed"]


def test_store_that_cannot_be_opened(tmp_path: Path) -> None:
    """A store that cannot be opened is an error; what only it has is called by the context, before or after."""
    context = make_context()
    store = SQLChatStore.from_url(f"sqlite+aiosqlite:///{tmp_path}/chats.db")
    chat = ResumableChat(context, store)
    with pytest.raises(ChatStoreError):
        chat.list(ALICE)
    migrating = make_context()
    migrating.call(SQLChatStore.from_url(f"sqlite+aiosqlite:///{tmp_path}/chats.db").migrate)
    migrating.close()
    assert chat.list(ALICE).chats == []
    list(chat.send(ALICE, "c", says, message=user_message("u1")))
    context.close()
    with context:
        assert len(chat.load(ALICE, "c").messages) == 2


def test_bad_settings() -> None:
    """Settings are checked when the object is made, an answer when it is sent."""
    with pytest.raises(InvalidSettingError, match="codec"):
        ResumableChat(ResumableStreamContext.from_url("memory://"), MemoryChatStore())
    bad: Any = "wait"
    with pytest.raises(InvalidSettingError):
        ResumableChat(make_context(), MemoryChatStore(), while_answering=bad)
    with make_context() as context, pytest.raises(InvalidFactoryError):
        ResumableChat(context, MemoryChatStore()).send(ALICE, "c", bad, message=user_message("u1"))

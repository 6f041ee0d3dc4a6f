"""Whoever loads a chat, at any moment, gets the running stream or the saved answer: never neither, and never both."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from typing_extensions import override

from resumable_stream import (
    BackendUnavailableError,
    JSONCodec,
    ResumableStream,
    ResumableStreamContext,
    StreamState,
)
from resumable_stream._core.packing import pack
from resumable_stream.backends.memory import MemoryBackend
from resumable_stream.chat import ChatChange, ChatInfo, MessageReducer, ResumableChat, StreamRecord
from resumable_stream.chat.stores.memory import MemoryChatStore
from resumable_stream.exceptions import ChatNotFoundError
from resumable_stream.testing import FaultyBackend
from resumable_stream.testing.faults import Call
from resumable_stream.types import Append, Claim
from tests.chat.conftest import ALICE, BOB, World, by, says, text_chunks, text_of, user_message
from tests.streams import Tap, collect, collect_until_error, take

CHUNKS = [
    {"type": "start-step"},
    *text_chunks("It ", "is ", "so", "."),
    {"type": "tool-input-available", "toolCallId": "x", "toolName": "look", "input": {"at": 1}},
    {"type": "tool-output-available", "toolCallId": "x", "output": "seen"},
    {"type": "finish-step"},
]


async def reload(chat: ResumableChat) -> dict[str, Any]:
    """Load a chat, resume what is to be resumed, and return the answer as the page then has it, to its end."""
    loaded = await chat.load(ALICE, "c")
    if loaded.active_stream_id is None:
        (_, answer) = loaded.messages
        return answer
    (_,) = loaded.messages
    stream = await chat.resume_stream(ALICE, loaded.active_stream_id)
    reducer = MessageReducer(message_id="none")
    for chunk in await collect(stream):
        reducer.add(chunk)
    return reducer.message


async def test_reload_at_every_chunk(world: World) -> None:
    """A reload before any chunk, between any two, and after the last shows the whole answer once, in all processes."""
    _, here = await world.process()
    _, elsewhere = await world.process()
    tap = Tap()
    answers: list[dict[str, Any]] = []

    async def read(chat: ResumableChat) -> None:
        answers.append(await reload(chat))

    async with anyio.create_task_group() as readers:
        await here.send(ALICE, "c", by(tap), message=user_message("u"))
        for chunk in CHUNKS:
            for chat in (here, elsewhere):
                readers.start_soon(read, chat)
            await anyio.wait_all_tasks_blocked()
            tap.let(chunk)
        await anyio.wait_all_tasks_blocked()
        tap.end()
        await anyio.wait_all_tasks_blocked()
        await read(here)
        await read(elsewhere)
    assert len(answers) == 2 * len(CHUNKS) + 2
    assert all(answer == answers[-1] for answer in answers)
    assert text_of(answers[:1]) == ["It is so."]


async def test_reload_at_every_step_of_the_end(world: World) -> None:
    """Between the saving of an answer and the end of its stream, at every pass of the loop, a reload has it once."""

    class Slow(MemoryChatStore):
        """As a database is: others come in between."""

        @override
        async def save(self, chat_id: str, change: ChatChange) -> ChatInfo:
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            info = await super().save(chat_id, change)
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            return info

    _, chat = await world.process(store=Slow(world.chats))
    _, elsewhere = await world.process()
    await chat.send(ALICE, "c", says("Hi"), message=user_message("u"))
    answers = []
    loaded = await elsewhere.load(ALICE, "c")
    for _ in range(60):
        loaded = await elsewhere.load(ALICE, "c")
        answers.append(len(loaded.messages) - 1 + (loaded.active_stream_id is not None))
        await anyio.lowlevel.checkpoint()
    assert set(answers) == {1}
    assert loaded.active_stream_id is None


async def _left_behind(world: World, chunks: list[Any], *, messages: tuple[dict[str, Any], ...] = ()) -> None:
    """Leave a chat as a process leaves it that is killed while it answers, after these chunks were logged.

    A text is a chunk that is encoded already.
    """
    store = MemoryChatStore(world.chats)
    await store.create("c", ALICE, {})
    backend = MemoryBackend(world.streams)
    claim = Claim("dead", lease=10.0, retention=3600.0, tombstone=86400.0)
    await backend.acquire("s", claim)
    put = [user_message("u"), *messages]
    await store.save("c", ChatChange(put=put, begin=StreamRecord("s", "c", replies_to="u")))
    codec = JSONCodec()
    encoded = [chunk if isinstance(chunk, str) else codec.encode(chunk) for chunk in chunks]
    if encoded:
        await backend.append([Append("s", "dead", 1, 0, len(encoded), pack(encoded))])
    world.clock.advance(20.0)


async def test_answer_of_a_dead_publisher_is_kept(world: World) -> None:
    """The next load saves what the log has of an answer whose process died, under its id, marked; once, for all."""
    await _left_behind(world, [{"type": "start", "messageId": "a"}, *text_chunks("Half")[:2]])
    _, one = await world.process()
    _, other = await world.process()
    loads = []

    async def load(chat: ResumableChat) -> None:
        loads.append(await chat.load(ALICE, "c"))

    async with anyio.create_task_group() as tasks:
        for chat in (one, other, one, other):
            tasks.start_soon(load, chat)
    loads.append(await other.load(ALICE, "c"))
    for loaded in loads:
        assert [message["id"] for message in loaded.messages] == ["u", "a"]
        assert text_of(loaded.messages) == ["Hello?", "Half"]
        assert loaded.messages[1]["metadata"] == {"interrupted": "lost"}
        assert loaded.messages[1]["parts"][0]["state"] == "done"
        assert loaded.active_stream_id is None
    await collect(await one.send(ALICE, "c", says("Whole"), trigger="regenerate-message"))
    assert text_of((await other.load(ALICE, "c")).messages) == ["Hello?", "Whole"]


@pytest.mark.parametrize("end", ["finish", "abort"])
@pytest.mark.parametrize("keep_partial", [True, False])
async def test_answer_that_was_logged_to_its_end_is_whole(world: World, end: str, keep_partial: bool) -> None:
    """A process that dies after the last chunk of an answer, and before it is saved, leaves a whole one."""
    await _left_behind(world, [{"type": "start", "messageId": "a"}, *text_chunks("Whole"), {"type": end}])
    _, chat = await world.process(keep_partial=keep_partial)
    (_, answer) = (await chat.load(ALICE, "c")).messages
    assert text_of([answer]) == ["Whole"]
    assert "metadata" not in answer


@pytest.mark.parametrize("options", [{}, {"keep_partial": False}], ids=["nothing logged", "dropped"])
async def test_dead_publisher_leaves_no_answer(world: World, options: dict[str, Any]) -> None:
    """If nothing was logged, or partial answers are not kept, the chat is as before the answer, and is free."""
    chunks = [{"type": "start", "messageId": "a"}, *text_chunks("Half")] if options else []
    await _left_behind(world, chunks, messages=({"id": "old", "role": "assistant", "parts": text_chunks("old")},))
    _, chat = await world.process(**options)
    loaded = await chat.load(ALICE, "c")
    assert [message["id"] for message in loaded.messages] == ["u", "old"]
    assert loaded.active_stream_id is None


async def test_sending_repairs_first(world: World) -> None:
    """Who sends to a chat that a dead process left behind finds it free, with the partial answer in its place."""
    await _left_behind(world, [{"type": "start", "messageId": "a"}, *text_chunks("Half")])
    _, chat = await world.process()
    await collect(await chat.send(ALICE, "c", says("Next"), message=user_message("u2")))
    assert text_of((await chat.load(ALICE, "c")).messages) == ["Hello?", "Half", "Hello?", "Next"]


async def test_resuming_repairs(world: World) -> None:
    """Who resumes an answer whose publisher died is told that none is being made, and the next load shows it."""
    await _left_behind(world, [{"type": "start", "messageId": "a"}, *text_chunks("Half")])
    _, chat = await world.process()
    assert await chat.resume(ALICE, "c") is None
    assert not await chat.stop(ALICE, "c")
    assert text_of((await chat.load(ALICE, "c")).messages) == ["Hello?", "Half"]


@pytest.mark.parametrize("gone", ["deleted", "expired"])
async def test_answer_whose_log_is_gone_leaves_the_chat_free(
    world: World, gone: str, caplog: pytest.LogCaptureFixture
) -> None:
    """If the log is gone before anybody came, the answer is lost: that is logged, and the chat goes on."""
    await _left_behind(world, [{"type": "start", "messageId": "a"}, *text_chunks("Half")])
    context, chat = await world.process()
    if gone == "deleted":
        await context.delete("s")
    else:
        world.clock.advance(7200.0)
    with caplog.at_level(logging.WARNING):
        loaded = await chat.load(ALICE, "c")
    assert text_of(loaded.messages) == ["Hello?"]
    assert loaded.active_stream_id is None
    assert "was not saved" in caplog.text


async def test_chunks_that_do_not_fit_do_not_spoil_the_repair(world: World) -> None:
    """What cannot be folded is left out, and the rest is kept."""
    chunks = [
        {"type": "start", "messageId": "a"},
        {"type": "text-delta", "id": "?", "delta": "?"},
        *text_chunks("Half"),
    ]
    await _left_behind(world, chunks)
    _, chat = await world.process()
    assert text_of((await chat.load(ALICE, "c")).messages) == ["Hello?", "Half"]


async def _goes_on(chat: ResumableChat) -> list[dict[str, Any]]:
    """Use a chat in all ways; return what it shows before its next answer."""
    messages = (await chat.load(ALICE, "c")).messages
    assert await chat.resume(ALICE, "c") is None
    assert not await chat.stop(ALICE, "c")
    await collect(await chat.send(ALICE, "c", says("Next"), message=user_message("u2")))
    assert text_of((await chat.load(ALICE, "c")).messages) == [*text_of(messages), "Hello?", "Next"]
    return messages


async def test_input_that_breaks_off_deep_down(world: World) -> None:
    """A tool's input that breaks off deep in its nesting is kept as text, and the chat goes on."""
    _, chat = await world.process()
    start = {"type": "tool-input-start", "toolCallId": "x", "toolName": "look"}
    deltas = [{"type": "tool-input-delta", "toolCallId": "x", "inputTextDelta": "[" * 70}] * 10
    tap = Tap(*text_chunks("Let me look"), start, *deltas, RuntimeError("no"))
    await collect_until_error(await chat.send(ALICE, "c", by(tap), message=user_message("u")))
    (_, answer) = await _goes_on(chat)
    assert answer["parts"][-1]["rawInput"] == "[" * 700
    assert "input" not in answer["parts"][-1]


@pytest.mark.parametrize(
    ("value", "is_kept"),
    [
        *((f"{'[' * depth}{']' * depth}", None) for depth in (300, 450, 480, 495, 700, 950, 5000, 200_000)),
        ("NaN", False),
        ("'", True),
    ],
)
async def test_no_log_keeps_a_chat_from_going_on(world: World, value: str, is_kept: bool | None) -> None:
    """Whatever a log has, however deep or broken: what can be kept is, and the chat goes on."""
    await _left_behind(world, [*text_chunks("Half"), f'{{"type":"data-x","data":{value}}}'])
    _, chat = await world.process()
    messages = await _goes_on(chat)
    if is_kept is not None:
        assert text_of(messages) == (["Hello?", "Half"] if is_kept else ["Hello?"])


async def test_frozen_publisher_does_not_spoil_what_follows(world: World) -> None:
    """A publisher that lost its lease, and wakes up when the chat has gone on, changes nothing in it."""
    _, frozen = await world.process(settings={"lease": 3000.0})
    _, chat = await world.process()
    tap = Tap(*text_chunks("Half")[:2])
    await take(await frozen.send(ALICE, "c", by(tap), message=user_message("u")), 3)
    world.clock.advance(4000.0)
    assert text_of((await chat.load(ALICE, "c")).messages) == ["Hello?", "Half"]
    await collect(await chat.send(ALICE, "c", says("Next"), message=user_message("u2")))
    tap.end({"type": "text-delta", "id": "t", "delta": " more"}, text_chunks()[-1])
    with anyio.fail_after(5):
        await tap.is_closed.wait()
    await anyio.wait_all_tasks_blocked()
    assert text_of((await chat.load(ALICE, "c")).messages) == ["Hello?", "Half", "Hello?", "Next"]


async def test_chat_is_shown_while_the_backend_is_away(world: World) -> None:
    """While the backend is away a chat can be loaded, as it was left; what was being answered is resumed later."""
    await _left_behind(world, [{"type": "start", "messageId": "a"}, *text_chunks("Half")])
    backend = FaultyBackend(MemoryBackend(world.streams))
    context = ResumableStreamContext(backend, codec=JSONCodec(), call_timeout=0.1)
    async with context:
        chat = ResumableChat(context, MemoryChatStore(world.chats))
        backend.go_away()
        loaded = await chat.load(ALICE, "c")
        assert text_of(loaded.messages) == ["Hello?"]
        assert loaded.active_stream_id == "s"
        with pytest.raises(BackendUnavailableError):
            await chat.send(ALICE, "c", says("no"), message=user_message("u2"))
        backend.come_back()
        assert text_of((await chat.load(ALICE, "c")).messages) == ["Hello?", "Half"]


async def test_answer_that_was_given_up_is_saved_late(world: World) -> None:
    """A process that cannot find the stream of an answer takes it for lost; if it is not, it is saved at its end."""
    _, here = await world.process()
    alone = ResumableStreamContext.from_url("memory://", codec=JSONCodec())  # streams of its own, as each process has
    tap = Tap(*text_chunks("Hi"))
    async with alone:
        elsewhere = ResumableChat(alone, MemoryChatStore(world.chats))
        stream = await here.send(ALICE, "c", by(tap), message=user_message("u"))
        assert (await elsewhere.load(ALICE, "c")).active_stream_id is None
        tap.end()
        await collect(stream)
        assert text_of((await elsewhere.load(ALICE, "c")).messages) == ["Hello?", "Hi"]
        tap = Tap(*text_chunks("late"))
        stream = await here.send(ALICE, "c", by(tap), message=user_message("u2"))
        await collect(await elsewhere.send(ALICE, "c", says("first"), message=user_message("u3")))
        tap.end()
        await collect(stream)
        texts = text_of((await elsewhere.load(ALICE, "c")).messages)
        assert texts == ["Hello?", "Hi", "Hello?", "Hello?", "first"]
        tap = Tap(*text_chunks("other"))
        stream = await here.send(ALICE, "c", by(tap), trigger="regenerate-message")
        await elsewhere.load(ALICE, "c")
        tap.end()
        await collect(stream)
        assert text_of((await elsewhere.load(ALICE, "c")).messages)[-1] == "other"


async def test_answer_that_is_saved_late_beside_new_metadata(world: World) -> None:
    """New metadata, such as a title, does not keep an answer that was given up from being saved at its end."""

    class Titled(MemoryChatStore):
        titles = iter(("one", "two"))

        @override
        async def save(self, chat_id: str, change: ChatChange) -> ChatInfo:
            is_late = change.if_version is not None and change.begin is None
            title = next(self.titles, None) if is_late else None
            if title is not None:
                await super().save(chat_id, ChatChange(metadata={"title": title}))
            return await super().save(chat_id, change)

    _, here = await world.process(store=Titled(world.chats))
    tap = Tap(*text_chunks("Hi"))
    async with ResumableStreamContext.from_url("memory://", codec=JSONCodec()) as alone:
        elsewhere = ResumableChat(alone, MemoryChatStore(world.chats))
        stream = await here.send(ALICE, "c", by(tap), message=user_message("u"))
        assert (await elsewhere.load(ALICE, "c")).active_stream_id is None
        tap.end()
        await collect(stream)
        loaded = await elsewhere.load(ALICE, "c")
    assert text_of(loaded.messages) == ["Hello?", "Hi"]
    assert loaded.info.metadata == {"title": "two"}


async def test_chat_that_changes_hands_while_it_is_settled(world: World) -> None:
    """If a chat's id is taken by somebody else while a lost answer is seen to, nothing of the other's is told."""

    class Racing(MemoryChatStore):
        @override
        async def save(self, chat_id: str, change: ChatChange) -> ChatInfo:
            await super().delete(chat_id)
            await super().create(chat_id, BOB, {})
            return await super().save(chat_id, change)

    _, here = await world.process()
    async with ResumableStreamContext.from_url("memory://", codec=JSONCodec()) as alone:
        elsewhere = ResumableChat(alone, Racing(world.chats))
        tap = Tap()
        await here.send(ALICE, "c", by(tap), message=user_message("u"))
        with pytest.raises(ChatNotFoundError):
            await elsewhere.load(ALICE, "c")
        tap.end()


async def _cut_off(world: World, backend: FaultyBackend, tap: Tap) -> ResumableStream[Any]:
    """Start an answer in a process that is then cut off from its backend, for longer than its lease."""
    _, here = await world.process(backend=backend)
    tap.let(*text_chunks("Half")[:2])
    stream = await here.send(ALICE, "c", by(tap), message=user_message("u"))
    while (await take(stream, 1))[0]["type"] != "text-delta":
        pass
    backend.go_away()
    tap.let({"type": "text-delta", "id": "t", "delta": " of"})
    await take(stream, 1)
    with anyio.fail_after(10):
        while not stream.degraded:
            await anyio.sleep(0.01)
    world.clock.advance(20.0)
    return stream


_REST = ({"type": "text-delta", "id": "t", "delta": " it"}, text_chunks()[-1])


async def test_load_does_not_wait_for_a_publisher_that_is_back(world: World) -> None:
    """Who found an answer lost, whose publisher is back a moment later, does not wait until it ends."""
    backend, tap = FaultyBackend(MemoryBackend(world.streams)), Tap()
    slow = FaultyBackend(MemoryBackend(world.streams))
    _, late = await world.process(backend=slow)
    context, _ = await world.process()

    async def after_its_return(call: Call) -> Any:
        backend.come_back()
        while (await context.info(stream.stream_id)).state is not StreamState.RUNNING:  # type: ignore[union-attr]
            await anyio.sleep(0.01)
        return await call()

    stream = await _cut_off(world, backend, tap)
    slow.plan("acquire", None, after_its_return)
    with anyio.fail_after(10):
        assert text_of((await late.load(ALICE, "c")).messages) == ["Hello?", "Half"]
    tap.end(*_REST)
    await collect(stream)
    assert text_of((await late.load(ALICE, "c")).messages) == ["Hello?", "Half of it"]


async def test_answer_that_outlasts_an_outage_is_saved(world: World) -> None:
    """An answer taken for lost, because its process was cut off, is in the chat as a whole when it ends after all."""
    backend, tap = FaultyBackend(MemoryBackend(world.streams)), Tap()
    _, elsewhere = await world.process()
    stream = await _cut_off(world, backend, tap)
    assert text_of((await elsewhere.load(ALICE, "c")).messages) == ["Hello?", "Half"]
    backend.come_back()
    tap.end(*_REST)
    assert (await collect(stream))[-1] == {"type": "finish"}
    (_, answer) = (await elsewhere.load(ALICE, "c")).messages
    assert text_of([answer]) == ["Half of it"]
    assert "metadata" not in answer


async def test_answer_that_outlasts_an_outage_does_not_spoil_what_follows(world: World) -> None:
    """If the chat has gone on meanwhile, that stays, be it an answer under the same id."""
    backend, tap = FaultyBackend(MemoryBackend(world.streams)), Tap()
    tap.let({"type": "tool-input-available", "toolCallId": "x", "toolName": "look", "input": 1})
    tap.let({"type": "tool-approval-request", "toolCallId": "x", "approvalId": "a"})
    _, elsewhere = await world.process()
    stream = await _cut_off(world, backend, tap)
    assert text_of((await elsewhere.load(ALICE, "c")).messages) == ["Hello?", "Half"]
    asked = (await elsewhere.load(ALICE, "c")).messages[-1]
    parts = [
        {**part, "state": "approval-responded", "approval": {"approved": True}} if "approval" in part else part
        for part in asked["parts"]
    ]
    await collect(await elsewhere.send(ALICE, "c", says(" a loaf"), message={**asked, "parts": parts}))
    backend.come_back()
    tap.end(*_REST)
    await collect(stream)
    (_, answer) = (await elsewhere.load(ALICE, "c")).messages
    assert answer["id"] == asked["id"]
    assert text_of([answer]) == ["Half a loaf"]


async def test_shutdown_keeps_the_answer(world: World) -> None:
    """Leaving the context in mid-answer, as a deploy does, saves what there is, and says why it broke off."""
    tap = Tap(*text_chunks("Half")[:2])
    async with ResumableStreamContext(MemoryBackend(world.streams), codec=JSONCodec(), drain_timeout=0.0) as context:
        chat = ResumableChat(context, MemoryChatStore(world.chats))
        await take(await chat.send(ALICE, "c", by(tap), message=user_message("u")), 3)
    _, after = await world.process()
    chats = MemoryChatStore(world.chats)
    kept = await chats.load("c")
    assert kept is not None
    assert kept.info.active_stream is None
    assert text_of(kept.messages) == ["Hello?", "Half"]
    assert (await after.load(ALICE, "c")).messages[1]["metadata"] == {"interrupted": "shutdown"}


async def test_answers_that_are_being_saved_are_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that hangs does not hold up a stop for longer than the clean-up of a factory may take."""
    monkeypatch.setattr("resumable_stream.chat.turn._LAST_SAVE_TIMEOUT", 0.05)

    class Hanging(MemoryChatStore):
        @override
        async def save(self, chat_id: str, change: ChatChange) -> ChatInfo:
            if change.clear_active:
                await anyio.sleep_forever()
            return await super().save(chat_id, change)

    _, chat = await world.process(store=Hanging(world.chats))
    _, elsewhere = await world.process()
    tap = Tap(*text_chunks("Half")[:2])
    await take(await chat.send(ALICE, "c", by(tap), message=user_message("u")), 3)
    with anyio.fail_after(5):
        await chat.stop(ALICE, "c")
    assert text_of((await elsewhere.load(ALICE, "c")).messages) == ["Hello?", "Half"]

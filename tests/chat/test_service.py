"""`ResumableChat`: what handlers call."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from typing_extensions import override

from resumable_stream import (
    InvalidSettingError,
    JSONCodec,
    LimitExceededError,
    Limits,
    PublisherFailedError,
    ResumableStream,
    ResumableStreamContext,
    StreamState,
)
from resumable_stream.answers import reasoning
from resumable_stream.backends.memory import MemoryBackend
from resumable_stream.chat import Answer, ChatChange, ChatInfo, ChatLimits, ResumableChat, Turn
from resumable_stream.chat.stores.memory import MemoryChatStore
from resumable_stream.exceptions import (
    AuthenticationRequiredError,
    ChatBusyError,
    ChatError,
    ChatExistsError,
    ChatForbiddenError,
    ChatNotFoundError,
    ChatStoreError,
    InvalidChatIdError,
    InvalidFactoryError,
    InvalidInputError,
    InvalidMessageError,
)
from resumable_stream.testing import FaultyBackend
from tests.chat.conftest import ALICE, BOB, World, by, says, text_chunks, text_of, user_message
from tests.streams import Tap, collect, collect_until_error, take


def never(_turn: Turn) -> AsyncIterator[Any]:
    """An answer that must not be made."""
    raise AssertionError("the answer was made")


async def test_chat_needs_a_codec() -> None:
    """A context that takes only text is refused at once, not at the first answer."""
    with pytest.raises(InvalidSettingError, match="codec"):
        ResumableChat(ResumableStreamContext.from_url("memory://"), MemoryChatStore())


async def test_chat_needs_a_retention() -> None:
    """A context that forgets streams as they end is refused at once: a reload could find neither stream nor answer."""
    context = ResumableStreamContext.from_url("memory://", codec=JSONCodec(), retention=0)
    with pytest.raises(InvalidSettingError, match="retention"):
        ResumableChat(context, MemoryChatStore())


@pytest.mark.parametrize(
    "options",
    [{"sdk": 4}, {"sdk": "7"}, *({"stop_timeout": wrong} for wrong in (-1, float("nan"), "6", None, True))],
)
async def test_settings_out_of_range(world: World, options: dict[str, Any]) -> None:
    """A setting that cannot be is refused at once, not when it is first used."""
    with pytest.raises(InvalidSettingError):
        await world.process(**options)


async def test_turn_is_kept(world: World) -> None:
    """A question and its answer are in the chat when the stream has ended, under the id that the stream told."""
    _, chat = await world.process()
    chunks = await collect(await chat.send(ALICE, "c", says("Hi", "!"), message=user_message("u1")))
    assert chunks[0]["type"] == "start"
    assert chunks[-1] == {"type": "finish"}
    loaded = await chat.load(ALICE, "c")
    assert [message["role"] for message in loaded.messages] == ["user", "assistant"]
    assert text_of(loaded.messages) == ["Hello?", "Hi!"]
    assert loaded.messages[1]["id"] == chunks[0]["messageId"]
    assert "metadata" not in loaded.messages[1]
    assert loaded.active_stream_id is None
    assert loaded.info.owner == ALICE


@pytest.mark.parametrize("is_awaited", [False, True])
async def test_answer_that_blocks(world: World, is_awaited: bool) -> None:
    """A plain generator makes its answer in a thread, where it may block; when it is stopped it is closed there."""
    _, chat = await world.process()
    loop, is_closed = asyncio.get_running_loop(), anyio.Event()

    def write(turn: Turn) -> Iterator[str]:
        try:
            # This would never come back, if it blocked the event loop.
            yield str(asyncio.run_coroutine_threadsafe(asyncio.sleep(0, result="Hi"), loop).result(10))
            while "endless" in turn.chat.chat_id:
                yield "!"
        finally:
            loop.call_soon_threadsafe(is_closed.set)

    async def write_later(turn: Turn) -> Iterator[str]:
        return write(turn)

    answer: Answer = write_later if is_awaited else write
    await collect(await chat.send(ALICE, "c", answer, message=user_message("u1")))
    assert text_of((await chat.load(ALICE, "c")).messages) == ["Hello?", "Hi"]
    is_closed = anyio.Event()
    await take(await chat.send(ALICE, "endless", answer, message=user_message("u1")), 4)
    assert await chat.stop(ALICE, "endless")
    with anyio.fail_after(10):
        await is_closed.wait()


@pytest.mark.parametrize(
    "item",
    [
        {"type": "reset-step"},
        {"type": "custom", "kind": "p.k"},
        {"type": "reasoning-file", "url": "u", "mediaType": "m"},
        {"type": "finish", "finishReason": "interrupted"},
    ],
)
async def test_chunks_that_pages_would_choke_on(world: World, item: Any) -> None:
    """What the pages' version of the AI SDK does not know is refused, before it is in the log."""

    async def answer(_turn: Turn) -> AsyncIterator[Any]:
        yield "Hi"
        yield item

    _, old = await world.process(sdk=5)
    chunks, error = await collect_until_error(await old.send(ALICE, "old", answer, message=user_message("u1")))
    assert isinstance(error, PublisherFailedError)
    assert item not in chunks
    _, new = await world.process()
    assert item in await collect(await new.send(ALICE, "new", answer, message=user_message("u1")))


async def test_turn_knows_the_conversation(world: World) -> None:
    """An answer is made from all messages so far, though only the last one was sent."""
    _, chat = await world.process()
    turns: list[Turn] = []

    async def answer(turn: Turn) -> AsyncIterator[dict[str, Any]]:
        turns.append(turn)
        for chunk in text_chunks("A"):
            yield chunk

    for number in range(3):
        await collect(await chat.send(ALICE, "c", answer, message=user_message(f"u{number}", f"Q{number}")))
    assert text_of(turns[2].messages) == ["Q0", "A", "Q1", "A", "Q2"]
    assert (turns[2].user, turns[2].chat.chat_id) == (ALICE, "c")
    assert (await chat.load(ALICE, "c")).messages[-1]["id"] == turns[2].message_id


async def test_start_and_finish_of_an_answer_are_kept(world: World) -> None:
    """An answer that makes its own start and finish gets no second ones, and the start gets the message's id."""
    _, chat = await world.process()

    async def answer(_turn: Turn) -> AsyncIterator[dict[str, Any]]:
        yield {"type": "start", "messageMetadata": {"model": "m"}}
        yield {"type": "finish", "messageMetadata": {"tokens": 3}}

    chunks = await collect(await chat.send(ALICE, "c", answer, message=user_message("u")))
    assert [chunk["type"] for chunk in chunks] == ["start", "finish"]
    assert chunks[0]["messageId"]


async def test_answer_may_be_text(world: World) -> None:
    """An answer need not be chunks: text, and what makes other parts, is enough."""
    _, chat = await world.process()

    async def answer(_turn: Turn) -> AsyncIterator[Any]:
        yield reasoning("Well. ")
        yield "Hi"
        yield "!"

    chunks = await collect(await chat.send(ALICE, "c", answer, message=user_message("u")))
    assert [chunk["type"] for chunk in chunks].count("text-start") == 1
    parts = (await chat.load(ALICE, "c")).messages[1]["parts"]
    said = [(part["type"], part["text"]) for part in parts if "text" in part]
    assert said == [("reasoning", "Well. "), ("text", "Hi!")]


async def test_running_turn_is_left_out(world: World) -> None:
    """While an answer is made, a load shows the question and names the stream; that is how it is resumed, anywhere."""
    _, here = await world.process()
    _, elsewhere = await world.process()
    tap = Tap(*text_chunks("Hi")[:2])
    stream = await here.send(ALICE, "c", by(tap), message=user_message("u1"))
    loaded = await elsewhere.load(ALICE, "c")
    assert text_of(loaded.messages) == ["Hello?"]
    assert loaded.active_stream_id == stream.stream_id
    resumed = await elsewhere.resume(ALICE, "c")
    tap.end(text_chunks("Hi")[2])
    assert await collect(resumed) == await collect(stream)
    assert await elsewhere.resume(ALICE, "c") is None
    again = await elsewhere.resume_stream(ALICE, stream.stream_id, start_index=2)
    assert (await collect(again))[0] == {"type": "text-start", "id": "t"}


Call = Callable[[ResumableChat, "str | None"], Awaitable[object]]

CALLS: dict[str, Call] = {
    "load": lambda chat, user: chat.load(user, "c"),
    "send": lambda chat, user: chat.send(user, "c", never, message=user_message("u2")),
    "resume": lambda chat, user: chat.resume(user, "c"),
    "stop": lambda chat, user: chat.stop(user, "c"),
    "delete": lambda chat, user: chat.delete(user, "c"),
    "set_metadata": lambda chat, user: chat.set_metadata(user, "c", {}),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_only_the_owner_may(world: World, call: Call) -> None:
    """A foreign user and an anonymous one are refused, with an error of its own each, and change nothing."""
    _, chat = await world.process()
    await collect(await chat.send(ALICE, "c", says("secret"), message=user_message("u1")))
    before = await chat.load(ALICE, "c")
    for user, error in (
        (BOB, ChatForbiddenError),
        (None, AuthenticationRequiredError),
        ("", AuthenticationRequiredError),
    ):
        with pytest.raises(error) as caught:
            await call(chat, user)
        assert "secret" not in str(caught.value)
    assert await chat.load(ALICE, "c") == before
    _, discreet = await world.process(hide_foreign=True)
    with pytest.raises(ChatNotFoundError):
        await call(discreet, BOB)


@pytest.mark.parametrize("call", [CALLS[name] for name in CALLS if name != "send"])
async def test_unknown_chat_is_an_error_of_its_own(world: World, call: Call) -> None:
    """A chat that does not exist is not found, rather than forbidden; one who is not signed in does not learn that."""
    _, chat = await world.process()
    with pytest.raises(ChatNotFoundError):
        await call(chat, ALICE)
    with pytest.raises(AuthenticationRequiredError):
        await call(chat, None)


async def test_stream_is_reached_through_its_chat_alone(world: World) -> None:
    """A stream id gives nobody access but who owns the chat; one that is in no chat is not found, though it exists."""
    context, chat = await world.process()
    stream = await chat.send(ALICE, "c", says("secret"), message=user_message("u"))
    await collect(stream)
    with pytest.raises(ChatForbiddenError):
        await chat.resume_stream(BOB, stream.stream_id)
    with pytest.raises(AuthenticationRequiredError):
        await chat.resume_stream(None, stream.stream_id)
    await context.create_new_resumable_stream("elsewhere", lambda: iter([{"type": "start"}]))
    with pytest.raises(ChatNotFoundError):
        await chat.resume_stream(ALICE, "elsewhere")


async def test_create_list_and_delete(world: World) -> None:
    """A user's chats are listed newest first, page by page, and are gone with all they had once deleted."""
    context, chat = await world.process()
    made = [(await chat.create(ALICE, metadata={"title": str(number)})).chat_id for number in range(5)]
    await chat.create(BOB, chat_id="bobs")
    first = await chat.list(ALICE, limit=3)
    rest = await chat.list(ALICE, limit=3, after=first.next)
    assert [info.chat_id for info in [*first.chats, *rest.chats]] == made[::-1]
    assert rest.next is None
    assert first.chats[0].metadata == {"title": "4"}
    stream = await chat.send(ALICE, made[0], says("Hi"), message=user_message("u"))
    await collect(stream)
    await chat.delete(ALICE, made[0])
    with pytest.raises(ChatNotFoundError):
        await chat.load(ALICE, made[0])
    assert await context.info(stream.stream_id) is None
    assert made[0] not in [info.chat_id for info in (await chat.list(ALICE)).chats]


async def test_deleting_cancels_the_answer(world: World) -> None:
    """A chat that is deleted while an answer is made has its factory cancelled, and does not come back."""
    _, chat = await world.process()
    tap = Tap(*text_chunks("Hi")[:2])
    await chat.send(ALICE, "c", by(tap), message=user_message("u"))
    await anyio.wait_all_tasks_blocked()
    await chat.delete(ALICE, "c")
    await tap.is_closed.wait()
    await anyio.wait_all_tasks_blocked()
    with pytest.raises(ChatNotFoundError):
        await chat.load(ALICE, "c")


async def test_deleting_while_the_backend_is_away(world: World) -> None:
    """A chat in which no answer is being made is deleted in the time of one call, however many answers it had."""
    asked: set[str] = set()

    class Noted(FaultyBackend):
        @override
        async def delete(self, stream_id: str) -> bool:
            asked.add(stream_id)
            return await super().delete(stream_id)

    backend = Noted(MemoryBackend(world.streams))
    _, chat = await world.process(backend=backend, settings={"call_timeout": 0.1})
    for number in range(3):
        await collect(await chat.send(ALICE, "c", says("Hi"), message=user_message(f"u{number}")))
    backend.go_away()
    await chat.delete(ALICE, "c")
    backend.come_back()
    assert len(asked) == 1
    with pytest.raises(ChatNotFoundError):
        await chat.load(ALICE, "c")


async def test_deleting_is_not_cancelled_half_way(world: World) -> None:
    """A caller who goes away while a chat is deleted leaves none of its streams, which nobody could name any more."""

    class Slow(FaultyBackend):
        @override
        async def delete(self, stream_id: str) -> bool:
            await anyio.sleep(0.02)
            return await super().delete(stream_id)

    context, chat = await world.process(backend=Slow(MemoryBackend(world.streams)))
    for number in range(3):
        await collect(await chat.send(ALICE, "c", says("Hi"), message=user_message(f"u{number}")))
    with anyio.move_on_after(0.03) as scope:
        await chat.delete(ALICE, "c")
    assert scope.cancelled_caught
    assert [info.stream_id async for info in context.list_streams()] == []


async def test_deleting_leaves_a_chat_of_somebody_else(world: World) -> None:
    """If a chat is deleted, and its id taken by somebody else, while its owner deletes it, the other's chat stays."""

    class Racing(MemoryChatStore):
        @override
        async def describe(self, chat_id: str) -> ChatInfo | None:
            info = await super().describe(chat_id)
            await super().delete(chat_id)
            await super().create(chat_id, BOB, {})
            return info

    _, chat = await world.process()
    await chat.create(ALICE, chat_id="c")
    _, racing = await world.process(store=Racing(world.chats))
    await racing.delete(ALICE, "c")
    assert (await chat.load(BOB, "c")).messages == []


async def test_taken_id_is_refused(world: World) -> None:
    """A chat cannot be made under an id that is taken, whoever has it."""
    _, chat = await world.process()
    await chat.create(BOB, chat_id="c")
    with pytest.raises(ChatExistsError):
        await chat.create(ALICE, chat_id="c")
    with pytest.raises(ChatForbiddenError):
        await chat.send(ALICE, "c", never, message=user_message("u"))


async def test_metadata_is_replaced(world: World) -> None:
    """Metadata is the application's own, put in place of the old, and bounded."""
    _, chat = await world.process(limits=ChatLimits(max_metadata_bytes=30))
    await chat.create(ALICE, chat_id="c", metadata={"title": "old"})
    await chat.set_metadata(ALICE, "c", {"title": "new"})
    assert (await chat.load(ALICE, "c")).info.metadata == {"title": "new"}
    with pytest.raises(LimitExceededError):
        await chat.set_metadata(ALICE, "c", {"title": "x" * 30})
    with pytest.raises(InvalidMessageError):
        await chat.set_metadata(ALICE, "c", ["no"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"chat_id": "../c"}, InvalidChatIdError),
        ({"chat_id": "x" * 257}, InvalidChatIdError),
        ({"message": None}, InvalidInputError),
        ({"message": "Hi"}, InvalidMessageError),
        ({"message": {"id": "u", "role": "system", "parts": []}}, InvalidMessageError),
        ({"message": {"id": "a b", "role": "user", "parts": []}}, InvalidMessageError),
        ({"message": {"id": 5, "role": "user", "parts": []}}, InvalidMessageError),
        ({"message": {"id": "u", "role": "user"}}, InvalidMessageError),
        ({"message": {"id": "u", "role": "user", "parts": ["text"]}}, InvalidMessageError),
        ({"message": {"id": "u", "role": "user", "parts": [], "n": float("nan")}}, InvalidMessageError),
        ({"message": {"id": "u", "role": "user", "parts": [], "n": "\ud800"}}, InvalidMessageError),
        ({"message": {"id": "u", "role": "user", "parts": [], "n": {1, 2}}}, InvalidMessageError),
        ({"message": {"id": "u", "role": "user", "parts": [], "n": "x" * 2000}}, LimitExceededError),
        ({"message": {"id": "a", "role": "assistant", "parts": []}}, InvalidMessageError),
        ({"trigger": "shout"}, InvalidInputError),
        ({"trigger": "regenerate-message"}, InvalidMessageError),
        ({"answer": "Hi"}, InvalidFactoryError),
        ({"user": "x" * 257}, InvalidInputError),
    ],
)
async def test_bad_input_harms_nothing(world: World, options: dict[str, Any], error: type[Exception]) -> None:
    """What cannot be right gets a clear error, and nothing was started or saved."""
    context, chat = await world.process(limits=ChatLimits(max_message_bytes=1000))
    given = {"user": ALICE, "chat_id": "c", "answer": never, "message": user_message("u"), **options}
    with pytest.raises(error):
        await chat.send(given.pop("user"), given.pop("chat_id"), given.pop("answer"), **given)
    assert [info async for info in context.list_streams()] == []
    assert (await chat.list(ALICE)).chats == []


async def test_message_gets_an_id(world: World) -> None:
    """A message without an id gets one; with a message id beside it, it gets that."""
    _, chat = await world.process()
    message = {"role": "user", "parts": [{"type": "text", "text": "Q"}]}
    await collect(await chat.send(ALICE, "c", says("A"), message=message))
    await collect(await chat.send(ALICE, "c", says("A"), message=message, message_id="mine"))
    loaded = await chat.load(ALICE, "c")
    assert loaded.messages[0]["id"]
    assert loaded.messages[2]["id"] == "mine"


async def test_message_sent_again_is_not_doubled(world: World) -> None:
    """The same message sent twice is answered once: while the answer is made, and after it was."""
    _, chat = await world.process()
    tap = Tap(*text_chunks("Hi")[:2])
    first = await chat.send(ALICE, "c", by(tap), message=user_message("u"))
    second = await chat.send(ALICE, "c", never, message=user_message("u"))
    tap.end(text_chunks("Hi")[2])
    third = await chat.send(ALICE, "c", never, message=user_message("u"))
    assert await collect(first) == await collect(second) == await collect(third)
    assert len((await chat.load(ALICE, "c")).messages) == 2


async def test_message_sent_again_after_a_failure_is_answered_again(world: World) -> None:
    """A message whose answer failed can be sent once more, and the new answer takes the place of what there was."""
    _, chat = await world.process()
    tap = Tap(*text_chunks("Hmm")[:2], RuntimeError("no"))
    await collect_until_error(await chat.send(ALICE, "c", by(tap), message=user_message("u")))
    assert text_of((await chat.load(ALICE, "c")).messages) == ["Hello?", "Hmm"]
    await collect(await chat.send(ALICE, "c", says("Hi"), message=user_message("u")))
    assert text_of((await chat.load(ALICE, "c")).messages) == ["Hello?", "Hi"]


async def test_edited_message_forgets_what_followed(world: World) -> None:
    """A message sent with an id that is there takes its place, and what came after it is gone."""
    _, chat = await world.process()
    for number in range(3):
        await collect(await chat.send(ALICE, "c", says("A"), message=user_message(f"u{number}")))
    edited = user_message("u1", "Other?")
    await collect(await chat.send(ALICE, "c", says("B"), message=edited, message_id="u1"))
    assert text_of((await chat.load(ALICE, "c")).messages) == ["Hello?", "A", "Other?", "B"]


async def test_answer_cannot_be_overwritten_by_a_user(world: World) -> None:
    """A user's message with the id of an answer is refused."""
    _, chat = await world.process()
    await collect(await chat.send(ALICE, "c", says("A"), message=user_message("u")))
    answer_id = (await chat.load(ALICE, "c")).messages[1]["id"]
    with pytest.raises(InvalidMessageError):
        await chat.send(ALICE, "c", never, message=user_message(answer_id))


async def test_regenerate_replaces_the_last_answer(world: World) -> None:
    """A regenerated answer takes the place of the old one when it is there, and not before."""
    _, chat = await world.process()
    await collect(await chat.send(ALICE, "c", says("old"), message=user_message("u")))
    tap = Tap(*text_chunks("new")[:2])
    stream = await chat.send(ALICE, "c", by(tap), trigger="regenerate-message")
    assert text_of((await chat.load(ALICE, "c")).messages) == ["Hello?"]
    tap.end(text_chunks("new")[2])
    await collect(stream)
    loaded = await chat.load(ALICE, "c")
    assert text_of(loaded.messages) == ["Hello?", "new"]


async def test_regenerate_that_made_nothing_keeps_the_answer(world: World) -> None:
    """If there is no new answer, the old one stays."""
    _, chat = await world.process()
    await collect(await chat.send(ALICE, "c", says("old"), message=user_message("u")))
    tap = Tap({"type": "start-step"}, {"type": "text-start", "id": "t"}, RuntimeError("no"))
    await collect_until_error(await chat.send(ALICE, "c", by(tap), trigger="regenerate-message"))
    assert text_of((await chat.load(ALICE, "c")).messages) == ["Hello?", "old"]


async def test_regenerate_an_earlier_answer(world: World) -> None:
    """An earlier answer, or an earlier question, can be answered anew; what followed is replaced."""
    _, chat = await world.process()
    for number in range(2):
        await collect(await chat.send(ALICE, "c", says("A"), message=user_message(f"u{number}")))
    answer_id = (await chat.load(ALICE, "c")).messages[1]["id"]
    for message_id, words in ((answer_id, "B"), ("u0", "C")):
        stream = await chat.send(ALICE, "c", says(words), trigger="regenerate-message", message_id=message_id)
        await collect(stream)
        assert text_of((await chat.load(ALICE, "c")).messages) == ["Hello?", words]
    with pytest.raises(InvalidMessageError):
        await chat.send(ALICE, "c", never, trigger="regenerate-message", message_id="unknown")


async def test_second_send_is_refused(world: World) -> None:
    """While an answer is made, another message is a conflict, and changes nothing."""
    _, chat = await world.process()
    tap = Tap()
    await chat.send(ALICE, "c", by(tap), message=user_message("u1"))
    with pytest.raises(ChatBusyError):
        await chat.send(ALICE, "c", never, message=user_message("u2"))
    assert len((await chat.load(ALICE, "c")).messages) == 1
    assert not tap.is_closed.is_set()


async def test_second_send_stops_the_first(world: World) -> None:
    """If so set, another message stops the answer that is being made; what there was of it is kept."""
    _, here = await world.process()
    _, elsewhere = await world.process(while_answering="stop")
    tap = Tap(*text_chunks("Hi")[:2])
    await take(await here.send(ALICE, "c", by(tap), message=user_message("u1")), 2)
    await collect(await elsewhere.send(ALICE, "c", says("Yes"), message=user_message("u2")))
    assert tap.is_closed.is_set()
    loaded = await here.load(ALICE, "c")
    assert text_of(loaded.messages) == ["Hello?", "Hi", "Hello?", "Yes"]
    assert loaded.messages[1]["metadata"] == {"interrupted": "stopped"}


async def test_racing_sends_start_one_answer(world: World) -> None:
    """Of many who send to a chat at the same time, from several processes, one has its answer made."""
    processes = [await world.process() for _ in range(3)]
    calls: list[int] = []
    refused: list[ChatError] = []

    async def send(number: int) -> None:
        async def answer(_turn: Turn) -> AsyncIterator[dict[str, Any]]:
            calls.append(number)
            await anyio.sleep_forever()
            yield {}

        try:
            await processes[number % 3][1].send(ALICE, "c", answer, message=user_message(f"u{number}"))
        except ChatBusyError as error:
            refused.append(error)

    async with anyio.create_task_group() as tasks:
        for number in range(9):
            tasks.start_soon(send, number)
    await anyio.wait_all_tasks_blocked()
    assert (len(calls), len(refused)) == (1, 8)
    loaded = await processes[0][1].load(ALICE, "c")
    assert [message["id"] for message in loaded.messages] == [f"u{calls[0]}"]
    assert len([info async for info in processes[0][0].list_streams()]) == 1


async def test_stop_keeps_what_there_is(world: World) -> None:
    """A stopped answer is kept as far as it got, marked, its text done and its tools failed; a stop can be repeated."""
    _, here = await world.process()
    _, elsewhere = await world.process()
    tool = {"type": "tool-input-available", "toolCallId": "x", "toolName": "look", "input": {"at": 1}}
    tap = Tap(*text_chunks("Hi")[:2], tool)
    stream = await here.send(ALICE, "c", by(tap), message=user_message("u"))
    await take(stream, 4)
    assert await elsewhere.stop(ALICE, "c")
    assert tap.is_closed.is_set()
    await collect(stream)
    assert stream.state is StreamState.STOPPED
    loaded = await elsewhere.load(ALICE, "c")
    answer = loaded.messages[1]
    assert loaded.active_stream_id is None
    assert answer["metadata"] == {"interrupted": "stopped"}
    assert [part["state"] for part in answer["parts"] if "state" in part] == ["done", "output-error"]
    assert not await elsewhere.stop(ALICE, "c")


async def test_stop_while_the_backend_is_away(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the process that makes an answer it is stopped, and saved in time, though the backend is away."""
    monkeypatch.setattr("resumable_stream.chat.turns._WHY_TIMEOUT", 0.05)
    monkeypatch.setattr("resumable_stream.chat.turn._LAST_SAVE_TIMEOUT", 1.0)
    backend = FaultyBackend(MemoryBackend(world.streams))
    settings = {"call_timeout": 2.0, "outage_timeout": 2.0}
    _, chat = await world.process(backend=backend, settings=settings)
    tap = Tap(*text_chunks("Half")[:2])
    await take(await chat.send(ALICE, "c", by(tap), message=user_message("u")), 3)
    backend.go_away()
    with anyio.fail_after(10):
        assert await chat.stop(ALICE, "c")
        await tap.is_closed.wait()
        backend.come_back()
        while (loaded := await MemoryChatStore(world.chats).load("c")) and loaded.info.active_stream is not None:
            await anyio.sleep(0.01)
    _, answer = (await chat.load(ALICE, "c")).messages
    assert (text_of([answer]), answer["metadata"]) == (["Half"], {"interrupted": "stopped"})


async def test_stale_stop_does_not_stop_the_next_answer(world: World) -> None:
    """A stop that names another stream than the active one is ignored."""
    _, chat = await world.process()
    first = await chat.send(ALICE, "c", says("Hi"), message=user_message("u1"))
    await collect(first)
    tap = Tap()
    second = await chat.send(ALICE, "c", by(tap), message=user_message("u2"))
    assert not await chat.stop(ALICE, "c", stream_id=first.stream_id)
    assert not tap.is_closed.is_set()
    assert await chat.stop(ALICE, "c", stream_id=second.stream_id)


async def test_partial_answers_can_be_dropped(world: World) -> None:
    """If so set, an answer that was stopped or failed leaves nothing in the chat."""
    _, chat = await world.process(keep_partial=False)
    tap = Tap(*text_chunks("Hi")[:2])
    await take(await chat.send(ALICE, "c", by(tap), message=user_message("u1")), 3)
    await chat.stop(ALICE, "c")
    tap = Tap(*text_chunks("Hi")[:2], RuntimeError("no"))
    await collect_until_error(await chat.send(ALICE, "c", by(tap), message=user_message("u2")))
    assert text_of((await chat.load(ALICE, "c")).messages) == ["Hello?", "Hello?"]


async def test_failed_answer_is_kept(world: World) -> None:
    """An answer that raises is kept as far as it got, and marked."""
    _, chat = await world.process()
    tap = Tap(*text_chunks("Hi")[:2], RuntimeError("no"))
    chunks, error = await collect_until_error(await chat.send(ALICE, "c", by(tap), message=user_message("u")))
    assert isinstance(error, PublisherFailedError)
    loaded = await chat.load(ALICE, "c")
    assert loaded.messages[1]["metadata"] == {"interrupted": "failed"}
    assert loaded.messages[1]["id"] == chunks[0]["messageId"]
    assert text_of(loaded.messages) == ["Hello?", "Hi"]


@pytest.mark.parametrize("data", ["x" * 2000, float("nan")], ids=["too large", "no JSON"])
async def test_chunk_that_cannot_be_logged_fails_the_answer(world: World, data: Any) -> None:
    """Of an answer that yields it, what came before is kept, as all readers had it, and marked as failed."""
    _, chat = await world.process(settings={"limits": Limits(max_chunk_bytes=1000)})
    tap = Tap(*text_chunks("Hi")[:2], {"type": "data-x", "data": data})
    _, error = await collect_until_error(await chat.send(ALICE, "c", by(tap), message=user_message("u")))
    assert isinstance(error, PublisherFailedError)
    loaded = await chat.load(ALICE, "c")
    assert loaded.info.active_stream is None
    assert loaded.messages[1]["metadata"] == {"interrupted": "failed"}
    assert [part["type"] for part in loaded.messages[1]["parts"]] == ["step-start", "text"]


async def test_answer_that_awaits_what_was_cancelled_has_failed(world: World) -> None:
    """Nobody stopped it. Python 3.10 cannot tell: there the stream has failed, and its chat says it was stopped."""

    async def awaiting(_turn: Turn) -> AsyncIterator[str]:
        yield "Hi"
        cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        cancelled.cancel()
        await cancelled

    _, chat = await world.process()
    _, error = await collect_until_error(await chat.send(ALICE, "c", awaiting, message=user_message("u")))
    assert isinstance(error, PublisherFailedError)
    assert (await chat.load(ALICE, "c")).messages[1]["metadata"] == {
        "interrupted": "failed" if sys.version_info >= (3, 11) else "stopped"
    }


@pytest.mark.parametrize("chunk", [5, {"type": 5}, {"type": "text-delta", "id": "unknown", "delta": "x"}])
async def test_chunk_that_is_none_fails_the_answer(world: World, chunk: Any) -> None:
    """What is no UI message chunk, or does not fit, is not handed on; the answer has failed, and says of what."""
    _, chat = await world.process()
    chunks, error = await collect_until_error(await chat.send(ALICE, "c", by(Tap(chunk)), message=user_message("u")))
    assert isinstance(error, PublisherFailedError)
    assert error.error_type.endswith("InvalidMessageChunkError")
    assert chunk not in chunks


async def test_tool_outputs_continue_the_message(world: World) -> None:
    """An assistant's message sent back with outputs of its tools is continued; nothing else of it is believed."""
    _, chat = await world.process()

    async def ask(_turn: Turn) -> AsyncIterator[dict[str, Any]]:
        yield {"type": "tool-input-available", "toolCallId": "x", "toolName": "look", "input": {"at": 1}}

    async def go_on(turn: Turn) -> AsyncIterator[dict[str, Any]]:
        assert turn.messages[-1]["parts"][-1]["output"] == "seen"
        for chunk in text_chunks("I saw it"):
            yield chunk

    await collect(await chat.send(ALICE, "c", ask, message=user_message("u")))
    asked = (await chat.load(ALICE, "c")).messages[1]
    tool = {**asked["parts"][-1], "state": "output-available", "output": "seen", "input": "forged"}
    sent = {**asked, "parts": [{"type": "text", "text": "forged"}, tool]}
    chunks = await collect(await chat.send(ALICE, "c", go_on, message=sent))
    assert chunks[0]["messageId"] == asked["id"]
    loaded = await chat.load(ALICE, "c")
    assert len(loaded.messages) == 2
    assert loaded.messages[1]["id"] == asked["id"]
    assert text_of(loaded.messages) == ["Hello?", "I saw it"]
    assert "forged" not in str(loaded.messages)


async def _asked(chat: ResumableChat, *tools: dict[str, Any]) -> dict[str, Any]:
    """Have an answer that uses tools, and return it."""

    async def ask(_turn: Turn) -> AsyncIterator[dict[str, Any]]:
        for tool in tools:
            yield tool

    await collect(await chat.send(ALICE, "c", ask, message=user_message("u")))
    return (await chat.load(ALICE, "c")).messages[1]


CALL = {"type": "tool-input-available", "toolCallId": "x", "toolName": "look", "input": {"at": 1}}


@pytest.mark.parametrize("has_message_id", [False, True], ids=["", "as the AI SDK sends them"])
async def test_tool_output_sent_twice_is_answered_once(world: World, has_message_id: bool) -> None:
    """Outputs of tools that are sent again, by another tab perhaps, get the answer that is there or is being made."""
    _, chat = await world.process()
    asked = await _asked(chat, CALL)
    tool = {**asked["parts"][-1], "state": "output-available", "output": "seen"}
    sent = {**asked, "parts": [*asked["parts"][:-1], tool]}
    tap, message_id = Tap("I saw it"), asked["id"] if has_message_id else None

    async def send(answer: Any) -> ResumableStream[dict[str, Any]]:
        return await chat.send(ALICE, "c", answer, message=sent, message_id=message_id)

    streams = [await send(by(tap)), await send(never)]
    tap.end()
    streams.append(await send(never))
    chunks = [await collect(stream) for stream in streams]
    assert chunks[0] == chunks[1] == chunks[2]
    assert text_of((await chat.load(ALICE, "c")).messages) == ["Hello?", "I saw it"]


@pytest.mark.parametrize(
    "forged",
    [
        {"state": []},
        {"state": "output-available"},
        {"state": "output-error", "errorText": {"a": 1}},
        {"state": "approval-responded", "approval": {"approved": True}},
        {"state": "input-available", "input": "other"},
    ],
)
async def test_what_answers_no_tool_is_refused(world: World, forged: dict[str, Any]) -> None:
    """An assistant's message that brings no output that a tool waits for is refused, and changes nothing."""
    _, chat = await world.process()
    asked = await _asked(chat, CALL)
    with pytest.raises(InvalidMessageError):
        await chat.send(ALICE, "c", never, message={**asked, "parts": [{**asked["parts"][-1], **forged}]})
    assert (await chat.load(ALICE, "c")).messages[1] == asked


async def test_approval_is_only_decided(world: World) -> None:
    """Of an approval the user says yes or no, and why; all else stays. A tool that waits for it takes no output."""
    _, chat = await world.process()
    request = {"type": "tool-approval-request", "toolCallId": "x", "approvalId": "a", "signature": "s"}
    asked = await _asked(chat, CALL, request)
    part = asked["parts"][-1]
    paid = {**part, "state": "output-available", "output": "paid"}
    with pytest.raises(InvalidMessageError):
        await chat.send(ALICE, "c", never, message={**asked, "parts": [paid]})
    given = {"id": "forged", "signature": "forged", "approved": True, "reason": "why not"}
    sent = {**asked, "parts": [{**part, "state": "approval-responded", "approval": given}]}
    await collect(await chat.send(ALICE, "c", says("Good"), message=sent))
    decided = next(one for one in (await chat.load(ALICE, "c")).messages[1]["parts"] if "approval" in one)
    assert decided["state"] == "approval-responded"
    assert decided["approval"] == {**part["approval"], "approved": True, "reason": "why not"}


async def test_interrupted_answer_that_goes_on_is_whole(world: World) -> None:
    """An answer that was stopped, and goes on after its tools were answered, is not marked any more."""
    _, chat = await world.process()
    request = {"type": "tool-approval-request", "toolCallId": "x", "approvalId": "a"}
    tap = Tap(CALL, request)
    await take(await chat.send(ALICE, "c", by(tap), message=user_message("u")), 3)
    await chat.stop(ALICE, "c")
    stopped = (await chat.load(ALICE, "c")).messages[1]
    assert stopped["metadata"] == {"interrupted": "stopped"}
    tool = {**stopped["parts"][-1], "state": "approval-responded", "approval": {"approved": False}}
    await collect(await chat.send(ALICE, "c", says("Well"), message={**stopped, "parts": [tool]}))
    assert "interrupted" not in (await chat.load(ALICE, "c")).messages[1].get("metadata", {})


async def test_start_cannot_name_another_message(world: World) -> None:
    """A start that names the id of a message that is there does not put the answer in its place."""
    _, chat = await world.process()
    tap = Tap()
    tap.end({"type": "start", "messageId": "u"}, *text_chunks("A"))
    sent = await collect(await chat.send(ALICE, "c", by(tap), message=user_message("u")))
    assert sent[0]["messageId"] != "u"
    assert text_of((await chat.load(ALICE, "c")).messages) == ["Hello?", "A"]


async def test_deep_message_is_refused(world: World) -> None:
    """A message that is nested deeper than anybody needs is refused, before a chat is made for it."""
    _, chat = await world.process()
    deep: Any = "x"
    for _ in range(200):
        deep = [deep]
    with pytest.raises(InvalidMessageError):
        await chat.send(ALICE, "c", never, message={**user_message("u"), "deep": deep})
    assert (await chat.list(ALICE)).chats == []


async def test_chat_has_a_last_message(world: World) -> None:
    """A chat takes no more messages than it may have."""
    _, chat = await world.process(limits=ChatLimits(max_messages=3))
    await collect(await chat.send(ALICE, "c", says("A"), message=user_message("u1")))
    with pytest.raises(LimitExceededError):
        await chat.send(ALICE, "c", never, message=user_message("u2"))


async def test_cancelled_send_does_not_end_the_answer(world: World) -> None:
    """Whoever sends may go away at any moment: the answer is made, or none was begun."""

    class Slow(MemoryChatStore):
        @override
        async def save(self, chat_id: str, change: ChatChange) -> ChatInfo:
            await anyio.lowlevel.checkpoint()
            info = await super().save(chat_id, change)
            await anyio.lowlevel.checkpoint()
            return info

    context, chat = await world.process(store=Slow(world.chats))
    messages: list[dict[str, Any]] = []
    for passes in range(40):
        chat_id = f"c{passes}"
        task = asyncio.ensure_future(chat.send(ALICE, chat_id, says("Hi"), message=user_message("u")))
        for _ in range(passes):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await anyio.wait_all_tasks_blocked()
        try:
            loaded = await chat.load(ALICE, chat_id)
        except ChatNotFoundError:
            continue
        assert loaded.active_stream_id is None
        messages = loaded.messages
        assert text_of(messages) in ([], ["Hello?", "Hi"])
    assert text_of(messages) == ["Hello?", "Hi"], "the last ones were not cancelled in time"
    assert not [info async for info in context.list_streams() if info.state is not StreamState.DONE]


class Broken(MemoryChatStore):
    """A store that fails when it is told to."""

    fails = False

    @override
    async def save(self, chat_id: str, change: ChatChange) -> ChatInfo:
        if self.fails:
            raise ChatStoreError("no")
        return await super().save(chat_id, change)


async def test_answer_that_could_not_begin_leaves_nothing(world: World) -> None:
    """If the store fails when a turn begins, no answer is made, and no stream is left."""
    store = Broken(world.chats)
    context, chat = await world.process(store=store)
    await chat.create(ALICE, chat_id="c")
    store.fails = True
    with pytest.raises(ChatStoreError):
        await chat.send(ALICE, "c", never, message=user_message("u"))
    assert [info async for info in context.list_streams()] == []


async def test_answer_that_could_not_begin_does_not_wait(world: World) -> None:
    """If the store fails when a turn begins, and the backend is away too, no publisher is left waiting."""
    backend = FaultyBackend(MemoryBackend(world.streams))

    class Failing(MemoryChatStore):
        @override
        async def save(self, chat_id: str, change: ChatChange) -> ChatInfo:
            backend.go_away()
            raise ChatStoreError("no")

    context = ResumableStreamContext(backend, codec=JSONCodec(), call_timeout=0.1, drain_timeout=60.0)
    with anyio.fail_after(10):
        async with context:
            chat = ResumableChat(context, Failing(world.chats))
            with pytest.raises(ChatStoreError):
                await chat.send(ALICE, "c", never, message=user_message("u"))
            backend.come_back()
    assert [info.state async for info in _streams_of(world)] == [StreamState.FAILED]


@pytest.mark.parametrize("is_elsewhere", [False, True])
async def test_turn_whose_beginning_was_not_told_begins_again(world: World, is_elsewhere: bool) -> None:
    """If the store began a turn and could not say so, and the backend is away too, a message sent again is answered."""
    backend = FaultyBackend(MemoryBackend(world.streams))

    class Forgetful(MemoryChatStore):
        @override
        async def save(self, chat_id: str, change: ChatChange) -> ChatInfo:
            await super().save(chat_id, change)
            backend.go_away()
            raise ChatStoreError("the reply was lost")

    _, here = await world.process(backend=backend, store=Forgetful(world.chats), settings={"call_timeout": 0.1})
    _, chat = await world.process()
    with pytest.raises(ChatStoreError):
        await here.send(ALICE, "c", never, message=user_message("u"))
    if is_elsewhere:  # somebody waits for what was not begun
        waiting = await chat.resume(ALICE, "c")
        backend.come_back()
        assert isinstance((await collect_until_error(waiting))[1], PublisherFailedError)
    backend.come_back()
    with anyio.fail_after(10):
        while (await chat.load(ALICE, "c")).active_stream_id is not None:
            await anyio.sleep(0.01)
    for answer in (says("Hi"), never):
        assert len(await collect(await chat.send(ALICE, "c", answer, message=user_message("u")))) > 2
    assert text_of((await chat.load(ALICE, "c")).messages) == ["Hello?", "Hi"]


async def _streams_of(world: World) -> AsyncIterator[Any]:
    context, _ = await world.process()
    async for info in context.list_streams():
        yield info


async def test_saving_that_fails_is_made_up_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the answer cannot be saved at its end, the next load saves it from the log: nothing is lost."""
    monkeypatch.setattr("resumable_stream.chat.turn._SAVE_PAUSES", (0.0,))
    store = Broken(world.chats)
    _, here = await world.process(store=store)
    _, elsewhere = await world.process()
    tap = Tap(*text_chunks("Hi"))
    stream = await here.send(ALICE, "c", by(tap), message=user_message("u"))
    store.fails = True
    tap.end()
    chunks = await collect(stream)
    loaded = await elsewhere.load(ALICE, "c")
    assert text_of(loaded.messages) == ["Hello?", "Hi"]
    assert loaded.messages[1]["id"] == chunks[0]["messageId"]
    assert "metadata" not in loaded.messages[1]
    assert loaded.active_stream_id is None

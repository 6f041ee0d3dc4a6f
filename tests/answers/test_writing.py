"""Items become chunks: who begins and ends what."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_stream.answers import (
    ChunkWriter,
    as_chunks,
    data,
    document,
    file,
    finished,
    metadata,
    reasoning,
    source,
    step,
    text,
    tool,
    usage,
)
from resumable_stream.chat.reducer import fold
from resumable_stream.exceptions import InvalidFactoryError, InvalidMessageChunkError
from resumable_stream.protocols.ai_sdk.chunks import check_chunk

START, END = {"type": "start-step"}, {"type": "finish-step"}


def written(*items: Any) -> list[dict[str, Any]]:
    """Return the chunks that items make."""
    writer = ChunkWriter()
    return [*(chunk for item in items for chunk in writer.add(item)), *writer.end()]


def kinds(*items: Any) -> list[str]:
    """Return the types of the chunks within the only step that items make."""
    made = [chunk["type"] for chunk in written(*items)]
    assert made[0] == "start-step"
    assert made[-1] == "finish-step"
    return made[1:-1]


def parts(*items: Any) -> list[dict[str, Any]]:
    """Return the parts of the message that items make."""
    made: list[dict[str, Any]] = fold(written(*items), message_id="m")["parts"]
    return made


async def collected(chunks: AsyncIterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """Read to the end."""
    return [chunk async for chunk in chunks]


def test_pieces_of_text_make_one_part() -> None:
    """Texts that follow each other extend one part; empty ones do not count."""
    assert written("Hel", "", text("lo")) == [
        START,
        {"type": "text-start", "id": "text-1"},
        {"type": "text-delta", "id": "text-1", "delta": "Hel"},
        {"type": "text-delta", "id": "text-1", "delta": "lo"},
        {"type": "text-end", "id": "text-1"},
        END,
    ]


def test_nothing() -> None:
    """Without items, and with empty ones alone, there are no chunks."""
    assert written() == written("", reasoning("")) == []


def test_what_comes_between_ends_a_part() -> None:
    """A part ends when another one begins, and its id is not used again."""
    assert [part.get("text") for part in parts("a", reasoning("b"), "c", data("x", 1), "d")] == [
        None,
        "a",
        "b",
        "c",
        None,
        "d",
    ]
    ids = [chunk["id"] for chunk in written("a", reasoning("b"), "c") if chunk["type"].endswith("-start")]
    assert len(set(ids)) == 3


@pytest.mark.parametrize("name", ["front-end", "price-delta"])
def test_data_whose_name_ends_like_a_chunk_of_text(name: str) -> None:
    """It is no end, nor a piece, of the text before it."""
    assert kinds("a", data(name, 1), "b") == [*kinds("a"), f"data-{name}", *kinds("b")]


def test_what_is_aside_does_not() -> None:
    """Metadata, and data for the page alone, come in the middle of a text."""
    items = ("a", metadata({"m": 1}), data("x", 1, transient=True), usage(input_tokens=1), {"type": "start"}, "b")
    assert [part.get("text") for part in parts(*items)] == [None, "ab"]


def test_metadata_of_the_provider() -> None:
    """What only the provider understands comes with the piece, even with an empty one."""
    proof = {"p": {"signature": "s"}}
    assert parts(reasoning("a"), reasoning("", provider_metadata=proof))[1]["providerMetadata"] == proof


def test_a_tool() -> None:
    """A call has its input, and is answered; it can fail."""
    call, failing = tool("look", {"x": 1}, call_id="a"), tool("do", {}, call_id="b", dynamic=True, title="T")
    assert parts(call, failing, call.output([2]), failing.error("no"))[1:] == [
        {"type": "tool-look", "toolCallId": "a", "state": "output-available", "input": {"x": 1}, "output": [2]},
        {
            "type": "dynamic-tool",
            "toolName": "do",
            "toolCallId": "b",
            "state": "output-error",
            "input": {},
            "title": "T",
        }
        | {"errorText": "no"},
    ]


def test_a_tool_whose_input_is_streamed() -> None:
    """Pieces of the input begin the call, and the whole input ends it."""
    call = tool("look")
    assert kinds(call, call, call.input_delta('{"x":'), call.input_delta("1}"), call.input({"x": 1})) == [
        "tool-input-start",
        "tool-input-delta",
        "tool-input-delta",
        "tool-input-available",
    ]


def test_what_was_left_out_of_a_call() -> None:
    """A result makes up for the call and for its input: that of the pieces, or an empty object."""
    call, other = tool("look", call_id="a"), tool("look", call_id="b")
    made = parts(call.input_delta("[1]"), call.output(2), other.output(3))
    assert [part["input"] for part in made if "input" in part] == [[1], {}]


def test_a_call_that_breaks_off() -> None:
    """At the end, a call whose input broke off has the wrong input, and one that was begun has the input it got."""
    broken, whole, bare = tool("look", call_id="a"), tool("look", call_id="b"), tool("look", call_id="c")
    made = parts(broken.input_delta('{"x'), whole.input_delta("{}"), bare)
    assert [(part["state"], part.get("input")) for part in made[1:]] == [
        ("output-error", '{"x'),
        ("input-available", {}),
        ("input-available", {}),
    ]


def test_input_that_a_tool_cannot_take() -> None:
    """A refused input is in the message, and why."""
    call = tool("look", call_id="a")
    assert parts(call, call.input_error({"x": 1}, "no"))[1]["errorText"] == "no"


def test_a_result_that_is_not_the_last() -> None:
    """A preliminary result is replaced by the last one."""
    call = tool("look", {}, call_id="a")
    made = parts(call, call.output(1, preliminary=True), call.output(2))
    assert made[1]["output"] == 2
    assert "preliminary" not in made[1]
    assert len(made) == 2


def test_a_step_for_what_follows_the_tools() -> None:
    """What the model says after all its tools have answered is a step of its own."""
    one, two = tool("a", {}), tool("b", {})
    made = [chunk["type"] for chunk in written("x", one, two, one.output(1), "y", two.output(2), data("d", 1), "z")]
    assert made.count("start-step") == made.count("finish-step") == 2
    assert made.index("finish-step") == made.index("data-d") + 1


def test_no_step_after_a_tool_of_the_provider() -> None:
    """What the provider ran, the model knew while it went on: the step is the same."""
    call = tool("search", {}, provider_executed=True)
    assert "finish-step" not in kinds(call, call.output(1), "x")


def test_steps_by_hand() -> None:
    """A step begins where one says so; one without parts is not ended by another."""
    made = [chunk["type"] for chunk in written(step(), step(), "a", step(), "b")]
    assert [kind for kind in made if "step" in kind] == ["start-step", "finish-step"] * 2


def test_usage_adds_up() -> None:
    """The usage of several calls of the model is one sum in the metadata."""
    chunks = written(
        usage(input_tokens=1, output_tokens=2), usage(input_tokens=3, reasoning_tokens=4, cached_input_tokens=5)
    )
    assert fold(chunks, message_id="m")["metadata"] == {
        "usage": {"inputTokens": 4, "outputTokens": 2, "totalTokens": 6, "reasoningTokens": 4, "cachedInputTokens": 5}
    }


def test_the_last_reason_counts() -> None:
    """Why the model ended is said once, at the end."""
    assert written("x", finished("tool-calls"), "y", finished("stop"))[-1] == {"type": "finish", "finishReason": "stop"}


def test_other_parts() -> None:
    """Sources, documents and files are parts; those without an id get one."""
    items = (source("u", "T"), document("D", "m", filename="f"), file("u", "m"), data("x", 1, "i"))
    made = parts(*items)[1:]
    assert [part["type"] for part in made] == ["source-url", "source-document", "file", "data-x"]
    assert made[0]["sourceId"] != made[1]["sourceId"]
    assert made[3]["id"] == "i"


def test_chunks_pass() -> None:
    """Chunks are passed on, in a step, and what they leave open is ended."""
    made = written(
        "a",
        {"type": "text-start", "id": "t"},
        {"type": "text-delta", "id": "t", "delta": "b"},
        {"type": "reasoning-start", "id": "r"},
        {"type": "text-end", "id": "t"},
        {"type": "tool-input-available", "toolCallId": "c", "toolName": "n", "input": {}},
        {"type": "tool-output-available", "toolCallId": "c", "output": 1},
        {"type": "finish-step"},
        {"type": "start-step"},
        {"type": "start-step"},
    )
    assert [chunk["type"] for chunk in made] == [
        *("start-step", "text-start", "text-delta", "text-end"),
        *("text-start", "text-delta", "reasoning-start", "text-end"),
        *("tool-input-available", "tool-output-available", "reasoning-end", "finish-step"),
        *("start-step", "finish-step", "start-step", "finish-step"),
    ]


def test_a_step_that_is_taken_back() -> None:
    """What was open in it is ended before that, its calls are forgotten, and the same names may be used again."""
    passed = [START, {"type": "text-start", "id": "t"}, {"type": "text-delta", "id": "t", "delta": "no"}]
    called = tool("ask", call_id="c")
    made = written(*passed, called, {"type": "reset-step"}, *passed[1:], tool("ask", {"q": 1}, call_id="c"))
    message = fold(made, message_id="m")
    assert [part["type"] for part in message["parts"]] == ["step-start", "text", "tool-ask"]
    assert message["parts"][2]["input"] == {"q": 1}

    after = written(called, {"type": "reset-step"}, "Hello", {"type": "reset-step"}, "Hello again")
    assert [part.get("text") for part in fold(after, message_id="m")["parts"]] == [None, "Hello again"]

    again = written(tool("ask", {}, call_id="c"), END, {"type": "reset-step"}, called.output(1))
    assert [chunk["type"] for chunk in again].count("tool-input-available") == 1  # it was made in the step before

    first = tool("ask", {}, call_id="a")
    kept = written(first, first.output(1), "So", tool("ask", {}, call_id="b"), {"type": "reset-step"}, "No")
    assert [part["type"] for part in fold(kept, message_id="m")["parts"]] == [
        *("step-start", "tool-ask", "step-start", "text")
    ]


def test_an_end_by_hand() -> None:
    """A ``finish`` or an ``abort`` ends all that is open, and nothing may follow."""
    writer = ChunkWriter()
    writer.add("a")
    assert [chunk["type"] for chunk in writer.add({"type": "abort"})] == ["text-end", "finish-step", "abort"]
    assert writer.end() == []
    with pytest.raises(InvalidMessageChunkError, match="end"):
        writer.add("b")


@pytest.mark.parametrize("item", [None, 5, ["x"], {}, {"type": "new"}, {"type": "text-delta"}, text(5), finished("x")])  # type: ignore[arg-type]
def test_what_is_no_item(item: Any) -> None:
    """What is neither a text nor a part nor a chunk is refused."""
    with pytest.raises(InvalidMessageChunkError):
        ChunkWriter().add(item)


def test_kinds_of_text() -> None:
    """A subclass of `str` is a text."""

    class Token(str):
        __slots__ = ()

    assert parts(Token("x"))[1]["text"] == "x"


calls = st.sampled_from(
    [tool("a", call_id="1"), tool("b", {}, call_id="2"), tool("c", call_id="3", provider_executed=True)]
)
items = st.lists(
    st.text(max_size=2)
    | st.builds(reasoning, st.text(max_size=2))
    | st.sampled_from([step(), data("x", 1), metadata({"a": 1}), usage(input_tokens=1), source("u"), finished("stop")])
    | calls
    | calls.map(lambda call: call.input_delta("{"))
    | calls.map(lambda call: call.input({}))
    | calls.map(lambda call: call.output(1))
    | calls.map(lambda call: call.error("e"))
    | st.sampled_from([{"type": "text-start", "id": "t"}, {"type": "start-step"}, {"type": "finish-step"}]),
    max_size=12,
)


@given(items)
def test_whatever_comes_is_in_order(made: list[Any]) -> None:
    """Whatever the items are, clients of all majors can fold the chunks, and at the end nothing is open."""
    chunks = written(*made)
    for chunk in chunks:
        check_chunk(chunk, sdk=5)
    for sdk in (5, 6, 7):
        message = fold(chunks, message_id="m", sdk=sdk)
        states = [part.get("state") for part in message["parts"]]
        assert "streaming" not in states
        assert "input-streaming" not in states
    steps = [chunk["type"] for chunk in chunks if chunk["type"] in ("start-step", "finish-step")]
    assert steps[::2] == ["start-step"] * len(steps[::2])
    assert len(steps) % 2 == 0
    text_said = "".join(item for item in made if isinstance(item, str))
    assert "".join(chunk["delta"] for chunk in chunks if chunk["type"] == "text-delta") == text_said


async def test_as_chunks() -> None:
    """Items come from an async iterable or from a plain one."""

    async def write() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    assert await collected(as_chunks(write())) == await collected(as_chunks(["a", "b"])) == written("a", "b")


def test_a_source_does_not_cut_a_text() -> None:
    """A source is named in the middle of a text or a reasoning, which goes on as the part that it was."""
    for write, kind in ((str, "text"), (reasoning, "reasoning")):
        chunks = written(write("The **sky"), source("u"), document("D", "text/plain"), write(" is** blue"))
        assert [chunk["type"] for chunk in chunks] == [
            *("start-step", f"{kind}-start", f"{kind}-delta", "source-url", "source-document"),
            *(f"{kind}-delta", f"{kind}-end", "finish-step"),
        ]
        (part,) = [part for part in fold(chunks, message_id="m")["parts"] if part["type"] == kind]
        assert part["text"] == "The **sky is** blue"


async def test_a_plain_generator_may_block() -> None:
    """A plain generator runs in a thread, which ends with the iteration; a list is read where it is asked for."""
    loop, closed = asyncio.get_running_loop(), threading.Event()

    def write() -> Iterator[str]:
        try:
            yield "a"
            # This would never come back, if it blocked the event loop.
            yield str(asyncio.run_coroutine_threadsafe(asyncio.sleep(0, result="b"), loop).result(10))
        finally:
            closed.set()

    chunks = [chunk async for chunk in as_chunks(write())]
    assert chunks == [chunk async for chunk in as_chunks(["a", "b"])]
    assert closed.is_set()


async def test_the_items_are_closed() -> None:
    """Whoever stops reading closes the iterator of the items; an iterator without a close is none to close."""
    ended = []

    async def write() -> AsyncIterator[str]:
        try:
            yield "a"
            yield "b"
        finally:
            ended.append(True)

    chunks = as_chunks(write())
    await anext(chunks)
    await chunks.aclose()  # type: ignore[attr-defined]
    assert ended == [True]

    class Once:
        def __aiter__(self) -> Once:
            return self

        async def __anext__(self) -> str:
            raise StopAsyncIteration

    assert await collected(as_chunks(Once())) == []


async def test_what_the_items_raise() -> None:
    """What the iterator of the items raises is raised after the chunks before it."""

    async def write() -> AsyncIterator[str]:
        yield "a"
        raise KeyError("x")

    chunks = as_chunks(write())
    made = [await anext(chunks) for _ in range(3)]
    assert made[-1]["delta"] == "a"
    with pytest.raises(KeyError):
        await anext(chunks)


@pytest.mark.parametrize("given_items", ["text", b"bytes", {"type": "start"}, 5, None])
async def test_items_that_are_none(given_items: Any) -> None:
    """A text alone is not a list of items, though it can be iterated over."""
    with pytest.raises(InvalidFactoryError):
        await collected(as_chunks(given_items))

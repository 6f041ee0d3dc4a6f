"""Streams of the real langchain-core and langgraph, with models that say what they are told to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from langchain_core.language_models.fake import FakeListLLM
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.outputs import ChatGenerationChunk, GenerationChunk
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph import graph as graphs
from langgraph import prebuilt

from resumable_stream.answers import as_chunks, from_langchain
from resumable_stream.chat.reducer import MessageReducer


@tool
def look(city: str) -> dict[str, Any]:
    """Look at the weather."""
    if not city:
        raise ValueError("where?")
    return {"sun": True, "city": city}


class Scripted(GenericFakeChatModel):
    """A model that streams the chunks that it was given, one list for each time that it is asked."""

    script: Any

    def _stream(self, *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        for chunk in next(self.script):
            yield ChatGenerationChunk(message=chunk.model_copy())


def scripted(*answers: list[AIMessageChunk]) -> Scripted:
    """Make such a model."""
    return Scripted(messages=iter(()), script=iter(answers))


def piece(**fields: Any) -> AIMessageChunk:
    """Make a chunk of a message."""
    return AIMessageChunk(**{"content": "", **fields})


def call(**fields: Any) -> AIMessageChunk:
    """Make a chunk with a piece of a call."""
    return piece(tool_call_chunks=[{"name": None, "args": None, "id": None, "index": 0, **fields}])


USAGE = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3, "input_token_details": {"cache_read": 1}}
ASKING = [
    piece(content=[{"type": "thinking", "thinking": "Hm"}]),
    piece(content=[{"type": "thinking", "thinking": "m.", "signature": "s"}]),
    piece(content=[{"type": "text", "text": "Let me look. "}]),
    call(name="look", id="a", args=""),
    call(args='{"city"'),
    call(args=': "x"}'),
    piece(usage_metadata=USAGE, response_metadata={"finish_reason": "tool_calls"}),
]
ANSWERING = [
    piece(content="It is "),
    piece(content="sunny"),
    piece(usage_metadata=USAGE, response_metadata={"stop_reason": "end_turn"}),
]


async def folded(stream: Any) -> dict[str, Any]:
    """Return the message that a stream makes, with the reason of its end."""
    reducer = MessageReducer(message_id="m")
    async for chunk in as_chunks(from_langchain(stream)):
        reducer.add(chunk)
    return {**reducer.message, "finish_reason": reducer.finish_reason}


def texts(message: dict[str, Any]) -> str:
    """Return what a message says."""
    return "".join(part["text"] for part in message["parts"] if part["type"] == "text")


async def test_a_model() -> None:
    """A model's own stream: text, reasoning, usage and the reason of the end."""
    message = await folded(scripted(ANSWERING).astream("Hi"))
    assert texts(message) == "It is sunny"
    assert message["finish_reason"] == "stop"
    assert message["metadata"]["usage"] == {
        "inputTokens": 1,
        "outputTokens": 2,
        "totalTokens": 3,
        "cachedInputTokens": 1,
    }


async def test_a_call() -> None:
    """A call comes in pieces; what proves the reasoning comes with it."""
    message = await folded(scripted(ASKING).astream("Hi"))
    assert [part["type"] for part in message["parts"]] == ["step-start", "reasoning", "text", "tool-look"]
    assert message["parts"][1]["text"] == "Hmm."
    assert message["parts"][1]["providerMetadata"] == {"anthropic": {"signature": "s"}}
    assert message["parts"][3]["input"] == {"city": "x"}
    assert message["finish_reason"] == "tool-calls"


async def test_a_chain_that_makes_texts() -> None:
    """The texts of a chain are text."""
    assert texts(await folded((scripted(ANSWERING) | StrOutputParser()).astream("Hi"))) == "It is sunny"


async def test_the_events_of_a_model() -> None:
    """Of `astream_events` the models' chunks are read, once; other runnables that pass them on are not."""
    message = await folded((scripted(ANSWERING) | StrOutputParser()).astream_events("Hi", version="v2"))
    assert texts(message) == "It is sunny"
    assert message["metadata"]["usage"]["outputTokens"] == 2


async def test_the_events_of_a_model_of_texts() -> None:
    """A model that is none of chats is read as well."""

    async def events() -> AsyncIterator[Any]:
        yield {"event": "on_llm_stream", "data": {"chunk": GenerationChunk(text="Hello")}}

    assert texts(await folded(events())) == "Hello"


async def test_the_events_of_a_model_that_does_not_stream() -> None:
    """A whole answer, as of a cache, is read where it ends: its text, its calls, and its usage, once."""

    class Whole(GenericFakeChatModel):
        disable_streaming: Any = True

    calls = [{"name": "look", "args": {"city": "x"}, "id": "a", "type": "tool_call"}]
    answer = AIMessage("It is sunny", id="1", tool_calls=calls, usage_metadata=USAGE)
    message = await folded(Whole(messages=iter([answer])).astream_events("Hi", version="v2"))
    assert texts(message) == "It is sunny"
    assert message["parts"][-1]["input"] == {"city": "x"}
    assert message["metadata"]["usage"]["outputTokens"] == 2


async def test_the_events_of_a_model_of_texts_that_does_not_stream() -> None:
    """So is that of a model of texts."""
    message = await folded(FakeListLLM(responses=["Hello"]).astream_events("Hi", version="v2"))
    assert texts(message) == "Hello"


async def test_the_events_of_a_tool() -> None:
    """A tool that no model has asked for is a call of its own; so is one that fails."""
    done = (await folded(look.astream_events({"city": "x"}, version="v2")))["parts"][1]
    assert done["input"] == {"city": "x"}
    assert done["output"] == {"sun": True, "city": "x"}

    made: list[dict[str, Any]] = []

    async def read() -> None:
        async for chunk in as_chunks(from_langchain(look.astream_events({"city": ""}, version="v2"))):
            made.append(chunk)

    with pytest.raises(ValueError, match="where"):
        await read()
    assert made[-1]["errorText"] == "where?"


def make_graph() -> Any:
    """Make a graph of a model that calls a tool, and then answers."""
    model = scripted(ASKING, ANSWERING)

    async def ask(state: Any, config: RunnableConfig) -> Any:  # which Python 3.10 does not find by itself
        return {"messages": [await model.ainvoke(state["messages"], config)]}

    graph = graphs.StateGraph(graphs.MessagesState)
    graph.add_node("model", ask)
    graph.add_node("tools", prebuilt.ToolNode([look]))
    graph.add_edge(graphs.START, "model")
    graph.add_conditional_edges("model", lambda state: "tools" if state["messages"][-1].tool_calls else graphs.END)
    graph.add_edge("tools", "model")
    return graph.compile()


@pytest.mark.parametrize("how", ["messages", ["messages", "updates"], "events", "subgraphs", "v2"], ids=str)
async def test_a_graph(how: Any) -> None:
    """A graph's answer is the same however it is streamed: a call, its result, and in a new step the text."""
    graph, given = make_graph(), {"messages": [("user", "Hi")]}
    if how == "events":
        stream = graph.astream_events(given, version="v2")
    elif how == "subgraphs":
        stream = graph.astream(given, stream_mode=["messages", "values"], subgraphs=True)
    elif how == "v2":
        stream = graph.astream(given, stream_mode=["messages", "values"], version="v2")
    else:
        stream = graph.astream(given, stream_mode=how)
    message = await folded(stream)
    assert [part["type"] for part in message["parts"]] == [
        *("step-start", "reasoning", "text", "tool-look", "step-start", "text")
    ]
    assert message["parts"][3]["output"] == {"sun": True, "city": "x"}
    assert message["parts"][5]["text"] == "It is sunny"
    assert message["metadata"]["usage"]["totalTokens"] == 6
    assert message["finish_reason"] == "stop"


async def test_whole_messages() -> None:
    """Messages that were not streamed are read once, with their calls; results of tools too, and failures."""
    asked = AIMessage("Look", id="1", tool_calls=[{"name": "look", "args": {"city": "x"}, "id": "a"}])
    answers = [
        ToolMessage("[1", tool_call_id="a"),
        ToolMessage("[1", tool_call_id="a"),
        ToolMessage("bad", tool_call_id="b", name="do", status="error"),
    ]
    streamed = piece(
        content=["Hi", {"type": "reasoning", "reasoning": "r"}], id="2", additional_kwargs={"reasoning_content": "q"}
    )

    async def messages() -> AsyncIterator[Any]:
        for message in (asked, *answers, streamed, AIMessage("Hi", id="2"), object(), {"event": "on_chain_start"}):
            yield message

    parts = (await folded(messages()))["parts"]
    found = {part.get("toolCallId"): part for part in parts}
    assert found["a"]["output"] == "[1"
    assert found["b"]["errorText"] == "bad"
    assert [part["text"] for part in parts if "text" in part] == ["Look", "q", "Hi", "r"]


@pytest.mark.parametrize("has_marks", [True, False])
async def test_messages_at_the_same_time(has_marks: bool) -> None:
    """Messages whose chunks take turns, as of nodes that run in parallel, keep their calls and their inputs apart."""

    def part(message: str, args: str, *, is_last: bool = False, **named: Any) -> tuple[AIMessageChunk, dict[str, Any]]:
        piece = {"name": None, "id": None, "args": args, "index": 0, "type": "tool_call_chunk", **named}
        position: Any = "last" if is_last and has_marks else None
        chunk = AIMessageChunk(content="", id=message, tool_call_chunks=[piece], chunk_position=position)  # type: ignore[list-item]
        return chunk, {}

    async def stream() -> AsyncIterator[Any]:
        yield part("A", '{"ci', id="a", name="look")
        yield part("B", '{"ci', id="b", name="look")
        yield part("A", 'ty": "Rome"}', is_last=True)
        yield ToolMessage("warm", tool_call_id="a", id="x"), {}
        yield part("B", 'ty": "Oslo"}', is_last=True)
        yield ToolMessage("cold", tool_call_id="b", id="y"), {}

    message = await folded(stream())
    calls = {found["toolCallId"]: found for found in message["parts"] if found["type"] == "tool-look"}
    assert {call_id: found["state"] for call_id, found in calls.items()} == dict.fromkeys("ab", "output-available")
    assert {call_id: found["input"]["city"] for call_id, found in calls.items()} == {"a": "Rome", "b": "Oslo"}
    assert {call_id: found["output"] for call_id, found in calls.items()} == {"a": "warm", "b": "cold"}

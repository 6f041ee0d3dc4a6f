"""Runs of real Pydantic AI agents, with its models for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, DeferredToolRequests, ModelRetry
from pydantic_ai.exceptions import CallDeferred
from pydantic_ai.messages import FilePart, ModelMessage, PartStartEvent, TextPart
from pydantic_ai.models.function import AgentInfo, DeltaThinkingPart, DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel

from resumable_stream.answers import as_chunks, from_pydantic_ai
from resumable_stream.chat.reducer import MessageReducer
from resumable_stream.exceptions import InvalidFactoryError


class Weather(BaseModel):
    """What a tool returns, and what an agent may have to."""

    sun: bool


async def folded(run: Any) -> dict[str, Any]:
    """Return the message that a run makes, with the reason of its end."""
    reducer = MessageReducer(message_id="m")
    async for chunk in as_chunks(from_pydantic_ai(run)):
        reducer.add(chunk)
    return {**reducer.message, "finish_reason": reducer.finish_reason}


def make_agent(**options: Any) -> Agent[None, Any]:
    """Make an agent with a tool."""
    agent = Agent(**{"model": TestModel(custom_output_text="It is sunny"), **options})

    @agent.tool_plain
    def look(city: str) -> Weather:
        """Look at the weather."""
        return Weather(sun=bool(city))

    return agent


@pytest.mark.parametrize("how", ["run_stream_events", "iter", "iter, entered"])
async def test_a_run(how: str) -> None:
    """Text, calls and results come as they are, whichever way the run is read."""
    agent = make_agent()
    if how == "run_stream_events":
        message = await folded(agent.run_stream_events("Hi"))
    elif how == "iter":
        message = await folded(agent.iter("Hi"))
    else:
        async with agent.iter("Hi") as run:
            message = await folded(run)
    kinds = [part["type"] for part in message["parts"]]
    assert kinds == ["step-start", "tool-look", "step-start", "text"]
    assert message["parts"][1]["input"] == {"city": "a"}
    assert message["parts"][1]["output"] == {"sun": True}
    assert message["parts"][3]["text"] == "It is sunny"
    assert message["metadata"]["usage"]["outputTokens"] > 0
    assert message["finish_reason"] == "stop"


async def test_structured_output() -> None:
    """The call that makes structured output is answered."""
    agent = Agent(TestModel(), output_type=Weather)
    message = await folded(agent.run_stream_events("Hi"))
    made = next(part for part in message["parts"] if part["type"].startswith("tool-"))
    assert made["state"] == "output-available"
    assert made["input"] == made["output"] == {"sun": False}


@pytest.mark.parametrize("how", ["run_stream_events", "iter"])
async def test_a_call_that_is_deferred(how: str) -> None:
    """A call that somebody else is to run waits for its result; the one beside it has its own."""

    async def model(messages: list[ModelMessage], _: AgentInfo) -> AsyncIterator[Any]:
        yield {0: DeltaToolCall(name="ask", json_args='{"city": "x"}', tool_call_id="a")}
        yield {1: DeltaToolCall(name="look", json_args='{"city": "y"}', tool_call_id="b")}

    agent = make_agent(output_type=[str, DeferredToolRequests], model=FunctionModel(stream_function=model))

    @agent.tool_plain
    def ask(city: str) -> str:
        """Ask somebody."""
        raise CallDeferred

    message = await folded(getattr(agent, how)("Hi"))
    found = {part.get("toolCallId"): part for part in message["parts"]}
    assert found["a"]["state"] == "input-available"
    assert found["a"]["input"] == {"city": "x"}
    assert found["b"]["output"] == {"sun": True}


async def test_output_that_is_refused() -> None:
    """A call of an output tool that the agent does not take has failed; the one that it takes has what was made."""

    async def model(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        name = info.output_tools[0].name
        sun = '{"sun": "what"}' if len(messages) == 1 else '{"sun": true}'
        yield {0: DeltaToolCall(name=name, json_args=sun, tool_call_id=f"call-{len(messages)}")}

    agent = Agent(FunctionModel(stream_function=model), output_type=Weather)
    message = await folded(agent.run_stream_events("Hi"))
    calls = [part for part in message["parts"] if part["type"].startswith("tool-")]
    assert [call["state"] for call in calls] == ["output-error", "output-available"]
    assert calls[1]["output"] == {"sun": True}


async def test_thinking_and_input_in_pieces() -> None:
    """Thinking is reasoning, with what proves it; input that comes in pieces is streamed."""

    async def model(messages: list[ModelMessage], _: AgentInfo) -> AsyncIterator[Any]:
        if len(messages) > 1:
            yield "Done"
            return
        yield {0: DeltaThinkingPart(content="Hm")}
        yield {0: DeltaThinkingPart(content="m.", signature="s")}
        yield {1: DeltaToolCall(name="look", json_args='{"ci', tool_call_id="a")}
        yield {1: DeltaToolCall(json_args='ty": "x"}')}

    chunks = [
        chunk
        async for chunk in as_chunks(
            from_pydantic_ai(make_agent().run_stream_events("Hi", model=FunctionModel(stream_function=model)))
        )
    ]
    assert [chunk["inputTextDelta"] for chunk in chunks if chunk["type"] == "tool-input-delta"] == ['{"ci', 'ty": "x"}']
    reducer = MessageReducer(message_id="m")
    for chunk in chunks:
        reducer.add(chunk)
    thought, call = reducer.message["parts"][1:3]
    assert thought["text"] == "Hmm."
    assert [found["signature"] for found in thought["providerMetadata"].values()] == ["s"]
    assert call["input"] == {"city": "x"}


async def test_a_tool_that_asks_for_another_try() -> None:
    """A tool that does not like its input has failed, and the next call is another one."""
    agent = Agent(TestModel(custom_output_text="x"))
    tries = []

    @agent.tool_plain(retries=2)
    def look() -> str:
        """Look."""
        tries.append(1)
        if len(tries) == 1:
            raise ModelRetry("again")
        return "text"

    message = await folded(agent.run_stream_events("Hi"))
    calls = [part for part in message["parts"] if part["type"] == "tool-look"]
    assert calls[0]["state"] == "output-error"
    assert "again" in calls[0]["errorText"]
    assert calls[-1]["output"] == "text"


async def test_events_of_older_versions_and_other_parts() -> None:
    """Files, tools of the provider, results under the older name, and calls that nobody has seen begin, are read."""
    from pydantic_ai import messages as m

    async def events() -> AsyncIterator[Any]:
        yield m.PartStartEvent(index=0, part=FilePart(content=BinaryContent(b"\0", media_type="image/png")))
        search = {"tool_name": "search", "tool_call_id": "s"}
        kind: Any = getattr(m, "BuiltinToolCallPart", None) or m.NativeToolCallPart
        returned: Any = getattr(m, "BuiltinToolReturnPart", None) or m.NativeToolReturnPart
        yield m.PartStartEvent(index=1, part=kind(args={"q": 1}, **search))
        yield m.PartEndEvent(index=1, part=kind(args={"q": 1}, **search))
        yield m.PartStartEvent(index=2, part=returned(content=[1], **search))
        call = m.ToolCallPart("look", {"city": "x"}, tool_call_id="a")
        yield m.FunctionToolCallEvent(part=call)
        old = m.FunctionToolResultEvent(m.ToolReturnPart("look", b"odd", tool_call_id="a"))
        yield old
        yield m.FunctionToolResultEvent(m.ToolReturnPart("other", "x", tool_call_id="b"))
        yield m.FinalResultEvent(tool_name=None, tool_call_id=None)
        made = m.ToolCallPart("final_result", {"sun": True}, tool_call_id="c")
        yield m.PartStartEvent(index=3, part=made)
        yield m.FinalResultEvent(tool_name="final_result", tool_call_id="c")
        yield SimpleNamespace(
            event_kind="agent_run_result", result=SimpleNamespace(output=Weather(sun=True), usage=dict)
        )

    message = await folded(events())
    assert [part["type"] for part in message["parts"] if part["type"] != "step-start"] == [
        *("file", "dynamic-tool", "tool-look", "tool-other", "tool-final_result")
    ]
    found = {part.get("toolCallId"): part for part in message["parts"]}
    assert found["s"]["output"] == [1]
    assert found["s"]["providerExecuted"] is True
    assert found["a"]["input"] == {"city": "x"}
    assert found["b"]["output"] == "x"
    assert found["c"]["output"] == {"sun": True}


async def test_a_file_that_is_too_large_for_a_chunk(caplog: pytest.LogCaptureFixture) -> None:
    """It is left out, and the answer goes on: its chunk would be refused, and the answer would fail."""

    async def events() -> AsyncIterator[Any]:
        large = FilePart(content=BinaryContent(bytes(1_000_000), media_type="image/png"))
        yield PartStartEvent(index=0, part=large)
        yield PartStartEvent(index=1, part=TextPart("There it is."))

    message = await folded(events())
    assert [part["type"] for part in message["parts"]] == ["step-start", "text"]
    assert "left out" in caplog.text


async def test_what_is_no_run() -> None:
    """What is no run is refused."""
    with pytest.raises(InvalidFactoryError):
        await folded(5)

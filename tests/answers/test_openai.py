"""The real openai client, reading from a server in this process."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai import AsyncOpenAI, BaseModel, OpenAI

from resumable_stream.answers import ToolInput, as_chunks, from_openai, in_thread
from resumable_stream.chat.reducer import MessageReducer
from resumable_stream.exceptions import InvalidFactoryError


@pytest.fixture(autouse=True)
async def settled() -> AsyncIterator[None]:
    """Let the loop close what the client leaves to it: it drops a generator of its own at the end of a stream."""
    yield
    for _ in range(3):
        await asyncio.sleep(0)


@asynccontextmanager
async def served(*events: dict[str, Any] | str) -> AsyncIterator[str]:
    """Serve events to whoever asks for anything, named by their type as the API of responses does."""
    frames = [event if isinstance(event, str) else json.dumps(event) for event in events]
    names = [f"event: {event['type']}\n" if isinstance(event, dict) and "type" in event else "" for event in events]
    body = "".join(f"{name}data: {frame}\n\n" for name, frame in zip(names, frames, strict=True))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        await reader.readexactly(int(length[1]) if length else 0)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        writer.write(body.encode())
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"


@asynccontextmanager
async def client_of(*events: dict[str, Any] | str) -> AsyncIterator[AsyncOpenAI]:
    """Make a client whose server sends these events."""
    async with served(*events) as url, AsyncOpenAI(api_key="x", base_url=url, max_retries=0) as client:
        yield client


def delta(finish_reason: str | None = None, *, index: int = 0, **fields: Any) -> dict[str, Any]:
    """Make a chunk of a chat completion."""
    choice = {"index": index, "delta": fields, "finish_reason": finish_reason}
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def tokens(**usage: Any) -> dict[str, Any]:
    """Make the chunk that tells the usage."""
    return {**delta(), "choices": [], "usage": {"total_tokens": 3, **usage}}


async def folded(stream: Any) -> dict[str, Any]:
    """Return the message that a stream makes, with the reason of its end."""
    reducer = MessageReducer(message_id="m")
    async for chunk in as_chunks(from_openai(stream)):
        reducer.add(chunk)
    return {**reducer.message, "finish_reason": reducer.finish_reason}


async def completed(*events: dict[str, Any] | str) -> dict[str, Any]:
    """Return the message that a chat completion makes."""
    async with client_of(*events, "[DONE]") as client:
        return await folded(client.chat.completions.create(model="m", messages=[], stream=True))


async def responded(*events: dict[str, Any]) -> dict[str, Any]:
    """Return the message that a response makes."""
    numbered = [{**event, "sequence_number": number} for number, event in enumerate(events)]
    async with client_of(*numbered) as client:
        return await folded(await client.responses.create(model="m", input="x", stream=True))


async def test_a_completion() -> None:
    """Reasoning, text and refusal come as they are; usage and the reason of the end are told; other choices are not."""
    message = await completed(
        delta(role="assistant", content=""),
        delta(reasoning_content="Hm"),
        delta(reasoning="m."),
        delta(content="Hel"),
        delta(content="XX", index=1),
        delta(content="lo"),
        delta(refusal="!", annotations=[{"type": "url_citation", "url_citation": {"url": "u", "title": "T"}}]),
        delta("length"),
        tokens(
            prompt_tokens=1,
            completion_tokens=2,
            completion_tokens_details={"reasoning_tokens": 1},
            prompt_tokens_details={"cached_tokens": 1},
        ),
    )
    assert [part.get("text") for part in message["parts"]] == [None, "Hmm.", "Hello!", None]
    assert message["parts"][3]["url"] == "u"
    assert message["finish_reason"] == "length"
    assert message["metadata"]["usage"] == {
        "inputTokens": 1,
        "outputTokens": 2,
        "totalTokens": 3,
        "reasoningTokens": 1,
        "cachedInputTokens": 1,
    }


def call(
    index: int | None, call_id: str | None = None, name: str | None = None, text: str | None = None
) -> dict[str, Any]:
    """Make a piece of a tool call."""
    return {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": text}}


async def test_calls_of_tools() -> None:
    """Calls that come in pieces, side by side, have their input at the end."""
    message = await completed(
        delta(tool_calls=[call(0, "a", "look", "")]),
        delta(tool_calls=[call(0, text='{"x"')]),
        delta(tool_calls=[call(1, "b", "do", "")]),
        delta(tool_calls=[call(0, text=": 1}")]),
        delta(tool_calls=[call(0, "c", "look", "nonsense")]),
        delta("tool_calls"),
    )
    found = [(part["type"], part["toolCallId"], part["state"], part.get("input")) for part in message["parts"][1:]]
    assert found == [
        ("tool-look", "a", "input-available", {"x": 1}),
        ("tool-do", "b", "input-available", {}),
        ("tool-look", "c", "output-error", "nonsense"),
    ]
    assert message["finish_reason"] == "tool-calls"


async def test_the_call_of_a_function_of_old() -> None:
    """What calls were before there could be several is a call, too."""
    message = await completed(
        delta(function_call={"name": "look", "arguments": '{"x"'}),
        delta(function_call={"arguments": ": 1}"}),
        delta("function_call"),
    )
    (called,) = [part for part in message["parts"] if part["type"] == "tool-look"]
    assert (called["state"], called["input"]) == ("input-available", {"x": 1})
    assert message["finish_reason"] == "tool-calls"


async def test_chunks_as_litellm_makes_them() -> None:
    """LiteLLM's chunks are models of the openai package that have only the attributes that were told."""

    def chunk(finish_reason: str | None = None, **fields: Any) -> Any:
        choice = BaseModel.construct(index=0, delta=BaseModel.construct(**fields), finish_reason=finish_reason)
        return BaseModel.construct(id="x", object="chat.completion.chunk", choices=[choice])

    async def stream() -> AsyncIterator[Any]:
        yield chunk(role="assistant", reasoning_content="Hm", provider_specific_fields=None)
        yield chunk(content="Hello", function_call=None, tool_calls=None, audio=None)
        function = BaseModel.construct(name="look", arguments='{"x": 1}')
        yield chunk(tool_calls=[BaseModel.construct(index=0, id="a", type="function", function=function)])
        yield chunk("tool_calls", content=None)
        spent = BaseModel.construct(prompt_tokens=1, completion_tokens=2, total_tokens=3, prompt_tokens_details=None)
        yield BaseModel.construct(id="x", object="chat.completion.chunk", choices=[], usage=spent)

    message = await folded(stream())
    thought, said, called = message["parts"][1:]
    assert [thought["text"], said["text"], called["input"]] == ["Hm", "Hello", {"x": 1}]
    assert message["finish_reason"] == "tool-calls"
    assert message["metadata"]["usage"]["totalTokens"] == 3


async def test_calls_without_an_index() -> None:
    """Servers that leave the index out tell calls apart by their ids."""
    message = await completed(
        delta(tool_calls=[call(None, "a", "look", "{}")]), delta(tool_calls=[call(None, "b", "do", '{"x"')]),
        delta(tool_calls=[call(None, text=":1}")]), delta("stop"),
    )  # fmt: skip
    assert [(part["toolCallId"], part["input"]) for part in message["parts"][1:]] == [("a", {}), ("b", {"x": 1})]


async def test_a_tool_of_ones_own() -> None:
    """Each whole call is seen as a `ToolInput`, to be run and answered."""
    events = (delta(tool_calls=[call(0, "a", "add", '{"x": [1, 2]}')]), delta("tool_calls"), "[DONE]")

    async def write(client: AsyncOpenAI) -> AsyncIterator[Any]:
        async for item in from_openai(client.chat.completions.create(model="m", messages=[], stream=True)):
            yield item
            if isinstance(item, ToolInput):
                yield item.call.output(sum(item.value["x"]))

    async with client_of(*events) as client:
        chunks = [chunk async for chunk in as_chunks(write(client))]
    assert {"type": "tool-output-available", "toolCallId": "a", "output": 3} in chunks


async def test_the_helper_for_streams() -> None:
    """The client's own helper, which is entered, and has events besides the chunks, is read alike."""
    async with client_of(delta(content="Hi"), delta("stop"), "[DONE]") as client:
        message = await folded(client.chat.completions.stream(model="m", messages=[]))
    assert message["parts"][1]["text"] == "Hi"
    assert message["finish_reason"] == "stop"


async def test_dicts() -> None:
    """What has the shape in plain dicts, is read as well."""

    async def chunks() -> AsyncIterator[Any]:
        yield delta(content="Hi")

    assert (await folded(chunks()))["parts"][1]["text"] == "Hi"


async def test_a_blocking_client() -> None:
    """A client that blocks is read in a thread."""
    async with served(delta(content="Hi"), delta("stop"), "[DONE]") as url:
        with OpenAI(api_key="x", base_url=url, max_retries=0) as client:
            stream = in_thread(lambda: client.chat.completions.create(model="m", messages=[], stream=True))
            assert (await folded(stream))["parts"][1]["text"] == "Hi"


async def test_the_stream_is_closed() -> None:
    """When the reader stops, so does the client: its response is closed."""
    async with client_of(delta(content="a"), delta(content="b"), "[DONE]") as client:
        stream = await client.chat.completions.create(model="m", messages=[], stream=True)
        chunks = as_chunks(from_openai(stream))
        await anext(chunks)
        await chunks.aclose()  # type: ignore[attr-defined]
        assert stream.response.is_closed


def item(kind: str, index: int, **fields: Any) -> dict[str, Any]:
    """Make an event about a part of a response's output."""
    return {"type": f"response.output_item.{kind}", "output_index": index, "item": fields}


def response(kind: str, **fields: Any) -> dict[str, Any]:
    """Make an event about a whole response."""
    base = {"id": "r", "object": "response", "created_at": 1, "model": "m", "output": [], "tools": []}
    return {
        "type": f"response.{kind}",
        "response": {**base, "tool_choice": "auto", "parallel_tool_calls": True, **fields},
    }


def piece(kind: str, text: str, index: int = 0) -> dict[str, Any]:
    """Make an event about a piece of a text."""
    base = {
        "type": f"response.{kind}.delta",
        "output_index": index,
        "item_id": "i",
        "content_index": 0,
        "summary_index": 0,
    }
    return {**base, "delta": text, "logprobs": []}


USAGE = {
    "input_tokens": 1,
    "output_tokens": 2,
    "total_tokens": 3,
    "input_tokens_details": {"cached_tokens": 1},
    "output_tokens_details": {"reasoning_tokens": 1},
}


async def test_a_response() -> None:
    """Summaries of reasoning, text, sources, tools of the provider and calls come as they are."""
    summary = {"type": "response.reasoning_summary_part.added", "output_index": 0, "item_id": "i", "summary_index": 0}
    note = {"type": "url_citation", "url": "u", "title": "T", "start_index": 0, "end_index": 1}
    annotation = {"type": "response.output_text.annotation.added", "annotation": note, "annotation_index": 0}
    called = {"type": "function_call", "id": "f", "call_id": "a", "name": "look"}
    searched = {"type": "web_search_call", "id": "w", "status": "completed", "action": {"type": "search", "query": "q"}}
    message = await responded(
        response("created"),
        item("added", 0, type="reasoning", id="i", summary=[]),
        {**summary, "part": {"type": "summary_text", "text": ""}},
        piece("reasoning_summary_text", "One"),
        {**summary, "part": {"type": "summary_text", "text": ""}},
        piece("reasoning_summary_text", "two"),
        item("done", 0, type="reasoning", id="i", summary=[]),
        item("done", 1, **searched),
        piece("output_text", "Hel"),
        piece("output_text", "lo"),
        {**annotation, "output_index": 2, "item_id": "i", "content_index": 0},
        piece("refusal", "No"),
        item("added", 3, **called, arguments=""),
        piece("function_call_arguments", '{"x"', 3),
        piece("function_call_arguments", ":1}", 3),
        item("done", 3, **called, arguments='{"x":1}'),
        item("done", 4, type="custom_tool_call", call_id="b", name="write", input="free text"),
        response("completed", usage=USAGE),
    )
    parts = message["parts"][1:]
    assert [part["type"] for part in parts] == [
        *("reasoning", "dynamic-tool", "text", "source-url", "tool-look", "tool-write"),
    ]
    assert parts[0]["text"] == "One\n\ntwo"
    assert parts[1]["output"]["action"]["query"] == "q"
    assert parts[1]["providerExecuted"] is True
    assert [parts[2]["text"], parts[3]["url"]] == ["HelloNo", "u"]
    assert [parts[4]["input"], parts[5]["input"]] == [{"x": 1}, "free text"]
    assert message["finish_reason"] == "tool-calls"
    assert message["metadata"]["usage"]["totalTokens"] == 3


async def test_tools_that_openai_has_defined() -> None:
    """Those that you are to run are calls with an input; the others have an output, but without pictures."""
    local = {"type": "exec", "command": ["ls"], "env": {}}
    shell = {"commands": ["ls"], "max_output_length": None, "timeout_ms": None}
    container = {"type": "container_reference", "container_id": "box"}
    outcome = {"stdout": "x", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}
    patch = {"type": "delete_file", "path": "a"}
    done = {"status": "completed"}
    message = await responded(
        item("done", 0, type="local_shell_call", id="i0", call_id="c0", action=local, **done),
        item("done", 1, type="computer_call", id="i1", call_id="c1", pending_safety_checks=[], **done),
        item("done", 2, type="shell_call", id="i2", call_id="c2", action=shell, environment={"type": "local"}, **done),
        item("done", 3, type="apply_patch_call", id="i3", call_id="c3", operation=patch, **done),
        item("done", 4, type="image_generation_call", id="i4", result="iVBOR", **done),
        item("done", 5, type="shell_call", id="i5", call_id="c5", action=shell, environment=container, **done),
        item("done", 6, type="shell_call_output", id="i6", call_id="c5", output=[outcome], max_output_length=1, **done),
        response("completed"),
    )
    calls = {part.get("toolCallId"): part for part in message["parts"] if part["type"] == "dynamic-tool"}
    assert [calls[f"c{number}"]["toolName"] for number in range(4)] == [
        "local_shell",
        "computer",
        "shell",
        "apply_patch",
    ]
    for number in range(4):
        assert calls[f"c{number}"]["state"] == "input-available"
        assert not calls[f"c{number}"].get("providerExecuted")
    assert calls["c0"]["input"]["action"]["command"] == ["ls"]
    assert calls["c3"]["input"] == {"operation": patch}
    assert calls["i4"]["state"] == "output-available"
    assert "iVBOR" not in str(message)
    assert calls["c5"]["providerExecuted"] is True
    assert calls["c5"]["output"][0]["stdout"] == "x"
    assert message["finish_reason"] == "tool-calls"


async def test_a_response_that_ends() -> None:
    """A response without calls has stopped; one that breaks off says why."""
    whole = await responded(piece("reasoning_text", "r"), piece("output_text", "x"), response("completed"))
    assert whole["finish_reason"] == "stop"
    for reason, expected in (("max_output_tokens", "length"), ("content_filter", "content-filter"), ("x", "other")):
        broken = await responded(response("incomplete", incomplete_details={"reason": reason}, usage=USAGE))
        assert broken["finish_reason"] == expected


async def test_a_response_that_fails() -> None:
    """A provider that says that it has failed, makes the answer fail."""
    with pytest.raises(RuntimeError, match="server_error: oh"):
        await responded(response("failed", error={"code": "server_error", "message": "oh"}))


async def test_what_is_no_stream() -> None:
    """A client that blocks, or a response that is not streamed, is refused."""
    with pytest.raises(InvalidFactoryError, match="async iterable"):
        await folded([])
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    future.set_result(5)
    with pytest.raises(InvalidFactoryError):
        await folded(future)

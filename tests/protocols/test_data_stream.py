"""The data stream of ai@4: lines, and what becomes of chunks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_stream.chat.reducer import DataStreamReducer, MessageReducer, Sdk, fold_data_stream
from resumable_stream.exceptions import InvalidMessageChunkError
from resumable_stream.protocols.ai_sdk.data_stream import (
    CODES,
    HEADERS,
    encode_part,
    encode_parts,
    parse_data_stream,
    parse_data_stream_line,
)
from resumable_stream.protocols.ai_sdk.data_stream_translator import DataStreamTranslator
from tests.chat.golden import GOLDEN
from tests.chat.golden import _as_double as as_double

from .translated import MADE, SDKS, lines_of, streams, translate

PARTS: list[tuple[str, Any]] = [
    ("0", "a\nb"),
    ("2", [{"a": 1}]),
    ("3", "e"),
    ("8", [1]),
    ("9", {"toolCallId": "c", "toolName": "n", "args": {}}),
    ("a", {"toolCallId": "c", "result": None}),
    ("b", {"toolCallId": "c", "toolName": "n"}),
    ("c", {"toolCallId": "c", "argsTextDelta": "{"}),
    ("d", {"finishReason": "stop", "usage": {"promptTokens": 1, "completionTokens": 2}}),
    ("e", {"finishReason": "stop", "isContinued": False}),
    ("f", {"messageId": "m"}),
    ("g", "r"),
    ("h", {"sourceType": "url", "id": "s", "url": "u"}),
    ("i", {"data": "x"}),
    ("j", {"signature": "s"}),
    ("k", {"data": "AA==", "mimeType": "image/png"}),
]


def add_all(*chunks: dict[str, Any], message_id: str | None = None) -> list[tuple[str, Any]]:
    """Translate chunks, without an end."""
    translator = DataStreamTranslator(message_id=message_id)
    return [part for chunk in chunks for part in translator.add(chunk)]


def test_every_code() -> None:
    """Each code that ai@4 knows is written, and read again."""
    assert [code for code, _ in PARTS] == list(CODES.values())
    assert list(parse_data_stream(encode_parts(PARTS).decode())) == PARTS
    assert encode_parts(PARTS) == b"".join(encode_part(code, value) for code, value in PARTS)


@given(st.text(st.characters()))
def test_texts(text: str) -> None:
    """A text is one line whatever it has, half characters included."""
    line = encode_part("0", text).decode()
    assert line.count("\n") == 1
    assert parse_data_stream_line(line) == ("0", text)


@pytest.mark.parametrize(("code", "value"), [("z", "x"), ("0", 1), ("9", {}), ("2", [float("nan")]), ("8", [object()])])
def test_parts_that_are_none(code: str, value: Any) -> None:
    """A code that is not there, and a value that does not fit, are refused."""
    with pytest.raises(InvalidMessageChunkError):
        encode_part(code, value)


def test_headers() -> None:
    """The headers are those by which ai@4 knows the protocol."""
    assert HEADERS["x-vercel-ai-data-stream"] == "v1"
    assert HEADERS["content-type"] == "text/plain; charset=utf-8"


def said(message: dict[str, Any], kind: str) -> str:
    """Return all texts, or all reasoning, of a message of ai@5 and later."""
    return "".join(part["text"] for part in message["parts"] if part["type"] == kind)


def results(message: dict[str, Any]) -> dict[str, Any]:
    """Return the last result of each tool call of a message of ai@5 and later, as ai@4 has it."""
    made: dict[str, Any] = {}
    for part in message["parts"]:
        if part.get("state") == "output-available":
            made[part["toolCallId"]] = part.get("output")
        elif part.get("state") == "output-error":
            made[part["toolCallId"]] = {"error": part["errorText"]}
        elif part.get("state") == "output-denied":
            made[part["toolCallId"]] = {"error": "denied"}
    return made


def results_of_v4(message: dict[str, Any]) -> dict[str, Any]:
    """Return the result of each tool call of a message of ai@4."""
    found = (part["toolInvocation"] for part in message["parts"] if part["type"] == "tool-invocation")
    return {call["toolCallId"]: call["result"] for call in found if call["state"] == "result"}


def is_taken_back(chunks: list[dict[str, Any]]) -> bool:
    """Whether a stream takes back what a step has said: ai@4 cannot."""
    return any(chunk["type"] == "reset-step" for chunk in chunks)


@pytest.mark.parametrize("sdk", SDKS)
def test_the_message_is_the_same(sdk: Sdk) -> None:
    """What ai@4 makes of a translated stream says what the other majors make of the stream."""
    told = 0
    for name, chunks in streams(sdk):
        if sdk == 7 and is_taken_back(chunks):
            continue
        reducer, old = MessageReducer(message_id=MADE, sdk=sdk), DataStreamReducer(message_id=MADE)
        for chunk in chunks:
            reducer.add(chunk)
        for part in parse_data_stream(encode_parts(translate(chunks)).decode()):
            old.add(part)
        new_message, old_message = reducer.message, old.message
        assert old_message["content"] == said(new_message, "text"), name
        assert old_message.get("reasoning", "") == said(new_message, "reasoning"), name
        told += compare_tools(name, new_message, old_message)
    assert told > 100


def compare_tools(name: str, new_message: dict[str, Any], old_message: dict[str, Any]) -> int:
    """Compare the results of calls that were made once; return how many there were."""
    calls = [part["toolCallId"] for part in new_message["parts"] if "toolCallId" in part]
    expected, found = results(new_message), results_of_v4(old_message)
    for call_id in (call for call in expected if calls.count(call) == 1):
        assert found[call_id] == expected[call_id], name
    return len(expected)


def test_ai4_reads_it() -> None:
    """The real ai@4 makes of our lines what our reducer makes of them."""
    lines = {name: lines_of(chunks) for name, chunks in streams(7)}
    text = (GOLDEN / "translated.json").read_text(encoding="utf-8")
    cases = json.loads(text, parse_int=as_double)["cases"]
    assert len(cases) > 500
    for case in cases:
        assert lines[case["name"]] == case["lines"], "run make_wire.mjs again"
        made = fold_data_stream(parse_data_stream(case["lines"]), message_id=MADE)
        golden = case["answer"]["message"]
        assert made == {key: golden[key] for key in golden if key != "revisionId"}, case["name"]


def test_a_whole_answer() -> None:
    """An answer with everything usual becomes the lines that a server of ai@4 would send."""
    parts = add_all(
        {"type": "start", "messageId": "m", "messageMetadata": {"model": "x"}},
        {"type": "start-step"},
        {"type": "reasoning-start", "id": "r"},
        {"type": "reasoning-delta", "id": "r", "delta": "Hm", "providerMetadata": {"anthropic": {"signature": "s"}}},
        {"type": "reasoning-end", "id": "r"},
        {"type": "tool-input-start", "toolCallId": "c", "toolName": "look"},
        {"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": "{}"},
        {"type": "tool-input-available", "toolCallId": "c", "toolName": "look", "input": {}},
        {"type": "tool-output-available", "toolCallId": "c", "output": 1},
        {"type": "finish-step"},
        {"type": "start-step"},
        {"type": "text-start", "id": "t"},
        {"type": "text-delta", "id": "t", "delta": "Hi"},
        {"type": "text-end", "id": "t"},
        {"type": "finish-step"},
        {"type": "finish", "finishReason": "stop", "messageMetadata": {"usage": {"inputTokens": 1, "outputTokens": 2}}},
    )
    assert parts == [
        ("8", [{"model": "x"}]),
        ("f", {"messageId": "m"}),
        ("g", "Hm"),
        ("j", {"signature": "s"}),
        ("b", {"toolCallId": "c", "toolName": "look"}),
        ("c", {"toolCallId": "c", "argsTextDelta": "{}"}),
        ("9", {"toolCallId": "c", "toolName": "look", "args": {}}),
        ("a", {"toolCallId": "c", "result": 1}),
        ("e", {"finishReason": "unknown", "isContinued": False}),
        ("f", {"messageId": "m"}),
        ("0", "Hi"),
        ("e", {"finishReason": "unknown", "isContinued": False}),
        ("8", [{"usage": {"inputTokens": 1, "outputTokens": 2}}]),
        ("d", {"finishReason": "stop", "usage": {"promptTokens": 1, "completionTokens": 2}}),
    ]


def test_an_answer_without_steps() -> None:
    """A step is begun where there is none, as it alone tells the id of the message."""
    parts = add_all(
        {"type": "start", "messageId": "m"},
        {"type": "text-start", "id": "t"},
        {"type": "text-delta", "id": "t", "delta": "Hi"},
        {"type": "abort"},
    )
    assert parts == [
        ("f", {"messageId": "m"}),
        ("0", "Hi"),
        ("e", {"finishReason": "unknown", "isContinued": False}),
        ("d", {"finishReason": "unknown"}),
    ]


def test_a_message_without_an_id() -> None:
    """If nobody tells the id, no step is begun, and the client makes one."""
    chunks = [
        {"type": "start-step"},
        {"type": "text-start", "id": "t"},
        {"type": "text-delta", "id": "t", "delta": "x"},
    ]
    assert add_all(*chunks) == [("0", "x")]


def test_texts_take_turns() -> None:
    """Texts that grow at the same time are not mixed up: the second one waits for the end of the first."""
    start, delta, end = "text-start", "text-delta", "text-end"
    chunks: list[dict[str, Any]] = [{"type": start, "id": name} for name in "abc"]
    chunks += [{"type": delta, "id": name, "delta": name} for name in "cba"]
    chunks += [{"type": end, "id": "b"}]
    assert add_all(*chunks) == [("0", "a")]
    assert add_all(*chunks, {"type": end, "id": "a"}) == [("0", "a"), ("0", "b"), ("0", "c")]


def test_an_error_lets_everybody_speak() -> None:
    """What waits for its turn is said before the error, after which ai@4 reads no more."""
    chunks: list[dict[str, Any]] = [{"type": "text-start", "id": name} for name in "ab"]
    chunks += [{"type": "text-delta", "id": "b", "delta": "b"}, {"type": "error", "errorText": "e"}]
    assert add_all(*chunks) == [("0", "b"), ("3", "e")]


def test_a_text_that_begins_again() -> None:
    """A text whose id begins again has ended, and what it said is not lost."""
    chunks: list[dict[str, Any]] = [{"type": "text-start", "id": name} for name in "ab"]
    chunks += [{"type": "text-delta", "id": "b", "delta": "1"}, {"type": "text-start", "id": "b"}]
    chunks += [{"type": "text-delta", "id": "b", "delta": "2"}, {"type": "text-end", "id": "a"}]
    assert "".join(value for _, value in add_all(*chunks)) == "12"


@pytest.mark.parametrize(
    ("chunk", "part"),
    [
        ({"type": "data-x", "data": 1, "id": "i"}, ("8", [{"type": "data-x", "data": 1, "id": "i"}])),
        ({"type": "data-x", "data": 1, "transient": True}, ("2", [{"type": "data-x", "data": 1}])),
        (
            {"type": "file", "url": "data:image/png;base64,AA==", "mediaType": "image/png"},
            ("k", {"mimeType": "image/png", "data": "AA=="}),
        ),
        (
            {"type": "file", "url": "data:,a%20b", "mediaType": "text/plain"},
            ("k", {"mimeType": "text/plain", "data": "YSBi"}),
        ),
        (
            {"type": "file", "url": "data:;base64,?", "mediaType": "x"},
            ("8", [{"type": "file", "url": "data:;base64,?", "mediaType": "x"}]),
        ),
        (
            {"type": "file", "url": "https://u", "mediaType": "x"},
            ("8", [{"type": "file", "url": "https://u", "mediaType": "x"}]),
        ),
        (
            {"type": "source-url", "sourceId": "s", "url": "u", "title": "T"},
            ("h", {"sourceType": "url", "id": "s", "url": "u", "title": "T"}),
        ),
        (
            {"type": "tool-input-available", "toolCallId": "c", "toolName": "n", "input": "x"},
            ("9", {"toolCallId": "c", "toolName": "n", "args": {"input": "x"}}),
        ),
        (
            {"type": "tool-output-error", "toolCallId": "c", "errorText": "e"},
            ("a", {"toolCallId": "c", "result": {"error": "e"}}),
        ),
        (
            {"type": "reasoning-start", "id": "r", "providerMetadata": {"anthropic": {"redactedData": "x"}}},
            ("i", {"data": "x"}),
        ),
    ],
    ids=lambda value: value.get("type") if isinstance(value, dict) else value[0],
)
def test_what_becomes_of_it(chunk: dict[str, Any], part: tuple[str, Any]) -> None:
    """Each chunk becomes what is nearest to it."""
    assert add_all(chunk) == [part]


@pytest.mark.parametrize(
    "chunk",
    [
        {"type": "tool-approval-request", "approvalId": "p", "toolCallId": "c"},
        {"type": "tool-output-denied", "toolCallId": "unknown"},
        {"type": "custom", "kind": "p.k"},
        {"type": "new"},
    ],
    ids=lambda chunk: chunk["type"],
)
def test_what_is_left_out(chunk: dict[str, Any]) -> None:
    """What ai@4 has no word for, and what nobody knows, is left out."""
    assert add_all(chunk) == []


@pytest.mark.parametrize("chunk", [{}, {"type": 1}, {"type": "text-delta", "id": "t"}, {"type": "error"}])
def test_what_cannot_be_translated(chunk: dict[str, Any]) -> None:
    """A chunk without what its type needs is refused."""
    with pytest.raises(InvalidMessageChunkError):
        add_all(chunk)


def test_a_call_that_begins_again() -> None:
    """A call that begins again is the same one to ai@4: its input comes when it is whole, and once."""
    start = {"type": "tool-input-start", "toolCallId": "c", "toolName": "n"}
    delta = {"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": "{}"}
    whole = {"type": "tool-input-available", "toolCallId": "c", "toolName": "n", "input": {}}
    assert [code for code, _ in add_all(start, delta, start, delta, whole, delta, whole)] == ["b", "c", "9"]


def test_a_tool_that_is_not_allowed_to_run() -> None:
    """A refusal is a result, so that the call is over."""
    call = {"type": "tool-input-available", "toolCallId": "c", "toolName": "n", "input": {}}
    assert add_all(call, {"type": "tool-output-denied", "toolCallId": "c"})[-1] == (
        "a",
        {"toolCallId": "c", "result": {"error": "denied"}},
    )


def test_usage_that_is_none() -> None:
    """Usage that is no count of tokens is not told."""
    for usage in ("x", {}, {"inputTokens": None, "outputTokens": 1}):
        chunk = {"type": "finish", "finishReason": "interrupted", "messageMetadata": {"usage": usage}}
        assert add_all(chunk)[-1] == ("d", {"finishReason": "other"})

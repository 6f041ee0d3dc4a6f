"""Folding chunks into messages: as the AI SDK does it, and at what cost."""

from __future__ import annotations

import copy
from collections import UserDict
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resumable_stream.chat.reducer import (
    DataStreamReducer,
    MessageReducer,
    Sdk,
    fold,
    fold_data_stream,
    parse_data_stream,
    parse_data_stream_line,
)
from resumable_stream.exceptions import InvalidMessageChunkError, InvalidMessageError, InvalidSettingError
from tests.chat.golden import canonical, cases

Reducer = MessageReducer | DataStreamReducer
MAJORS: tuple[Sdk, ...] = get_args(Sdk)
MADE = "made"
UI_MESSAGES, DATA_STREAMS = cases("ui_messages"), cases("data_stream")
RANDOM = {"ui": cases("ui_messages_random"), "data": cases("data_stream_random")}


def name_of(case: dict[str, Any]) -> str:
    """Return what a case is called in the report."""
    return str(case["name"])


def is_error(chunk: Any) -> bool:
    """Return whether the chunk is an error that the client shows. For a reducer it is none."""
    if isinstance(chunk, dict):
        return chunk.get("type") == "error"
    return isinstance(chunk, list) and chunk[:1] == ["3"] and isinstance(chunk[1], str)


def refuses(reducer: Reducer, chunk: Any) -> bool:
    """Feed one chunk, and return whether that was an error."""
    try:
        reducer.add(chunk)
    except InvalidMessageChunkError:
        return True
    return False


def play(reducer: Reducer, case: dict[str, Any], answer: dict[str, Any]) -> None:
    """Feed a stream, and compare with the SDK: what it throws on, what it makes, and on the way there too."""
    prefixes = answer.get("prefixes", [])
    for index, chunk in enumerate(case["chunks"]):
        if prefixes:
            assert canonical(reducer.message) == canonical(prefixes[index]), f"before chunk {index}"
        assert refuses(reducer, chunk) == (index in answer["errors"] and not is_error(chunk)), f"chunk {index}"
    assert canonical(reducer.message) == canonical(answer["message"])
    assert reducer.finish_reason == answer.get("finishReason")


def play_ui_messages(case: dict[str, Any], sdk: Sdk) -> None:
    """Feed a stream of UI message chunks."""
    resets = case.get("resume", False) and sdk > 5  # the chat of ai@5 never does
    reducer = MessageReducer(case.get("message"), message_id=MADE, sdk=sdk, reset_on_new_id=resets)
    play(reducer, case, case["answers"][sdk])


def play_data_stream(case: dict[str, Any]) -> None:
    """Feed a data stream, and compare what it carries besides the message too."""
    reducer, answer = DataStreamReducer(case.get("message"), message_id=MADE), case["answers"][4]
    play(reducer, case, answer)
    assert canonical(reducer.data) == canonical(answer["data"])
    assert canonical(reducer.usage) == canonical(answer["usage"])


@pytest.mark.parametrize("sdk", MAJORS)
@pytest.mark.parametrize("case", UI_MESSAGES, ids=name_of)
def test_ui_messages(case: dict[str, Any], sdk: Sdk) -> None:
    """A stream makes the message that the client of its major shows, after each chunk."""
    if sdk in case["answers"]:  # some are for one major alone
        play_ui_messages(case, sdk)


@pytest.mark.parametrize("sdk", MAJORS)
def test_random_ui_messages(sdk: Sdk) -> None:
    """So it is for streams that nobody thought of."""
    for case in RANDOM["ui"]:
        play_ui_messages(case, sdk)


@pytest.mark.parametrize("case", DATA_STREAMS, ids=name_of)
def test_data_streams(case: dict[str, Any]) -> None:
    """A data stream makes the message that the client of ai@4 shows, after each part."""
    play_data_stream(case)


def test_random_data_streams() -> None:
    """So it is for data streams that nobody thought of."""
    for case in RANDOM["data"]:
        play_data_stream(case)


@settings(max_examples=60)
@given(st.data())
def test_inputs_stay_as_they_are(data: st.DataObject) -> None:
    """Folding any prefix of a stream changes neither the message to go on with nor a chunk."""
    case = data.draw(st.sampled_from([*UI_MESSAGES, *RANDOM["ui"]]))
    chunks = case["chunks"][: data.draw(st.integers(0, len(case["chunks"])))]
    before = copy.deepcopy(case)
    reducer = MessageReducer(case.get("message"), message_id=MADE, sdk=data.draw(st.sampled_from(MAJORS)))
    for chunk in chunks:
        refuses(reducer, chunk)
    assert canonical(reducer.message)
    assert canonical(case) == canonical(before)


def scribble(value: Any) -> None:
    """Change whatever can be changed in it."""
    items: list[Any] = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    for item in items:
        scribble(item)
    if isinstance(value, (dict, list)):
        value.clear()


def fold_while(case: dict[str, Any], make: Callable[[], Reducer], disturb: Callable[[Reducer, Any], None]) -> str:
    """Return the message of a stream of which each chunk is followed by something else."""
    reducer = make()
    for chunk in copy.deepcopy(case["chunks"]):
        refuses(reducer, chunk)
        disturb(reducer, chunk)
    return canonical(reducer.message)


@settings(max_examples=60)
@given(st.data())
def test_nothing_is_shared(data: st.DataObject) -> None:
    """A message is the same whatever happens to its chunks, and to the messages that were looked at on the way."""
    kind = data.draw(st.sampled_from(sorted(RANDOM)))
    case = data.draw(st.sampled_from(RANDOM[kind]))
    sdk = data.draw(st.sampled_from(MAJORS))
    looked_at = data.draw(st.lists(st.booleans(), min_size=20, max_size=20))

    def make() -> Reducer:
        if kind == "data":
            return DataStreamReducer(message_id=MADE)
        return MessageReducer(message_id=MADE, sdk=sdk)

    def disturb(reducer: Reducer, chunk: Any) -> None:
        scribble(chunk)
        if looked_at.pop():
            scribble(reducer.message)

    assert fold_while(case, make, disturb) == fold_while(case, make, lambda _reducer, _chunk: None)


def test_what_was_passed_in_can_be_changed() -> None:
    """A message goes on from how it was when it was passed in."""
    message = {"id": "m", "role": "assistant", "parts": [{"type": "data-x", "data": [1]}]}
    reducer = MessageReducer(message, message_id=MADE)
    expected = canonical(message)
    scribble(message)
    assert canonical(reducer.message) == expected


@pytest.mark.parametrize("kind", ["text", "reasoning"])
def test_texts_are_joined_when_they_are_looked_at(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deltas are kept as they come, so that adding one costs the same however long the text is."""
    joined: list[int] = []
    monkeypatch.setattr("resumable_stream.chat.reducer.draft.join_text", lambda pieces: joined.append(len(pieces)))
    reducer = MessageReducer(message_id=MADE)
    reducer.add({"type": f"{kind}-start", "id": "a"})
    for _ in range(100):
        reducer.add({"type": f"{kind}-delta", "id": "a", "delta": "x"})
    assert joined == []
    assert reducer.message["id"] == MADE
    assert joined == [100]


@pytest.mark.parametrize("kind", ["ui", "data"])
def test_input_is_read_when_it_is_looked_at(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The input of a tool is parsed once for each look at the message, not for each delta."""
    module = {"ui": "draft", "data": "data_stream_draft"}[kind]
    read: list[str] = []

    def parse(text: str, **_options: int) -> str:
        read.append(text)
        return text

    monkeypatch.setattr(f"resumable_stream.chat.reducer.{module}.parse_partial_json", parse)
    reducer: Reducer
    if kind == "ui":
        reducer = MessageReducer(message_id=MADE)
        reducer.add({"type": "tool-input-start", "toolCallId": "a", "toolName": "look"})
        for _ in range(50):
            reducer.add({"type": "tool-input-delta", "toolCallId": "a", "inputTextDelta": "x"})
    else:
        reducer = DataStreamReducer(message_id=MADE)
        reducer.add(("b", {"toolCallId": "a", "toolName": "look"}))
        for _ in range(50):
            reducer.add(("c", {"toolCallId": "a", "argsTextDelta": "x"}))
    assert read == []
    assert reducer.message == reducer.message
    assert read == ["x" * 50]


@pytest.mark.parametrize("chunk", [UserDict(type="text-start", id="a"), MappingProxyType({"type": "start"})])
def test_any_mapping_is_a_chunk(chunk: Mapping[str, Any]) -> None:
    """A chunk need not be a `dict`."""
    assert fold([chunk], message_id=MADE)["id"] == MADE


def test_nested_too_deeply() -> None:
    """A value that the interpreter cannot follow is refused, and leaves the message as it was."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    reducer = MessageReducer(message_id=MADE)
    with pytest.raises(InvalidMessageChunkError, match="deeply"):
        reducer.add({"type": "data-x", "data": deep})
    assert reducer.message["parts"] == []
    while deep:  # or the interpreter fails when it frees it
        deep = deep.pop()


def test_tuples_become_lists() -> None:
    """What JSON has one word for is one type in the message."""
    message = fold([{"type": "data-x", "data": (1, MappingProxyType({"a": (2,)}))}], message_id=MADE)
    assert message["parts"] == [{"type": "data-x", "data": [1, {"a": [2]}]}]


@pytest.mark.parametrize("chunk", ["text", 5, None, [], [("type", "start")]])
def test_chunks_that_are_no_objects(chunk: Any) -> None:
    """A chunk has to be an object."""
    with pytest.raises(InvalidMessageChunkError, match="object"):
        MessageReducer(message_id=MADE).add(chunk)


@pytest.mark.parametrize("parts", [None, "text", {}, ["text"], [None]])
def test_messages_that_cannot_go_on(parts: Any) -> None:
    """A message to go on with has parts that are objects."""
    message = {"id": "m", "role": "assistant", "parts": parts}
    with pytest.raises(InvalidMessageError):
        fold([], message, message_id=MADE)
    if parts is not None:
        with pytest.raises(InvalidMessageError):
            fold_data_stream([], message, message_id=MADE)


def test_unknown_majors() -> None:
    """There are rules for three majors alone."""
    major: Any = 4
    with pytest.raises(InvalidSettingError, match="5, 6 or 7"):
        MessageReducer(message_id=MADE, sdk=major)


def test_fold() -> None:
    """Folding all at once is folding one after the other, for the newest major if none is named."""
    case = UI_MESSAGES[0]
    assert canonical(fold(case["chunks"], message_id=MADE)) == canonical(case["answers"][7]["message"])


def test_fold_data_stream() -> None:
    """So it is for data streams, from their text."""
    message = fold_data_stream(parse_data_stream('0:"Hel"\n\n0:"lo"\n'), message_id=MADE)
    assert message == {
        "id": MADE,
        "role": "assistant",
        "content": "Hello",
        "parts": [{"type": "text", "text": "Hello"}],
    }


def test_a_message_without_parts_goes_on() -> None:
    """An old message of ai@4 has no parts: they are made of its other fields first, as `useChat` does."""
    invocation = {"state": "call", "step": 1, "toolCallId": "a", "toolName": "look", "args": {}}
    old = {"id": "m", "role": "assistant", "content": "Hi", "reasoning": "r", "toolInvocations": [invocation]}
    message = fold_data_stream([("0", "x")], old, message_id=MADE)
    assert message["parts"] == [
        {"type": "tool-invocation", "toolInvocation": invocation},
        {"type": "reasoning", "reasoning": "r", "details": [{"type": "text", "text": "r"}]},
        {"type": "text", "text": "Hi"},
        {"type": "text", "text": "x"},
    ]


@pytest.mark.parametrize(
    "line", ["", "0", "hello", 'x:"a"', ':"a"', "0:", "0:hello", "0:5", "0:NaN", '00:"a"', "2:" + "[" * 100_000]
)
def test_lines_that_are_no_parts(line: str) -> None:
    """A line has a known code, and a value that is JSON and fits the code."""
    with pytest.raises(InvalidMessageChunkError):
        parse_data_stream_line(line)


@pytest.mark.parametrize("name", [["x"], {"x": 1}, None, 1])
@pytest.mark.parametrize("kind", ["text-delta", "reasoning-delta", "text-end"])
def test_ids_that_are_none(kind: str, name: Any) -> None:
    """A part's id is text; what is none belongs to no part."""
    with pytest.raises(InvalidMessageChunkError):
        fold([{"type": "text-start", "id": "x"}, {"type": kind, "id": name, "delta": "y"}], message_id="m")


def test_lines() -> None:
    """A line is a part, with or without its end."""
    assert parse_data_stream_line('a:{"toolCallId":"c","result":"a:b"}\n') == (
        "a",
        {"toolCallId": "c", "result": "a:b"},
    )
    assert parse_data_stream_line('0:"x"') == ("0", "x")

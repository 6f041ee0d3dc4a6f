"""Messages of ai@4, and those of later majors."""

from __future__ import annotations

import json
import mimetypes
from typing import Any
from urllib.parse import urlsplit

import pytest

from resumable_stream.chat.reducer import fold, fold_data_stream, parse_data_stream
from resumable_stream.exceptions import InvalidMessageError
from resumable_stream.protocols.ai_sdk.data_stream import encode_part
from resumable_stream.protocols.ai_sdk.messages_v4 import append_message_part, message_from_v4, message_to_v4

from .test_data_stream import is_taken_back
from .translated import MADE, lines_of, streams

ANSWER: dict[str, Any] = {
    "id": "m",
    "role": "assistant",
    "metadata": {"model": "x"},
    "parts": [
        {"type": "step-start"},
        {"type": "reasoning", "text": "Hm", "providerMetadata": {"anthropic": {"signature": "s", "redactedData": "z"}}},
        {"type": "text", "text": "Look: "},
        {"type": "tool-look", "toolCallId": "a", "state": "output-available", "input": {"x": 1}, "output": [2]},
        {"type": "step-start"},
        {
            "type": "dynamic-tool",
            "toolName": "do",
            "toolCallId": "b",
            "state": "output-error",
            "input": 5,
            "errorText": "e",
        },
        {"type": "tool-do", "toolCallId": "c", "state": "output-denied", "input": None},
        {"type": "tool-do", "toolCallId": "d", "state": "approval-requested", "input": {}},
        {"type": "tool-do", "toolCallId": "e", "state": "input-streaming"},
        {"type": "source-url", "sourceId": "s", "url": "u", "title": "T"},
        {"type": "source-document", "sourceId": "s", "mediaType": "m", "title": "T"},
        {"type": "file", "mediaType": "image/png", "url": "data:image/png;base64,AA=="},
        {"type": "file", "mediaType": "image/png", "url": "https://u"},
        {"type": "data-x", "data": 1},
        {"type": "custom", "kind": "p.k"},
        {"type": "text", "text": "done"},
    ],
}


def test_a_stored_answer() -> None:
    """What ai@4 has a word for is in the parts; what it says twice, twice; the rest are annotations."""
    call = {"step": 1, "toolName": "do"}
    invocations = [
        {"state": "result", "step": 0, "toolCallId": "a", "toolName": "look", "args": {"x": 1}, "result": [2]},
        {"state": "result", **call, "toolCallId": "b", "args": {"input": 5}, "result": {"error": "e"}},
        {"state": "result", **call, "toolCallId": "c", "args": {}, "result": {"error": "denied"}},
        {"state": "call", **call, "toolCallId": "d", "args": {}},
        {"state": "partial-call", **call, "toolCallId": "e"},
    ]
    details = [{"type": "text", "text": "Hm", "signature": "s"}, {"type": "redacted", "data": "z"}]
    assert message_to_v4(ANSWER) == {
        "id": "m",
        "role": "assistant",
        "content": "Look: done",
        "reasoning": "Hm",
        "toolInvocations": invocations,
        "annotations": [{"model": "x"}, ANSWER["parts"][10], ANSWER["parts"][12], ANSWER["parts"][13]],
        "parts": [
            {"type": "step-start"},
            {"type": "reasoning", "reasoning": "Hm", "details": details},
            {"type": "text", "text": "Look: "},
            {"type": "tool-invocation", "toolInvocation": invocations[0]},
            {"type": "step-start"},
            *({"type": "tool-invocation", "toolInvocation": invocation} for invocation in invocations[1:]),
            {"type": "source", "source": {"sourceType": "url", "id": "s", "url": "u", "title": "T"}},
            {"type": "file", "mimeType": "image/png", "data": "AA=="},
            {"type": "text", "text": "done"},
        ],
    }


def test_a_stored_answer_is_what_was_streamed() -> None:
    """A stored message says what the client made of the stream, text and reasoning to the letter."""
    for name, chunks in streams(7):
        if not is_taken_back(chunks):
            streamed = fold_data_stream(parse_data_stream(lines_of(chunks)), message_id=MADE)
            stored = message_to_v4(fold(chunks, message_id=MADE))
            for key in ("content", "reasoning"):
                assert stored.get(key, "") == streamed.get(key, ""), name


def test_the_append_message_part() -> None:
    """A page of ai@4 that resumes too late is given the stored message, as JSON within the data."""
    code, value = append_message_part(ANSWER)
    assert code == "2"
    assert value[0]["type"] == "append-message"
    assert json.loads(value[0]["message"]) == message_to_v4(ANSWER)
    assert encode_part(code, value).startswith(b"2:[")


def test_a_users_message() -> None:
    """A user's texts, files and attachments come over; what a file is, is guessed where nobody says."""
    sent = {
        "id": "u",
        "role": "user",
        "content": "Hi",
        "createdAt": "2026-11-20",
        "parts": [{"type": "text", "text": "Hi"}, {"type": "file", "mimeType": "a/b", "data": "AA=="}, {"type": "new"}],
        "experimental_attachments": [
            {"url": "https://u/f", "name": "f.png", "contentType": "image/x"},
            {"url": "https://u/f.pdf?x=1"},
            {"url": "https://u/f", "name": "g.txt"},
            {"url": "data:image/gif;base64,AA=="},
            {"url": "data:,x"},
            {"url": "https://u/?"},
        ],
        "annotations": [1],
    }
    assert message_from_v4(sent) == {
        "id": "u",
        "role": "user",
        "metadata": {"annotations": [1]},
        "parts": [
            {"type": "text", "text": "Hi"},
            {"type": "file", "mediaType": "a/b", "url": "data:a/b;base64,AA=="},
            {"type": "file", "mediaType": "image/x", "url": "https://u/f", "filename": "f.png"},
            {"type": "file", "mediaType": "application/pdf", "url": "https://u/f.pdf?x=1"},
            {"type": "file", "mediaType": "text/plain", "url": "https://u/f", "filename": "g.txt"},
            {"type": "file", "mediaType": "image/gif", "url": "data:image/gif;base64,AA=="},
            {"type": "file", "mediaType": "text/plain", "url": "data:,x"},
            {"type": "file", "mediaType": "application/octet-stream", "url": "https://u/?"},
        ],
    }


@pytest.mark.parametrize(
    "attachment", [{"url": "http://[x"}, {"url": "http://a\u2100b/x"}, {"url": "u", "name": "//[b"}]
)
def test_attachment_whose_url_is_none(monkeypatch: pytest.MonkeyPatch, attachment: dict[str, str]) -> None:
    """What it is cannot be guessed, also where Python takes it for a URL and refuses it, as it does from 3.13 on."""
    guess = mimetypes.guess_type
    monkeypatch.setattr(mimetypes, "guess_type", lambda name: guess(urlsplit(name).geturl()))
    message = message_from_v4({"id": "u", "role": "user", "content": "", "experimental_attachments": [attachment]})
    assert message["parts"][-1]["mediaType"] == "application/octet-stream"


def test_a_users_message_comes_back() -> None:
    """A user's files are attachments again, and the annotations are annotations."""
    sent = {
        "id": "u",
        "role": "user",
        "content": "Hi",
        "parts": [{"type": "text", "text": "Hi"}],
        "experimental_attachments": [{"url": "https://u", "name": "f", "contentType": "a/b"}],
        "annotations": [1],
    }
    assert message_to_v4(message_from_v4(sent)) == sent
    mixed = {"id": "u", "role": "user", "parts": [], "metadata": {"annotations": [1], "more": 2}}
    assert message_to_v4(mixed)["annotations"] == [1, {"more": 2}]


def test_a_stored_message_comes_back_as_it_is() -> None:
    """A page of version 4 that was given a stored message sends it back: parts that are in the later form stay so."""
    parts = [
        {"type": "file", "mediaType": "image/png", "url": "data:image/png;base64,AA=="},
        {"type": "reasoning", "text": "Hm."},
        {"type": "source-url", "sourceId": "s", "url": "https://x"},
        {"type": "tool-ask", "toolCallId": "c", "state": "input-available", "input": {}},
        {"type": "text", "text": "What is that?"},
    ]
    stored = {"id": "m", "role": "user", "parts": parts}
    assert message_from_v4({**stored, "content": "What is that?"})["parts"] == parts


def test_an_old_message() -> None:
    """A message without parts has those that its other fields stand for."""
    invocation = {"state": "call", "toolCallId": "a", "toolName": "look", "args": {}}
    sent = {"id": "m", "role": "assistant", "content": "Hi", "reasoning": "r", "toolInvocations": [invocation]}
    assert message_from_v4(sent)["parts"] == [
        {"type": "tool-look", "toolCallId": "a", "input": {}, "state": "input-available"},
        {"type": "reasoning", "text": "r"},
        {"type": "text", "text": "Hi"},
    ]


def test_an_answered_tool() -> None:
    """The result that a page has found for a tool comes over."""
    invocation = {"state": "result", "toolCallId": "a", "toolName": "ask", "args": {"q": 1}, "result": "yes"}
    parts: list[dict[str, Any]] = [
        {"type": "step-start"},
        {"type": "tool-invocation", "toolInvocation": invocation},
        {"type": "tool-invocation", "toolInvocation": {"state": "partial-call", "toolCallId": "b", "toolName": "ask"}},
        {"type": "source", "source": {"sourceType": "url", "id": "s", "url": "u", "title": "T"}},
    ]
    assert message_from_v4({"id": "m", "role": "assistant", "content": "", "parts": parts})["parts"] == [
        {"type": "step-start"},
        {"type": "tool-ask", "toolCallId": "a", "input": {"q": 1}, "state": "output-available", "output": "yes"},
        {"type": "tool-ask", "toolCallId": "b", "input": None, "state": "input-streaming"},
        {"type": "source-url", "sourceId": "s", "url": "u", "title": "T"},
    ]


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "x",
        {"role": "data"},
        {"role": "user", "parts": 5},
        {"role": "user", "parts": ["x"]},
        {"role": "user", "content": 5},
        {"role": "user", "parts": [{"type": "text"}]},
        {"role": "user", "experimental_attachments": [{}]},
        {"role": "user", "experimental_attachments": "x"},
        {"role": "assistant", "parts": [{"type": "tool-invocation"}]},
        {"role": "assistant", "parts": [{"type": "source", "source": 1}]},
        {"role": "assistant", "toolInvocations": [1]},
        {"role": "assistant", "reasoning": 1},
    ],
)
def test_messages_that_are_none(sent: Any) -> None:
    """What a client sends may be anything, and is refused with an error of ours."""
    with pytest.raises(InvalidMessageError):
        message_from_v4(sent)


@pytest.mark.parametrize(
    "message",
    [
        {"id": "m", "role": "user"},
        {"parts": [1]},
        {"parts": [{"type": "text"}]},
        {"parts": [{"type": "file", "mediaType": "a/b"}]},
        {"parts": [{"type": "file", "url": "data:,x"}]},
        {"parts": [{"type": "source-url", "url": "https://u"}]},
    ],
)
def test_stored_messages_that_are_none(message: dict[str, Any]) -> None:
    """So is a stored message without parts, or whose parts lack something."""
    with pytest.raises(InvalidMessageError):
        message_to_v4(message)


def test_file_with_half_a_character() -> None:
    """A file whose content has no bytes is shown as it is, and not as a file."""
    part = {"type": "file", "mediaType": "text/plain", "url": "data:text/plain,\ud800"}
    message = message_to_v4({"id": "m", "role": "assistant", "parts": [part]})
    assert message["annotations"] == [part]

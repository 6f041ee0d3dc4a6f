"""Putting messages together on the server."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from resumable_stream.chat.client_messages import append_client_message, append_response_messages, message_text
from resumable_stream.exceptions import InvalidMessageError
from tests.chat.golden import GOLDEN, canonical, raw_cases

CASES = raw_cases("append")
USER = {"id": "u", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}
ANSWER = {"id": "a", "role": "assistant", "parts": [{"type": "text", "text": "Hello"}]}


def name_of(case: dict[str, Any]) -> str:
    """Return what a case is called in the report."""
    return str(case["name"])


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_responses(case: dict[str, Any]) -> None:
    """Response messages of ai@4 become what its `appendResponseMessages` makes of them, or an error where it throws."""
    before = copy.deepcopy(case)
    responses = [{key: value for key, value in item.items() if key != "parts"} for item in case["responses"]]
    try:
        made = append_response_messages(case["messages"], responses, created_at="1970-01-01T00:00:00.000Z")
    except InvalidMessageError:
        assert case["made"] is None
    else:
        assert canonical(made) == canonical(case["made"])
    assert case == before


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_client_messages(case: dict[str, Any]) -> None:
    """A message from the browser is appended as `appendClientMessage` of ai@4 does it."""
    if case["responses"]:
        made = append_client_message(case["messages"], case["responses"][-1])
        assert canonical(made) == canonical(case["sent"])


@pytest.mark.parametrize(
    "append", [append_client_message, lambda messages, one: append_response_messages(messages, [one])]
)
def test_ui_messages(append: Any) -> None:
    """A UI message goes to the end, or takes the place of the last one if that has its id."""
    assert append([], USER) == [USER]
    assert append([USER], ANSWER) == [USER, ANSWER]
    longer = {**ANSWER, "parts": [*ANSWER["parts"], {"type": "step-start"}]}
    assert append([USER, ANSWER], longer) == [USER, longer]
    assert append([ANSWER, USER], longer) == [ANSWER, USER, longer]


def test_nothing_is_shared() -> None:
    """What comes back can be changed without changing what was passed in."""
    messages, message = [copy.deepcopy(USER)], copy.deepcopy(ANSWER)
    for item in append_client_message(messages, message):
        item["parts"].clear()
    assert (messages, message) == ([USER], ANSWER)


def test_no_date() -> None:
    """Without a date to write, none is written."""
    assert "createdAt" not in append_response_messages([USER], [{"id": "a", "role": "assistant", "content": "x"}])[1]


def test_files_as_bytes() -> None:
    """The bytes of a file become base64."""
    item = {"type": "file", "mimeType": "image/png", "data": b"\0"}
    made = append_response_messages([USER], [{"id": "a", "role": "assistant", "content": [item]}])
    assert made[1]["parts"][1]["data"] == "AA=="


@pytest.mark.parametrize(
    "content", [["x"], [{}], [{"type": "text"}], [{"type": "file", "mimeType": "m", "data": 5}], 5]
)
def test_responses_that_are_none(content: Any) -> None:
    """A response that lacks what its type needs is an error that says so."""
    with pytest.raises(InvalidMessageError):
        append_response_messages([USER], [{"id": "a", "role": "assistant", "content": content}])


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (ANSWER, "Hello"),
        ({"content": "Hello"}, "Hello"),
        (
            {
                "content": "old",
                "parts": [{"type": "text", "text": "Hel"}, {"type": "x"}, {"type": "text", "text": "lo"}],
            },
            "Hello",
        ),
        ({"parts": [{"type": "reasoning", "text": "no"}, {"type": "text"}, {"type": "text", "text": 5}, "x"]}, ""),
        ({"parts": []}, ""),
        ({"content": None}, ""),
        ({}, ""),
    ],
)
def test_text(message: dict[str, Any], text: str) -> None:
    """The text of a message is that of its text parts, or the content of an old one."""
    assert message_text(message) == text


def test_golden_names_its_version() -> None:
    """A golden file says which package it is from."""
    for path in GOLDEN.glob("*.json"):
        if not path.name.startswith("package"):
            assert '{"packages": {"' in path.read_text(encoding="utf-8")[:20]

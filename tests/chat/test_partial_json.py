"""JSON that breaks off, and JSON as JavaScript reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_stream.chat.reducer.partial_json import (
    MISSING,
    fix_json,
    parse_json,
    parse_partial_json,
    parse_plain_json,
)
from tests.chat.golden import canonical, cases

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=3), values, max_size=3),
)


@pytest.mark.parametrize("sdk", [4, 5, 6, 7])
def test_broken_off(sdk: int) -> None:
    """A text that breaks off anywhere, or is no JSON at all, has the value that the SDK finds in it, or none."""
    for case in cases("partial_json"):
        value = parse_partial_json(case["text"], sdk=sdk)
        answer = case["answers"][sdk]
        assert (value is MISSING) == ("value" not in answer), case["text"]
        if "value" in answer:
            assert canonical(value) == canonical(answer["value"]), case["text"]


@given(json_values)
def test_whole(value: Any) -> None:
    """Of JSON that is whole nothing is lost."""
    assert parse_partial_json(json.dumps(value)) == value


@given(st.text('{}[]":,\\ut1-.e x', max_size=30))
def test_repair_only_cuts_and_closes(text: str) -> None:
    """A repaired text starts as the text does, and goes on with nothing but what closes it."""
    fixed = fix_json(text)
    ends = (end for end in range(len(text) + 1) if fixed.startswith(text[:end]))
    assert set(fixed[max(ends) :]) <= set('}]"truefalsn')


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", '{"a": -Infinity}', "", "[1,]", "\ufeff1", "nul"])
def test_what_javascript_refuses(text: str) -> None:
    """Python's extensions of JSON are none here."""
    with pytest.raises(ValueError, match=r".*"):
        parse_plain_json(text)


def test_numbers() -> None:
    """Numbers are doubles; one that is beyond them is nothing, as in JavaScript's own JSON."""
    value = parse_plain_json("[1, 1.0, -0.0, 1.5, 1e3, 9007199254740992, 9007199254740993, 1e400, -1e400]")
    assert value == [1, 1, 0, 1.5, 1000, 2**53, 2.0**53, None, None]
    assert [type(item) for item in value[:3]] == [int, int, int]
    assert parse_plain_json("1" * 5000) is None


@pytest.mark.parametrize(
    "text", ['{"__proto__": 1}', '[{"\\u005f_proto__": 1}]', '{"a": {"constructor": {"prototype": 1}}}']
)
def test_keys_of_prototypes(text: str) -> None:
    """A key that could reach a prototype makes the whole text worthless."""
    with pytest.raises(ValueError, match="forbidden"):
        parse_json(text)
    assert parse_partial_json(text) is MISSING


def test_nested_deeper_than_the_interpreter_can_follow() -> None:
    """Such a text has no value, instead of ending the program."""
    assert parse_partial_json("[" * 100_000) is MISSING


def test_nested_deeper_than_a_message_may_be() -> None:
    """Nor has a text that could be read, but in a message not be copied and saved."""
    assert parse_partial_json("[" * 100) is not MISSING
    assert parse_partial_json("[" * 101) is MISSING

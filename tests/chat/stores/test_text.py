"""Values and ids as text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_stream.chat.stores.redis.keys import Entry, decode_id, encode_id
from resumable_stream.chat.stores.text import dump, escape_id, load, unescape_id
from resumable_stream.exceptions import InvalidMessageError
from resumable_stream.testing.chat_store_suite.harness import ODD_IDS

_ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=20)
_JSON_TEXT = _ANY_TEXT.map(lambda text: json.loads(json.dumps(text)))  # two surrogates in a row are one character
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _JSON_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_JSON_TEXT, inner, max_size=4),
)


@given(st.dictionaries(_JSON_TEXT, _JSON, max_size=4))
def test_any_json_comes_back(value: dict[str, object]) -> None:
    """Whatever is JSON comes back as it was, from text that any database takes."""
    text = dump(value)
    assert "\0" not in text
    assert json.dumps(load(text.encode())) == json.dumps(value)


@given(_ANY_TEXT)
def test_any_id_comes_back(some_id: str) -> None:
    """Whatever is an id comes back as it was, from text that any database takes and that is not much longer."""
    escaped = escape_id(some_id)
    assert "\0" not in escaped
    assert len(escaped.encode()) <= 4 * len(some_id)
    assert unescape_id(escaped) == some_id
    assert decode_id(encode_id(some_id)) == some_id
    assert encode_id(some_id).isascii()
    assert not set("{} ") & set(encode_id(some_id))
    assert Entry.decode(Entry(1, some_id).encode().encode()) == Entry(1, some_id)


@given(_ANY_TEXT, _ANY_TEXT)
def test_ids_stay_apart(one: str, other: str) -> None:
    """Two ids do not become one."""
    assert (escape_id(one) == escape_id(other)) == (one == other) == (encode_id(one) == encode_id(other))


def test_odd_ids_stay_apart() -> None:
    """Nor do those that look like what others become."""
    assert (
        len({escape_id(odd_id) for odd_id in ODD_IDS}) == len({encode_id(odd_id) for odd_id in ODD_IDS}) == len(ODD_IDS)
    )


@pytest.mark.parametrize("value", [{"x": float("nan")}, {"x": b""}, {"x": {1, 2}}, {("x",): 1}])
def test_what_is_not_json(value: dict[str, object]) -> None:
    """What is not JSON is refused."""
    with pytest.raises(InvalidMessageError):
        dump(value)


def test_nested_too_deeply() -> None:
    """Nor is what nobody could read again."""
    value: dict[str, object] = {}
    for _ in range(100_000):
        value = {"x": value}
    with pytest.raises(InvalidMessageError):
        dump(value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"'])
def test_what_was_not_dumped(text: str) -> None:
    """What is no object is not what was written."""
    with pytest.raises(ValueError, match=r"Expect|object"):
        load(text)

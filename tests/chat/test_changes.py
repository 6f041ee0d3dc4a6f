"""What a change makes of a chat: what the stores' suite does not see."""

from __future__ import annotations

import base64
import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_stream.chat.changes import PagePosition, apply_change
from resumable_stream.chat_types import Chat, ChatChange, ChatInfo, StreamRecord
from resumable_stream.exceptions import InvalidPositionError

_STREAM = StreamRecord("s", "c", 1.0, "a")
_CHAT = Chat(ChatInfo("c", "o", 1.0, 2.0, 7, _STREAM, {"x": 1}), [{"id": "a"}, {"id": "b"}])


def test_what_is_given_stays() -> None:
    """The chat that is given, and its streams, stay as they are."""
    before, streams = copy.deepcopy(_CHAT), [_STREAM]
    change = ChatChange("a", [{"id": "c"}], StreamRecord("t", ""), clear_active=True, metadata={}, if_version=7)
    changed = apply_change(_CHAT, streams, change, 3.0)
    assert (before, [_STREAM]) == (_CHAT, streams)
    assert changed.chat == Chat(ChatInfo("c", "o", 1.0, 3.0, 8, None, {}), [{"id": "a"}, {"id": "c"}])
    assert changed.streams == [_STREAM, StreamRecord("t", "c", 3.0, "")]


@given(st.floats(0, 1e10), st.text(st.characters(exclude_categories=()), max_size=20))
def test_positions(created_at: float, chat_id: str) -> None:
    """A position comes back from its text, which a URL takes as it is."""
    position = PagePosition(created_at, chat_id.encode("utf-8", "replace").decode())
    text = position.encode()
    assert PagePosition.decode(text) == position
    assert text.replace("-", "").replace("_", "").isalnum()
    assert text.isascii()


@given(st.text(max_size=40) | st.from_regex(r"[A-Za-z0-9_-]{1,60}", fullmatch=True))
def test_malformed_positions(text: str) -> None:
    """Whatever else is given is refused."""
    try:
        position = PagePosition.decode(text)
    except InvalidPositionError:
        return
    assert position == PagePosition.decode(position.encode())


@pytest.mark.parametrize(
    "wrong", ['[NaN,"c"]', '[Infinity,"c"]', '[-1.0,"c"]', '[1e300,"c"]', '[true,"c"]', "[1.0]", "{}"]
)
def test_impossible_positions(wrong: str) -> None:
    """So is a time that cannot be."""
    with pytest.raises(InvalidPositionError):
        PagePosition.decode(base64.urlsafe_b64encode(wrong.encode()).decode().rstrip("="))

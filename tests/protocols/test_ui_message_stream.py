"""The UI message stream: chunks in their frames."""

from __future__ import annotations

import json
from collections import UserDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_stream.exceptions import InvalidInputError, InvalidMessageChunkError
from resumable_stream.protocols.ai_sdk.ui_message_stream import (
    DONE,
    HEADERS,
    encode_abort,
    encode_chunk,
    encode_chunks,
    encode_error,
)
from resumable_stream.protocols.sse import SSEDecoder

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
deltas = st.fixed_dictionaries(
    {"type": st.sampled_from(["text-delta", "reasoning-delta"]), "id": st.text(), "delta": st.text(st.characters())}
)
made = deltas | st.fixed_dictionaries({"type": st.just("data-x"), "data": values})


def test_headers() -> None:
    """The headers are those that clients and proxies look for; none of them is of one connection."""
    assert HEADERS["content-type"] == "text/event-stream"
    assert HEADERS["x-vercel-ai-ui-message-stream"] == "v1"
    assert "connection" not in HEADERS


@given(st.lists(st.tuples(st.none() | st.just("g-1"), made), max_size=4))
def test_round_trip(events: list[tuple[str | None, dict[str, Any]]]) -> None:
    """A client reads the chunks that were sent, half characters included; many at once are one after the other."""
    data = encode_chunks(events)
    assert data == b"".join(encode_chunk(chunk, event_id=event_id) for event_id, chunk in events)
    assert [json.loads(event.data) for event in SSEDecoder().feed(data)] == [chunk for _, chunk in events]


def test_ends() -> None:
    """A stream that broke off ends in a chunk that says so."""
    assert encode_error("no", event_id="g-7") == b'id: g-7\ndata: {"type":"error","errorText":"no"}\n\n'
    assert encode_abort() == b'data: {"type":"abort"}\n\n'
    assert encode_abort("stopped") == b'data: {"type":"abort","reason":"stopped"}\n\n'
    assert DONE == b"data: [DONE]\n\n"


def test_any_mapping() -> None:
    """A chunk need not be a dict."""
    assert encode_chunk(UserDict({"type": "abort"})) == encode_abort()


@pytest.mark.parametrize("value", [float("nan"), object(), {1}])
def test_what_json_has_not(value: Any) -> None:
    """What JSON has not, is refused."""
    with pytest.raises(InvalidMessageChunkError):
        encode_chunk({"type": "data-x", "data": value})


def test_ids_that_would_break_the_frame() -> None:
    """So is an id that would end its line."""
    with pytest.raises(InvalidInputError):
        encode_chunks([("a\nb", {"type": "abort"})])


def test_deltas_of_their_own_kind() -> None:
    """What looks like a delta, and is of another type, is written as it is."""
    chunk = {"type": "other", "id": "a", "delta": "x"}
    assert json.loads(SSEDecoder().feed(encode_chunk(chunk))[0].data) == chunk

"""Server-sent events: framing, and reading what may be cut anywhere."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resumable_stream.exceptions import InvalidInputError
from resumable_stream.protocols.sse import Event, SSEDecoder, encode_comment, encode_event, encode_events

GOLDEN = Path(__file__).parents[1] / "golden" / "event_streams.json"

texts = st.text(st.characters(codec="utf-8"), max_size=20)
lines = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n"), max_size=10)
messy = st.lists(
    st.sampled_from(
        ["data", "id", "event", "retry", ":", ": ", " ", "\n", "\r", "\r\n", "\n\n", "x", "ä", "7", "\0", "\ufeff"]
    ),
    max_size=40,
).map("".join)


def read(pieces: list[bytes]) -> list[Event]:
    """Decode a stream that comes in pieces."""
    decoder = SSEDecoder()
    return [event for piece in pieces for event in decoder.feed(piece)]


def cut(data: bytes, at: list[int]) -> list[bytes]:
    """Cut bytes at some places."""
    ends = sorted({place % (len(data) + 1) for place in at} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def second_reading(text: str) -> list[Event]:
    """Read a whole stream as the standard has it, step by step."""
    events: list[Event] = []
    data, kind, last_id = "", "", ""
    for line in re.split("\r\n|\n|\r", text.removeprefix("\ufeff"))[:-1]:
        field, colon, value = line.partition(":")
        value = value.removeprefix(" ")
        if line == "":
            if data != "":
                events.append(Event(data[:-1], kind or "message", last_id))
            data, kind = "", ""
        elif colon and field == "":
            continue
        elif field == "event":
            kind = value
        elif field == "data":
            data += value + "\n"
        elif field == "id" and "\0" not in value:
            last_id = value
    return events


def test_an_event_of_one_line() -> None:
    """An event is its fields, and an empty line."""
    assert encode_event("x") == b"data: x\n\n"
    assert encode_event("x", event_id="7", event="e", retry=1.5) == b"retry: 1500\nevent: e\nid: 7\ndata: x\n\n"


@pytest.mark.parametrize("data", ["a\nb", "a\rb", "a\r\nb"])
def test_data_of_several_lines(data: str) -> None:
    """Each line of the data is a field of its own, whatever ends it."""
    assert encode_event(data) == b"data: a\ndata: b\n\n"
    assert encode_events([("1", data)]) == b"id: 1\ndata: a\ndata: b\n\n"


@given(st.lists(st.tuples(st.none() | lines, texts), max_size=5))
def test_many_events_are_the_events(events: list[tuple[str | None, str]]) -> None:
    """Framing many events at once is framing one after the other."""
    assert encode_events(events) == b"".join(encode_event(data, event_id=event_id) for event_id, data in events)


@given(
    st.lists(st.tuples(texts, st.none() | lines, st.none() | lines), max_size=5),
    st.lists(st.integers(min_value=0), max_size=10),
)
def test_round_trip(events: list[tuple[str, str | None, str | None]], at: list[int]) -> None:
    """What was framed is read again, wherever it is cut, with line ends as line feeds."""
    expected, last_id, sent = [], "", b"\xef\xbb\xbf"
    for data, event_id, kind in events:
        sent += encode_comment("ping") + encode_event(data, event_id=event_id, event=kind)
        # One space after the colon belongs to the field, and what we write has it.
        last_id = last_id if event_id is None else event_id
        expected.append(Event(re.sub("\r\n|\r", "\n", data), kind or "message", last_id))
    assert read(cut(sent, at)) == expected


@given(messy, st.lists(st.integers(min_value=0), max_size=10))
def test_whatever_comes_is_read_as_the_standard_says(text: str, at: list[int]) -> None:
    """A stream that nobody framed well is read as a second reading of the standard has it, wherever it is cut."""
    assert read(cut(text.encode(), at)) == second_reading(text)


@pytest.mark.parametrize(
    "case", json.loads(GOLDEN.read_text(encoding="utf-8"))["cases"], ids=lambda case: repr(case["text"][:20])
)
def test_other_implementations_agree(case: dict[str, Any]) -> None:
    """The parser that the AI SDK uses reads the same events."""
    assert [event.data for event in read([case["text"].encode()])] == [event["data"] for event in case["events"]]
    named = [event.event for event in read([case["text"].encode()])]
    assert named == [event.get("event") or "message" for event in case["events"]]


def test_a_return_ends_a_line_at_once() -> None:
    """An event whose last line ends in a carriage return does not wait for a line feed that may never come."""
    decoder = SSEDecoder()
    assert decoder.feed(b"data: x\r\r") == [Event("x")]
    assert decoder.feed(b"\n") == []
    assert decoder.feed(b"data: y\r") == []
    assert decoder.feed(b"\n\r") == [Event("y")]


def test_what_is_not_complete_is_no_event() -> None:
    """Without its empty line, the last event never comes out."""
    assert read([b"data: x\n\ndata: y\n"]) == [Event("x")]


def test_an_id_stays_until_another_one() -> None:
    """The last id counts for what follows; one with a NUL is passed over, an empty one takes it back."""
    events = read([b"id: 1\ndata: a\n\ndata: b\n\nid: 2\0\ndata: c\n\nid\ndata: d\n\n"])
    assert [event.event_id for event in events] == ["1", "1", "1", ""]


def test_an_id_counts_without_data() -> None:
    """A block with an id and no data is no event, and says what to come back with."""
    decoder = SSEDecoder()
    assert decoder.feed(b"id: 9\n") == []
    assert decoder.last_event_id == ""
    assert decoder.feed(b"\n") == []
    assert decoder.last_event_id == "9"


@pytest.mark.parametrize(
    ("line", "retry"),
    [("retry: 250", 0.25), ("retry: 1s", None), ("retry: -1", None), ("retry", None), ("retry: ٣", None)],
)
def test_the_time_to_wait(line: str, retry: float | None) -> None:
    """A time to wait has digits alone, and is milliseconds on the wire."""
    decoder = SSEDecoder()
    decoder.feed(f"{line}\n".encode())
    assert decoder.retry == retry


def test_a_very_long_time_to_wait() -> None:
    """More digits than any time has do no harm."""
    decoder = SSEDecoder()
    decoder.feed(b"retry: " + b"9" * 100_000 + b"\n")
    assert decoder.retry is not None


def test_bytes_that_are_no_text() -> None:
    """What is no UTF-8 becomes replacement characters, and the stream goes on."""
    assert read([b"data: \xff\xe2\x82\n\n"]) == [Event("\ufffd\ufffd")]


@pytest.mark.parametrize(("text", "comment"), [("", b":\n\n"), ("ping", b": ping\n\n"), ("a\nb", b": a\n: b\n\n")])
def test_comments(text: str, comment: bytes) -> None:
    """A comment is one on each of its lines, and no event."""
    assert encode_comment(text) == comment
    assert read([comment]) == []


@pytest.mark.parametrize("broken", ["a\nb", "a\rb", "a\0b"])
def test_ids_that_would_break_the_frame(broken: str) -> None:
    """An id with a line end or a NUL is refused."""
    with pytest.raises(InvalidInputError):
        encode_event("x", event_id=broken)
    with pytest.raises(InvalidInputError):
        encode_events([(broken, "x")])


@pytest.mark.parametrize(
    "options", [{"event": "a\nb"}, {"retry": -1}, {"retry": float("nan")}, {"retry": float("inf")}]
)
def test_fields_that_would_break_the_frame(options: dict[str, Any]) -> None:
    """So are a type with a line end, and a time that is none."""
    with pytest.raises(InvalidInputError):
        encode_event("x", **options)


def test_half_a_character() -> None:
    """Half a surrogate pair has no bytes in UTF-8, and is refused."""
    with pytest.raises(InvalidInputError, match="surrogate"):
        encode_event("\ud83d")

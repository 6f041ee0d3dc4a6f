"""What requests ask for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from resumable_stream import StreamInfo, StreamState
from resumable_stream.exceptions import InvalidInputError, InvalidPositionError, LimitExceededError
from resumable_stream.http import HTTPError, HTTPRequest, parse_reading
from resumable_stream.http.parsing import StreamPosition, parse_json, parse_position, parse_sent_message


def request_of(*pieces: bytes, **headers: str) -> HTTPRequest:
    """Return a request with a body that comes in pieces."""

    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HTTPRequest(headers={"content-type": "application/json"} | named, body=body())


async def test_body_comes_in_pieces() -> None:
    """A body is put together from its pieces; an empty one is an empty object."""
    assert await parse_json(request_of(b'{"a": ', b'"\xc3', b'\xa4"}'), 100) == {"a": "ä"}
    assert await parse_json(request_of(), 100) == {}
    assert await parse_json(request_of(b"  "), 100) == {}


@pytest.mark.parametrize(
    "body", [b"[]", b"1", b"{", b'{"a": NaN}', b"\xff", b"[" * 100_000, b'{"a": 1e', b'"x"', b"null"]
)
async def test_bad_body_is_refused(body: bytes) -> None:
    """What is no JSON object is refused, however it is wrong."""
    with pytest.raises(InvalidInputError):
        await parse_json(request_of(body), 1_000_000)


async def test_long_body_is_not_read() -> None:
    """A body that is too long is refused as soon as that is known; the rest is not read."""
    read = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b"x" * 10

    with pytest.raises(LimitExceededError):
        await parse_json(HTTPRequest(body=body()), 100)
    assert read == 11


async def test_body_that_breaks_off() -> None:
    """A body that cannot be read to its end, since the client has gone, is refused, whatever its framework raises."""

    async def body() -> AsyncIterator[bytes]:
        yield b"{"
        raise OSError("gone")

    with pytest.raises(InvalidInputError, match="broke off"):
        await parse_json(HTTPRequest(body=body()), 100)


async def test_body_that_is_too_long_for_the_framework() -> None:
    """One that the framework refuses to read on is too long, and has not broken off."""

    class TooLargeError(Exception):
        code = 413

    async def body() -> AsyncIterator[bytes]:
        yield b"{"
        raise TooLargeError

    with pytest.raises(HTTPError) as caught:
        await parse_json(HTTPRequest(body=body()), 100)
    assert caught.value.status == 413


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_form_of_another_site_is_refused(site: str) -> None:
    """A page of another site cannot send what the browser does not ask about first; programs can send any type."""
    with pytest.raises(HTTPError) as caught:
        await parse_json(request_of(b"{}", content_type="text/plain", sec_fetch_site=site), 100)
    assert caught.value.status == 415
    assert await parse_json(request_of(b"{}", sec_fetch_site=site), 100) == {}
    assert await parse_json(request_of(b"{}", content_type="text/plain"), 100) == {}
    ours = {"content_type": "text/plain", "host": "us.example", "origin": "http://us.example"}
    assert await parse_json(request_of(b"{}", **ours), 100) == {}
    for origin in ("http://evil.example", "null", "http://us.example.evil.example"):
        with pytest.raises(HTTPError):  # an old browser, or a page that is not encrypted
            await parse_json(request_of(b"{}", **(ours | {"origin": origin})), 100)
    assert await parse_json(request_of(b"{}", content_type="text/plain", sec_fetch_site="same-origin"), 100) == {}


@pytest.mark.parametrize(
    ("query", "headers", "expected"),
    [
        ({}, {}, StreamPosition()),
        ({"startIndex": ""}, {}, StreamPosition()),
        ({"startIndex": "7"}, {}, StreamPosition(7)),
        ({"startIndex": "-7"}, {}, StreamPosition(-7)),
        ({}, {"last-event-id": "a-1"}, StreamPosition(after="a-1")),
        ({"startIndex": "7"}, {"last-event-id": "a-1"}, StreamPosition(after="a-1")),
        ({"startIndex": "7"}, {"last-event-id": ""}, StreamPosition(7)),
    ],
)
def test_position(query: dict[str, str], headers: dict[str, str], expected: StreamPosition) -> None:
    """A position is in the URL or in the header of browsers, which counts for more."""
    assert parse_position(HTTPRequest(query=query, headers=headers)) == expected


@pytest.mark.parametrize(
    ("position", "epoch", "state", "start"),
    [
        (StreamPosition(after="gen-4"), 1, StreamState.RUNNING, 5),
        (StreamPosition(after="gen-5.lost"), 2, StreamState.RUNNING, 5),
        (StreamPosition(after="gen-5.lost"), 1, StreamState.LOST, 6),  # all of it was seen, with the word
        (StreamPosition(after="gen-4.lost"), 2, StreamState.LOST, 4),
        (StreamPosition(5), 2, StreamState.RUNNING, 5),
        (StreamPosition(6), 2, StreamState.RUNNING, 5),  # with the word about the loss
        (StreamPosition(6), 1, StreamState.RUNNING, 6),
        (StreamPosition(7), 2, StreamState.RUNNING, 7),
        (StreamPosition(-2), 1, StreamState.RUNNING, 3),
    ],
)
def test_where_to_go_on_in_an_answer(position: StreamPosition, epoch: int, state: StreamState, start: int) -> None:
    """It is behind what was seen. A word about a loss, after which the stream went on, hides no chunk."""
    info = StreamInfo("s", "gen", epoch, state, 5, 0.0, None, is_readable=True)
    assert position.start_in(info) == start


@pytest.mark.parametrize("given", ["x", "1.5", "--1", "²", "1" * 16, "1e3", " 1", "-"])
def test_bad_position_is_refused(given: str) -> None:
    """A position that is no whole number is refused."""
    with pytest.raises(InvalidPositionError):
        parse_position(HTTPRequest(query={"startIndex": given}))


def test_last_message_counts() -> None:
    """A front end may send the last message, or all of them; what else it sends is kept for the application."""
    sent = parse_sent_message({"id": "c", "messages": [{"id": "1"}, {"id": "2"}], "model": "m"}, None)
    assert (sent.chat_id, sent.message, sent.trigger, sent.message_id) == ("c", {"id": "2"}, "submit-message", None)
    assert sent.fields["model"] == "m"
    both = parse_sent_message({"message": {"id": "3"}, "messages": [{"id": "2"}]}, "of the path")
    assert (both.chat_id, both.message) == ("of the path", {"id": "3"})
    assert parse_sent_message({}, None).message is None


@pytest.mark.parametrize(
    "body", [{"id": 5}, {"messages": {}}, {"messages": ["x"]}, {"message": "x"}, {"trigger": []}, {"messageId": 1}]
)
def test_wrong_types_are_refused(body: dict[str, Any]) -> None:
    """A field of the wrong type is refused."""
    with pytest.raises(InvalidInputError):
        parse_sent_message(body, None)


@pytest.mark.parametrize(
    ("query", "headers", "expected"),
    [
        ({}, {}, {}),
        ({"startIndex": "-3"}, {}, {"start_index": -3}),
        ({"skipCharacters": "3"}, {}, {"skip_characters": 3}),
        ({"resumeAt": "3"}, {}, {"skip_characters": 3}),
        ({"resumeAt": "3"}, {"last-event-id": "a-1"}, {"after": "a-1"}),
    ],
)
def test_where_to_read_any_stream(query: dict[str, str], headers: dict[str, str], expected: dict[str, Any]) -> None:
    """Of any stream, a position may be a number of characters, too."""
    assert parse_reading(HTTPRequest(query=query, headers=headers)) == expected


def test_two_positions_are_refused() -> None:
    """A position in two forms is refused."""
    with pytest.raises(InvalidPositionError):
        parse_reading(HTTPRequest(query={"startIndex": "1", "resumeAt": "3"}))

"""What is said, without anybody who says it."""

from __future__ import annotations

import json

import pytest

from resumable_stream.exceptions import InvalidPositionError, InvalidSettingError, InvalidStreamIdError
from resumable_stream.interop.npm.following import Inbox
from resumable_stream.interop.npm.protocol import (
    DONE_MESSAGE,
    Names,
    Request,
    check_npm_stream_id,
    check_skip,
    count_units,
    encode_text,
    frames_of,
    skip_units,
)

TEXT = "aé😀z"


@pytest.mark.parametrize(
    ("count", "rest"), [(0, TEXT), (1, "é😀z"), (2, "😀z"), (3, "\ufffdz"), (4, "z"), (5, ""), (9, "")]
)
def test_skipping_counts_utf_16_units(count: int, rest: str) -> None:
    """A text is cut where JavaScript cuts it; what is left of a character that was cut in two counts as one unit."""
    assert skip_units(TEXT, count) == rest
    assert count_units(rest) == max(5 - count, 0)


@pytest.mark.parametrize("text", ["", "plain", "é", "😀", TEXT, "\udc00 half", "\ud83d\ude00"])
def test_units_are_those_of_javascript(text: str) -> None:
    """Characters outside the basic plane count twice, and halves of them once."""
    assert count_units(text) == sum(2 if ord(character) > 0xFFFF else 1 for character in text)


@pytest.mark.parametrize(("text", "sent"), [("\ud83d\ude00", "😀"), ("a\ude00", "a\ufffd"), ("\ud83d", "\ufffd")])
def test_halves_of_characters_are_sent_as_javascript_does(text: str, sent: str) -> None:
    """Two halves make a character, one alone becomes U+FFFD."""
    assert encode_text(text).decode() == sent


def test_frames_are_bounded() -> None:
    """A long text is cut into frames of at most 65,536 characters, none of them empty."""
    text = "😀b" * 100_000
    frames = list(frames_of(text))
    assert "".join(frames) == text
    assert [len(frame) for frame in frames] == [65536, 65536, 65536, 3392]
    assert list(frames_of("")) == []


@pytest.mark.parametrize(
    ("message", "skip"),
    [
        ({"listenerId": "l"}, 0),
        ({"listenerId": "l", "skipCharacters": 7}, 7),
        ({"listenerId": "l", "skipCharacters": 7.9}, 7),
        ({"listenerId": "l", "skipCharacters": None}, 0),
        ({"listenerId": "l", "skipCharacters": -3, "more": []}, 0),
    ],
)
def test_requests_are_understood(message: object, skip: int) -> None:
    """What the npm package makes of it, is made of it."""
    assert Request.decode(json.dumps(message).encode()) == Request("l", skip)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"listenerId": 5}',
        b'{"listenerId": ""}',
        b'{"listenerId": "l", "skipCharacters": "7"}',
        b'{"listenerId": "l", "skipCharacters": true}',
        b'{"listenerId": "l", "skipCharacters": Infinity}',
        b'{"listenerId": "' + b"l" * 513 + b'"}',
        b'{"listenerId": "\\ud800"}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_request_is_refused(message: bytes) -> None:
    """A message that cannot be a request is a `ValueError`, whatever it is."""
    with pytest.raises(ValueError):  # noqa: PT011  # with the text of whoever found it out
        Request.decode(message)


def test_who_skips_more_than_there_can_be() -> None:
    """A number that is too large for a float is one all the same: there is nothing behind it."""
    request = Request.decode(b'{"listenerId": "l", "skipCharacters": 1' + b"0" * 400 + b"}")
    assert request.skip == 10**400
    assert skip_units("abc", request.skip) == skip_units("\U0001f600", request.skip) == ""


def test_requests_are_said_as_node_says_them() -> None:
    """A request is compact JSON, and says nothing of characters if none are skipped."""
    assert Request("l", 0).encode() == b'{"listenerId":"l"}'
    assert Request("l", 7).encode() == b'{"listenerId":"l","skipCharacters":7}'


def test_names_are_those_of_node() -> None:
    """Keys and channels are where the npm package looks for them."""
    names = Names("resumable-stream")
    assert names.sentinel("s") == "resumable-stream:rs:sentinel:s"
    assert names.requests("s") == "resumable-stream:rs:request:s"
    assert names.chunks("l") == "resumable-stream:rs:chunk:l"


@pytest.mark.parametrize("name", ["", None, 5, "s" * 513, "\ud800"])
def test_names_that_cannot_be(name: object) -> None:
    """Prefixes and stream ids that cannot be sent, or are too long, are refused."""
    with pytest.raises(InvalidSettingError):
        Names(name)
    with pytest.raises(InvalidStreamIdError):
        check_npm_stream_id(name)


@pytest.mark.parametrize("skip", [-1, 1.5, True, "3", None, 2**53, 10**400])
def test_positions_that_cannot_be(skip: object) -> None:
    """A position is a whole number, at least 0."""
    with pytest.raises(InvalidPositionError):
        check_skip(skip)


def test_inbox_is_bounded() -> None:
    """An inbox takes one message of any size; what would be too much after that is left to be asked for again."""
    inbox = Inbox(max_bytes=5)
    inbox.on_message(b"0123456789")
    inbox.on_message(b"")
    inbox.on_message(b"b")
    inbox.on_message(DONE_MESSAGE)
    assert [inbox.has_missed, inbox.is_done] == [True, False]
    assert inbox.take() == "0123456789"
    assert inbox.take() is None


def test_inbox_takes_nothing_after_a_hole_or_the_end() -> None:
    """What is in an inbox is a true prefix: nothing is taken after what may have been missed, or after the end."""
    inbox = Inbox()
    inbox.on_message(b"a")
    inbox.on_missed()
    inbox.on_message(b"c")
    assert (inbox.take(), inbox.take()) == ("a", None)
    inbox = Inbox()
    inbox.on_message(b"")
    inbox.on_message(DONE_MESSAGE)
    inbox.on_message(b"a")
    inbox.on_missed()
    assert inbox.take() is None
    assert inbox.is_done
    assert not inbox.has_missed

"""Names that come from outside."""

from __future__ import annotations

import pytest

from resumable_stream import InvalidPositionError, InvalidStreamIdError
from resumable_stream._core.ids import check_stream_id, format_event_id, format_loss_id, parse_event_id


@pytest.mark.parametrize("stream_id", ["a", "A-z_0.9:x", "0", "...", ".a", "a" * 256])
def test_valid_stream_ids(stream_id: str) -> None:
    """Letters, digits and _ . : - make an id, up to the length."""
    assert check_stream_id(stream_id, 256) == stream_id


@pytest.mark.parametrize(
    "stream_id",
    [
        "",
        ".",
        "..",
        "a" * 257,
        "a b",
        "a/b",
        "{a}",
        "a}b",
        "a*",
        "a\n",
        "\n",
        "ü",
        "\uff11",
        "a\x00",
        "a%2f",
        "a?b",
        None,
        7,
        b"a",
        ["a"],
    ],
)
def test_invalid_stream_ids(stream_id: object) -> None:
    """Anything else is refused; a trailing newline and digits of other scripts too."""
    with pytest.raises(InvalidStreamIdError):
        check_stream_id(stream_id, 256)


def test_error_does_not_repeat_the_id() -> None:
    """What came from outside does not go into the error's text, which may end up in a log or an answer."""
    with pytest.raises(InvalidStreamIdError) as caught:
        check_stream_id("<script>", 256)
    assert "script" not in str(caught.value)


def test_event_ids_round_trip() -> None:
    """An event id gives back what it was made of."""
    assert parse_event_id(format_event_id("00ffaa", 0)) == ("00ffaa", 0, False)
    assert parse_event_id(format_event_id("g", 9_999_999_999_999_999)) == ("g", 9_999_999_999_999_999, False)
    assert parse_event_id(format_loss_id(format_event_id("g", 5))) == ("g", 5, True)


@pytest.mark.parametrize(
    "event_id",
    [
        "",
        "-",
        "a-",
        "-1",
        "a-01",
        "a--1",
        "a-1 ",
        "a-1\n",
        "A-1",
        "a-1-2",
        "a-1x",
        "a-1.lost.lost",
        "a-1xlost",
        "a" * 33 + "-1",
        "a-" + "9" * 17,
        3,
        b"a-1",
    ],
)
def test_malformed_event_ids(event_id: object) -> None:
    """What `format_event_id` cannot have made is refused."""
    with pytest.raises(InvalidPositionError):
        parse_event_id(event_id)

"""How times and texts are shown."""

from __future__ import annotations

import pytest

from resumable_stream.cli.rendering import moment, printable, span


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-1, "0 s"), (0, "0 s"), (59, "59 s"), (60, "1 min"), (3600, "1 h"), (86400, "1 d"), (864000, "10 d")],
)
def test_span(seconds: float, shown: str) -> None:
    """A length of time is shown in its largest unit; clocks that differ make none negative."""
    assert span(seconds) == shown


def test_moment() -> None:
    """A time is shown in UTC, with how long ago it was."""
    assert moment(0, 7200) == "1970-01-01 00:00:00 UTC (2 h ago)"


def test_printable() -> None:
    """What steers a terminal, or breaks a line, is shown and not done."""
    assert printable("a\x1b[0m\n\u202eb\x9bü") == r"a\x1b[0m\n\u202eb\x9bü"

"""Ids of messages and chats."""

from __future__ import annotations

import pytest

from resumable_stream.chat.ids import ALPHABET, IdGenerator
from resumable_stream.exceptions import InvalidSettingError


def test_usual() -> None:
    """An id is 16 digits and letters, and no two are the same."""
    make = IdGenerator()
    ids = {make() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(len(made) == 16 and set(made) <= set(ALPHABET) for made in ids)


def test_prefix() -> None:
    """A prefix is followed by the separator, then by the random characters."""
    made = IdGenerator("msg", 4, separator="_", alphabet="01")()
    assert made.startswith("msg_")
    assert set(made[4:]) <= {"0", "1"}
    assert len(made) == 8


def test_every_character_occurs() -> None:
    """No character of the alphabet is left out."""
    assert set(IdGenerator(size=20_000)()) == set(ALPHABET)


def test_a_separator_in_the_alphabet() -> None:
    """The separator must not be in the alphabet, unless there is no prefix and so no separator."""
    with pytest.raises(InvalidSettingError, match="separator"):
        IdGenerator("msg", separator="a")
    with pytest.raises(InvalidSettingError, match="separator"):
        IdGenerator("msg", separator="")
    assert len(IdGenerator(separator="a")()) == 16


@pytest.mark.parametrize("size", [0, -1])
def test_sizes(size: int) -> None:
    """An id has random characters."""
    with pytest.raises(InvalidSettingError, match="at least one"):
        IdGenerator(size=size)


@pytest.mark.parametrize("alphabet", ["", "a", "aba"])
def test_alphabets(alphabet: str) -> None:
    """An alphabet offers a choice, in which every character is as likely as the others."""
    with pytest.raises(InvalidSettingError, match="alphabet"):
        IdGenerator(alphabet=alphabet)

"""The error tree."""

from __future__ import annotations

import pickle
import re

import pytest

from resumable_stream import exceptions
from resumable_stream.exceptions import (
    LimitExceededError,
    PublisherFailedError,
    PublisherLostError,
    ResumableStreamError,
    StreamExistsError,
    StreamGoneError,
    StreamNotFoundError,
)

ERRORS = [
    LimitExceededError("max_chunk_bytes", 5),
    StreamExistsError("s"),
    StreamGoneError("s"),
    StreamNotFoundError("s"),
    PublisherFailedError("s", "ValueError", "no"),
    PublisherLostError("s"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_can_be_pickled(error: ResumableStreamError) -> None:
    """An error that crosses a process boundary keeps its type, attributes and text."""
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), vars(copy), str(copy)) == (type(error), vars(error), str(error))
    assert all(str(value) in str(error) for value in vars(error).values())


def test_tree_is_drawn_as_it_is() -> None:
    """The drawing in the module's docstring has every error, below its base, with what else it is."""
    drawn: list[tuple[int, str]] = []
    for line in (exceptions.__doc__ or "").splitlines():
        match = re.match(r"^    ([│├└─ ]*)(\w+Error)\b(?: \((\w+)\))?", line)
        if match:
            depth = len(match[1]) // 4
            drawn.append((depth, match[2]))
            error = getattr(exceptions, match[2])
            if depth:
                parent = next(name for level, name in reversed(drawn[:-1]) if level == depth - 1)
                assert error.__bases__[0].__name__ == parent
            others = [base.__name__ for base in error.__bases__[1:]]
            assert others == ([match[3]] if match[3] else [])
    assert sorted(name for _, name in drawn) == sorted(exceptions.__all__)

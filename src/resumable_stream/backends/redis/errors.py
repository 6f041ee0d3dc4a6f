"""The one seam where the driver's errors become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis.exceptions import RedisError

from ...exceptions import BackendError


@contextmanager
def translated_errors(doing: str) -> Iterator[None]:
    """Raise what goes wrong inside as `BackendError`, with the driver's error as the cause.

    A `ValueError` is a reply that cannot be: something else wrote to our keys. The text names the kind of error only: a
    driver's own words may quote what was sent.
    """
    try:
        yield
    except (RedisError, OSError, EOFError, ValueError) as error:
        raise BackendError(f"Redis failed to {doing}: {type(error).__name__}") from error

"""The one seam where errors of SQLAlchemy and of drivers become ours."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from ....exceptions import ChatStoreError, ResumableStreamError

__all__ = ["translated_errors"]


# Until Python 3.11 a driver's time-out, as asyncio has it, was not a TimeoutError.
_FAILURES = (SQLAlchemyError, OSError, EOFError, TimeoutError, asyncio.TimeoutError, ValueError, TypeError)


@contextmanager
def translated_errors(doing: str) -> Iterator[None]:
    """Raise what goes wrong inside as `ChatStoreError`, with the driver's error as the cause.

    A `ValueError` or a `TypeError` is a row that cannot be: something else wrote to our tables. The text names the kind
    of error only: a driver's own words may quote what was sent.
    """
    try:
        yield
    except ResumableStreamError:
        raise
    except _FAILURES as error:
        kind = type(getattr(error, "orig", None) or error).__name__
        raise ChatStoreError(f"the database failed to {doing}: {kind}") from error

"""Runs what a command does, and tells the user in one line what came in between."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from ..exceptions import (
    InvalidInputError,
    PublisherError,
    ResumableStreamError,
    StreamGoneError,
    StreamNotFoundError,
)
from .exits import Exit
from .options import Store
from .rendering import printable

# The first that fits counts.
_CODES: tuple[tuple[type[ResumableStreamError], Exit], ...] = (
    (InvalidInputError, Exit.USAGE),
    (StreamNotFoundError, Exit.NOT_FOUND),
    (StreamGoneError, Exit.BROKEN),
    (PublisherError, Exit.BROKEN),
    (ResumableStreamError, Exit.FAILED),
)


def run_on(store: Store, work: Callable[[Store], Coroutine[Any, Any, Exit]]) -> Exit:
    """Run what a command does with a store; what goes wrong becomes a line on stderr, and an exit code."""
    try:
        code = asyncio.run(work(store))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        return hang_up()
    except OSError as error:
        hang_up()
        say(f"the output cannot be written: {error.strerror or type(error).__name__}")
        return Exit.FAILED
    except ResumableStreamError as error:
        code = next(code for kind, code in _CODES if isinstance(error, kind))
        say(f"{store.name}: {error}" if code is Exit.FAILED else str(error))
    return code


def say(text: str) -> None:
    """Say something about the data, in one line on stderr. If nobody reads that, the data is written all the same."""
    with suppress(OSError):
        sys.stderr.write(f"{printable(text)}\n")
        sys.stderr.flush()


def hang_up() -> Exit:
    """Go on without stdout, which nobody reads any more; Python would complain of what is left to flush."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
    finally:
        os.close(nowhere)
    return Exit.PIPE_CLOSED

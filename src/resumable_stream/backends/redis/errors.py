"""The one seam where the driver's errors become ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from ...exceptions import BackendError, BackendUnavailableError

# How a script's error tells what a command inside it failed of: in Redis 6, and later where the script caught it and
# raised it again.
_IN_SCRIPT = re.compile(r"(?:ERR )?(?:Error running script .*?-|(?:@?user_script: ?\d+: )+)([A-Z]+) ", re.DOTALL)
_REDIRECTION = re.compile(r"(?:(MOVED|ASK) )?(\d+) (.*):(\d+)")

# What the driver has a type for. The others are told by the code that the server's error begins with.
_PASSING_TYPES = (
    RedisConnectionError,
    RedisTimeoutError,
    OSError,
    EOFError,
    OutOfMemoryError,
    ReadOnlyError,
    ClusterDownError,
    TryAgainError,
)
_PASSING_CODES = {
    "BUSY",
    "CLUSTERDOWN",
    "LOADING",
    "MASTERDOWN",
    "MISCONF",
    "NOREPLICAS",
    "OOM",
    "READONLY",
    "TRYAGAIN",
    "UNBLOCKED",
}


class UnconfirmedError(TimeoutError):
    """Fewer replicas than asked for confirmed an append in time."""


class Redirection(NamedTuple):
    """Where a node of a Cluster says that a slot is."""

    slot: int
    host: str
    """Empty for the host that was asked."""
    port: int
    is_ask: bool
    """Whether it holds for this command only."""


@contextmanager
def translated_errors(doing: str) -> Iterator[None]:
    """Raise what goes wrong inside as `BackendError`, with the driver's error as the cause.

    A `ValueError` or `OverflowError` is a reply that cannot be: something else wrote to our keys. The text names the
    kind of error only: a driver's own words may quote what was sent.
    """
    try:
        yield
    except (RedisError, OSError, EOFError, ValueError, OverflowError) as error:
        kind = BackendUnavailableError if is_passing(error) else BackendError
        raise kind(f"Redis failed to {doing}: {type(error).__name__}") from error


def is_passing(error: Exception) -> bool:
    """Whether the same may work later: the server is away, starting, full, busy, or changing its master."""
    if is_forbidden(error):
        return False  # to the driver some of these are connection errors
    return isinstance(error, (*_PASSING_TYPES, UnconfirmedError)) or _code_of(error) in _PASSING_CODES


def is_forbidden(error: Exception) -> bool:
    """Whether the server does not let this user in, or not do this."""
    return isinstance(error, AuthenticationError | AuthorizationError | NoPermissionError)


def may_have_moved(error: Exception) -> bool:
    """Whether a node of a Cluster is away, or cut off, so that another one may have taken its place."""
    if is_forbidden(error):
        return False
    is_away = isinstance(error, RedisConnectionError | RedisTimeoutError | OSError | EOFError | ClusterDownError)
    return is_away or _code_of(error) in {"CLUSTERDOWN", "MASTERDOWN"}


def is_to_be_tried_again(error: Exception) -> bool:
    """Whether a slot of a Cluster is on its way to another node, and the keys are partly here and partly there."""
    return isinstance(error, TryAgainError) or _code_of(error) == "TRYAGAIN"


def is_read_only(error: Exception) -> bool:
    """Whether a server refused to write because it is a replica, or has become one."""
    return isinstance(error, ReadOnlyError) or _code_of(error) == "READONLY"


def redirection_of(error: Exception) -> Redirection | None:
    """Return where a node sends us, if that is what its error says. Some parsers of the driver leave it in the text."""
    found = _REDIRECTION.fullmatch(str(error)) if isinstance(error, ResponseError) else None
    if found is None or not (found[1] or isinstance(error, AskError)):
        return None
    is_ask = found[1] == "ASK" if found[1] else not isinstance(error, MovedError)
    return Redirection(int(found[2]), found[3], int(found[4]), is_ask)


def _code_of(error: Exception) -> str:
    if not isinstance(error, ResponseError):
        return ""
    in_script = _IN_SCRIPT.match(str(error))
    return in_script[1] if in_script else str(error).partition(" ")[0]

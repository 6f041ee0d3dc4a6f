"""Requests and responses, as no framework has them, and so as every framework can."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["HTTPRequest", "HTTPResponse", "nothing"]


async def nothing() -> AsyncIterator[bytes]:
    """Be the body of a request that has none."""
    nothing_at_all: tuple[bytes, ...] = ()
    for piece in nothing_at_all:
        yield piece


@dataclass(frozen=True)
class HTTPRequest:
    """What a route needs to know of a request."""

    path: Mapping[str, str] = field(default_factory=dict)
    """The parts of the path that are named in `Route.path`."""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    """With names in lower case."""
    body: AsyncIterable[bytes] = field(default_factory=nothing)
    """Read as far as is needed and allowed."""
    native: Any = None
    """The framework's own object, for the application's answer to look at."""


@dataclass(frozen=True)
class HTTPResponse:
    """What is to be sent."""

    status: int
    headers: Mapping[str, str]
    """With names in lower case."""
    body: bytes | AsyncGenerator[bytes, None]
    """A generator is to be closed when the client has gone away: that ends its reader, and nothing else."""

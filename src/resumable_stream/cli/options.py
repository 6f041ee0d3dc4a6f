"""The options that every command has, and the store that they name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import click

from ..context import ResumableStreamContext

C = TypeVar("C", bound=Callable[..., Any])

# Strict on purpose: of a URL that is written in another way it is not sure where its password ends.
_SHOWN = re.compile(
    r"(?P<scheme>[a-z+]+://)(?:[^/?#@]*@)?(?P<where>[][A-Za-z0-9.,:_-]*(?:/[A-Za-z0-9._/-]*)?)(?:[?#][^@]*)?"
)


class Store(NamedTuple):
    """Where to look."""

    url: str
    key_prefix: str

    @property
    def name(self) -> str:
        """What to call it before people: its URL without what is secret in it."""
        found = _SHOWN.fullmatch(self.url)
        return found["scheme"] + found["where"] if found else "the store"

    def context(self) -> ResumableStreamContext:
        """Return a context for it, not yet entered.

        Raises:
            InvalidSettingError: The URL or the prefix is malformed.
        """
        return ResumableStreamContext.from_url(self.url, key_prefix=self.key_prefix)


def store_of(url: str | None, key_prefix: str) -> Store:
    """Return the store that the options name.

    Raises:
        UsageError: They name none that this process could see.
    """
    if not url:
        raise click.UsageError(
            "Which server? Say --url, or set REDIS_URL. Streams in the memory of another process cannot be seen."
        )
    if url.startswith("memory:"):
        raise click.UsageError("Streams in memory can be seen by their own process alone: --url names a server.")
    return Store(url, key_prefix)


def with_store(command: C) -> C:
    """Add the options that say which store, and how to print."""
    url = click.option(
        "--url",
        envvar="REDIS_URL",
        show_envvar=True,
        help="Of the server: redis://, rediss://, unix://, redis+sentinel:// or redis+cluster://.",
    )
    key_prefix = click.option(
        "--key-prefix", default="resumable-stream", show_default=True, help="Of keys and channels."
    )
    as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, with keys that stay.")
    return url(key_prefix(as_json(command)))

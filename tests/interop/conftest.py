"""A real server, and clients of it that speak the npm package's protocol by hand."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from redis.asyncio import Redis

from resumable_stream.interop.npm import NpmStream, NpmStreams
from tests.stores import InRedis


@pytest.fixture
async def client(redis_store: InRedis) -> AsyncIterator[Redis]:
    """A client of the server."""
    async with Redis.from_url(redis_store.url, protocol=2, decode_responses=True, socket_timeout=None) as made:
        yield made


def npm_streams(store: InRedis, url: str | None = None, **settings: Any) -> NpmStreams:
    """Returns what is tested, with a prefix of this test, and little patience."""
    patience: dict[str, Any] = {"check_interval": 0.1, "reply_timeout": 2.0}
    return NpmStreams(url or store.url, key_prefix=store.prefix, **(patience | settings))


async def rest(stream: NpmStream) -> str:
    """The text to the end."""
    with anyio.fail_after(20):
        return "".join([text async for text in stream])


@asynccontextmanager
async def user_who_may(client: Redis, store: InRedis, *rules: str) -> AsyncIterator[str]:
    """Makes a user of the server with limited rights; the URL with which it comes in."""
    name = f"user-{uuid.uuid4().hex}"
    await client.execute_command("ACL", "SETUSER", name, "on", ">secret", "~*", *rules)
    try:
        yield store.url.replace("redis://", f"redis://{name}:secret@")
    finally:
        await client.execute_command("ACL", "DELUSER", name)

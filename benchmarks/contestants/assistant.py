"""PyPI's `assistant-stream`: its `resumable`, on Redis."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from typing import Any

from .serve import Factory, main


class Assistant:
    """A context on the package's Redis store, as its documentation has it."""

    async def open(self, url: str) -> None:
        package = importlib.import_module("assistant_stream.resumable")
        redis = importlib.import_module("redis.asyncio")
        self._client = redis.Redis.from_url(url)
        store = package.create_redis_resumable_stream_store(self._client)
        self._context = package.create_resumable_stream_context(store=store)

    async def close(self) -> None:
        await self._client.aclose()

    async def publish(self, stream_id: str, factory: Factory) -> AsyncIterator[str]:
        return _decoded(await self._context.run(stream_id, lambda: _encoded(factory())))

    async def follow(self, stream_id: str, *, in_blocks: bool) -> AsyncIterator[str]:
        del in_blocks  # it knows none
        stream = await self._context.resume(stream_id)
        if stream is None:
            raise LookupError("there is no such stream")
        return _decoded(stream)

    async def special(self, do: str, **details: Any) -> Any:
        raise NotImplementedError(do)


async def _encoded(chunks: AsyncIterator[str]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        yield chunk.encode()


async def _decoded(chunks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    async for chunk in chunks:
        yield chunk.decode()


if __name__ == "__main__":
    main(Assistant)

"""PyPI's `resumable-stream`, whose import package has the name of ours: hence an environment of its own."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from typing import Any

from .serve import Factory, main


class PyPI:
    """A context with the package's own adapters, as its documentation has it."""

    async def open(self, url: str) -> None:
        package = importlib.import_module("resumable_stream")
        self._publisher = package.RedisPublisher(url)
        self._subscriber = package.RedisSubscriber(url)
        await self._publisher.connect()
        await self._subscriber.connect()
        self._context = package.create_resumable_stream_context(publisher=self._publisher, subscriber=self._subscriber)

    async def close(self) -> None:
        await self._subscriber.close()
        await self._publisher.close()

    async def publish(self, stream_id: str, factory: Factory) -> AsyncIterator[str]:
        stream: AsyncIterator[str] = await self._context.create_new_resumable_stream(stream_id, factory)
        return stream

    async def follow(self, stream_id: str, *, in_blocks: bool) -> AsyncIterator[str]:
        del in_blocks  # it knows no chunks
        stream = await self._context.resume_existing_stream(stream_id)
        if stream is None or isinstance(stream, str):
            raise LookupError(f"resuming returned {stream!r}")
        return stream  # type: ignore[no-any-return]  # nothing is known of the package

    async def special(self, do: str, **details: Any) -> Any:
        raise NotImplementedError(do)


if __name__ == "__main__":
    main(PyPI)

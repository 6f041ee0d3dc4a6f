"""Nothing at all: whoever publishes reads the source. What remains is what sources and readers cost by themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from .serve import Factory, main


class Source:
    """Needs no server."""

    async def open(self, url: str) -> None:
        del url

    async def close(self) -> None:
        pass

    async def publish(self, stream_id: str, factory: Factory) -> AsyncIterator[str]:
        del stream_id
        return factory()

    async def follow(self, stream_id: str, *, in_blocks: bool) -> AsyncIterator[str]:
        del stream_id, in_blocks
        raise LookupError("nothing is published")

    async def special(self, do: str, **details: Any) -> Any:
        raise NotImplementedError(do)


if __name__ == "__main__":
    main(Source)

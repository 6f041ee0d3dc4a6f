"""A log that is read by nothing but redis-py, and of which chunks can be taken as they are: each is a value."""

from __future__ import annotations

import time
from typing import Any

from .bare_redis_py import BareRedisPy
from .serve import main
from .sources import chunks_of


class BarePairs(BareRedisPy):
    """Logs chunks, and reads them."""

    async def special(self, do: str, **details: Any) -> Any:
        if do == "log":
            return await self._log(**details)
        if do == "replay":
            return await self._replay(**details)
        raise NotImplementedError(do)

    async def _log(self, key: str, count: int, size: int, pairs: int) -> None:
        chunks = chunks_of(count, size)
        for at in range(0, count, pairs):
            words = [word for chunk in chunks[at : at + pairs] for word in ("c", chunk)]
            await self._exchange("XADD", key, "*", *words)

    async def _replay(self, key: str, page: int) -> dict[str, float]:
        """Fetch all chunks, as bytes, so many entries at a time."""
        chunks: list[bytes] = []
        start, first = b"-", 0.0
        started = time.perf_counter()
        while True:
            entries = await self._exchange("XRANGE", key, start, "+", "COUNT", page)
            for _, words in entries:
                chunks += words[1::2]
            first = first or time.perf_counter()
            if len(entries) < page:
                return {"chunks": len(chunks), "first": first - started, "all": time.perf_counter() - started}
            start = b"(" + entries[-1][0]


if __name__ == "__main__":
    main(BarePairs)

"""Bare redis-py again, with one script for each chunk that logs it and publishes it: what an append costs at least."""

from __future__ import annotations

from .bare_redis_py import BareRedisPy
from .serve import main

SCRIPT = """
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('PEXPIRE', KEYS[1], 3600000)
redis.call('PUBLISH', KEYS[2], ARGV[1])
return 1
"""


class BareAppend(BareRedisPy):
    """Appends instead of publishing only."""

    async def open(self, url: str) -> None:
        await super().open(url)
        self._digest = await self._exchange("SCRIPT", "LOAD", SCRIPT)

    async def _send(self, stream_id: str, chunk: str) -> None:
        await self._exchange("EVALSHA", self._digest, 2, f"{{{stream_id}}}:log", stream_id, chunk)


if __name__ == "__main__":
    main(BareAppend)

"""Looks at all keys, all the time."""

from __future__ import annotations

from contextlib import suppress

import anyio
from redis.asyncio import Redis
from redis.exceptions import RedisError

from .tally import Tally

_INTERVAL = 0.02

# One script, so that a key cannot come or go between the question what there is and the question when it expires.
_SCRIPT = """
local immortal = {}
for _, key in ipairs(redis.call('KEYS', '*')) do
  if redis.call('PTTL', key) == -1 then immortal[#immortal + 1] = key end
end
return immortal
"""


class Watcher:
    """Counts keys without an expiry, every 20 ms, and at once when it is prompted."""

    def __init__(self, url: str, tally: Tally) -> None:
        self._url = url
        self._tally = tally
        self._prompted = anyio.Event()

    def prompt(self) -> None:
        """Have it look now."""
        self._prompted.set()

    async def run(self) -> None:
        """Look until cancelled. A server that is away is asked again."""
        client = Redis.from_url(self._url, socket_timeout=5, protocol=2)
        try:
            while True:
                with suppress(RedisError, OSError):
                    await self._look(client)
                self._prompted = anyio.Event()
                with anyio.move_on_after(_INTERVAL):
                    await self._prompted.wait()
        finally:
            with anyio.CancelScope(shield=True):  # or closing would be cancelled, too
                await client.aclose()

    async def _look(self, client: Redis) -> None:
        immortal = await client.eval(_SCRIPT, 0)
        self._tally.samples += 1
        if immortal:
            self._tally.without_expiry += len(immortal)
            self._tally.notes.append(f"without an expiry: {immortal}")

"""Which feed readers of one id get, when the stream was deleted and made anew."""

from __future__ import annotations

import anyio

from resumable_stream import Limits, StreamGoneError, StreamInfo, StreamState
from resumable_stream._engine.hub import Hub
from resumable_stream.backends.memory import MemoryBackend
from resumable_stream.types import Claim


def described(generation: str, created_at: float) -> StreamInfo:
    """A running stream, as the store described it."""
    return StreamInfo("s", generation, 1, StreamState.RUNNING, 0, created_at, None, is_readable=True)


async def test_newer_stream_wins() -> None:
    """Whichever reply comes first, readers of the older stream learn that it is gone, and the newer one goes on."""
    for first, second in (("old", "new"), ("new", "old")):
        backend = MemoryBackend()
        await backend.acquire("s", Claim("new", 60, 60, 60))
        async with anyio.create_task_group() as tasks:
            hub = Hub(backend, Limits(), tasks, check_interval=60, outage_timeout=1, on_lost=lambda *_: False)
            times = {"old": 1.0, "new": 2.0}
            tasks.start_soon(hub.read_logs)
            feeds = {name: hub.follow(described(name, times[name])) for name in (first, second)}
            await anyio.wait_all_tasks_blocked()
            assert isinstance(feeds["old"].error, StreamGoneError)
            assert not feeds["new"].is_over
            assert hub.follow(described("new", 2.0)) is feeds["new"]
            tasks.cancel_scope.cancel()

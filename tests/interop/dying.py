"""A process that offers a stream, for tests to kill. Its arguments are those of `offering_process`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from resumable_stream import ResumableStreamContext
from resumable_stream.backends.memory import MemoryBackend
from resumable_stream.backends.redis import RedisBackend
from resumable_stream.interop.npm import NpmStreams
from tests.streams import Tap

_ROOT = Path(__file__).parents[2]


@asynccontextmanager
async def offering_process(
    url: str, prefix: str, lease: float, key_prefix: str = ""
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start the process, which offers stream s with some text in it; end it in the end.

    With ``key_prefix`` the stream is logged on that server, else in memory.
    """
    command = [sys.executable, "-m", "tests.interop.dying", url, prefix, str(lease), key_prefix]
    process = await asyncio.create_subprocess_exec(*command, cwd=_ROOT, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        with anyio.fail_after(30):
            assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _main(url: str, prefix: str, lease: str, key_prefix: str) -> None:
    backend = RedisBackend(url, key_prefix=key_prefix) if key_prefix else MemoryBackend()
    async with (
        NpmStreams(url, key_prefix=prefix, lease=float(lease)) as npm,
        ResumableStreamContext(backend, lease=float(lease), companion=npm.offer) as context,
    ):
        stream = await context.resumable_stream("s", Tap("some text"))
        assert stream is not None
        assert await anext(stream) == "some text"  # so it is logged
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await anyio.sleep(60)


if __name__ == "__main__":
    anyio.run(_main, sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4])

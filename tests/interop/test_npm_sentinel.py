"""The npm package's protocol on the master of a set that Sentinels watch."""

from __future__ import annotations

import asyncio
import uuid

import anyio

from resumable_stream import ResumableStreamContext
from resumable_stream.interop.npm import NpmStreams
from tests.conftest import SET_SERVER, GetSentinels
from tests.interop.conftest import rest
from tests.streams import Tap


async def test_a_failover(sentinels_of: GetSentinels) -> None:
    """Both sides find the master, and after a failover the new one: what is offered then is followed there."""
    servers, prefix = sentinels_of(SET_SERVER), uuid.uuid4().hex
    try:
        async with (
            NpmStreams(servers.url, key_prefix=prefix, lease=1.0) as ours,
            ResumableStreamContext.from_url("memory://", companion=ours.offer) as context,
            NpmStreams(servers.url, key_prefix=prefix, check_interval=0.2) as theirs,
        ):
            tap = Tap("before, ")
            await context.resumable_stream("s", tap)
            stream = await theirs.resume_existing_stream("s")
            assert stream is not None
            assert await anext(stream) == "before, "
            old = servers.master
            old.kill()
            await asyncio.to_thread(servers.wait_for_failover, old)
            tap.let("meanwhile, ")
            with anyio.fail_after(20):
                assert await anext(stream) == "meanwhile, "
            tap.end("after")
            assert await rest(stream) == "after"
    finally:
        await asyncio.to_thread(servers.repair)

"""P8: over HTTP, many answers at once, made resumable or not: what that costs the server."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import httpx

from tests.servers import free_port

from ..findings import Goal, Metric, Work, compare
from ..samples import at_most
from ..stage import Stage
from ..usage import server_cpu

TITLE = "Over HTTP"
LIMIT, QUICK_LIMIT = 180.0, 60.0

_ROOT = Path(__file__).parent.parent.parent
_GAP = 0.02
_KINDS = {
    "resumable": "resumable, on Redis",
    "plain": "the same app without resumability",
    "floor": "the same, each chunk logged by a bare append",
}
_START_TIMEOUT = 20.0
_METRICS = [Metric("CPU of the server", "s"), Metric("CPU of Redis", "s"), Metric("time", "s")]


async def measure(stage: Stage, work: Work) -> None:
    """Fill the table."""
    requests, seconds = stage.pick(500, 100), stage.pick(5, 3)
    count = round(seconds / _GAP)
    loop = "uvloop" if stage.use_uvloop else "asyncio"
    title = f"{requests} answers at once, {count} chunks each, {1 / _GAP:.0f} a second; uvicorn on {loop}, with h11"
    table = work.table("http", title, _METRICS)
    async with _serving(stage) as port:
        for kind in _KINDS:
            await _load(port, kind, 20, 20)
        for _ in range(stage.times(stage.pick(4, 2))):
            for kind, name in _KINDS.items():
                before, redis_before = await _usage(port), server_cpu(stage)
                found = await _load(port, kind, requests, count)
                taken = await _usage(port) - before
                if found["whole"] == requests:
                    redis = server_cpu(stage) - redis_before
                    row = {"CPU of the server": taken, "CPU of Redis": redis, "time": found["seconds"]}
                    table.add(name, row)
                else:
                    table.fail(name, f"{found['whole']} of {requests} answers were whole; {found['failures']}")
                stage.flush()


def goals(stage: Stage, work: Work) -> list[Goal]:
    """Return what is to be so."""
    del stage
    table = work.tables["http"]
    ours, plain, floor = _KINDS.values()
    return [
        compare(f"{what}, to that without resumability", table, "CPU of the server", name, plain, limit)
        for what, name, limit in (("CPU of the server", ours, at_most(1.5)), ("the same of the floor", floor, None))
    ]


@asynccontextmanager
async def _serving(stage: Stage) -> AsyncIterator[int]:
    port = free_port()
    loop = "uvloop" if stage.use_uvloop else "asyncio"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "benchmarks.http_app:app", "--port", str(port)),
        *("--loop", loop, "--http", "h11", "--log-level", "warning", "--no-access-log"),
        cwd=_ROOT,
        env={**os.environ, "REDIS_URL": stage.url},
    )
    try:
        with anyio.fail_after(_START_TIMEOUT):
            while True:
                with suppress(httpx.TransportError):
                    await _usage(port)
                    break
                await anyio.sleep(0.05)
        yield port
    finally:
        await _end(process)


async def _load(port: int, kind: str, requests: int, count: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.http_load", kind, str(port), str(requests), str(count), str(_GAP)]
    process = await asyncio.create_subprocess_exec(*command, cwd=_ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        output, _ = await process.communicate()
    finally:
        await _end(process)
    if not output:
        return {"whole": 0, "failures": ["no end within the limit"], "seconds": time.perf_counter()}
    found: dict[str, Any] = json.loads(output)
    return found


async def _usage(port: int) -> float:
    async with httpx.AsyncClient() as client:
        return float((await client.get(f"http://127.0.0.1:{port}/usage")).text)


async def _end(process: asyncio.subprocess.Process) -> None:
    with anyio.CancelScope(shield=True):
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
        await process.wait()

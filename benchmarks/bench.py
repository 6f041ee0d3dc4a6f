"""Measure what the library costs, on a Redis server started for that.

Run it from the root of the repository: ``python -m benchmarks.bench [--quick] [--uvloop]``. What else the machine does
shows in the figures: compare those of one run with each other, and look at the spread before believing a difference.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
import statistics
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import anyio
from redis import Redis

from tests.servers import Server, binaries, running

from .figures import (
    Figure,
    Plan,
    measure_following,
    measure_import,
    measure_latency,
    measure_publishing,
    measure_replay,
)

_TIMEOUT = 300.0
_NAME_WIDTH = 52
_SERVERS = ("redis-server", "valkey-9", "redis-6.2")
_MEASUREMENTS = (measure_publishing, measure_following, measure_latency, measure_replay, measure_import)


def main() -> None:
    options = _parse_options()
    found = binaries()
    with running(next(found[name] for name in _SERVERS if name in found)) as server:
        plan = Plan(server.port, options.uvloop)
        if options.quick:
            plan = replace(plan, published=20_000, replayed=10_000, stamped=100, repeats=3, latency_repeats=1)
        _print_conditions(server, plan)
        anyio.run(_measure, plan, backend_options={"use_uvloop": plan.use_uvloop})


async def _measure(plan: Plan) -> None:
    this = asyncio.current_task()
    assert this is not None, "a coroutine runs in one"
    # So that the other processes are ended when this is ended, by a time limit for instance.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    print(f"\n{'':{_NAME_WIDTH}}{'median':>9}   {'min .. max':<19}unit")
    with anyio.fail_after(_TIMEOUT):
        for measure in _MEASUREMENTS:
            for figure in await measure(plan):
                print(_row(figure), flush=True)


def _row(figure: Figure) -> str:
    median, low, high = (_short(of(figure.samples)) for of in (statistics.median, min, max))
    return f"{figure.name:{_NAME_WIDTH}}{median:>9}   {f'{low} .. {high}':<19}{figure.unit}"


def _short(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def _print_conditions(server: Server, plan: Plan) -> None:
    with Redis(port=server.port) as client:
        about = client.info("server")
    name = "Valkey" if "valkey_version" in about else "Redis"
    loop = f"uvloop {version('uvloop')}" if plan.use_uvloop else "asyncio"
    print(f"date      {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}, load {os.getloadavg()[0]:.1f} at the start")
    print(f"machine   {_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}")
    print(f"python    {platform.python_version()}, {loop}, redis-py {version('redis')}, hiredis {version('hiredis')}")
    print(f"server    {name} {about.get('valkey_version', about['redis_version'])}")
    counts = f"{plan.published:,} published, {plan.replayed:,} replayed, {plan.stamped:,} for latency"
    print(f"chunks    {counts}, of 20 bytes")
    print(f"samples   {plan.repeats} of each figure, {plan.latency_repeats} for latency")


def _processor() -> str:
    description = Path("/proc/cpuinfo")
    if description.exists():
        for line in description.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few seconds instead of a minute, and less exact")
    parser.add_argument("--uvloop", action="store_true", help="on uvloop, in both processes")
    return parser.parse_args()


if __name__ == "__main__":
    main()

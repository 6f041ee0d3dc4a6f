"""Measure sharing a Redis with Node services that use the npm package, on a server started for that.

Run it from the root of the repository: ``python -m benchmarks.interop [--quick]``; it needs Node and npm. Each figure
is sampled in turn with the others, so what else the machine does meets all of them.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import secrets
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version

import anyio
from redis.asyncio import Redis

from resumable_stream import ResumableStreamContext
from resumable_stream.interop.npm import NpmStreams
from tests.e2e.npm_peer import NODE, Peer, peer
from tests.servers import binaries, running

_CHUNK_BYTES = 20
_NAME_WIDTH = 66
_SERVERS = ("redis-server", "valkey-9", "redis-6.2")


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    url: str
    followed: int = 50_000
    """Chunks of one sample with a follower."""
    published: int = 200_000
    """Chunks of one sample without."""
    repeats: int = 7


Sampler = Callable[[], Awaitable[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="less exact")
    options = parser.parse_args()
    found = binaries()
    with running(next(found[name] for name in _SERVERS if name in found)) as server:
        plan = Plan(server.url, 5_000, 20_000, 3) if options.quick else Plan(server.url)
        anyio.run(_measure, plan)


async def _measure(plan: Plan) -> None:
    await _print_conditions(plan)
    prefix = "bench"
    async with (
        peer("node-redis", plan.url, prefix) as redis_publisher,
        peer("node-redis", plan.url, prefix) as redis_follower,
        peer("ioredis", plan.url, prefix) as io_publisher,
        peer("ioredis", plan.url, prefix) as io_follower,
        NpmStreams(plan.url, key_prefix=prefix) as npm,
        ResumableStreamContext.from_url(plan.url, companion=npm.offer) as context,
    ):
        print(f"\n{'':{_NAME_WIDTH}}{'median':>9}   {'min .. max':<19}unit")
        samplers: dict[str, Sampler] = {
            "npm to npm, node-redis": lambda: _node_to_node(plan, redis_publisher, redis_follower),
            "npm to npm, ioredis": lambda: _node_to_node(plan, io_publisher, io_follower),
            "npm (node-redis) to Python": lambda: _node_to_python(plan, redis_publisher, npm),
            "npm (ioredis) to Python": lambda: _node_to_python(plan, io_publisher, npm),
            "Python to npm (node-redis)": lambda: _python_to_node(plan, context, redis_follower),
            "Python to npm (ioredis)": lambda: _python_to_node(plan, context, io_follower),
        }
        for name, samples in (await _alternate(plan.repeats, samplers)).items():
            _print_row(f"one follower, as fast as possible: {name}", samples, "chunks/s")
    async with (
        ResumableStreamContext.from_url(plan.url) as plain,
        NpmStreams(plan.url, key_prefix=prefix) as npm,
        ResumableStreamContext.from_url(plan.url, companion=npm.offer) as offering,
    ):
        samplers = {
            "not offered": lambda: _publish(plan, plain),
            "offered, and nobody listens": lambda: _publish(plan, offering),
        }
        for name, samples in (await _alternate(plan.repeats, samplers)).items():
            _print_row(f"CPU of publishing {plan.published:,} chunks: {name}", samples, "s")
    async with (
        NpmStreams(plan.url, key_prefix=prefix) as npm,
        ResumableStreamContext.from_url("memory://", companion=npm.offer) as offering,
    ):
        samplers = {"offered": lambda: _commands(plan, offering)}
        for samples in (await _alternate(plan.repeats, samplers)).values():
            _print_row(f"commands of an offer, for {plan.published:,} chunks", samples, "commands")


async def _alternate(repeats: int, samplers: dict[str, Sampler]) -> dict[str, list[float]]:
    """Take a sample of each in turn, after one that does not count."""
    samples: dict[str, list[float]] = {name: [] for name in samplers}
    for turn in range(repeats + 1):
        for name, sampler in samplers.items():
            gc.collect()
            sample = await sampler()
            if turn:
                samples[name].append(sample)
    return samples


async def _node_to_node(plan: Plan, publisher: Peer, follower: Peer) -> float:
    name = secrets.token_hex(8)
    await publisher.call("publish", id=name)
    told = await follower.follow(name, quietly=True)
    started = time.perf_counter()
    await publisher.call("pushMany", id=name, count=plan.followed, width=_CHUNK_BYTES)
    await publisher.call("end", id=name)
    await told.to_the_end()
    return _rate(plan, started, told.length)


async def _node_to_python(plan: Plan, publisher: Peer, npm: NpmStreams) -> float:
    name = secrets.token_hex(8)
    await publisher.call("publish", id=name)
    stream = await npm.resume_existing_stream(name)
    assert stream is not None, "it runs"
    started = time.perf_counter()
    await publisher.call("pushMany", id=name, count=plan.followed, width=_CHUNK_BYTES)
    await publisher.call("end", id=name)
    length = 0
    async for text in stream:
        length += len(text)
    return _rate(plan, started, length)


async def _python_to_node(plan: Plan, context: ResumableStreamContext, follower: Peer) -> float:
    name, may_start = secrets.token_hex(8), anyio.Event()
    await context.create_new_resumable_stream(name, lambda: _chunks(plan.followed, may_start))
    told = await follower.follow(name, quietly=True)
    started = time.perf_counter()
    may_start.set()
    await told.to_the_end()
    return _rate(plan, started, told.length)


async def _publish(plan: Plan, context: ResumableStreamContext) -> float:
    started = time.process_time()
    stream = await context.create_new_resumable_stream(secrets.token_hex(8), lambda: _chunks(plan.published))
    async for _ in stream:
        pass
    return time.process_time() - started


async def _commands(plan: Plan, context: ResumableStreamContext) -> float:
    """Publish a stream whose log is elsewhere, wait until nothing is said of it any more, and count what was sent."""
    name = secrets.token_hex(8)
    async with Redis.from_url(plan.url, protocol=2) as client:
        await client.config_resetstat()
        async for _ in await context.create_new_resumable_stream(name, lambda: _chunks(plan.published)):
            pass
        await anyio.sleep(0.2)  # for what nobody waits for
        sent = await client.info("commandstats")
    ours = ("cmdstat_evalsha", "cmdstat_subscribe", "cmdstat_unsubscribe")
    return float(sum(sent[name]["calls"] for name in ours if name in sent))


async def _chunks(count: int, may_start: anyio.Event | None = None) -> AsyncIterator[str]:
    if may_start is not None:
        await may_start.wait()
    for index in range(count):
        yield f"{index:0{_CHUNK_BYTES}}"


def _rate(plan: Plan, started: float, length: int) -> float:
    seconds = time.perf_counter() - started
    if length != plan.followed * _CHUNK_BYTES:
        raise RuntimeError(f"the follower got {length} characters")
    return plan.followed / seconds


async def _print_conditions(plan: Plan) -> None:
    async with Redis.from_url(plan.url, protocol=2) as client:
        about = await client.info("server")
    packages = json.loads((NODE / "package.json").read_text(encoding="utf-8"))["dependencies"]
    node = (await anyio.run_process(["node", "--version"])).stdout.decode().strip()
    print(f"date      {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}, load {os.getloadavg()[0]:.1f} at the start")
    print(f"python    {platform.python_version()}, redis-py {version('redis')}, hiredis {version('hiredis')}")
    print(f"node      {node}, {', '.join(f'{name} {number}' for name, number in packages.items())}")
    print(f"server    {about.get('valkey_version', about['redis_version'])}")
    counts = f"{plan.followed:,} chunks with a follower, {plan.published:,} without"
    print(f"samples   {plan.repeats} of each; {counts}, of {_CHUNK_BYTES} bytes")


def _print_row(name: str, samples: list[float], unit: str) -> None:
    median, low, high = (_short(of(samples)) for of in (statistics.median, min, max))
    print(f"{name:{_NAME_WIDTH}}{median:>9}   {f'{low} .. {high}':<19}{unit}", flush=True)


def _short(value: float) -> str:
    return f"{value:.3f}" if value < 10 else f"{value:,.0f}"


if __name__ == "__main__":
    main()

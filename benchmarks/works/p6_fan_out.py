"""P6: many followers of one stream in one process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from ..contestants.sources import Spec, expected_digest
from ..field import ASSISTANT, FLOOR_OF_MANY, IOREDIS, NODE_REDIS, NPM_PEERS, OURS, PEERS, PYPI, Contestant, present
from ..findings import Goal, Metric, Work, compare_with_each, compare_with_number
from ..samples import at_least, at_most, ratio
from ..stage import Pair, Stage, check, new_name, take_turns

TITLE = "Many followers of one stream in one process"
LIMIT, QUICK_LIMIT = 210.0, 60.0

_FOLLOWERS = 100
_COUNTS = {OURS.name: 20_000, NODE_REDIS.name: 2_000, IOREDIS.name: 2_000, PYPI.name: 400, ASSISTANT.name: 1_000}
"""Chunks of a sample, so that each takes about as long."""
_GAP = 0.02
_BURST = 100
_GROWTH = {100: (0.02, 100), 1_000: (0.1, 40), 10_000: (1.0, 5)}
"""How many followers; and seconds between bursts that all of them can follow, and how many bursts."""


async def measure(stage: Stage, work: Work) -> None:
    """Fill the tables."""
    contestants = stage.dressed(present(OURS, *PEERS))
    fast = work.table("fast", f"{_FOLLOWERS} followers, as fast as possible", [Metric("rate", "deliveries/s")])
    share = stage.pick(1, 4)

    async def sample_fast(pair: Pair, is_rehearsal: bool) -> dict[str, float]:
        spec = Spec(_count_of(pair.contestant) // share // (4 if is_rehearsal else 1), gated=True)
        begun, found = await _follow(pair, spec, _FOLLOWERS)
        return {"rate": spec.count * _FOLLOWERS / (found["ended"] - begun)}

    await take_turns(stage, fast, contestants, sample_fast, repeats=stage.pick(5, 2), limit=30)

    chunks = stage.pick(200, 75)
    paced = work.table(
        "paced",
        f"{_FOLLOWERS} followers, {1 / _GAP:.0f} chunks/s, {chunks} chunks",
        [Metric("p50", "ms"), Metric("p99", "ms")],
    )

    async def sample_paced(pair: Pair, is_rehearsal: bool) -> dict[str, float]:
        spec = Spec(25 if is_rehearsal else chunks, gap=_GAP, stamped=True, gated=True)
        _, found = await _follow(pair, spec, _FOLLOWERS)
        return {"p50": found["ages"]["50"], "p99": found["ages"]["99"]}

    floor = stage.dressed([FLOOR_OF_MANY])
    await take_turns(stage, paced, [*contestants, *floor], sample_paced, repeats=stage.pick(3, 2), limit=30)
    for followers in _GROWTH:
        if followers <= stage.pick(10_000, 1_000):
            await _measure_growth(stage, work, followers)


async def _measure_growth(stage: Stage, work: Work, followers: int) -> None:
    gap, bursts = _GROWTH[followers]
    metrics = [Metric("CPU per follower and chunk", "µs"), Metric("memory per follower", "KiB")]
    title = f"{followers:,} followers, bursts of {_BURST} chunks"
    table = work.table(f"growth {followers}", title, metrics)

    async def sample(pair: Pair, _is_rehearsal: bool) -> dict[str, float]:
        spec = Spec(bursts * _BURST, gap=gap, burst=_BURST, gated=True)
        usage: list[dict[str, float]] = [await pair.follower.call("usage")]

        async def note_usage() -> None:
            usage.append(await pair.follower.call("usage"))

        await _follow(pair, spec, followers, before_go=note_usage)
        idle, joined, done = *usage, await pair.follower.call("usage")
        return {
            "CPU per follower and chunk": (done["cpu"] - joined["cpu"]) / followers / spec.count * 1e6,
            "memory per follower": (joined["resident"] - idle["resident"]) / followers / 1024,
        }

    await take_turns(stage, table, stage.dressed([OURS]), sample, repeats=3, limit=45, rehearse=False)


async def _follow(
    pair: Pair, spec: Spec, followers: int, before_go: Callable[[], Awaitable[None]] | None = None
) -> tuple[float, dict[str, Any]]:
    """Publish one stream, and follow it many times; return when it began, and what the followers have got."""
    stream = new_name()
    source = {**asdict(spec), "tag": stream}
    published = pair.publisher.order("publish", streams=[stream], source=source)
    await published.said("joined")
    followed = pair.follower.order("follow", streams=[stream] * followers, stamped=spec.stamped, warm_up=2)
    begun = await pair.go(published, followed, stream, before_go)
    found, made = await followed.result(), await published.result()
    check(found, made["texts"] * followers)
    if not spec.stamped:
        check(made, [expected_digest(spec)])
    return begun, found


def goals(stage: Stage, work: Work) -> list[Goal]:
    """Return what is to be so."""
    ours, floor = stage.names(OURS, FLOOR_OF_MANY)
    npm = stage.names(*NPM_PEERS)
    found = compare_with_each("deliveries/s, to {}", work.tables["fast"], "rate", ours, npm, at_least(15))
    if table := work.tables.get("paced"):
        found += compare_with_each("p99 at 50 chunks/s, to {}", table, "p99", ours, npm, at_most(0.5))
        found += compare_with_each("the same of the floor, to {}", table, "p99", floor, npm, None)
    costs = {n: _costs(work, ours, n) for n in _GROWTH}
    for n in (1_000, 10_000):
        if costs[n] and costs[100]:
            grown = ratio(costs[n], costs[100])
            text = f"CPU per follower and chunk at {n:,} followers, to that at 100"
            found.append(compare_with_number(text, list(grown), at_most(1.2)))
    return found


def _costs(work: Work, ours: str, followers: int) -> list[float]:
    table = work.tables.get(f"growth {followers}")
    return table.samples(ours, "CPU per follower and chunk") if table else []


def _count_of(contestant: Contestant) -> int:
    return _COUNTS[contestant.name.removesuffix(", uvloop")]

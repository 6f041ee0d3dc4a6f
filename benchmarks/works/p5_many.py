"""P5: a thousand live streams in one process, each followed in another: what they cost, and how late they are."""

from __future__ import annotations

from typing import Any

import anyio

from ..driver import DriverError
from ..field import (
    FLOOR_OF_MANY,
    NODE_SOURCE,
    NPM_PEERS,
    OURS,
    OURS_AT_ONCE,
    OURS_LINGERING,
    PEERS,
    SOURCE,
    present,
)
from ..findings import Goal, Metric, Work, compare_with_each, compare_with_number
from ..samples import at_most
from ..stage import Pair, Stage, new_name, take_turns
from ..usage import connections_of, server_cpu

TITLE = "Many live streams"
LIMIT, QUICK_LIMIT = 400.0, 90.0

_GAP = 0.05
_WARM_UP = 2
_PATIENCE = 5.0
"""Seconds until sources begin, although not all followers have heard."""

_METRICS = [
    Metric("p50", "ms"),
    Metric("p99", "ms"),
    Metric("CPU, all", "s"),
    Metric("CPU of publisher", "s"),
    Metric("of follower", "s"),
    Metric("of Redis", "s"),
    Metric("connections of publisher", ""),
    Metric("of follower ", ""),
]


async def measure(stage: Stage, work: Work) -> None:
    """Fill the tables."""
    streams, seconds = stage.pick(1000, 200), stage.pick(6, 2)
    ours = [OURS, OURS.on_uvloop(), OURS_AT_ONCE, OURS_LINGERING]
    floor = [FLOOR_OF_MANY, FLOOR_OF_MANY.on_uvloop()]
    what = f"{streams:,} streams of {1 / _GAP:.0f} chunks/s, for {seconds} s"
    table = work.table("many", f"{what}, all stamps", _METRICS)
    sample = _Sampler(stage, streams, round(seconds / _GAP))
    repeats = stage.pick(3, 1)
    await take_turns(
        stage,
        table,
        present(*ours, *PEERS, *floor),
        sample.followed,
        repeats=repeats,
        limit=45,
        rehearse=False,
        strikes_allowed=0,
    )
    alone = work.table("sources", f"{what}: the sources by themselves", [Metric("CPU of publisher", "s")])
    sources = present(SOURCE, SOURCE.on_uvloop(), NODE_SOURCE)
    await take_turns(stage, alone, sources, sample.alone, repeats=repeats, limit=30, rehearse=False)


class _Sampler:
    def __init__(self, stage: Stage, streams: int, chunks: int) -> None:
        self._stage = stage
        self._streams = streams
        self._source = {"count": chunks, "gap": _GAP, "stamped": True}
        self._limit = chunks * _GAP + 5

    async def alone(self, pair: Pair, _is_rehearsal: bool) -> dict[str, float]:
        """Read the sources, and nothing else."""
        names, _ = self._names()
        before = await pair.publisher.call("usage")
        await pair.publisher.call("publish", streams=names, source=self._source, limit=self._limit)
        after = await pair.publisher.call("usage")
        return {"CPU of publisher": after["cpu"] - before["cpu"]}

    async def followed(self, pair: Pair, _is_rehearsal: bool) -> dict[str, float]:
        """Publish all, follow all."""
        names, tag = self._names()
        source = {**self._source, "gated": True, "tag": tag}
        published = pair.publisher.order(
            "publish", streams=names, source=source, warm_up=_WARM_UP, limit=self._limit + _PATIENCE
        )
        await published.said("joined")
        followed = pair.follower.order(
            "follow", streams=names, stamped=True, warm_up=_WARM_UP, limit=self._limit + _PATIENCE
        )
        await followed.said("joined")
        await pair.open("joined", tag)
        with anyio.move_on_after(_PATIENCE):
            await followed.said("first")
        before = await self._usage(pair)
        await pair.open("go", tag)
        found, made = await followed.result(), await published.result()
        after = await self._usage(pair)
        self._check(found, made)
        cpu = {name: after[name] - before[name] for name in ("CPU of publisher", "of follower", "of Redis")}
        ages = {"p50": found["ages"]["50"], "p99": found["ages"]["99"]}
        sockets = {name: before[name] for name in ("connections of publisher", "of follower ")}
        return {**ages, "CPU, all": sum(cpu.values()), **cpu, **sockets}

    def _names(self) -> tuple[list[str], str]:
        tag = new_name()
        return [f"{tag}-{number}" for number in range(self._streams)], tag

    def _check(self, found: dict[str, Any], made: dict[str, Any]) -> None:
        """See whether every follower has what the first caller of its stream has.

        Raises:
            DriverError: Some have not. It says how many, and why.
        """
        whole = 20 * (self._source["count"] + 1)
        exact = sum(
            one is not None and one == other and length == whole
            for one, other, length in zip(found["texts"], made["texts"], found["lengths"], strict=True)
        )
        if exact < self._streams:
            seen = dict(list({**found["failures"], **made["failures"]}.items())[:2])
            raise DriverError(f"only {exact} of {self._streams} followers got all; {seen}")

    async def _usage(self, pair: Pair) -> dict[str, float]:
        port = self._stage.port
        publisher, follower = await pair.publisher.call("usage"), await pair.follower.call("usage")
        return {
            "CPU of publisher": publisher["cpu"],
            "of follower": follower["cpu"],
            "of Redis": server_cpu(self._stage),
            "connections of publisher": connections_of(pair.publisher.pid, port),
            "of follower ": connections_of(pair.follower.pid, port),
        }


def goals(stage: Stage, work: Work) -> list[Goal]:
    """Return what is to be so."""
    del stage  # both loops are measured in any case
    table = work.tables["many"]
    npm = [one.name for one in NPM_PEERS]
    found: list[Goal] = []
    for ours, floor, limit in ((OURS, FLOOR_OF_MANY, 1.3), (OURS.on_uvloop(), FLOOR_OF_MANY.on_uvloop(), 1.0)):
        name = ours.name
        loop = "uvloop" if ours.use_uvloop else "asyncio"
        found += compare_with_each(f"p99 on {loop}, to that of {{}}", table, "p99", name, npm, at_most(1 / 3))
        found += compare_with_each(f"CPU of all on {loop}, to {{}}", table, "CPU, all", name, npm, at_most(limit))
        for metric in ("connections of publisher", "of follower "):
            what = "publisher" if "publisher" in metric else "follower"
            samples = table.samples(name, metric)
            found.append(compare_with_number(f"connections of the {what} on {loop}", samples, at_most(4)))
        found += compare_with_each(f"p99 of the floor on {loop}, to that of {{}}", table, "p99", floor.name, npm, None)
        found += compare_with_each(f"CPU of the floor on {loop}, to {{}}", table, "CPU, all", floor.name, npm, None)
    return found

"""P4: joining late. How soon a reader has the first chunk of a long stream, and all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from resumable_stream.backends.redis.keys import Keys

from ..contestants.sources import Spec, expected_digest
from ..field import ASSISTANT, BARE, BARE_PAIRS, NODE_REDIS, NPM_PEERS, OURS, PEERS, Contestant, present
from ..findings import Goal, Metric, Table, Work, compare, compare_with_each
from ..samples import at_most
from ..stage import Pair, Stage, check, new_name, take_turns

TITLE = "Joining late"
LIMIT, QUICK_LIMIT = 240.0, 60.0

_SIZE = 20
_METRICS = [Metric(name, "ms") for name in ("first", "all", "first, in blocks", "all, in blocks")]
_BARE_PAGES = {"alive": 16, "gone": 16, "single": 1000}
"""Entries that a bare reader of our log asks for at a time, so that a page is about as large as one of ours."""
_PAIRS = {"alive": 64, "gone": 64, "single": 1}
"""Chunks of an entry in a log of which they can be taken as they are."""
_PAIRS_PAGES = {"alive": 200, "gone": 200, "single": 1000}
"""The same of that log."""


async def measure(stage: Stage, work: Work) -> None:
    """Fill the tables."""
    count = stage.pick(100_000, 10_000)
    size = f"{count:,} chunks of {_SIZE} bytes"
    contestants = stage.dressed(present(OURS, *PEERS, BARE, BARE_PAIRS))
    for key, title in (("alive", "publisher alive"), ("gone", "the stream done and its publisher gone")):
        table = work.table(key, f"{size}, logged as fast as they came, {title}", _METRICS)
        await _Joining(stage, table, key, count).measure(contestants)
    single = stage.pick(100_000, 5_000)
    table = work.table("single", f"{single:,} chunks, each logged by itself, as after a slow source", _METRICS)
    await _Joining(stage, table, "single", single).measure(stage.dressed([OURS, BARE, BARE_PAIRS]))


class _Joining:
    """One table. Streams are made once, and joined again and again."""

    def __init__(self, stage: Stage, table: Table, kind: str, count: int) -> None:
        self._stage = stage
        self._table = table
        self._kind = kind
        self._count = count
        self._streams: dict[str, str] = {}
        self._ours = stage.names(OURS)[0]
        self._expected = expected_digest(Spec(count))

    async def measure(self, contestants: Sequence[Contestant]) -> None:
        stage = self._stage
        await take_turns(
            stage, self._table, contestants, self._sample, prepare=self._prepare, repeats=stage.pick(5, 3), limit=80,
            keep=True,
        )  # fmt: skip

    async def _prepare(self, pair: Pair) -> None:
        """Make a stream of a contestant's own, and see that all of it is there."""
        if pair.contestant.module == BARE.module:
            return
        stream = self._streams[pair.contestant.name] = new_name()
        if pair.contestant.module == BARE_PAIRS.module:
            await pair.publisher.call("log", key=stream, count=self._count, size=_SIZE, pairs=_PAIRS[self._kind])
            return
        if self._kind == "single":
            await pair.publisher.call("log_one_by_one", stream=stream, count=self._count)
            return
        source = {"count": self._count, "tag": stream, "held": self._kind == "alive"}
        published = pair.publisher.order("publish", streams=[stream], source=source)
        await published.said("joined")
        if self._kind == "gone":
            await published.result()
            pair.publisher.kill()
        else:
            await self._join(pair, in_blocks=False)

    async def _sample(self, pair: Pair, _is_rehearsal: bool) -> dict[str, float]:
        if pair.contestant.module == BARE.module:
            return await self._read_bare(pair)
        if pair.contestant.module == BARE_PAIRS.module:
            return await self._replay_pairs(pair)
        found = await self._join(pair, in_blocks=False)
        taken = {"first": found["first"] * 1e3, "all": found["all"] * 1e3}
        if pair.contestant.module == OURS.module:
            found = await self._join(pair, in_blocks=True)
            taken |= {"first, in blocks": found["first"] * 1e3, "all, in blocks": found["all"] * 1e3}
        return taken

    async def _join(self, pair: Pair, *, in_blocks: bool) -> dict[str, Any]:
        found: dict[str, Any] = await pair.follower.call(
            "follow", streams=[self._streams[pair.contestant.name]], in_blocks=in_blocks, enough=self._count * _SIZE
        )
        check(found, [self._expected])
        return found

    async def _read_bare(self, pair: Pair) -> dict[str, float]:
        """Read the log of our stream."""
        _, key, _ = Keys("resumable-stream").of(self._streams[self._ours])
        found = await pair.follower.call("read_log", key=key, page=_BARE_PAGES[self._kind])
        return {"first": found["first"] * 1e3, "all": found["all"] * 1e3}

    async def _replay_pairs(self, pair: Pair) -> dict[str, float]:
        key = self._streams[pair.contestant.name]
        found = await pair.follower.call("replay", key=key, page=_PAIRS_PAGES[self._kind])
        assert found["chunks"] == self._count, found
        return {"first": found["first"] * 1e3, "all": found["all"] * 1e3}


def goals(stage: Stage, work: Work) -> list[Goal]:
    """Return what is to be so."""
    ours, bare, pairs, assistant, node_redis = stage.names(OURS, BARE, BARE_PAIRS, ASSISTANT, NODE_REDIS)
    npm = stage.names(*NPM_PEERS)
    found: list[Goal] = []
    if table := work.tables.get("alive"):
        found += compare_with_each("publisher alive: first chunk, to {}", table, "first", ours, npm, at_most(0.5))
        whole = "publisher alive: all, in blocks, to the single frame of {}"
        found += compare_with_each(whole, table, "all, in blocks", ours, npm, at_most(1.0), other_metric="all")
    if table := work.tables.get("gone"):
        text = "publisher gone: first chunk, to {}"
        found += compare_with_each(text, table, "first", ours, [node_redis, assistant], at_most(0.5))
    for key, what in (("alive", "logged in batches"), ("single", "logged one by one")):
        if table := work.tables.get(key):
            text = f"{what}: all, chunk by chunk, to a bare paged"
            found.append(compare(f"{text} XRANGE that takes chunks out", table, "all", ours, pairs, at_most(2.0)))
            found.append(compare(f"{text} LRANGE of the same, thrown away", table, "all", ours, bare, None))
    return found

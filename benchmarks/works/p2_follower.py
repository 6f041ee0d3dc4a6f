"""P2: a publisher as fast as it can, and a follower in another process, until that has the last chunk."""

from __future__ import annotations

from collections.abc import Sequence

from ..contestants.sources import Spec, expected_digest
from ..field import NPM_PEERS, OURS, PEERS, Contestant, present
from ..findings import Goal, Metric, Table, Work, compare_with_each
from ..samples import at_least
from ..stage import Pair, Stage, check, new_name, take_turns

TITLE = "One follower in another process, as fast as possible"
LIMIT, QUICK_LIMIT = 330.0, 60.0

_METRICS = [Metric("rate", "chunks/s")]


async def measure(stage: Stage, work: Work) -> None:
    """Fill the tables."""
    count = stage.pick(50_000, 20_000)
    short = work.table("short", f"{count:,} chunks of 20 bytes", _METRICS)
    await _take(stage, short, [OURS, *PEERS], count, repeats=stage.pick(5, 2), limit=30)
    if not stage.is_quick:
        long = work.table("long", "1,000,000 chunks of 20 bytes", _METRICS)
        long.notes.append("Peers in Python were not asked: each would take minutes.")
        await _take(stage, long, [OURS], 1_000_000, repeats=3, limit=30)
        await _take(stage, long, NPM_PEERS, 1_000_000, repeats=1, limit=120)


def goals(stage: Stage, work: Work) -> list[Goal]:
    """Return what is to be so."""
    (ours,) = stage.names(OURS)
    found = compare_with_each(
        "rate, to that of {}", work.tables["short"], "rate", ours, stage.names(*PEERS), at_least(35)
    )
    if "long" in work.tables:
        text = "rate, to that of {}, 1,000,000 chunks"
        found += compare_with_each(text, work.tables["long"], "rate", ours, stage.names(*NPM_PEERS), at_least(35))
    return found


async def _take(
    stage: Stage, table: Table, contestants: Sequence[Contestant], count: int, *, repeats: int, limit: float
) -> None:
    async def sample(pair: Pair, is_rehearsal: bool) -> dict[str, float]:
        stream = new_name()
        spec = Spec(count // pair.contestant.slowness // (10 if is_rehearsal else 1), gated=True)
        source = {"count": spec.count, "gated": True, "tag": stream}
        published = pair.publisher.order("publish", streams=[stream], source=source, limit=limit)
        await published.said("joined")
        followed = pair.follower.order("follow", streams=[stream], limit=limit)
        begun = await pair.go(published, followed, stream)
        found = await followed.result()
        check(found, [expected_digest(spec)])
        await published.result()
        return {"rate": spec.count / (found["ended"] - begun)}

    await take_turns(
        stage,
        table,
        stage.dressed(present(*contestants)),
        sample,
        repeats=repeats,
        limit=limit,
        rehearse=repeats > 1,
    )

"""P9: followers who join a running stream, one after the other: has each of them every chunk, once?"""

from __future__ import annotations

from ..contestants.sources import Spec, expected_digest
from ..field import OURS, PEERS, present
from ..findings import Goal, Metric, Work, compare_with_number
from ..samples import at_least
from ..stage import Pair, Stage, new_name, take_turns

TITLE = "Joining a running stream"
LIMIT, QUICK_LIMIT = 180.0, 60.0

_FOLLOWERS = 20
_GAP, _BURST = 0.005, 5
_RATE = _BURST / _GAP


async def measure(stage: Stage, work: Work) -> None:
    """Fill the table."""
    every = 0.1 if stage.is_quick else 0.2
    seconds = _FOLLOWERS * every + 0.5
    spec = Spec(round(seconds * _RATE), gap=_GAP, burst=_BURST)
    title = f"{_FOLLOWERS} followers join, one each {every:g} s, at {_RATE:,.0f} chunks/s; {spec.count:,} chunks"
    table = work.table(
        "exact", title, [Metric("exact", f"of {_FOLLOWERS}"), Metric("too long", ""), Metric("too short", "")]
    )
    expected, length = expected_digest(spec), spec.count * spec.size

    async def sample(pair: Pair, _is_rehearsal: bool) -> dict[str, float]:
        stream = new_name()
        source = {"count": spec.count, "gap": _GAP, "burst": _BURST}
        published = pair.publisher.order("publish", streams=[stream], source=source)
        await published.said("joined")
        streams = [stream] * _FOLLOWERS
        found = await pair.follower.call("follow", streams=streams, every=every, limit=seconds + 6)
        await published.result()
        for failure, number in found["failures"].items():
            table.fail(pair.contestant.name, f"{number} of {_FOLLOWERS}: {failure}")
        return {
            "exact": sum(text == expected for text in found["texts"]),
            "too long": sum(got > length for got in found["lengths"]),
            "too short": sum(got < length for got in found["lengths"]),
        }

    contestants = stage.dressed(present(OURS, *PEERS))
    await take_turns(stage, table, contestants, sample, repeats=stage.pick(3, 1), limit=30, rehearse=False)


def goals(stage: Stage, work: Work) -> list[Goal]:
    """Return what is to be so."""
    table = work.tables["exact"]
    return [
        compare_with_number(f"followers of {_FOLLOWERS} that got all, {name}", table.samples(name, "exact"), bound)
        for name, bound in [
            *((name, at_least(_FOLLOWERS)) for name in stage.names(OURS)),
            *((name, None) for name in stage.names(*PEERS)),
        ]
    ]

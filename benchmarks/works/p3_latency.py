"""P3: one chunk each 5 ms, and how old it is when a follower in another process has it."""

from __future__ import annotations

from ..driver import DriverError
from ..field import BARE, BARE_APPEND, FLOOR, OURS, PEERS, present
from ..findings import Goal, Metric, Work, compare, compare_with_each
from ..samples import at_most
from ..stage import Pair, Stage, check, new_name, take_turns

TITLE = "Latency of a lone chunk"
LIMIT, QUICK_LIMIT = 240.0, 60.0

_GAP = 0.005
_WARM_UP = 20
_METRICS = ["p50", "p99", "first caller p50", "first caller p99"]


async def measure(stage: Stage, work: Work) -> None:
    """Fill the table."""
    count = stage.pick(600, 200)

    async def sample(pair: Pair, is_rehearsal: bool) -> dict[str, float]:
        stream = new_name()
        chunks = 50 if is_rehearsal else count + _WARM_UP
        source = {"count": chunks, "gap": _GAP, "stamped": True, "gated": True, "tag": stream}
        published = pair.publisher.order("publish", streams=[stream], source=source, warm_up=_WARM_UP)
        await published.said("joined")
        followed = pair.follower.order("follow", streams=[stream], stamped=True, warm_up=_WARM_UP)
        await pair.go(published, followed, stream)
        made, found = await published.result(), await followed.result()
        check(found, made["texts"])
        if found["ages"]["count"] != chunks - _WARM_UP:
            raise DriverError(f"{found['ages']['count']} chunks came of {chunks - _WARM_UP}")
        ages, own = found["ages"], made["ages"]
        return dict(zip(_METRICS, (ages["50"], ages["99"], own["50"], own["99"]), strict=True))

    table = work.table(
        "latency", f"{count} chunks of 20 bytes, one each 5 ms", [Metric(name, "ms") for name in _METRICS]
    )
    contestants = stage.dressed(present(OURS, BARE, BARE_APPEND, FLOOR, *PEERS))
    await take_turns(stage, table, contestants, sample, repeats=stage.pick(5, 2), limit=15)


def goals(stage: Stage, work: Work) -> list[Goal]:
    """Return what is to be so."""
    table = work.tables["latency"]
    ours, bare, append = stage.names(OURS, BARE, BARE_APPEND)
    peers = stage.names(*PEERS)
    return [
        compare("p50, to that of a bare PUBLISH to SUBSCRIBE", table, "p50", ours, bare, at_most(1.2)),
        *compare_with_each("p50, to that of {}", table, "p50", ours, peers, at_most(1.0)),
        *compare_with_each("p99, to that of {}", table, "p99", ours, peers, at_most(1.0)),
        compare("first caller, p50, to that of one bare append", table, "first caller p50", ours, append, at_most(1.0)),
    ]

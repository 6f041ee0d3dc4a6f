"""P1: a publisher alone, whose source gives chunks as fast as it can, and whose only reader is its first caller."""

from __future__ import annotations

from ..contestants.sources import Spec, expected_digest
from ..driver import DriverError
from ..field import ASSISTANT, BARE, BARE_APPEND, NODE_SOURCE, NPM_PEERS, OURS, PEERS, PYPI, SOURCE, present
from ..findings import Goal, Metric, Work, compare, compare_with_each
from ..samples import at_least
from ..stage import Pair, Stage, check, new_name, take_turns

TITLE = "A publisher alone"
LIMIT, QUICK_LIMIT = 120.0, 30.0

_METRICS = [Metric("rate", "chunks/s"), Metric("by its own CPU", "chunks per CPU second")]
"""The second does not know what else the machine does, nor what the server has to do."""


async def measure(stage: Stage, work: Work) -> None:
    """Fill the table."""
    count = stage.pick(200_000, 50_000)

    async def sample(pair: Pair, is_rehearsal: bool) -> dict[str, float]:
        spec = Spec(count // pair.contestant.slowness // (10 if is_rehearsal else 1))
        stream = new_name()
        before = await pair.publisher.call("usage")
        found = await pair.publisher.call("publish", streams=[stream], source={"count": spec.count})
        after = await pair.publisher.call("usage")
        check(found, [expected_digest(spec)])
        if pair.contestant.module == OURS.module:
            length = await pair.publisher.call("length", stream=stream)
            if length != spec.count:
                raise DriverError(f"{length} chunks are logged of {spec.count}")
        return {"rate": spec.count / found["taken"], "by its own CPU": spec.count / (after["cpu"] - before["cpu"])}

    table = work.table("rate", f"{count:,} chunks of 20 bytes", _METRICS)
    table.notes.append("Those that wait for the server with each chunk were given a twentieth of that.")
    contestants = stage.dressed(present(SOURCE, OURS, *PEERS, BARE, BARE_APPEND, NODE_SOURCE))
    await take_turns(stage, table, contestants, sample, repeats=stage.pick(7, 3), limit=30)


def goals(stage: Stage, work: Work) -> list[Goal]:
    """Return what is to be so."""
    table = work.tables["rate"]
    ours, assistant, pypi = stage.names(OURS, ASSISTANT, PYPI)
    writing_nothing = "rate, to that of {}, which writes nothing"
    return [
        *compare_with_each(writing_nothing, table, "rate", ours, stage.names(*NPM_PEERS), at_least(1.5)),
        compare(f"rate, to that of {assistant}, which logs", table, "rate", ours, assistant, at_least(50)),
        compare(writing_nothing.format(pypi), table, "rate", ours, pypi, None),
    ]

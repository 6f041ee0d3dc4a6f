"""What one answer costs the server, and what the package costs a process that imports it."""

from __future__ import annotations

import subprocess
import sys

import anyio

from ..contestants.sources import Spec, expected_digest
from ..field import NPM_PEERS, OURS, PEERS, PYTHON_PEERS, Contestant, present
from ..findings import Goal, Metric, Work, compare_with_each
from ..stage import Pair, Stage, check, new_name, take_turns

TITLE = "What an answer costs Redis, and an import a process"
LIMIT, QUICK_LIMIT = 90.0, 50.0

_CHUNKS = 500
_GAP = 0.005
_METRICS = [Metric("commands", ""), Metric("received", "KiB"), Metric("sent", "KiB")]
_FIELDS = ("total_commands_processed", "total_net_input_bytes", "total_net_output_bytes")
_IMPORTS = {"ours": "resumable_stream", "pypi": "resumable_stream", "assistant": "assistant_stream.resumable"}


async def measure(stage: Stage, work: Work) -> None:
    """Fill the tables."""
    title = f"one answer of {_CHUNKS} chunks of 20 bytes, one each 5 ms, with a follower, as Redis counts"
    table = work.table("answer", title, _METRICS)
    table.notes.append("Commands that a script calls count, too.")

    async def sample(pair: Pair, _is_rehearsal: bool) -> dict[str, float]:
        spec = Spec(_CHUNKS, gap=_GAP, gated=True)
        stream = new_name()
        source = {"count": spec.count, "gap": _GAP, "gated": True, "tag": stream}
        before = _counted(stage)
        published = pair.publisher.order("publish", streams=[stream], source=source)
        await published.said("joined")
        followed = pair.follower.order("follow", streams=[stream])
        await pair.go(published, followed, stream)
        found = await followed.result()
        await published.result()
        check(found, [expected_digest(spec)])
        after = _counted(stage)
        again = _counted(stage)  # what counting itself costs
        commands, received, sent = (b - a - (c - b) for a, b, c in zip(before, after, again, strict=True))
        return {"commands": commands, "received": received / 1024, "sent": sent / 1024}

    contestants = stage.dressed(present(OURS, *PEERS))
    await take_turns(stage, table, contestants, sample, repeats=stage.pick(3, 1), limit=20, rehearse=False)
    await _measure_imports(stage, work)


async def _measure_imports(stage: Stage, work: Work) -> None:
    table = work.table("import", "importing the package after asyncio, in a fresh process", [Metric("time", "ms")])
    for turn in range(-1, stage.times(stage.pick(7, 3))):
        for contestant in (OURS, *PYTHON_PEERS):
            taken = await anyio.to_thread.run_sync(_time_import, contestant)
            if turn >= 0:
                table.add(contestant.name, {"time": taken})


def _time_import(contestant: Contestant) -> float:
    script = (
        "import asyncio; from time import perf_counter; started = perf_counter(); "
        f"import {_IMPORTS[contestant.module]}; print(perf_counter() - started)"
    )
    command = [contestant.python or sys.executable, "-c", script]
    finished = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    return float(finished.stdout) * 1e3


def _counted(stage: Stage) -> list[int]:
    with stage.client() as client:
        about = client.info("stats")
    return [int(about[name]) for name in _FIELDS]


def goals(stage: Stage, work: Work) -> list[Goal]:
    """Return how ours compares. There is no goal."""
    table = work.tables["answer"]
    (ours,) = stage.names(OURS)
    peers = stage.names(*NPM_PEERS, *PYTHON_PEERS)
    found: list[Goal] = []
    for metric in ("commands", "received", "sent"):
        found += compare_with_each(f"{metric} for an answer, to {{}}", table, metric, ours, peers, None)
    return found

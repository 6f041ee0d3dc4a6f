"""Play all scenarios at length, then the soak, and write what was counted to ``docs/reliability.md``.

Run it from the root of the repository, on Linux: ``python -m tests.chaos``. ``--rounds 0.1`` plays a tenth; nothing is
written then, nor where only some scenarios are played.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import sys
import time

import anyio

from .report import Played, conditions, fault_table, soak_table, write
from .scenarios import SCENARIOS, Scenario
from .soak import soak

_SOAK_STREAMS = 1000
_SOAK_SECONDS = 60.0
_AT_ONCE = 2
_MOST_NOTES = 50


def main() -> None:
    """Play what the command line says; fail if anything was lost."""
    options = _parse_options()
    logging.getLogger("resumable_stream").setLevel(logging.CRITICAL)  # outages are what this is about
    sys.exit(asyncio.run(_play(options)))


async def _play(options: argparse.Namespace) -> int:
    started = time.monotonic()
    _say(*conditions(), f"seed {options.seed}")
    is_whole = options.rounds == 1.0 and not options.only
    problems = 0
    if not options.soak:
        played = await _play_scenarios(options)
        problems += sum(one.tally.problems for one in played)
        if is_whole:
            write("faults", fault_table(played))
    if not options.only:
        result = await soak(max(1, round(_SOAK_STREAMS * options.rounds)), _SOAK_SECONDS)
        problems += result.tally.problems
        _say(*result.tally.notes[:_MOST_NOTES], *soak_table(result))
        if is_whole:
            write("soak", soak_table(result))
    _say(f"{problems} problems, {(time.monotonic() - started) / 60:.0f} minutes")
    return 1 if problems else 0


async def _play_scenarios(options: argparse.Namespace) -> list[Played]:
    """Play some beside each other, as most of what they do is to wait."""
    chosen = [scenario for scenario in SCENARIOS if options.only in scenario.play.__name__]
    played: dict[Scenario, Played] = {}
    turn = anyio.Semaphore(_AT_ONCE)

    async def play(number: int, scenario: Scenario) -> None:
        async with turn:
            started = time.monotonic()
            tally = await scenario.play(options.seed + number, max(1, round(scenario.many * options.rounds)))
        played[scenario] = Played(scenario, tally)
        notes = (f"  {note}" for note in tally.notes[:_MOST_NOTES])
        _say(f"{played[scenario].summary()} {time.monotonic() - started:.0f} s", *notes)

    async with anyio.create_task_group() as tasks:
        for number, scenario in enumerate(chosen):
            tasks.start_soon(play, number, scenario)
    return [played[scenario] for scenario in chosen]


def _say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=float, default=1.0, help="which part of the rounds and streams to play")
    parser.add_argument("--only", default="", metavar="NAME", help="play the scenarios whose function is named so")
    parser.add_argument("--soak", action="store_true", help="play the soak alone")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32), help="of the moments")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Measure the library, its peers and the bare limits side by side, on Redis servers started for that.

Run it from the root of the repository: ``python -m benchmarks.bench``. What else the machine does shows in the figures:
read ratios of one run, and look at the spread before believing a difference.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import time

import anyio

from . import peers
from .conditions import conditions
from .findings import Work
from .plots import draw_all
from .report import LAST, RESULTS, write_page, write_results
from .stage import Stage, server
from .text import aligned, goal_lines, work_lines
from .works import WORKS

_LIMIT = 25 * 60.0
_QUICK_LIMIT = 4 * 60.0


def main() -> None:
    options = _parse_options()
    peers.install()
    with server() as (port, _):
        about = conditions(port, use_uvloop=options.uvloop)
    print("\n".join(f"{name:9} {value}" for name, value in about.items()), flush=True)
    works = asyncio.run(_measure_all(options))
    print("\n".join(aligned(["", *goal_lines(works)])))
    write_results(works, about, options.folder)
    draw_all(works, options.folder)
    if options.publish:
        write_page(works, about)


async def _measure_all(options: argparse.Namespace) -> list[Work]:
    this = asyncio.current_task()
    assert this is not None, "a coroutine runs in one"
    # So that the other processes are ended when this is ended, by a time limit for instance.
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, this.cancel)
    keys = options.only or list(WORKS)
    works: list[Work] = []
    with anyio.move_on_after(_QUICK_LIMIT if options.quick else _LIMIT):
        for key in keys:
            works.append(Work(key, WORKS[key].TITLE))
            await _measure(works[-1], options)
    over = ["Not measured: the time was over."]
    return works + [Work(key, WORKS[key].TITLE, remarks=over) for key in keys[len(works) :]]


async def _measure(work: Work, options: argparse.Namespace) -> None:
    module = WORKS[work.key]
    started = time.monotonic()
    with server() as (port, pid):
        stage = Stage(port, pid, options.quick, options.uvloop, options.repeats)
        try:
            with anyio.fail_after(module.QUICK_LIMIT if options.quick else module.LIMIT):
                await module.measure(stage, work)
        except TimeoutError:
            work.remarks.append("Not all was measured: the time was over.")
        finally:
            if work.tables:
                work.goals = module.goals(stage, work)
    seconds = f"({time.monotonic() - started:.0f} s)"
    print("\n".join(["", *aligned(work_lines(work)), *aligned(goal_lines([work])), seconds]), flush=True)


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=_parse_keys, default=[], metavar="P1,P3", help="only these works")
    parser.add_argument("--quick", action="store_true", help="4 minutes at most instead of 25, and less exact")
    parser.add_argument("--uvloop", action="store_true", help="all that is in Python on uvloop")
    parser.add_argument("--repeats", type=int, default=7, help="at most so many samples of each figure")
    parser.add_argument(
        "--into", metavar="NAME", help="keep what is found in a folder of benchmarks/results, and change nothing else"
    )
    options = parser.parse_args()
    options.publish = not (options.only or options.quick or options.uvloop or options.into)
    options.folder = RESULTS / options.into if options.into else RESULTS if options.publish else LAST
    return options


def _parse_keys(text: str) -> list[str]:
    keys = text.upper().split(",")
    unknown = set(keys) - set(WORKS)
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}, but {', '.join(WORKS)}")
    return keys


if __name__ == "__main__":
    main()

"""Counts the instructions of a process: the same each time, to a thousandth, where seconds drown in noise."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterable

import anyio

Play = Callable[[str, str, int], Awaitable[None]]
"""Does what is counted: on a Redis, in one of several ways, so many times."""


def main(description: str | None, kinds: Iterable[str], play: Play, compare: Callable[[], None]) -> None:
    """Be a program that compares, or the process of its own that does what is counted."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--kind", choices=[*kinds], help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.count is not None:
        anyio.run(play, options.url, options.kind, options.count)
    elif shutil.which("valgrind") is None:
        parser.error("this needs valgrind")
    else:
        compare()


def instructions(module: str, url: str, kind: str, count: int) -> int:
    """Have a program of `main` do it in a process, and return how many instructions that took, without the system's.

    Raises:
        CalledProcessError: It failed.
    """
    measured = (sys.executable, "-m", module, "--url", url, "--kind", kind, "--count", str(count))
    command = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *measured)
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "0"})
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found is not None, done.stderr
    return int(found[1])

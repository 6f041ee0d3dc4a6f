"""Counts the instructions of a process: the same each time, to a thousandth, where seconds drown in noise."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

is_there: bool = shutil.which("valgrind") is not None


def instructions(module: str, *arguments: str) -> int:
    """Run a module of Python, and return how many instructions that took, without those of the system.

    Raises:
        CalledProcessError: It failed.
    """
    measured = (sys.executable, "-m", module, *arguments)
    command = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *measured)
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "0"})
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found is not None, done.stderr
    return int(found[1])

"""What the exit codes mean."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    """The store failed, `doctor` found a problem, or the user said no."""
    USAGE = 2
    """The command line cannot be right: nothing was done."""
    NOT_FOUND = 3
    """There is no such stream, or its retention is over."""
    BROKEN = 4
    """The stream that was read failed, was lost, or was deleted meanwhile."""
    INTERRUPTED = 130
    """By Ctrl-C, as shells say it."""
    PIPE_CLOSED = 141
    """Who read the output went away, as shells say it."""

"""The command line as a whole: what each command has in common with the others."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click
from typing_extensions import override

from .commands import delete, doctor, ls, show, stop, tail
from .exits import Exit
from .running import say

_HELP = """Look at resumable streams, follow, stop and delete them, and check the server that keeps them.

Data goes to stdout, and all that is said about it to stderr."""


def run(arguments: Sequence[str]) -> int:
    """Run the command, and return its exit code."""
    for output in (sys.stdout, sys.stderr):
        if isinstance(output, io.TextIOWrapper):
            output.reconfigure(errors="backslashreplace")  # what the terminal's encoding does not have
    with _plain_log():
        try:
            code = _group().main(list(arguments), "resumable-stream", standalone_mode=False)
        except click.ClickException as error:
            error.show()
            return error.exit_code
        except click.Abort:
            return Exit.INTERRUPTED
    return int(code or 0)


def _group() -> click.Group:
    settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
    group = click.Group("resumable-stream", help=_HELP, context_settings=settings)
    for command in (ls, show, tail, stop, delete, doctor):
        group.add_command(command)
    return click.version_option(package_name="resumable-stream-context")(group)


class _Said(logging.Handler):
    """Says what the library logs in one line, without tracebacks."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


@contextmanager
def _plain_log() -> Iterator[None]:
    logger, handler = logging.getLogger("resumable_stream"), _Said(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)

"""The commands, as the user calls them."""

from __future__ import annotations

import sys
from functools import partial

import click

from ..types import StreamState
from . import work
from .doctor import examine
from .exits import Exit
from .options import store_of, with_store
from .running import run_on, say

_MAX_LIMIT = 100_000
_STATES = click.Choice([state.value for state in StreamState])


@click.command()
@click.option("--state", type=_STATES, help="Only streams in this state.")
@click.option(
    "--limit", type=click.IntRange(1, _MAX_LIMIT), default=100, show_default=True, help="How many, the newest first."
)
@with_store
def ls(url: str | None, key_prefix: str, *, as_json: bool, state: str | None, limit: int) -> Exit:
    """List streams, the newest first.

    What is left of those whose retention is over is listed, too.
    """
    wanted = StreamState(state) if state else None
    return run_on(store_of(url, key_prefix), partial(work.ls, state=wanted, limit=limit, as_json=as_json))


@click.command()
@click.argument("stream_id", metavar="ID")
@with_store
def show(url: str | None, key_prefix: str, *, as_json: bool, stream_id: str) -> Exit:
    """Show all that is known of a stream."""
    return run_on(store_of(url, key_prefix), partial(work.show, stream_id=stream_id, as_json=as_json))


@click.command()
@click.argument("stream_id", metavar="ID")
@click.option("--from", "start", type=int, default=0, help="How many chunks to skip; -N: read the last N.")
@with_store
def tail(url: str | None, key_prefix: str, *, as_json: bool, stream_id: str, start: int) -> Exit:
    """Replay a stream, and follow it to its end.

    Text comes as UTF-8, bytes as they are. The exit code is 0 if the stream is done or was stopped, 3 if there is none,
    4 if it failed or was lost, 1 if the store failed.
    """
    return run_on(store_of(url, key_prefix), partial(work.tail, stream_id=stream_id, start=start, as_json=as_json))


@click.command()
@click.argument("stream_id", metavar="ID")
@click.option("--reason", default="requested", show_default=True, help="What is recorded as the reason.")
@with_store
def stop(url: str | None, key_prefix: str, *, as_json: bool, stream_id: str, reason: str) -> Exit:
    """Stop a stream, wherever its publisher is. What it made is kept."""
    return run_on(store_of(url, key_prefix), partial(work.stop, stream_id=stream_id, reason=reason, as_json=as_json))


@click.command()
@click.argument("stream_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_store
def delete(url: str | None, key_prefix: str, *, as_json: bool, stream_id: str, yes: bool) -> Exit:
    """Forget a stream with all its chunks."""
    store = store_of(url, key_prefix)
    if not yes:
        if sys.stdin is None or not sys.stdin.isatty():
            raise click.UsageError("This asks before it deletes, and there is no terminal to ask on: say --yes.")
        code = run_on(store, partial(work.check, stream_id=stream_id))
        if code is not Exit.OK:
            return code
        if not _is_confirmed(f"Delete stream {stream_id!r} with all its chunks?"):
            say("nothing was deleted")
            return Exit.FAILED
    return run_on(store, partial(work.delete, stream_id=stream_id, as_json=as_json))


def _is_confirmed(question: str) -> bool:
    # Not Click's own, which writes to stdout, too.
    sys.stderr.write(f"{question} [y/N]: ")
    sys.stderr.flush()
    try:
        answer = sys.stdin.readline()
    except UnicodeDecodeError:
        return False
    return answer.strip().lower() in {"y", "yes"}


@click.command()
@with_store
def doctor(url: str | None, key_prefix: str, *, as_json: bool) -> Exit:
    """Check whether the server is fit to keep streams.

    It says what to change. To try the server, it publishes a stream of a random id, and removes that. The exit code is
    1 if there is a problem.
    """
    return run_on(store_of(url, key_prefix), partial(examine, as_json=as_json))

"""Listing, showing, stopping and deleting."""

from __future__ import annotations

import asyncio
import os
import pty
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from resumable_stream import ResumableStreamContext
from tests.cli.conftest import Command


async def _done(context: ResumableStreamContext, stream_id: str, *chunks: str | bytes) -> None:
    stream = await context.create_new_resumable_stream(stream_id, lambda: list(chunks))
    assert [chunk async for chunk in stream] == list(chunks)


async def _failed(context: ResumableStreamContext, stream_id: str, error: Exception) -> None:
    def factory() -> list[str]:
        raise error

    stream = await context.create_new_resumable_stream(stream_id, factory)
    with pytest.raises(Exception, match="raised"):
        await anext(stream)


async def _endless() -> AsyncIterator[str]:
    yield "first"
    await asyncio.Event().wait()


async def test_ls_newest_first(cli: Command) -> None:
    """Streams are listed with state, chunks and ages, the newest first; what the limit leaves out is said."""
    async with cli.context() as context:
        for number in range(3):
            await _done(context, f"s{number}", "a", "b")
            await asyncio.sleep(0.002)  # times are in milliseconds
        running = await context.create_new_resumable_stream("live", _endless)
        await anext(running)
        listed = await cli("ls")
        header, *rows = listed.text.splitlines()
        assert listed.code == 0
        assert header.split() == ["ID", "STATE", "CHUNKS", "AGE", "LEASE", "LEFT", "ENDED"]
        assert [row.split()[:3] for row in rows] == [
            ["live", "running", "1"],
            ["s2", "done", "2"],
            ["s1", "done", "2"],
            ["s0", "done", "2"],
        ]
        limited = await cli("ls", "--limit", "2", "--state", "done")
        assert [row.split()[0] for row in limited.text.splitlines()[1:]] == ["s2", "s1"]
        assert limited.err == "1 older ones are left out: see --limit\n"
        only = await cli("ls", "--state", "running", "--json")
        assert [record["stream_id"] for record in only.records] == ["live"]
        assert 0 < only.records[0]["lease_left"] <= 15


async def test_ls_of_nothing(cli: Command) -> None:
    """Where there is nothing, JSON is empty, and so is the table."""
    assert (await cli("ls", "--json")).out == b""
    assert len((await cli("ls")).text.splitlines()) == 1


async def test_ls_cuts_no_id(cli: Command) -> None:
    """Off a terminal, an id is never cut or wrapped, and there are no colours."""
    async with cli.context() as context:
        await _done(context, "x" * 256, "a")
    lines = (await cli("ls")).text.splitlines()
    assert lines[1].split()[0] == "x" * 256
    assert "\x1b" not in lines[1]


async def test_nothing_is_cut_on_a_terminal(cli: Command) -> None:
    """On a narrow terminal a long id goes on in the next line, and so does a long message; nothing is cut off."""
    stream_id = "Q" * 40 + "Z" * 40
    async with cli.context() as context:
        await _failed(context, stream_id, ValueError("W" * 200))
    for arguments in (("ls",), ("show", stream_id)):
        ours, its = pty.openpty()
        try:
            process = await cli.start(*arguments, stdout=its, env=_plain() | {"COLUMNS": "70", "TERM": "dumb"})
            await asyncio.wait_for(process.communicate(), 30)
            shown = os.read(ours, 10_000).decode()
        finally:
            os.close(ours)
            os.close(its)
        assert (shown.count("Q"), shown.count("Z"), shown.count("failed")) == (40, 40, 1)
        assert shown.count("W") == (200 if arguments[0] == "show" else 0)


async def test_colours_in_a_pipe(cli: Command) -> None:
    """Whoever wants colours in a pipe gets them, and lines that are as long as they are."""
    async with cli.context() as context:
        await _done(context, "x" * 256, "a")
    process = await cli.start("ls", env=_plain() | {"FORCE_COLOR": "1", "COLUMNS": "70", "TERM": "xterm-256color"})
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert b"x" * 256 in out
    assert b"\x1b[" in out


def _plain() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR", "REDIS_URL"}}


async def test_output_that_cannot_be_written(cli: Command) -> None:
    """A full disk is told in a line, with a code of its own."""
    with Path("/dev/full").open("wb") as full:  # noqa: ASYNC230  # a device
        process = await cli.start("ls", stdout=full)
        _, told = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    assert told.decode() == "the output cannot be written: No space left on device\n"


async def test_what_nobody_hears_costs_no_data(cli: Command) -> None:
    """Where stderr is closed, what is said about the data is lost, and not the data."""
    async with cli.context() as context:
        for stream_id in ("one", "two"):
            await _done(context, stream_id, "a")
    ours, its = os.pipe()
    os.close(ours)
    process = await cli.start("ls", "--limit", "1", stderr=its)
    os.close(its)
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    assert b"two" in out


async def test_show(cli: Command) -> None:
    """All that is known of a stream is shown, and nothing in it can steer the terminal."""
    async with cli.context() as context:
        await _failed(context, "bad", ValueError("[red]no\x1b[31m\nline"))
        info = await context.info("bad")
        assert info is not None
    shown = await cli("show", "bad")
    assert shown.code == 0
    assert r"error       ValueError: [red]no\x1b[31m\nline" in shown.text.splitlines()
    for line in (
        f"generation  {info.generation}",
        "epoch       1, from chunk 0 on",
        "readable    yes",
        "state       failed",
    ):
        assert line in shown.text.splitlines()
    (record,) = (await cli("show", "bad", "--json")).records
    assert record == {
        "stream_id": "bad",
        "state": "failed",
        "length": 0,
        "created_at": info.created_at,
        "ended_at": info.ended_at,
        "is_readable": True,
        "lease_left": 0.0,
        "generation": info.generation,
        "epoch": 1,
        "epoch_start": 0,
        "takeovers": [],
        "error_type": "ValueError",
        "error_message": "[red]no\x1b[31m\nline",
        "reason": "",
    }


async def test_show_running_and_stopped(cli: Command) -> None:
    """A stream that runs has a lease, and one that was stopped a reason."""
    async with cli.context() as context:
        await context.create_new_resumable_stream("live", _endless)
        assert "lease left  1" in (await cli("show", "live")).text
    assert "reason      shutdown" in (await cli("show", "live")).text


async def test_tombstone(cli: Command) -> None:
    """A stream whose retention has passed is said to be over, and cannot be read."""
    async with cli.context(retention=0.0) as context:
        await _done(context, "old", "a")
    assert "done, over" in (await cli("ls")).text
    assert "no: its retention is over" in (await cli("show", "old")).text
    read = await cli("tail", "old")
    assert (read.code, read.out) == (3, b"")
    assert read.err == "stream 'old' is over, and its chunks are gone with its retention\n"


async def test_stop(cli: Command) -> None:
    """Stopping ends a stream of another process, with the reason; again, or when it has ended, it is no error."""
    async with cli.context() as context:
        stream = await context.create_new_resumable_stream("live", _endless)
        stopped = await cli("stop", "live", "--reason", "too long")
        assert (stopped.code, stopped.text) == (0, "live is about to stop\n")
        assert [chunk async for chunk in stream] in (["first"], [])
        info = await context.info("live")
        assert info is not None
        assert info.reason == "too long"
        assert (await cli("stop", "live")).text == "live has ended: stopped\n"
        assert (await cli("stop", "live", "--json")).records == [{"stream_id": "live", "state": "stopped"}]


async def test_delete(cli: Command) -> None:
    """Deleting frees the id; it is not done without a word from the user."""
    async with cli.context() as context:
        await _done(context, "s", "a")
        await _done(context, "t", "a")
        refused = await cli("delete", "s")
        assert refused.code == 2
        assert "say --yes" in refused.err
        assert await context.has_existing_stream("s")
        deleted = await cli("delete", "s", "--yes")
        assert (deleted.code, deleted.text) == (0, "s is deleted\n")
        assert await context.has_existing_stream("s") is None
        assert (await cli("delete", "t", "--yes", "--json")).records == [{"stream_id": "t", "deleted": True}]


@pytest.mark.parametrize(("answer", "code", "is_there"), [(b"y\n", 0, False), (b"n\n", 1, True), (b"\x03", 130, True)])
@pytest.mark.parametrize("cli", ["process"], indirect=True)
async def test_delete_asks(cli: Command, answer: bytes, code: int, is_there: bool) -> None:
    """On a terminal it asks, and does as it is told; Ctrl-C there deletes nothing."""
    async with cli.context() as context:
        await _done(context, "s", "a")
        ours, its = pty.openpty()
        try:
            process = await cli.start("delete", "s", stdin=its, preexec_fn=lambda: _control(its))
            assert process.stderr is not None
            assert b"[y/N]" in await process.stderr.readuntil(b": ")
            os.write(ours, answer)
            await asyncio.wait_for(process.communicate(), 30)
        finally:
            os.close(ours)
            os.close(its)
        assert process.returncode == code
        assert bool(await context.has_existing_stream("s")) is is_there


async def test_delete_without_stdin(cli: Command) -> None:
    """Where there is nothing to ask on, not even something that is empty, nothing is deleted."""
    async with cli.context() as context:
        await _done(context, "s", "a")
        process = await cli.start("delete", "s", preexec_fn=lambda: os.close(0))
        _, told = await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 2
        assert b"--yes" in told
        assert b"Traceback" not in told
        assert await context.has_existing_stream("s")


def _control(terminal: int) -> None:
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


@pytest.mark.parametrize("arguments", [("show",), ("tail",), ("stop",), ("delete", "--yes")], ids=lambda a: a[0])
async def test_unknown_and_bad_ids(cli: Command, arguments: tuple[str, ...]) -> None:
    """A stream that is not there is 3, and an id that cannot be is 2; both are said in one line."""
    command, *options = arguments
    missing = await cli(command, "nope", *options)
    assert (missing.code, missing.out, missing.err) == (3, b"", "there is no stream 'nope'\n")
    bad = await cli(command, "no/pe", *options)
    assert (bad.code, bad.out) == (2, b"")
    assert bad.err.startswith("a stream id has only letters")
    assert bad.err.count("\n") == 1

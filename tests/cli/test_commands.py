"""Listing, showing, stopping and deleting."""

from __future__ import annotations

import asyncio
import os
import pty
from collections.abc import AsyncIterator

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

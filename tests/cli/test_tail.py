"""Replaying and following."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from resumable_stream import ResumableStreamContext
from resumable_stream.cli.options import Store
from tests.cli.conftest import Command, inside
from tests.conftest import SET_SERVER, GetCluster, GetSentinels
from tests.servers import binaries, running
from tests.streams import Tap, collect, factory_of, never


async def _publish(context: ResumableStreamContext, *chunks: str | bytes) -> None:
    assert await collect(await context.create_new_resumable_stream("s", factory_of(chunks))) == list(chunks)


@asynccontextmanager
async def following(cli: Command, context: ResumableStreamContext) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that has read the one chunk of a stream that goes on."""
    await context.create_new_resumable_stream("s", Tap("one"))
    process = await cli.start("tail", "s")
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readexactly(3), 30) == b"one"
    yield process


async def test_replays_text_as_it_is(cli: Command) -> None:
    """Text comes as UTF-8, with nothing between or after the chunks."""
    async with cli.context() as context:
        await _publish(context, "Grüße", "\r\n", "\U0001f600", "\ud800")
        done = await cli("tail", "s")
    assert (done.code, done.err) == (0, "")
    assert done.out == "Grüße\r\n\U0001f600\ud800".encode("utf-8", "surrogatepass")


async def test_replays_bytes_as_they_are(cli: Command) -> None:
    """Bytes come as they are; in JSON they have a key of their own."""
    async with cli.context() as context:
        await _publish(context, b"\x00\xff", b"\n")
        assert (await cli("tail", "s")).out == b"\x00\xff\n"
        records = (await cli("tail", "s", "--json")).records
    assert [sorted(record) for record in records] == [["chunk_base64", "event_id", "index"]] * 2
    assert [record["chunk_base64"] for record in records] == ["AP8=", "Cg=="]


@pytest.mark.parametrize(("start", "expected"), [("0", "abcd"), ("3", "d"), ("4", ""), ("-2", "cd"), ("-99", "abcd")])
async def test_positions(cli: Command, start: str, expected: str) -> None:
    """``--from`` skips chunks from the start, or reads some back from the end."""
    async with cli.context() as context:
        await _publish(context, *"abcd")
        assert (await cli("tail", "s", "--from", start)).text == expected


async def test_json(cli: Command) -> None:
    """In JSON each chunk has its index, and an event id after which the library resumes."""
    async with cli.context() as context:
        await _publish(context, "a", "b\n", "c")
        records = (await cli("tail", "s", "--json", "--from", "1")).records
        assert [(record["index"], record["chunk"]) for record in records] == [(1, "b\n"), (2, "c")]
        stream = await context.resume_existing_stream("s", after=records[0]["event_id"])
        assert stream is not None
        assert [chunk async for chunk in stream] == ["c"]


async def test_beyond_the_end(cli: Command) -> None:
    """A position that there is not is wrong usage."""
    async with cli.context() as context:
        await _publish(context, "a")
        beyond = await cli("tail", "s", "--from", "2")
    assert (beyond.code, beyond.out, beyond.err.count("\n")) == (2, b"", 1)


@pytest.mark.parametrize("cli", ["process"], indirect=True)
async def test_follows(cli: Command) -> None:
    """Each chunk of another process comes as soon as it is made, and the end ends it."""
    tap = Tap()
    async with cli.context() as context:
        await context.create_new_resumable_stream("s", tap)
        process = await cli.start("tail", "s")
        assert process.stdout is not None
        for chunk in ("one", "two"):
            tap.let(chunk)
            assert await asyncio.wait_for(process.stdout.readexactly(3), 30) == chunk.encode()
        tap.end()
        assert await asyncio.wait_for(process.wait(), 30) == 0
        await process.communicate()


async def test_failed(cli: Command) -> None:
    """Of a stream that failed all chunks come, then why in one line that cannot steer the terminal, and 4."""
    async with cli.context() as context:
        await context.create_new_resumable_stream("s", Tap("before", ValueError("odd\x1b[2J\nthing")))
        failed = await cli("tail", "s")
    assert (failed.code, failed.text) == (4, "before")
    # In this process, what the publisher logs is said before.
    assert failed.err.splitlines()[-1] == r"the factory of stream 's' raised ValueError: odd\x1b[2J\nthing"


async def test_stopped(cli: Command) -> None:
    """A stream that was stopped ends well, and the reason is said."""
    async with cli.context() as context:
        stream = await context.create_new_resumable_stream("s", Tap("before"))
        await anext(stream)
        await context.stop("s", reason="enough")
        assert [chunk async for chunk in stream] == []
        stopped = await cli("tail", "s")
    assert stopped == (0, b"before", "stream 's' was stopped: enough\n")


async def test_lost(cli: Command) -> None:
    """A stream whose publisher's process was killed is lost: its chunks come, and 4."""
    code = """
import asyncio, sys
from resumable_stream import ResumableStreamContext

async def factory():
    yield "before"
    print("ready", flush=True)
    await asyncio.Event().wait()

async def publish():
    async with ResumableStreamContext.from_url(sys.argv[1], key_prefix=sys.argv[2], lease=0.5) as context:
        stream = await context.resumable_stream("s", factory)
        async for _ in stream:
            print("logged", flush=True)

asyncio.run(publish())
"""
    pipe = asyncio.subprocess.PIPE
    publisher = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cli.url, cli.prefix, stdout=pipe)
    assert publisher.stdout is not None
    lines = {await asyncio.wait_for(publisher.stdout.readline(), 30) for _ in range(2)}
    assert lines == {b"ready\n", b"logged\n"}
    publisher.kill()
    await publisher.communicate()
    lost = await cli("tail", "s")
    assert lost == (4, b"before", "the publisher of stream 's' is lost\n")
    assert "none: it lapsed" in (await cli("show", "s")).text
    async with cli.context() as context:
        taken_over = await context.resumable_stream("s", never, takeover=lambda _: ["after"])
        assert await collect(taken_over) == ["before", "after"]
    assert ": epoch 2, from chunk 1 on" in (await cli("show", "s")).text
    ((taken,),) = [record["takeovers"] for record in (await cli("show", "s", "--json")).records]
    assert (taken["epoch"], taken["length"]) == (2, 1)


@pytest.mark.parametrize("cli", ["process"], indirect=True)
async def test_deleted_meanwhile(cli: Command) -> None:
    """A stream that is deleted while it is followed ends with 4, in one line."""
    async with cli.context() as context, following(cli, context) as process:
        await context.delete("s")
        _, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 4
    assert err == b"stream 's' is gone: deleted, expired, or lost by its store\n"


@pytest.mark.parametrize("cli", ["process"], indirect=True)
async def test_interrupted(cli: Command) -> None:
    """Ctrl-C ends one that waits, with 130 and without a word; the stream goes on."""
    async with cli.context() as context, following(cli, context) as process:
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), 30)
        assert (process.returncode, out, err) == (130, b"", b"")
        assert await context.has_existing_stream("s") == "running"


@pytest.mark.parametrize("cli", ["process"], indirect=True)
@pytest.mark.parametrize("arguments", [("tail", "s"), ("tail", "s", "--json")])
async def test_broken_pipe(cli: Command, arguments: tuple[str, ...]) -> None:
    """Who has seen enough may go away: it ends with 141 and without a word."""
    async with cli.context() as context:
        await _publish(context, *(["x" * 1000 + "\n"] * 2000))
        ours, its = os.pipe()
        process = await cli.start(*arguments, stdout=its)
        os.close(its)
        assert os.read(ours, 1)
        os.close(ours)
        _, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, err) == (141, b"")


async def test_store_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the store goes away and does not come back, it is 1, and said in one line."""

    def impatient(store: Store) -> ResumableStreamContext:
        return ResumableStreamContext.from_url(store.url, key_prefix=store.key_prefix, outage_timeout=0.1)

    monkeypatch.setattr(Store, "context", impatient)
    tap = Tap()
    with running(binaries()[SET_SERVER]) as server:
        async with ResumableStreamContext.from_url(server.url, drain_timeout=0.0, outage_timeout=0.1) as context:
            await context.create_new_resumable_stream("s", tap)
            async with Redis.from_url(server.url) as client:
                reading = asyncio.create_task(asyncio.to_thread(inside, "tail", "s", "--url", server.url))
                while not await client.pubsub_channels("*{s}*"):
                    await asyncio.sleep(0.01)  # nobody tells when it follows
            os.kill(server.pid, signal.SIGKILL)
            failed = await asyncio.wait_for(reading, 30)
    assert (failed.code, failed.out) == (1, b"")
    assert failed.err.splitlines()[-1].startswith(f"{server.url}: ")


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
async def test_sets(kind: str, sentinels_of: GetSentinels, cluster_of: GetCluster) -> None:
    """Every kind of URL that the library has leads to the streams."""
    url = (sentinels_of if kind == "sentinel" else cluster_of)(SET_SERVER).url
    async with ResumableStreamContext.from_url(url, key_prefix="cli-sets") as context:
        await context.delete("s")
        await _publish(context, "a", "b")
        where = ("--url", url, "--key-prefix", "cli-sets")
        assert (await asyncio.to_thread(inside, "tail", "s", *where)).text == "ab"
        (record,) = (await asyncio.to_thread(inside, "ls", "--json", *where)).records
        assert record["stream_id"] == "s"
        assert (await asyncio.to_thread(inside, "delete", "s", "--yes", *where)).code == 0

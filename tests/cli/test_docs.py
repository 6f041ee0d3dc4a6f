"""What the docs show is what the command prints."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from resumable_stream import Factory, PublisherFailedError, ResumableStreamContext
from resumable_stream.cli.exits import Exit
from tests.cli.conftest import inside
from tests.conftest import SET_SERVER
from tests.servers import Server, binaries, running

DOCS = (Path(__file__).parents[2] / "docs/cli.md").read_text()
BLOCKS = re.findall(r"^```console\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)
CHUNKS = ("Streams ", "that outlive ", "the request.\n")


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server as that of the example."""
    with running(binaries()[SET_SERVER], "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru") as server:
        yield server


async def _failing() -> AsyncIterator[str]:
    yield "one"
    raise TimeoutError("the model is slow")


async def _endless() -> AsyncIterator[str]:
    yield "one"
    await asyncio.Event().wait()


@pytest.fixture
async def application(server: Server) -> AsyncIterator[ResumableStreamContext]:
    """The application of the example."""
    factories: tuple[Factory[str], ...] = (_failing, lambda: list(CHUNKS), _endless)
    async with ResumableStreamContext.from_url(server.url, drain_timeout=0.0) as context:
        for number, factory in enumerate(factories, 41):
            await context.delete(f"answer-{number}")
            stream = await context.create_new_resumable_stream(f"answer-{number}", factory)
            await anext(stream)
            with suppress(PublisherFailedError):
                if factory is not _endless:
                    assert [chunk async for chunk in stream]
            await asyncio.sleep(0.002)  # times are in milliseconds
        yield context


@pytest.mark.usefixtures("application")
@pytest.mark.parametrize("block", BLOCKS)
async def test_console(block: str, server: Server) -> None:
    """Each command of the docs prints what they show, but for times, addresses and random ids."""
    for shown in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        line, _, expected = shown.partition("\n")
        program, *arguments = shlex.split(line)
        assert program == "resumable-stream"
        done = await asyncio.to_thread(inside, *arguments, "--url", server.url)
        assert _general(done.text) == _general(expected)
        assert done.code == (1 if arguments == ["doctor"] else 0)


def _general(text: str) -> str:
    text = re.sub(r"\b[0-9a-f]{16}\b", "GENERATION", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", text)
    text = re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", text)
    text = re.sub(r"(?:Redis|Valkey) \d+\.\d+\.\d+", "VERSION", text)
    text = re.sub(r" +\d+ s\b", " SECONDS", text)
    return re.sub(r"\d+\.\d\d ms|\d+ of 100 MiB", "NUMBER", text)


def test_exit_codes() -> None:
    """The docs name every exit code, and no other."""
    table = DOCS.partition("## Exit codes")[2].partition("## JSON")[0]
    assert [int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)] == list(Exit)


def test_checks(server: Server) -> None:
    """The docs explain every check of the doctor, in its order."""
    (document,) = inside("doctor", "--json", "--url", server.url).records
    table = DOCS.partition("| check |")[2].partition("## Exit codes")[0]
    assert re.findall(r"^\| `(\S+)` \|", table, re.MULTILINE) == [check["check"] for check in document["checks"]]


@pytest.mark.usefixtures("application")
async def test_keys(server: Server) -> None:
    """The docs name every key of a stream, in its order."""
    row = re.search(r"^\| `ls`.*$", DOCS, re.MULTILINE)
    assert row is not None
    named = re.findall(r"`(\w+)`", row[0].partition(": as in")[0])[2:]
    url = ("--url", server.url)
    (record,) = (await asyncio.to_thread(inside, "show", "answer-42", "--json", *url)).records
    assert list(record) == named

"""Calls the command as people do, and in this process, where its coverage is measured."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import anyio
import pytest
from redis.asyncio import Redis

from resumable_stream import ResumableStreamContext
from resumable_stream.cli import main
from tests.conftest import SET_SERVER, GetServer
from tests.servers import Server


class Result(NamedTuple):
    """What came of a call."""

    code: int
    out: bytes
    err: str

    @property
    def text(self) -> str:
        """What was printed."""
        return self.out.decode()

    @property
    def records(self) -> list[Any]:
        """What was printed as JSON, one object a line."""
        return [json.loads(line) for line in self.text.splitlines()]


class Command:
    """The command line, for one server and one prefix of keys."""

    def __init__(self, url: str, *, is_process: bool) -> None:
        self.url = url
        self.prefix = f"cli-{uuid.uuid4().hex[:8]}"
        self._is_process = is_process

    async def __call__(self, *arguments: str, url: str | None = None) -> Result:
        """Call it, and wait for its end."""
        line = [*arguments, "--url", url or self.url, "--key-prefix", self.prefix]
        return await in_process(*line) if self._is_process else await asyncio.to_thread(inside, *line)

    def context(self, **settings: Any) -> ResumableStreamContext:
        """A context for the same store: the application's."""
        return ResumableStreamContext.from_url(self.url, key_prefix=self.prefix, drain_timeout=0.0, **settings)

    async def start(self, *arguments: str, **options: Any) -> asyncio.subprocess.Process:
        """Start it as a process that goes on."""
        line = [*arguments, "--url", self.url, "--key-prefix", self.prefix]
        return await start(*line, **options)


async def start(*arguments: str, **options: Any) -> asyncio.subprocess.Process:
    """Start the command as a process."""
    pipes = dict.fromkeys(("stdout", "stderr"), asyncio.subprocess.PIPE) | {"stdin": asyncio.subprocess.DEVNULL}
    environment = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "resumable_stream.cli", *arguments, **({"env": environment} | pipes | options)
    )


async def in_process(*arguments: str, **options: Any) -> Result:
    """Call the command as a process."""
    process = await start(*arguments, **options)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode is not None
    assert b"Traceback" not in err
    return Result(process.returncode, out, err.decode())


def inside(*arguments: str) -> Result:
    """Call the command here."""
    printed = io.BytesIO()
    out, err = io.TextIOWrapper(printed, "utf-8"), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    out.flush()
    return Result(code, printed.getvalue(), err.getvalue())


@pytest.fixture
def server(server_of: GetServer) -> Server:
    """A server."""
    return server_of(SET_SERVER)


@pytest.fixture(params=["process", "inside"])
async def cli(request: pytest.FixtureRequest, server: Server) -> AsyncIterator[Command]:
    """The command, called in both ways, after which no key is left that does not expire, and no connection."""
    command = Command(server.url, is_process=request.param == "process")
    async with Redis.from_url(server.url, decode_responses=True) as client:
        before = {one["id"] for one in await client.client_list()}
        yield command
        with anyio.fail_after(5):
            while {one["id"] for one in await client.client_list()} - before:
                await asyncio.sleep(0.01)  # nobody tells when the server has noticed
        async for key in client.scan_iter(f"{command.prefix}*"):
            assert await client.pttl(key) > 0
            assert "doctor" not in key

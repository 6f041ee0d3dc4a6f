"""Which store, and what is said of it."""

from __future__ import annotations

import asyncio
import os
import pty
import sys

import pytest

from resumable_stream.cli.options import Store
from tests.cli.conftest import Command, Result, in_process, inside
from tests.servers import free_port

COMMANDS = [("ls",), ("show", "s"), ("tail", "s"), ("stop", "s"), ("delete", "s", "--yes"), ("doctor",)]
by_name = pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])


async def _both(*arguments: str) -> Result:
    """Call it in both ways, which say the same."""
    here, there = await asyncio.to_thread(inside, *arguments), await in_process(*arguments)
    assert here == there
    return here


@by_name
async def test_no_url(arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a URL nothing is done, and why is said."""
    monkeypatch.delenv("REDIS_URL", raising=False)
    refused = await _both(*arguments)
    assert (refused.code, refused.out) == (2, b"")
    assert "Say --url, or set REDIS_URL" in refused.err


@by_name
async def test_memory(arguments: tuple[str, ...]) -> None:
    """Streams in memory are of another process, so looking for them here is refused."""
    refused = await _both(*arguments, "--url", "memory://")
    assert (refused.code, refused.out) == (2, b"")
    assert "Streams in memory" in refused.err


async def test_environment(cli: Command) -> None:
    """The URL may be in REDIS_URL."""
    environment = os.environ | {"REDIS_URL": cli.url}
    assert (await in_process("ls", "--key-prefix", cli.prefix, env=environment)).code == 0


@pytest.mark.parametrize(
    "url", ["bogus://user:secret@host", "redis://user:secret@host:port/x", "redis+sentinel://:secret@h"]
)
@by_name
async def test_bad_url(arguments: tuple[str, ...], url: str) -> None:
    """A URL that is none is wrong usage, said in one line without what is in the URL."""
    refused = await asyncio.to_thread(inside, *arguments, "--url", url)
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, b"", 1)
    assert "secret" not in refused.err


@by_name
async def test_bad_prefix(arguments: tuple[str, ...]) -> None:
    """A prefix that cannot be is wrong usage."""
    refused = await asyncio.to_thread(inside, *arguments, "--url", "redis://127.0.0.1:1", "--key-prefix", "a{b}")
    assert (refused.code, refused.out, refused.err.count("\n")) == (2, b"", 1)


@by_name
async def test_unreachable(arguments: tuple[str, ...]) -> None:
    """A server that is away is 1, named without its password."""
    port = free_port()
    failed = await _both(*arguments, "--url", f"redis://user:secret@127.0.0.1:{port}/0")
    said = failed.text if arguments == ("doctor",) else failed.err
    assert failed.code == 1
    assert f"redis://127.0.0.1:{port}/0" in said
    assert "Redis failed to answer: ConnectionError" in said
    assert "secret" not in failed.text + failed.err


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("redis://localhost", "redis://localhost"),
        ("redis://user:secret@localhost:1/2?password=secret", "redis://localhost:1/2"),
        ("rediss://:secret@[::1]:1/0", "rediss://[::1]:1/0"),
        ("redis+sentinel://u:secret@a:1,b:2/main/0?x=y", "redis+sentinel://a:1,b:2/main/0"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock"),
        ("redis://:sec/ret@host", "the store"),
        ("redis://:sec?ret@host", "the store"),
        ("redis://:sec#ret@host", "the store"),
        ("redis://:sec@ret@host", "the store"),
        ("redis://host?password=s@cret", "the store"),
        ("secret", "the store"),
    ],
)
def test_name_has_no_secret(url: str, name: str) -> None:
    """What a store is called has no credentials, wherever in the URL they are, and however badly that is written."""
    assert Store(url, "p").name == name


@pytest.mark.parametrize("arguments", [("--help",), ("tail", "-h"), ("--version",)])
async def test_help(arguments: tuple[str, ...]) -> None:
    """Help and version go to stdout, and are no error."""
    shown = await _both(*arguments)
    assert shown.code == 0
    assert b"resumable-stream" in shown.out


async def test_wrong_usage() -> None:
    """What is no command, and a number that is none, are wrong usage."""
    assert (await _both("bogus")).code == 2
    assert (await _both("tail", "s", "--from", "x")).code == 2
    assert (await _both("ls", "--limit", "0")).code == 2


@pytest.mark.parametrize("missing", ["click", "rich"])
async def test_without_the_extra(missing: str) -> None:
    """Without the extra, the command says in one line what to install."""
    code = f"import sys; sys.modules[{missing!r}] = None; from resumable_stream.cli import main; sys.exit(main())"
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=pipe, stderr=pipe)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, out) == (2, b"")
    assert err == b'The command needs an extra: pip install "resumable-stream-context[cli]"\n'


async def test_encodings(cli: Command) -> None:
    """What the terminal's encoding does not have is escaped, and no error."""
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    shown = await in_process("doctor", "--url", cli.url, "--key-prefix", cli.prefix, env=environment)
    assert shown.code == 0
    assert rb"\u2192 Set appendonly" in shown.out


@pytest.mark.parametrize("cli", ["process"], indirect=True)
async def test_colours(cli: Command) -> None:
    """There are colours on a terminal, and none with NO_COLOR."""
    async with cli.context() as context:
        await context.create_new_resumable_stream("s", lambda: ["a"])
    plain = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "FORCE_COLOR"}}
    for more, is_coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        ours, its = pty.openpty()
        try:
            process = await cli.start("ls", stdout=its, env=plain | {"TERM": "xterm-256color"} | more)
            await asyncio.wait_for(process.communicate(), 30)
            shown = os.read(ours, 10_000)
        finally:
            os.close(ours)
            os.close(its)
        assert b"STATE" in shown
        assert (b"\x1b[3" in shown) is is_coloured

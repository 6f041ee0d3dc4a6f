"""The ends that a process comes to, in this process."""

from __future__ import annotations

import io
import os
import runpy
import signal
import sys
import threading
import time

import pytest
from redis import Redis

from resumable_stream.cli import main
from resumable_stream.sync import ResumableStreamContext
from tests.cli.conftest import inside
from tests.servers import Server

PREFIX = "cli-main"


@pytest.fixture
def line(server: Server) -> list[str]:
    """The options that say which store."""
    return ["--url", server.url, "--key-prefix", PREFIX]


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the command says what to install."""
    for name in [name for name in sys.modules if name.startswith("resumable_stream.cli.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith(f"{missing}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    refused = inside("ls")
    assert refused.code == 2
    assert "resumable-stream-context[cli]" in refused.err


def test_missing_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another module that is missing is not the extra's: it is an error of ours."""
    monkeypatch.setitem(sys.modules, "resumable_stream.cli.application", None)
    with pytest.raises(ModuleNotFoundError):
        main(["ls"])


def test_as_a_module(line: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The module runs the command with the arguments of the process, and exits with its code."""
    monkeypatch.setattr(sys, "argv", ["resumable-stream", "show", "nope", *line])
    monkeypatch.delitem(sys.modules, "resumable_stream.cli.__main__", raising=False)
    with pytest.raises(SystemExit) as left:
        runpy.run_module("resumable_stream.cli", run_name="__main__")
    assert left.value.code == 3
    assert capsys.readouterr().err == "there is no stream 'nope'\n"


def test_nobody_reads(line: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that nobody reads from ends the command with 141."""
    ours, its = os.pipe()
    os.close(ours)
    with os.fdopen(its, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert main(["ls", *line]) == 141


def test_interrupted(line: list[str], server: Server) -> None:
    """Ctrl-C ends a reader that waits, with 130; no task and no connection of it is left, and the stream goes on."""

    def interrupt() -> None:
        with Redis(port=server.port) as client:
            while not client.pubsub_channels(f"{PREFIX}:{{live}}*"):  # it follows as soon as it is subscribed
                time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    is_over = threading.Event()

    def factory() -> list[str]:
        is_over.wait(30)
        return []

    with (
        Redis(port=server.port) as client,
        ResumableStreamContext.from_url(server.url, key_prefix=PREFIX, drain_timeout=0.0) as context,
    ):
        client.delete(f"{PREFIX}:{{live}}:record", f"{PREFIX}:{{live}}:log")
        context.create_new_resumable_stream("live", factory)
        before = {one["id"] for one in client.client_list()}
        thread = threading.Thread(target=interrupt)
        thread.start()
        assert main(["tail", "live", *line]) == 130
        thread.join()
        assert context.has_existing_stream("live") == "running"
        while {one["id"] for one in client.client_list()} - before:
            time.sleep(0.01)  # the server notices soon, or the test's time is over
        is_over.set()


@pytest.mark.parametrize(("answer", "code"), [("y\n", 3), ("\n", 3)])
def test_asks_for_what_there_is(answer: str, code: int, line: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked about a stream that there is not."""
    monkeypatch.setattr(sys, "stdin", _Terminal(answer))
    asked = inside("delete", "nope", *line)
    assert (asked.code, asked.err) == (code, "there is no stream 'nope'\n")


@pytest.mark.parametrize(("answer", "code"), [("Yes\n", 0), ("y\n", 0), ("\n", 1), ("", 1), ("no\n", 1)])
def test_asks(answer: str, code: int, line: list[str], server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It deletes if the answer is yes, and not if there is none."""
    with ResumableStreamContext.from_url(server.url, key_prefix=PREFIX) as context:
        context.delete("s")
        assert list(context.create_new_resumable_stream("s", lambda: ["a"])) == ["a"]
        monkeypatch.setattr(sys, "stdin", _Terminal(answer))
        asked = inside("delete", "s", *line)
        assert asked.code == code
        assert asked.err.startswith("Delete stream 's' with all its chunks? [y/N]: ")
        assert (context.has_existing_stream("s") is None) == (code == 0)


@pytest.mark.parametrize("where", ["typing", "loading"])
def test_interrupted_early(where: str, line: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C before anything runs is 130, too."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(
        f"resumable_stream.cli.{'commands.store_of' if where == 'typing' else 'application.run'}", interrupt
    )
    assert inside("ls", *line).code == 130


class _Terminal(io.StringIO):
    """Standard input that is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True

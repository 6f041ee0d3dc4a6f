"""Behind gunicorn: workers that are forked before and after the context was made, threads, and a worker that dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from resumable_stream import StreamState
from resumable_stream.sync import ResumableStreamContext
from tests.servers import Server, free_port
from tests.sync.steering import wait_until

WORDS = [f"{number} " for number in range(20)]
HALF = 10
ROOT = Path(__file__).parents[2]
KINDS = {
    "processes": (["--workers", "3"], {}),
    "threads": (["--workers", "2", "--worker-class", "gthread", "--threads", "6"], {}),
    "preloaded": (["--workers", "2", "--worker-class", "gthread", "--threads", "6", "--preload"], {}),
    "opened-early": (
        ["--workers", "2", "--worker-class", "gthread", "--threads", "6", "--preload"],
        {"OPEN_EARLY": "1"},
    ),
}


class Served:
    """The application, served."""

    def __init__(self, port: int, process: subprocess.Popen[bytes], redis: Any, prefix: str) -> None:
        self.process = process
        self.redis = redis
        self.prefix = prefix
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False)

    def get(self, name: str, last_event_id: str | None = None) -> Any:
        """Ask for an answer, to be read as it comes. Each has a connection of its own."""
        headers = {"connection": "close"} | ({"last-event-id": last_event_id} if last_event_id else {})
        return self.client.stream("GET", f"/{name}", headers=headers)

    def ask(self, name: str, what: str) -> str:
        """Return what the application keeps about an answer."""
        return str(self.redis.get(f"{self.prefix}:{name}:{what}"))

    def let(self, name: str) -> None:
        """Have an answer go on."""
        self.redis.set(f"{self.prefix}:{name}:goes-on", 1, ex=60)
        self.redis.rpush(f"{self.prefix}:{name}:wakes", 1)
        self.redis.expire(f"{self.prefix}:{name}:wakes", 60)


@pytest.fixture(scope="module", params=KINDS)
def served(
    request: pytest.FixtureRequest, server_of: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Gunicorn with workers of a kind."""
    from tests.conftest import SET_SERVER

    server: Server = server_of(SET_SERVER)
    options, environment = KINDS[request.param]
    port, prefix = free_port(), f"gunicorn-{request.param}"
    log = tmp_path_factory.mktemp("gunicorn") / "log"
    command = ["gunicorn", "--bind", f"127.0.0.1:{port}", *options, "--graceful-timeout", "10", "tests.sync.wsgi"]
    variables = {**os.environ, **environment, "REDIS_URL": server.url, "PREFIX": prefix}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, env=variables, stdout=output, stderr=output
        )
    redis: Any = Redis.from_url(server.url, decode_responses=True)
    made = Served(port, process, redis, prefix)
    try:
        wait_until(lambda: answers(made.client, process), timeout=30)
        yield made
    finally:
        process.terminate()
        process.wait(timeout=20)
        made.client.close()
        redis.close()
    assert "Traceback" not in log.read_text()


@pytest.fixture
def context(served: Served, redis_server: Server) -> Iterator[ResumableStreamContext]:
    """Another process's view of the streams."""
    with ResumableStreamContext.from_url(redis_server.url, key_prefix=served.prefix) as made:
        yield made


def answers(client: httpx.Client, process: subprocess.Popen[bytes]) -> bool:
    """Whether it serves."""
    assert process.poll() is None, "it has ended"
    try:
        return client.get("/pid").is_success
    except httpx.TransportError:
        return False


def read(lines: Iterator[str], count: int | None = None) -> tuple[list[str], str | None]:
    """Read so many words, or all, and return them, and the id of the last one."""
    words: list[str] = []
    last_id: str | None = None
    while len(words) != count:
        line = next(lines, None)
        if line is None:
            break
        if line.startswith("id: "):
            last_id = line.removeprefix("id: ")
        elif line.startswith("data: "):
            words.append(line.removeprefix("data: "))
    return words, last_id


def test_one_answer_for_all(served: Served) -> None:
    """Clients of all workers read one answer, which one factory makes; one that comes back has the rest."""
    with served.get("whole") as first, served.get("whole") as second:
        half, last_id = read(first.iter_lines(), HALF)
        assert half == WORDS[:HALF]
        lines = second.iter_lines()
        assert read(lines, HALF)[0] == half
        served.let("whole")
        assert read(lines)[0] == WORDS[HALF:]
    for _ in range(4):
        with served.get("whole", last_id) as again:
            assert read(again.iter_lines())[0] == WORDS[HALF:]
    wait_until(lambda: served.ask("whole", "readers") == "0")


def test_client_that_goes_away(served: Served, context: ResumableStreamContext) -> None:
    """When a client goes away its reader ends, though there is nothing to send; the answer goes on."""
    with served.get("gone") as response:
        read(response.iter_lines(), HALF)
        assert served.ask("gone", "readers") == "1"
    wait_until(lambda: served.ask("gone", "readers") == "0")
    assert context.has_existing_stream("gone") is StreamState.RUNNING
    served.let("gone")
    stream = context.resume_existing_stream("gone")
    assert stream is not None
    assert list(stream) == WORDS


def test_worker_that_is_killed(served: Served, context: ResumableStreamContext) -> None:
    """An answer whose worker is killed is continued by the next request; new workers work, too."""
    with served.get("killed") as response:
        half, last_id = read(response.iter_lines(), HALF)
        assert half == WORDS[:HALF]
    os.kill(int(served.ask("killed", "publisher")), signal.SIGKILL)
    wait_until(lambda: context.has_existing_stream("killed") is StreamState.LOST)
    served.let("killed")
    with served.get("killed", last_id) as response:
        assert read(response.iter_lines())[0] == WORDS[HALF:]
    info = context.info("killed")
    assert info is not None
    assert (info.state, info.epoch) == (StreamState.DONE, 2)
    served.let("fresh")
    for _ in range(6):
        with served.get("fresh") as response:
            assert read(response.iter_lines())[0] == WORDS


def test_shutdown(served: Served, context: ResumableStreamContext) -> None:
    """When the server is stopped, its workers close their contexts: what still runs has stopped, and says why."""
    with served.get("stopped") as response:
        read(response.iter_lines(), HALF)
    wait_until(lambda: served.ask("stopped", "readers") == "0")
    served.process.terminate()
    assert served.process.wait(timeout=20) == 0
    info = context.info("stopped")
    assert info is not None
    assert (info.state, info.reason, info.length) == (StreamState.STOPPED, "shutdown", HALF)

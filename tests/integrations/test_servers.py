"""The routes behind real servers and real middleware: chunks come at once, and a client that goes away is noticed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integrations.apps import WORDS
from tests.servers import free_port

ROOT = Path(__file__).parents[2]
APPS = ["starlette_app", "layered_app", "fastapi_app"]
SERVERS = {
    "uvicorn": ["uvicorn", "--factory", "--host", "127.0.0.1", "--port", "{port}", "tests.integrations.apps:{app}"],
    "hypercorn": ["hypercorn", "--bind", "127.0.0.1:{port}", "tests.integrations.apps:{app}()"],
    "granian": ["granian", "--interface", "asgi", "--factory", "--port", "{port}", "tests.integrations.apps:{app}"],
}
MESSAGE = {"role": "user", "id": "u", "parts": [{"type": "text", "text": "Hello?"}]}


@pytest.fixture(scope="module", params=[(server, app) for server in SERVERS for app in APPS], ids="-".join)
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An application of a kind, served by a server of a kind."""
    server, app = request.param
    port = free_port()
    command = [part.format(port=port, app=app) for part in SERVERS[server]]
    log = tmp_path_factory.mktemp("served") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT, stdout=output, stderr=output)
    try:
        _wait_until_served(f"http://127.0.0.1:{port}", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)
    assert "Traceback" not in log.read_text()


@pytest.fixture
def client(url: str) -> Iterator[httpx.Client]:
    """A client who is signed in."""
    with httpx.Client(base_url=url, headers={"x-user": "alice"}, timeout=20, trust_env=False) as made:
        yield made


def test_chunks_come_at_once(client: httpx.Client) -> None:
    """What is said is on the wire while the answer goes on; a second request resumes; silence is filled with pings."""
    with client.stream("POST", "/api/chat", json={"id": "once", "message": MESSAGE}) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["x-vercel-ai-ui-message-stream"] == "v1"
        lines = response.iter_lines()
        half = _read(lines, until=WORDS[9])
        assert next(line for line in lines if line.startswith(":")) == ": ping"
        with client.stream("GET", "/api/chat/once/stream", headers={"last-event-id": _last_id(half)}) as resumed:
            assert resumed.status_code == 200
            client.post("/go/once")
            rest = list(resumed.iter_lines())
        assert _data(half) + _data(rest) == _data(half) + _data(list(lines))
        assert _data(rest)[-1] == "[DONE]"
    assert client.get("/api/chat/once/stream").status_code == 204
    loaded = client.get("/api/chats/once").json()
    assert loaded["messages"][1]["parts"][1]["text"] == "".join(WORDS)


def test_client_that_goes_away_is_noticed(client: httpx.Client) -> None:
    """When a client goes away its reader ends, though there is nothing to send; the answer goes on."""
    with client.stream("POST", "/api/chat", json={"id": "gone", "message": MESSAGE}) as response:
        lines = response.iter_lines()  # kept: it closes the response when it is forgotten
        _read(lines, until=WORDS[9])
        assert client.get("/readers").json() == 1
    deadline = time.monotonic() + 5
    while client.get("/readers").json():
        assert time.monotonic() < deadline, "the reader is still there"
    client.post("/go/gone")
    with client.stream("GET", "/api/chat/gone/stream") as resumed:
        assert resumed.status_code in (200, 204)
        resumed.read()
    assert client.get("/api/chats/gone").json()["messages"][1]["parts"][1]["text"] == "".join(WORDS)


def test_data_stream_comes_at_once(client: httpx.Client) -> None:
    """The wire of version 4 is not held back either, though it is plain text."""
    message = {"role": "user", "id": "u", "content": "Hello?"}
    with client.stream("POST", "/api/v4/chat", json={"id": "four", "messages": [message]}) as response:
        assert response.headers["x-vercel-ai-data-stream"] == "v1"
        lines = response.iter_lines()
        half = _read(lines, until=WORDS[9])
        client.post("/go/four")
        texts = [json.loads(line[2:]) for line in [*half, *lines] if line.startswith("0:")]
    assert "".join(texts) == "".join(WORDS)


def _read(lines: Iterator[str], until: str) -> list[str]:
    read = []
    for line in lines:
        read.append(line)
        if until in line:
            return read
    raise AssertionError(f"{until!r} did not come: {read}")


def _data(lines: list[str]) -> list[str]:
    return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]


def _last_id(lines: list[str]) -> str:
    return [line.removeprefix("id: ") for line in lines if line.startswith("id: ")][-1]


def _wait_until_served(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(f"{url}/readers", trust_env=False).raise_for_status()
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"it did not start:\n{log.read_text(errors='replace')}")

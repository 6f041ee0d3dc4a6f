"""The examples of all frameworks, each on servers that its users have."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.servers import free_port
from tests.web import wait_until_served

ASGI_APPS = ["starlette", "layered", "fastapi", "litestar", "django", "quart"]
OTHERS = [("aiohttp", "aiohttp"), ("sanic", "sanic"), ("gunicorn", "flask"), ("gunicorn", "django_wsgi")]
MESSAGE = {"role": "user", "id": "u", "parts": [{"type": "text", "text": "Hello?"}]}

ROOT = Path(__file__).parents[2]
_APP = "tests.integrations.served"
_SERVERS = {
    "uvicorn": "uvicorn --host 127.0.0.1 --port {port} --timeout-graceful-shutdown 2 {module}:{app}",
    "hypercorn": "hypercorn --bind 127.0.0.1:{port} --graceful-timeout 2 {module}:make('{app}')",
    "granian": "granian --interface asgi --port {port} {module}:{app}",
    "aiohttp": "{module} {port}",
    "gunicorn": "gunicorn --no-control-socket --config examples/frameworks/gunicorn_settings.py"
    " --bind 127.0.0.1:{port} {module}:make('{app}')",
    "sanic": "sanic -H 127.0.0.1 -p {port} --single-process {module}:sanic",
}


@dataclass(frozen=True)
class Served:
    """An application that is being served."""

    url: str
    control: str
    process: subprocess.Popen[bytes]
    log: Path

    def client(self, user: str = "alice") -> httpx.Client:
        """Return the client of a user, to be closed; ``""``: of nobody."""
        return httpx.Client(base_url=self.url, headers={"x-user": user}, timeout=20, trust_env=False)

    @property
    def readers(self) -> int:
        """How many readers the streams have."""
        return int(httpx.get(self.control, trust_env=False).text)

    def let_go(self, name: str) -> None:
        """Have the answer of a chat, or the numbers, go on."""
        httpx.post(f"{self.control}/go/{name}", trust_env=False)

    def wait_for_readers(self, count: int) -> None:
        """Wait until there are so many readers."""
        deadline = time.monotonic() + 5
        while (readers := self.readers) != count:
            assert time.monotonic() < deadline, f"there are {readers} readers"
            time.sleep(0.01)


@contextmanager
def serving(server: str, app: str, folder: Path, redis_url: str = "", *, may_raise: bool = False) -> Iterator[Served]:
    """Serve an application until the block is left. Its log has no traceback then, unless it may raise something."""
    port, control = free_port(), free_port()
    command = _SERVERS[server].format(port=port, app=app, module=_APP).split()
    environment = os.environ | {"CONTROL_PORT": str(control), "REDIS_URL": redis_url}
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
    served = Served(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{control}", process, log)
    try:
        wait_until_served(f"{served.url}/api/chats", process, log)
        yield served
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        finally:
            process.kill()
    assert may_raise or "Traceback" not in log.read_text(), log.read_text()


@contextmanager
def asking(client: httpx.Client, chat_id: str) -> Iterator[tuple[httpx.Response, Iterator[str]]]:
    """Start an answer, which waits half-way."""
    with client.stream("POST", "/api/chat", json={"id": chat_id, "message": MESSAGE}) as response:
        assert response.status_code == 200
        yield response, response.iter_lines()


def read_until(lines: Iterator[str], until: str) -> list[str]:
    """Read up to the line that has a text in it."""
    read = []
    for line in lines:
        read.append(line)
        if until in line:
            return read
    raise AssertionError(f"{until!r} did not come: {read}")


def last_id(lines: list[str]) -> str:
    """Return the id of the last event."""
    return [line.removeprefix("id: ") for line in lines if line.startswith("id: ")][-1]

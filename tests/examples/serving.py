"""The example chat, served as the Makefile serves it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.servers import free_port
from tests.web import wait_until_served

ROOT = Path(__file__).parents[2]
OURS = ("DATABASE_URL", "REDIS_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "DEMO_DELAY", "INSPECTOR")


@dataclass(frozen=True)
class App:
    """The example, being served."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def client(self, user: str = "ada") -> httpx.Client:
        """Return the client of a user, to be closed."""
        headers = {"authorization": f"Bearer {user}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    def kill(self) -> None:
        """Kill it and its workers, without giving them a chance to say anything."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def serving(folder: Path, settings: dict[str, str], *, workers: int = 1, port: int = 0) -> Iterator[App]:
    """Serve the example as the Makefile does, with chats in a folder, on a free port, until the block is left."""
    arguments = ["--app-dir", "examples", "chat.app:app", "--timeout-graceful-shutdown", "1"]
    settings = {"DATABASE_URL": f"sqlite+aiosqlite:///{folder}/chats.db"} | settings
    with uvicorn(ROOT, [*arguments, "--workers", str(workers)], settings, folder, port=port) as app:
        yield app


@contextmanager
def uvicorn(cwd: Path, arguments: list[str], settings: dict[str, str], logs: Path, *, port: int = 0) -> Iterator[App]:
    """Serve with uvicorn, on a free port unless one is given, until the block is left.

    Whoever killed it inside of the block has nothing to wait for at its end.
    """
    port = port or free_port()
    log = logs / f"{port}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", *arguments, "--host", "127.0.0.1", "--port", str(port)],
            cwd=cwd,
            env={name: value for name, value in os.environ.items() if name not in OURS} | settings,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    app = App(f"http://127.0.0.1:{port}", process, log)
    try:
        wait_until_served(app.url, process, log)
        yield app
        process.terminate()
        process.wait(timeout=30)
    finally:
        if process.poll() is None:
            app.kill()

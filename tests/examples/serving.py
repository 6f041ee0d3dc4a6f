"""The example chat, served as the Makefile serves it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.servers import free_port

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
    """Serve the example as the Makefile does, with chats in a folder, on a free port, until the block is left.

    Whoever killed it inside of the block has nothing to wait for at its end.
    """
    port = port or free_port()
    command = ["-m", "uvicorn", "--app-dir", "examples", "chat.app:app", "--timeout-graceful-shutdown", "1"]
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
    environment = {name: value for name, value in os.environ.items() if name not in OURS}
    environment |= {"DATABASE_URL": f"sqlite+aiosqlite:///{folder}/chats.db"} | settings
    log = folder / f"{port}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, *command, *options],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    app = App(f"http://127.0.0.1:{port}", process, log)
    try:
        _wait_until_served(app)
        yield app
        process.terminate()
        process.wait(timeout=20)
    finally:
        if process.poll() is None:
            app.kill()


def _wait_until_served(app: App) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and app.process.poll() is None:
        try:
            httpx.get(app.url, trust_env=False).raise_for_status()
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"the example did not start:\n{app.log.read_text(errors='replace')}")

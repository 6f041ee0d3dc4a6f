"""The chat server of these tests as processes, and the pages that it serves."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers import free_port
from tests.web import wait_until_served

__all__ = ["CLIENTS", "Worker", "build_pages", "install_clients", "serving"]

ROOT = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent / "clients"
OURS = ("DATABASE_URL", "REDIS_URL", "E2E_PACE", "E2E_BUNDLES")


@dataclass(frozen=True)
class Worker:
    """A process of the chat server."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait_until_served(self) -> None:
        """Return when it answers."""
        wait_until_served(f"{self.url}/api/chats", self.process, self.log)

    def kill(self) -> None:
        """End it without giving it a chance to say anything. May be called twice."""
        self.process.kill()
        self.process.wait()


def install_clients() -> None:
    """Install the packages that clients are made of, unless that was done."""
    if not (CLIENTS / "node_modules").exists():
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=CLIENTS, check=True)


def build_pages(folder: Path) -> None:
    """Make the scripts of the pages."""
    install_clients()
    subprocess.run(["node", "build.mjs", folder], cwd=CLIENTS, check=True)


@contextmanager
def serving(folder: Path, settings: dict[str, str], *, count: int = 1) -> Iterator[list[Worker]]:
    """Run processes of the chat server, each on a free port, until the block is left."""
    workers: list[Worker] = []
    try:
        workers.append(_started(folder, settings))
        workers[0].wait_until_served()  # when it has made what tables there are to be
        workers += [_started(folder, settings) for _ in range(count - 1)]
        for worker in workers:
            worker.wait_until_served()
        yield workers
        for worker in workers:
            worker.process.terminate()
        for worker in workers:
            worker.process.wait(timeout=20)
    finally:
        for worker in workers:
            worker.kill()


def _started(folder: Path, settings: dict[str, str]) -> Worker:
    port = free_port()
    command = ["-m", "uvicorn", "tests.e2e.app:app", "--host", "127.0.0.1", "--port", str(port)]
    environment = {name: value for name, value in os.environ.items() if name not in OURS} | settings
    log = folder / f"{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command, "--timeout-graceful-shutdown", "1"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    return Worker(f"http://127.0.0.1:{port}", process, log)

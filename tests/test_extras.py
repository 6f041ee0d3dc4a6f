"""What is installed only if it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

_WITHOUT = "import sys; sys.modules[{missing!r}] = None; {code}"
_SQL = "from resumable_stream.chat.stores.sql import SQLChatStore; SQLChatStore.from_url({!r})"


@pytest.mark.parametrize(
    ("missing", "code", "extra"),
    [
        ("filelock", "import resumable_stream.chat.stores.json_files", "json-files"),
        ("sqlalchemy", _SQL.format("sqlite:///x.db"), "sql"),
        ("alembic", _SQL.format("sqlite:///x.db"), "sql"),
        ("aiosqlite", _SQL.format("sqlite:///x.db"), "sql"),
        ("asyncpg", _SQL.format("postgresql://host/db"), "postgresql"),
        ("opentelemetry", "import resumable_stream.telemetry", "otel"),
    ],
)
def test_missing_extra(missing: str, code: str, extra: str) -> None:
    """Without a package that a module needs, the error names what to install."""
    run = [sys.executable, "-c", _WITHOUT.format(missing=missing, code=code)]
    done = subprocess.run(run, check=False, capture_output=True, text=True)
    assert done.returncode != 0
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError")
    assert last.endswith(f"pip install 'resumable-stream-context[{extra}]'")


def test_stores_are_loaded_when_they_are_used() -> None:
    """Importing chats loads none of the packages that stores need."""
    code = "import resumable_stream.chat.changes, resumable_stream.chat.stores.memory, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"sqlalchemy", "alembic", "aiosqlite", "asyncpg", "filelock", "redis"}

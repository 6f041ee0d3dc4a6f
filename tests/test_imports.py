"""What importing costs, and who may import whom."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import resumable_stream

SOURCE = Path(resumable_stream.__file__).parent

# Of each layer, what of this package it may import. A layer is a module or a folder; the stores of chats are one, too.
MAY_IMPORT = {
    "exceptions": set(),
    "types": {"exceptions"},
    "chat_types": {"exceptions"},
    "abc": {"chat_types", "types", "exceptions"},
    "observer": {"types"},
    "_core": {"types", "exceptions"},
    "codecs": {"abc", "types"},
    "_engine": {"_core", "abc", "observer", "types", "exceptions"},
    "stream": {"_engine", "_core", "abc", "types", "exceptions"},
    "context": {"_engine", "_core", "abc", "backends", "observer", "stream", "types", "exceptions"},
    "backends": {"_core", "abc", "types", "exceptions"},
    "chat": {"_core", "_engine", "abc", "answers", "chat_types", "context", "exceptions", "stream", "types"},
    "chat/stores": {"abc", "backends", "chat", "chat_types", "exceptions"},  # one driver, one seam
    "sync": {  # it sees the asynchronous twins, and never a backend
        *("_core", "_engine", "abc", "answers", "chat", "chat_types", "context", "exceptions", "stream", "types"),
    },
    "testing": {"_core", "abc", "chat", "chat_types", "types", "exceptions"},
    "protocols": {"_core", "chat", "chat_types", "exceptions"},
    "answers": {"exceptions", "protocols"},
    "http": {"_core", "chat", "chat_types", "exceptions", "protocols", "stream", "sync", "types"},
    "integrations": {"chat", "exceptions", "http", "stream", "sync"},
    "inspector": {"context", "exceptions", "http", "types"},  # and nobody imports it
    "interop": {"_core", "_engine", "backends", "context", "exceptions", "types"},  # and nobody imports it
    "cli": {"_core", "backends", "context", "exceptions", "stream", "types"},  # and nobody imports it
    "telemetry": {"observer", "types"},  # and nobody imports it
    "__init__": {"abc", "codecs", "context", "exceptions", "observer", "stream", "types"},
}

# Of each layer, what else than the standard library and typing-extensions it may import.
MAY_USE = {
    "_engine": {"anyio"},
    "backends": {"anyio", "hiredis", "redis"},  # one comes with the other
    "chat": {"anyio"},
    # Alembic runs its environment outside of any package.
    "chat/stores": {"aiosqlite", "alembic", "anyio", "asyncpg", "filelock", "redis", "resumable_stream", "sqlalchemy"},
    "context": {"redis"},  # for annotations alone
    "sync": {"redis"},  # for annotations alone
    "telemetry": {"opentelemetry"},
    "testing": {"anyio"},
    "answers": {"anyio"},
    "http": {"anyio"},
    "inspector": {"anyio"},
    "integrations": {"anyio", "aiohttp", "django", "fastapi", "flask", "litestar", "quart", "sanic", "starlette"},
    "interop": {"anyio", "redis"},
    "cli": {"anyio", "click", "redis", "rich"},
}

# Of each integration whose framework is not its name, what it uses; and what it may have of other integrations.
FRAMEWORKS = {"django_wsgi": "django"}
BUILT_ON = {"fastapi": {"starlette"}, "django_wsgi": {"django"}}


def layer_of(path: Path) -> str:
    """The module or folder that a file belongs to."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return "chat/stores" if parts[:2] == ("chat", "stores") else parts[0]


def imports_of(path: Path) -> Iterator[tuple[bool, str]]:
    """Yield, for each import, whether it is of this package, and the name of the layer or distribution."""
    package = ["resumable_stream", *path.relative_to(SOURCE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((False, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield False, (node.module or "").split(".")[0]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            names = [base[1]] if len(base) > 1 else [alias.name for alias in node.names]
            yield from ((True, name) for name in names)


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_one_way(path: Path) -> None:
    """A module imports only what its layer may."""
    layer = layer_of(path)
    for is_ours, name in imports_of(path):
        if is_ours:
            assert name == layer or name in MAY_IMPORT[layer], f"{layer} may not import {name}"
        elif name not in sys.stdlib_module_names and name != "typing_extensions":
            assert name in MAY_USE.get(layer, set()), f"{layer} may not use {name}"


@pytest.mark.parametrize("path", sorted((SOURCE / "integrations").glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_integrations_are_apart(path: Path) -> None:
    """An integration imports its one framework, and no other integration, but for what it is built on."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            assert node.module in BUILT_ON.get(path.stem, set())
    used = {name for is_ours, name in imports_of(path) if not is_ours and name in MAY_USE["integrations"]}
    assert used - {"anyio"} == {FRAMEWORKS.get(path.stem, path.stem)}


def test_decisions_do_no_io() -> None:
    """The core has no coroutine, no clock, no randomness and no log."""
    for path in (SOURCE / "_core").glob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        assert not any(isinstance(node, (ast.AsyncFunctionDef, ast.Await)) for node in nodes)
        used = {name for is_ours, name in imports_of(path) if not is_ours}
        assert not used & {"asyncio", "time", "datetime", "random", "secrets", "uuid", "logging", "os", "socket"}


def test_import_loads_no_driver_and_no_framework() -> None:
    """Importing the package loads neither redis nor a framework, and of the package itself the core alone."""
    code = "import resumable_stream, sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = json.loads(done.stdout)
    roots = {name.split(".")[0] for name in loaded}
    frameworks = MAY_USE["integrations"] - {"anyio"}
    ours = {name.split(".")[1] for name in loaded if name.startswith("resumable_stream.")}
    assert ours == MAY_IMPORT["context"] - {"backends"} | {"codecs", "chat_types", "context"}
    assert not roots & {"redis", "hiredis", "pydantic", "openai", "fakeredis", "pytest", "opentelemetry", *frameworks}

"""Engines of our own."""

from __future__ import annotations

import re
from inspect import signature
from threading import Thread
from typing import Any

import anyio
import anyio.to_thread
from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ....exceptions import InvalidSettingError

__all__ = ["make_engine"]

_DRIVERS = {"postgresql": "postgresql+asyncpg", "sqlite": "sqlite+aiosqlite"}
_EXTRAS = {"postgresql": "postgresql", "sqlite": "sql"}
_PATIENCE = 5.0
_OF_SQLALCHEMY = {"prepared_statement_cache_size", "prepared_statement_name_func"}


def make_engine(url: str) -> AsyncEngine:
    """Return the engine that a URL says.

    Raises:
        InvalidSettingError: It is malformed, or names another kind of database.
        ImportError: The driver is not installed.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # the second may quote what it takes for the port, a piece of a password
        raise InvalidSettingError("not a URL of a database") from None
    parsed = parsed.set(drivername=re.sub(r"^postgres\b", "postgresql", parsed.drivername))  # as some providers have it
    kind = parsed.get_backend_name()
    if kind not in _DRIVERS:
        raise InvalidSettingError("chats are kept in PostgreSQL or in SQLite, and the URL is of neither")
    if parsed.drivername == kind:
        parsed = parsed.set(drivername=_DRIVERS[kind])
    try:
        if parsed.drivername == _DRIVERS["postgresql"]:
            parsed = _as_asyncpg_says(parsed)
        engine = create_async_engine(parsed, hide_parameters=True, **_settings(parsed))
    except ImportError as error:
        extra = f"pip install 'resumable-stream-context[{_EXTRAS[kind]}]'"
        raise ImportError(f"{parsed.drivername} needs a driver that is not installed: {extra}") from error
    except (SQLAlchemyError, TypeError) as error:
        raise InvalidSettingError("not a URL that SQLAlchemy can make an engine of") from error
    if kind == "sqlite":
        event.listen(engine.sync_engine, "connect", _set_up_sqlite)
    return engine


def _as_asyncpg_says(url: URL) -> URL:
    """Return a URL of PostgreSQL in the words of asyncpg. Providers print it in those of libpq."""
    # Here, because who has SQLite can do without.
    import asyncpg  # type: ignore[import-untyped]  # it has no types

    query = dict(url.query)
    if "sslmode" in query:
        query["ssl"] = query.pop("sslmode")
    unknown = query.keys() - signature(asyncpg.connect).parameters.keys() - _OF_SQLALCHEMY
    if unknown:
        raise InvalidSettingError(
            f"asyncpg does not know {', '.join(sorted(unknown))}: leave it out of the URL, or make an engine yourself"
        )
    return url.set(query=query)


def _settings(url: URL) -> dict[str, Any]:
    if url.get_driver_name() == "aiosqlite":
        return {"connect_args": {"timeout": _PATIENCE, "async_creator_fn": _connect_to_sqlite}}
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": _PATIENCE}}
    pool = {"pool_timeout": _PATIENCE, "pool_pre_ping": True}  # a connection that broke while idle costs no call
    if url.get_driver_name() == "asyncpg":
        return pool | {"connect_args": {"timeout": _PATIENCE, "command_timeout": _PATIENCE}}
    return pool


async def _connect_to_sqlite(*args: Any, **settings: Any) -> Any:
    """Connect as SQLAlchemy does, and if that fails, wait for the end of the connection's thread.

    aiosqlite does not wait: the thread would report its end to an event loop that may be closed by then. Nor does it
    always tell a thread to end whose caller was cancelled (before 0.21), so that the wait has to end by itself.
    """
    import aiosqlite  # here, because who has PostgreSQL can do without

    connection = aiosqlite.connect(*args, **settings)
    thread = connection if isinstance(connection, Thread) else connection._thread  # noqa: SLF001  # since 0.22
    thread.daemon = True
    try:
        return await connection
    except BaseException:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(thread.join, _PATIENCE)
        raise


def _set_up_sqlite(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()

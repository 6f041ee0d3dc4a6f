"""Engines of our own."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ....exceptions import InvalidSettingError

__all__ = ["make_engine"]

_DRIVERS = {"postgresql": "postgresql+asyncpg", "sqlite": "sqlite+aiosqlite"}
_EXTRAS = {"postgresql": "postgresql", "sqlite": "sql"}
_PATIENCE = 5.0


def make_engine(url: str) -> AsyncEngine:
    """Return the engine that a URL says.

    Raises:
        InvalidSettingError: It is malformed, or names another kind of database.
        ImportError: The driver is not installed.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidSettingError("not a URL of a database") from error
    kind = parsed.get_backend_name()
    if kind not in _DRIVERS:
        raise InvalidSettingError("chats are kept in PostgreSQL or in SQLite, and the URL is of neither")
    if parsed.drivername == kind:
        parsed = parsed.set(drivername=_DRIVERS[kind])
    try:
        engine = create_async_engine(parsed, hide_parameters=True, **_settings(parsed))
    except ImportError as error:
        extra = f"pip install 'resumable-stream-context[{_EXTRAS[kind]}]'"
        raise ImportError(f"{parsed.drivername} needs a driver that is not installed: {extra}") from error
    except (SQLAlchemyError, TypeError) as error:
        raise InvalidSettingError("not a URL that SQLAlchemy can make an engine of") from error
    if kind == "sqlite":
        event.listen(engine.sync_engine, "connect", _set_up_sqlite)
    return engine


def _settings(url: URL) -> dict[str, Any]:
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": _PATIENCE}}
    pool = {"pool_timeout": _PATIENCE, "pool_pre_ping": True}  # a connection that broke while idle costs no call
    if url.get_driver_name() == "asyncpg":
        return pool | {"connect_args": {"timeout": _PATIENCE, "command_timeout": _PATIENCE}}
    return pool


def _set_up_sqlite(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()

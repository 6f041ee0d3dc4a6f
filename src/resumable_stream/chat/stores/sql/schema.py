"""Whether the tables are there, and how they get there."""

from __future__ import annotations

from typing import Final

import anyio
from alembic import command
from alembic.config import Config
from anyio.lowlevel import RunVar
from sqlalchemy import Connection, column, inspect, select, table, text
from sqlalchemy.ext.asyncio import AsyncConnection

from ....exceptions import ChatStoreError
from .locking import exclusively
from .tables import METADATA, REVISION, VERSION_TABLE

__all__ = ["check_schema", "migrate"]

_LOCK: Final = 0x7265_7375_6D61_626C
"""A number that no other program is likely to lock in PostgreSQL: the first letters of our name."""

# Alembic keeps what it works on in its modules, so in one event loop there can only be one at a time.
_turn: RunVar[anyio.Lock] = RunVar("resumable_stream migration")


async def check_schema(connection: AsyncConnection) -> None:
    """Raise `ChatStoreError` unless the tables are those that this version of the package works with."""
    revision = await connection.run_sync(_revision)
    if revision is None:
        raise ChatStoreError("the database has no tables for chats yet: call `await store.migrate()` once")
    if revision < REVISION:
        raise ChatStoreError(
            f"the tables for chats are of an older version, {revision} and not {REVISION}: call "
            "`await store.migrate()` once"
        )
    if revision > REVISION:
        raise ChatStoreError(
            f"the tables for chats are of a newer version, {revision} and not {REVISION}: update "
            "resumable-stream-context here too"
        )


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.scalar(select(column("version_num")).select_from(table(VERSION_TABLE)))
    return found


async def migrate(connection: AsyncConnection) -> None:
    """Bring the tables up to date, in the transaction of a connection, which nobody else does meanwhile."""
    if connection.dialect.name == "postgresql":
        await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        await _upgrade_in_turn(connection)
    else:
        await exclusively(connection, _upgrade_in_turn)


async def _upgrade_in_turn(connection: AsyncConnection) -> None:
    try:
        turn = _turn.get()
    except LookupError:
        turn = anyio.Lock()
        _turn.set(turn)
    async with turn:
        await connection.run_sync(_upgrade)


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", "resumable_stream.chat.stores.sql:migrations")
    config.attributes["settings"] = {
        "connection": connection,
        "target_metadata": METADATA,
        "version_table": VERSION_TABLE,
    }
    command.upgrade(config, "head")

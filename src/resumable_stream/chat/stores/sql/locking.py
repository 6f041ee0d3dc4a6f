"""How SQLite is locked: the same for all engines, however they are set."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

__all__ = ["exclusively", "set_patience"]

T = TypeVar("T")


async def exclusively(connection: AsyncConnection, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """Do some work in one transaction, which locks the database for all others who write.

    An engine of a user may commit each statement by itself (``AUTOCOMMIT``), or begin in a way of its own.
    """
    raw = (await connection.get_raw_connection()).driver_connection
    is_begun = getattr(raw, "in_transaction", False)
    if is_begun:
        await connection.exec_driver_sql("ROLLBACK")
    await connection.exec_driver_sql("BEGIN IMMEDIATE")
    if is_begun:  # then the engine ends it
        return await work(connection)
    try:
        result = await work(connection)
        await connection.exec_driver_sql("COMMIT")
    except BaseException:
        with suppress(SQLAlchemyError):  # SQLite may have done it by itself
            await connection.exec_driver_sql("ROLLBACK")
        raise
    return result


def set_patience(connection: Connection, seconds: float) -> float:
    """Have SQLite wait so long for a lock, and return how long it did."""
    cursor = connection.connection.cursor()
    cursor.execute("PRAGMA busy_timeout")
    (before,) = cursor.fetchall()[0]
    cursor.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")
    cursor.close()
    return float(before) / 1000

"""Chats in a SQL database: PostgreSQL, or SQLite for one machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import anyio
from typing_extensions import Self, override

try:
    from alembic import __version__ as _  # noqa: F401  # what migrations need is of the same extra
    from sqlalchemy.exc import OperationalError
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
    from sqlalchemy.pool import StaticPool
except ImportError as _error:
    raise ImportError("SQL needs SQLAlchemy and Alembic: pip install 'resumable-stream-context[sql]'") from _error

from ....abc import ChatStore
from ....chat_types import Chat, ChatChange, ChatInfo, ChatPage, StreamRecord
from ....exceptions import (
    ChatChangedError,
    ChatExistsError,
    ChatNotFoundError,
    ChatStoreError,
    ContextClosedError,
    InvalidSettingError,
)
from ...changes import PagePosition
from ...finishing import to_the_end
from ..text import dump
from . import statements
from .engines import make_engine
from .errors import translated_errors
from .locking import exclusively, set_patience
from .schema import check_schema, migrate

__all__ = ["SQLChatStore"]

T = TypeVar("T")

_MAX_SECONDS = 10.0
_LOCK_PATIENCE = 5.0  # as in engines of our own
_WAL = "PRAGMA journal_mode = WAL"
_WAL_ATTEMPTS = 100
_WAL_PAUSE = 0.05


class SQLChatStore(ChatStore):
    """Keeps chats in tables of a database, with one row for each message. Several processes may share it.

    Before the first use, and after each update of this package, `migrate` brings the tables up to date.

    Each change is one short transaction, whose first statement locks the row of the chat (in SQLite: the database), so
    of two changes one waits for the other and none is lost.

    Args:
        engine: Of SQLAlchemy, for PostgreSQL or SQLite. It is used and never closed. One for SQLite should be for a
            file: in memory, all tasks would share one connection, and with that one transaction.

    Raises:
        InvalidSettingError: It is an engine for something else.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        if engine.dialect.name not in statements.DIALECTS:
            raise InvalidSettingError("chats are kept in PostgreSQL or in SQLite, and the engine is for neither")
        if isinstance(engine.pool, StaticPool):
            raise InvalidSettingError("a SQLite database in memory has one connection only: use MemoryChatStore")
        self._is_sqlite = engine.dialect.name == "sqlite"
        # One change is made after the other, and what each sees is what was there before, however the engine is set.
        self._engine = engine if self._is_sqlite else engine.execution_options(isolation_level="READ COMMITTED")
        self._own_engine: AsyncEngine | None = None
        self._turn: anyio.Lock | None = None
        self._is_connected = False

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Return a store with an engine of its own, which is closed with the store.

        Args:
            url: As SQLAlchemy has it, such as ``postgresql+asyncpg://user:password@host/database`` or
                ``sqlite+aiosqlite:///chats.db``. ``postgres://`` and ``sslmode``, as providers of databases print them,
                are understood too.

        Raises:
            InvalidSettingError: It is malformed, or names another kind of database.
            ImportError: The driver is not installed.
        """
        engine = make_engine(url)
        store = cls(engine)
        store._own_engine = engine
        return store

    @override
    async def connect(self) -> None:
        self._turn = anyio.Lock()
        with translated_errors("answer"):
            await to_the_end(self._in_transaction(check_schema))
        self._is_connected = True

    @override
    async def aclose(self) -> None:
        self._is_connected = False
        if self._own_engine is not None:
            await to_the_end(self._own_engine.dispose())

    async def migrate(self) -> None:
        """Make the tables, or bring them up to date. Without effect if they are.

        Works before `connect`. Of several processes that call it at once, one does it, and the others wait. What is
        there is kept. A cancelled call was carried out or not.

        Raises:
            ChatStoreError: The database cannot be reached, or does not let this user make tables.
        """
        with translated_errors("make the tables"):
            try:
                if self._is_sqlite and self._own_engine is not None:
                    await to_the_end(self._use_wal())
                await to_the_end(self._in_transaction(migrate))
            finally:
                if not self._is_connected:  # then nobody has to close it
                    await self.aclose()

    @override
    async def create(self, chat_id: str, owner: str, metadata: Mapping[str, Any]) -> ChatInfo:
        text = dump(metadata)

        async def create(connection: AsyncConnection) -> ChatInfo | None:
            if not await statements.insert_chat(connection, chat_id, owner, text):
                raise ChatExistsError(chat_id)
            return await statements.select_info(connection, chat_id)

        return _there(await self._run("create a chat", create, writes=True))

    @override
    async def describe(self, chat_id: str) -> ChatInfo | None:
        return await self._run("read a chat", lambda connection: statements.select_info(connection, chat_id))

    @override
    async def load(self, chat_id: str) -> Chat | None:
        return await self._run("read a chat", lambda connection: statements.select_chat(connection, chat_id))

    @override
    async def list(self, owner: str, limit: int, after: str | None) -> ChatPage:
        position = None if after is None else PagePosition.decode(after)
        found = await self._run(
            "list chats", lambda connection: statements.select_page(connection, owner, limit + 1, position)
        )
        chats = [*found[:limit]]
        return ChatPage(chats, PagePosition.of(chats[-1]).encode() if len(found) > limit else None)

    @override
    async def save(self, chat_id: str, change: ChatChange) -> ChatInfo:
        async def save(connection: AsyncConnection) -> ChatInfo | None:
            now = await statements.touch_chat(connection, chat_id, change)
            if now is None:
                is_there = await statements.select_info(connection, chat_id) is not None
                raise ChatChangedError(chat_id) if is_there else ChatNotFoundError(chat_id)
            if change.drop_after is not None:
                await statements.delete_messages_after(connection, chat_id, change.drop_after)
            if change.put:
                await statements.upsert_messages(connection, chat_id, change.put)
            if change.begin is not None:
                await statements.insert_stream(connection, chat_id, change.begin, now)
            return await statements.select_info(connection, chat_id)

        return _there(await self._run("save a chat", save, writes=True))

    @override
    async def delete(self, chat_id: str, *, if_owner: str | None = None) -> Sequence[StreamRecord] | None:
        async def delete(connection: AsyncConnection) -> Sequence[StreamRecord] | None:
            if await statements.touch_chat(connection, chat_id, ChatChange(if_owner=if_owner)) is None:
                return None
            streams = await statements.select_streams(connection, chat_id)
            await statements.delete_chat(connection, chat_id)
            return streams

        return await self._run("delete a chat", delete, writes=True)

    @override
    async def list_streams(self, chat_id: str) -> Sequence[StreamRecord]:
        return await self._run("read a chat", lambda connection: statements.select_streams(connection, chat_id))

    @override
    async def find_by_stream(self, stream_id: str) -> ChatInfo | None:
        return await self._run(
            "find a chat", lambda connection: statements.select_info_of_stream(connection, stream_id)
        )

    async def _run(self, doing: str, work: Callable[[AsyncConnection], Awaitable[T]], *, writes: bool = False) -> T:
        if not self._is_connected:
            raise ContextClosedError("the store is not connected")
        with translated_errors(doing):
            return await to_the_end(self._in_turn(work) if writes and self._is_sqlite else self._in_transaction(work))

    async def _in_turn(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """SQLite lets one write at a time, and has the others ask again and again: within a process, they queue."""
        assert self._turn is not None
        with anyio.fail_after(_MAX_SECONDS):
            await self._turn.acquire()
        try:
            if self._own_engine is not None:  # the first statement begins and locks: that is how ours is set
                return await self._in_transaction(work)
            return await self._in_transaction(lambda connection: exclusively(connection, work))
        finally:
            self._turn.release()

    async def _use_wal(self) -> None:
        """Let readers go on while somebody writes. The file remembers it.

        To change that, SQLite needs the file for itself, and does not wait for it, whatever its time-out.
        """
        for _ in range(_WAL_ATTEMPTS):
            try:
                await self._in_transaction(lambda connection: connection.exec_driver_sql(_WAL))
            except OperationalError as error:
                if "locked" not in str(error.orig):
                    raise
                await anyio.sleep(_WAL_PAUSE)
            else:
                return

    async def _in_transaction(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        # In SQLite a statement runs on in its thread, whatever becomes of who awaits it, and would keep the lock that
        # it waited for. So it is never cancelled: that it does not wait for long is left to SQLite.
        with anyio.fail_after(None if self._is_sqlite else _MAX_SECONDS):
            async with AsyncExitStack() as stack:
                connection = self._engine.connect()
                try:
                    with anyio.fail_after(_MAX_SECONDS):
                        await connection.start()
                except Exception as error:  # SQLAlchemy hands on what a driver raises while it connects
                    raise ChatStoreError(f"the database cannot be reached: {type(error).__name__}") from error
                stack.push_async_exit(connection)
                if self._is_sqlite and self._own_engine is None:  # ours is set so
                    patience = await connection.run_sync(set_patience, _LOCK_PATIENCE)
                    stack.push_async_callback(connection.run_sync, set_patience, patience)
                await stack.enter_async_context(connection.begin())
                return await work(connection)


def _there(info: ChatInfo | None) -> ChatInfo:
    if info is None:
        raise ChatStoreError("the database forgot a chat in the middle of a transaction")
    return info

"""Chats in SQL databases: the tables, and what is not the contract's."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ClassVar

import anyio.to_thread
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from typing_extensions import override

from resumable_stream.chat.changes import PagePosition
from resumable_stream.chat.stores.sql import SQLChatStore, statements
from resumable_stream.chat.stores.sql.tables import METADATA, REVISION, VERSION_TABLE
from resumable_stream.chat_types import Chat, ChatChange, StreamRecord
from resumable_stream.exceptions import ChatStoreError, ContextClosedError, InvalidSettingError
from resumable_stream.testing.chat_store_suite.harness import error_of
from tests.chat.stores.conftest import GetPostgreSQL, MakePlace
from tests.chat.stores.kinds import InPostgreSQL, InSQLite

_CHANGE = ChatChange(put=[{"id": "m"}], begin=StreamRecord("s", ""))


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, make_place: MakePlace) -> AsyncIterator[InSQLite]:
    """An empty database, without tables."""
    made = make_place(request.param)
    assert isinstance(made, InSQLite)
    if isinstance(made, InPostgreSQL):
        await made.make_database()
    yield made
    await made.check_clean()


@pytest.fixture
async def engine(database: InSQLite) -> AsyncIterator[AsyncEngine]:
    """An engine of the user's own."""
    made = create_async_engine(database.url)
    yield made
    await made.dispose()


async def _ask(engine: AsyncEngine, *queries: str) -> Sequence[Any]:
    async with engine.begin() as connection:
        for query in queries[:-1]:
            await connection.execute(text(query))
        result = await connection.execute(text(queries[-1]))
        return result.all() if result.returns_rows else []


_MIGRATE = """
import asyncio, sys
{code}

async def main():
    await asyncio.to_thread(sys.stdin.readline)
    await store.migrate()
    async with store:
        await store.create(sys.argv[1], "o", {{}})

print("ready", flush=True)
asyncio.run(main())
"""


def _migrate_at_once(code: str) -> list[int]:
    command = [sys.executable, "-W", "error", "-c", _MIGRATE.format(code=code)]
    processes = [
        subprocess.Popen([*command, f"c{number}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for number in range(5)
    ]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        return [process.wait(timeout=60) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


async def test_processes_migrate_at_once(database: InSQLite) -> None:
    """Of several processes that migrate at once, each succeeds, and the tables are made once."""
    assert await anyio.to_thread.run_sync(_migrate_at_once, database.code) == [0] * 5
    async with database.make_store() as store:
        assert len((await store.list("o", 10, None)).chats) == 5


async def test_tasks_migrate_at_once(database: InSQLite, tmp_path: Path) -> None:
    """Nor do several tasks of one process get in each other's way, whether it is the same database or another."""
    other = InSQLite(tmp_path / "other")
    await anyio.Path(tmp_path / "other").mkdir()
    stores = [(database, other)[number % 2].make_store() for number in range(6)]
    async with anyio.create_task_group() as tasks:
        for store in stores:
            tasks.start_soon(store.migrate)
    for store in stores:
        async with store:
            assert await store.describe("c") is None


async def test_migrating_keeps_what_is_there(database: InSQLite) -> None:
    """Migrating again changes nothing, also while the store is in use."""
    await database.make_store().migrate()
    async with database.make_store() as store:
        info = await store.create("c", "o", {"title": "T"})
        await store.migrate()
        assert await store.describe("c") == info


async def test_tables_are_missing(database: InSQLite) -> None:
    """Without tables, connecting fails and says what to do."""
    store = database.make_store()
    assert "await store.migrate()" in str(await error_of(store.connect(), ChatStoreError))
    await store.aclose()


@pytest.mark.parametrize(("revision", "remedy"), [("0000", "await store.migrate()"), ("9999", "update")])
async def test_tables_of_another_version(database: InSQLite, engine: AsyncEngine, revision: str, remedy: str) -> None:
    """With tables of another version, connecting fails and says which, and what to do."""
    await SQLChatStore(engine).migrate()
    await _ask(engine, f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'")
    store = database.make_store()
    error = str(await error_of(store.connect(), ChatStoreError))
    assert revision in error
    assert remedy in error
    await store.aclose()


async def test_migrations_make_the_tables(engine: AsyncEngine) -> None:
    """What the migrations make is what the code works with."""

    def differences(connection: Connection) -> list[Any]:
        options = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        found: list[Any] = compare_metadata(MigrationContext.configure(connection, opts=options), METADATA)
        return found

    await SQLChatStore(engine).migrate()
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []


def test_last_migration() -> None:
    """There is one line of migrations, and its end is the version that the code asks for."""
    script = ScriptDirectory(str(Path(statements.__file__).parent / "migrations"))
    assert script.get_heads() == [REVISION]


async def test_rows_of_a_chat_go_with_it(database: InSQLite) -> None:
    """Messages and streams belong to a chat: the database itself deletes them with it."""
    store = database.make_store()
    await store.migrate()
    async with store:
        await store.create("c", "o", {})
        await store.save("c", _CHANGE)
        assert store._own_engine is not None
        await _ask(store._own_engine, "DELETE FROM resumable_chats")
        for table in ("resumable_messages", "resumable_streams"):
            assert await _ask(store._own_engine, f"SELECT * FROM {table}") == []
        with pytest.raises(SQLAlchemyError):
            await _ask(store._own_engine, "INSERT INTO resumable_messages VALUES ('x', 1, 'm', '{}')")


async def test_deletion_does_not_need_foreign_keys(engine: AsyncEngine) -> None:
    """With an engine that does not have SQLite look after foreign keys, nothing is left of a deleted chat either."""
    store = SQLChatStore(engine)
    await store.migrate()
    async with store:
        await store.create("c", "o", {})
        await store.save("c", _CHANGE)
        await store.delete("c")
    for table in ("resumable_chats", "resumable_messages", "resumable_streams"):
        assert await _ask(engine, f"SELECT * FROM {table}") == []


_MANY = "FROM generate_series(1, 9999) i"
_FILL = (
    f"INSERT INTO resumable_chats SELECT 'c' || i, 'o' || i % 50, i, i, 1, 's' || i, '{{}}' {_MANY}",
    f"INSERT INTO resumable_streams SELECT 'c' || i, 1, 's' || i, i, '' {_MANY}",
    "ANALYZE resumable_chats, resumable_streams",
)


async def test_indexes_are_used(engine: AsyncEngine) -> None:
    """A page of chats, and the chat of a stream, are found by an index, without sorting."""
    await SQLChatStore(engine).migrate()
    position = PagePosition(1.0, "c")
    by_owner = [statements.page("o", 10, after) for after in (None, position)]
    by_stream = "SELECT chat_id FROM resumable_streams WHERE stream_id = 's'"
    queries = [str(page.compile(engine.sync_engine, compile_kwargs={"literal_binds": True})) for page in by_owner]
    explain = "EXPLAIN QUERY PLAN"
    if engine.dialect.name == "postgresql":  # which looks at what is in a table before it decides
        explain = "EXPLAIN"
        await _ask(engine, *_FILL)
    for query, index in zip([*queries, by_stream], ["owner", "owner", "stream_id"], strict=True):
        plan = await _ask(engine, f"{explain} {query}")
        assert index in str(plan)
        assert not any(word in str(plan) for word in ("Sort", "TEMP B-TREE", "Seq Scan", "SCAN"))


async def test_engine_of_the_user_is_left_alone(engine: AsyncEngine) -> None:
    """An engine that was passed in is not closed, gets back what was borrowed, and stays as it is set."""
    disposed, borrowed, returned = list[object](), list[object](), list[object]()
    event.listen(engine.sync_engine, "engine_disposed", disposed.append)
    event.listen(engine.sync_engine, "checkout", lambda *call: borrowed.append(call[1]))
    event.listen(engine.sync_engine, "checkin", lambda *call: returned.append(call[1]))
    pool, level = engine.pool, engine.sync_engine.get_execution_options()
    store = SQLChatStore(engine)
    await store.migrate()
    async with store:
        await store.create("c", "o", {})
    assert disposed == []
    assert engine.pool is pool
    assert returned == borrowed != []
    assert engine.sync_engine.get_execution_options() == level
    assert len(await _ask(engine, "SELECT * FROM resumable_chats")) == 1


async def test_engine_with_another_isolation(database: InSQLite) -> None:
    """Whatever an engine says of isolation, of changes made at the same time none is lost."""
    if database.url.startswith("sqlite"):
        engine = create_async_engine(database.url, isolation_level="SERIALIZABLE")

        @event.listens_for(engine.sync_engine, "connect")
        def _leave_transactions_to_us(connection: Any, _: object) -> None:
            connection.isolation_level = None

        @event.listens_for(engine.sync_engine, "begin")
        def _begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN")

    else:
        engine = create_async_engine(database.url, isolation_level="SERIALIZABLE")
    store = SQLChatStore(engine)
    await store.migrate()
    async with store:
        await store.create("c", "o", {})
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(store.save, "c", ChatChange(put=[{"id": str(number)}]))
        chat = await store.load("c")
    assert chat is not None
    assert (chat.info.version, len(chat.messages)) == (11, 10)
    await engine.dispose()


async def test_lock_is_not_kept_by_who_gave_up(make_place: MakePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for SQLite too long gives up within seconds, however the engine is set, and then holds no lock."""
    place = make_place("sqlite")
    assert isinstance(place, InSQLite)
    engine = create_async_engine(place.url, connect_args={"timeout": 3.0})
    store = SQLChatStore(engine)
    await store.migrate()
    other = sqlite3.connect(place.url.partition("///")[2], timeout=0.0, isolation_level=None)
    async with store:
        await store.create("c", "o", {})
        other.execute("BEGIN IMMEDIATE")
        with anyio.fail_after(2.0), monkeypatch.context() as patch:
            patch.setattr("resumable_stream.chat.stores.sql._MAX_SECONDS", 0.5)
            patch.setattr("resumable_stream.chat.stores.sql._LOCK_PATIENCE", 0.1)
            await error_of(store.save("c", _CHANGE), ChatStoreError)
        other.execute("COMMIT")
        for _ in range(20):  # who waits for SQLite tries again every tenth of a second
            other.execute("BEGIN IMMEDIATE")
            other.execute("COMMIT")
            await anyio.sleep(0.02)
        assert (await store.save("c", _CHANGE)).version == 2
        assert await _ask(engine, "PRAGMA busy_timeout") == [(3000,)]
    other.close()
    await engine.dispose()


def _begin_by_hand(engine: AsyncEngine) -> None:
    """Have an engine begin transactions itself, as SQLAlchemy's documentation shows it."""

    @event.listens_for(engine.sync_engine, "connect")
    def connect(connection: Any, _: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")


_MODES: dict[str, dict[str, Any]] = {"default": {}, "AUTOCOMMIT": {"isolation_level": "AUTOCOMMIT"}, "by hand": {}}
if sys.version_info >= (3, 12):
    _MODES |= {f"autocommit={on}": {"connect_args": {"autocommit": on}} for on in (True, False)}


@pytest.mark.parametrize("mode", _MODES)
async def test_changes_are_whole_with_every_engine_for_sqlite(
    make_place: MakePlace, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """A change that fails half-way leaves nothing, and one that succeeds is kept, however the engine commits."""
    place = make_place("sqlite")
    assert isinstance(place, InSQLite)
    engine = create_async_engine(place.url, **_MODES[mode])
    if mode == "by hand":
        _begin_by_hand(engine)
    store = SQLChatStore(engine)
    await store.migrate()
    async with store:
        info = await store.create("c", "o", {})

        async def fail(*_: object) -> None:
            raise OSError

        with monkeypatch.context() as patch:
            patch.setattr(statements, "insert_stream", fail)
            await error_of(store.save("c", _CHANGE), ChatStoreError)
        async with place.make_store() as other:
            assert await other.load("c") == Chat(info, [])
            changed = await store.save("c", _CHANGE)
            assert await other.load("c") == Chat(changed, [{"id": "m"}])
            assert await other.list_streams("c") == [changed.active_stream]
    await engine.dispose()


async def test_locked_chat_is_not_waited_for(make_place: MakePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for a row in PostgreSQL too long gives up within seconds, with an error of the store."""
    monkeypatch.setattr("resumable_stream.chat.stores.sql.engines._PATIENCE", 1.0)
    place = make_place("postgresql")
    assert isinstance(place, InPostgreSQL)
    await place.prepare()
    engine = create_async_engine(place.url)
    async with place.make_store() as store, engine.connect() as other:
        await store.create("c", "o", {})
        await other.execute(text("UPDATE resumable_chats SET version = version"))
        assert isinstance((await error_of(store.save("c", _CHANGE), ChatStoreError)).__cause__, Exception)
        await other.rollback()
        assert (await store.save("c", _CHANGE)).version == 2
    await engine.dispose()
    await place.check_clean()


async def test_rows_that_cannot_be_are_failures(database: InSQLite, engine: AsyncEngine) -> None:
    """What is half there, because something else wrote to the tables, is an error of the store."""
    store = database.make_store()
    await store.migrate()
    async with store:
        await store.create("c", "o", {})
        await _ask(engine, "UPDATE resumable_chats SET active_stream = 'missing'")
        assert isinstance((await error_of(store.load("c"), ChatStoreError)).__cause__, TypeError)


async def test_failures_are_ours(database: InSQLite, engine: AsyncEngine) -> None:
    """What the database refuses is an error of the store; the cause is there, and does not say what was sent."""
    store = database.make_store()
    await store.migrate()
    async with store:
        await store.create("c", "o", {})
        await _ask(engine, "DROP TABLE resumable_messages")
        save = store.save("c", ChatChange(put=[{"id": "m", "text": "secret"}]))
        for call in (save, store.load("c"), store.delete("c")):
            error = await error_of(call, ChatStoreError)
            assert isinstance(error.__cause__, SQLAlchemyError)
            assert "secret" not in f"{error} {error.__cause__}"
        info = await store.describe("c")
        assert info is not None
        assert info.version == 1
        await _ask(engine, "UPDATE resumable_chats SET metadata = '{'")
        assert isinstance((await error_of(store.describe("c"), ChatStoreError)).__cause__, ValueError)


async def test_database_cannot_be_reached(postgresql_of: GetPostgreSQL, tmp_path: Path) -> None:
    """A database that is not there is an error of the store, whatever the driver makes of it."""
    for url in (
        "postgresql+asyncpg://postgres@127.0.0.1:1/postgres",
        postgresql_of().url_of("missing"),
        f"sqlite+aiosqlite:///{tmp_path}/missing/chats.db",
    ):
        store = SQLChatStore.from_url(url)
        for call in (store.migrate(), store.connect()):
            assert (await error_of(call, ChatStoreError)).__cause__ is not None
        await store.aclose()


class _SlowToEnd(SimpleQueue[Any]):
    """What the thread of a connection to SQLite gets its work from: late, except for the first piece."""

    threads: ClassVar[set[threading.Thread]] = set()

    @override
    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        item = super().get(block, timeout)
        if threading.current_thread() in self.threads:
            time.sleep(0.05)
        self.threads.add(threading.current_thread())
        return item


async def test_thread_ends_with_its_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is told that SQLite cannot be reached can close the event loop: no thread will report to it later."""
    monkeypatch.setattr("aiosqlite.core.SimpleQueue", _SlowToEnd)
    store = SQLChatStore.from_url(f"sqlite+aiosqlite:///{tmp_path}/missing/chats.db")
    await error_of(store.connect(), ChatStoreError)
    assert [thread.is_alive() for thread in _SlowToEnd.threads] == [False]
    await store.aclose()


@pytest.mark.parametrize(
    "url",
    [
        *(
            "",
            "chats.db",
            "mysql+aiomysql://host/db",
            "sqlite+aiosqlite://",
            "sqlite:///:memory:",
            "sqlite+pysqlite:///x",
        ),
        "postgresql://user:pass@word:secret@host/db",
    ],
)
def test_wrong_urls(url: str) -> None:
    """What is not the URL of a database that chats can be kept in is refused at once."""
    with pytest.raises(InvalidSettingError) as raised:
        SQLChatStore.from_url(url)
    assert "secret" not in "".join(traceback.format_exception(raised.value)).replace(url, "")


def test_driver_may_be_left_out(tmp_path: Path) -> None:
    """A URL without a driver means the one that the extra installs."""
    for url, driver in ((f"sqlite:///{tmp_path}/x.db", "aiosqlite"), ("postgresql://host/db", "asyncpg")):
        store = SQLChatStore.from_url(url)
        assert store._own_engine is not None
        assert store._own_engine.dialect.driver == driver


async def test_urls_as_providers_print_them(postgresql_of: GetPostgreSQL) -> None:
    """The scheme postgres and the mode of TLS mean what they mean to libpq; what asyncpg does not know is named."""
    _, _, rest = postgresql_of().url_of().partition("://")
    for url, error in (
        (f"postgres://{rest}?sslmode=disable", None),
        (f"postgres+asyncpg://{rest}?sslmode=prefer&command_timeout=5", None),
        (f"postgresql://{rest}?sslmode=require", ChatStoreError),  # the server has no TLS
    ):
        store = SQLChatStore.from_url(url)
        if error:
            await error_of(store.connect(), error)
        else:
            assert "migrate" in str(await error_of(store.connect(), ChatStoreError))
        await store.aclose()
    with pytest.raises(InvalidSettingError, match="channel_binding"):
        SQLChatStore.from_url(f"postgres://{rest}?sslmode=require&channel_binding=require")


async def test_not_connected(database: InSQLite) -> None:
    """A store that is not connected says so."""
    await error_of(database.make_store().describe("c"), ContextClosedError)


async def test_readers_of_sqlite_do_not_wait(make_place: MakePlace) -> None:
    """In SQLite, who reads does not wait for who writes, nor the other way round: migrating set the journal so."""
    place = make_place("sqlite")
    await place.prepare()
    async with place.make_store() as store:
        assert isinstance(store, SQLChatStore)
        assert store._own_engine is not None
        assert await _ask(store._own_engine, "PRAGMA journal_mode") == [("wal",)]

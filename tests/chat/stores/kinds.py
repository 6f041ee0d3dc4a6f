"""The chat stores that tests run over, each as a harness for the shipped suite."""

from __future__ import annotations

import uuid
from abc import abstractmethod
from pathlib import Path

import anyio
import fakeredis
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from typing_extensions import override

from resumable_stream.abc import ChatStore
from resumable_stream.chat.stores.json_files import JSONFileChatStore
from resumable_stream.chat.stores.memory import MemoryChats, MemoryChatStore
from resumable_stream.chat.stores.redis import RedisChatStore
from resumable_stream.chat.stores.sql import SQLChatStore
from resumable_stream.testing.chat_store_suite import ChatStoreHarness
from tests.servers import ClusterSet, SentinelSet
from tests.stores import users_of


class Place(ChatStoreHarness):
    """One empty place for chats."""

    async def prepare(self) -> None:
        """Make what stores need."""

    async def check_clean(self) -> None:
        """Fail if something was left behind."""


class SharedPlace(Place):
    """One that other processes can get at, too."""

    @property
    @abstractmethod
    def code(self) -> str:
        """What makes a store in another process: a line that imports, and an expression."""


class InMemory(Place):
    """The reference implementation."""

    def __init__(self) -> None:
        self._chats = MemoryChats()

    @override
    def make_store(self) -> ChatStore:
        return MemoryChatStore(self._chats)


class InJSONFiles(SharedPlace):
    """A folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @override
    def make_store(self) -> ChatStore:
        return JSONFileChatStore(self.folder)

    @property
    @override
    def code(self) -> str:
        module = "from resumable_stream.chat.stores.json_files import JSONFileChatStore"
        return f"{module}\nstore = JSONFileChatStore({str(self.folder)!r})"

    @override
    async def check_clean(self) -> None:
        assert not list(self.folder.rglob("*.new"))


class InSQLite(SharedPlace):
    """A file."""

    def __init__(self, folder: Path) -> None:
        self.url = f"sqlite+aiosqlite:///{folder / 'chats.db'}"

    @override
    def make_store(self) -> SQLChatStore:
        return SQLChatStore.from_url(self.url)

    @property
    @override
    def code(self) -> str:
        return f"from resumable_stream.chat.stores.sql import SQLChatStore\nstore = SQLChatStore.from_url({self.url!r})"

    @override
    async def prepare(self) -> None:
        store = self.make_store()
        await store.migrate()
        await store.aclose()


class InPostgreSQL(InSQLite):
    """A database of a real server, made for the test."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._name = f"test_{uuid.uuid4().hex}"
        self.url = server_url.rpartition("/")[0] + f"/{self._name}"

    async def make_database(self) -> None:
        """Make the database, without tables."""
        await self._run(f"CREATE DATABASE {self._name}")

    @override
    async def prepare(self) -> None:
        await self.make_database()
        await super().prepare()

    @override
    async def check_clean(self) -> None:
        """Who is still connected keeps the database from being dropped."""
        await self._run(f"DROP DATABASE {self._name}")

    async def _run(self, statement: str) -> None:
        engine = create_async_engine(self._server_url, isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            await connection.execute(text(statement))
        await engine.dispose()


class InFakeRedis(Place):
    """What users' unit tests run over."""

    def __init__(self) -> None:
        self._server = fakeredis.FakeServer()

    @override
    def make_store(self) -> ChatStore:
        return RedisChatStore(fakeredis.FakeAsyncRedis(server=self._server))


class InRedis(SharedPlace):
    """A real server, of which a test gets a prefix of its own."""

    def __init__(self, url: str, expiry: float | None = None) -> None:
        self.url = url
        self.prefix = f"test:{uuid.uuid4().hex}"
        self.expiry = expiry

    @override
    def make_store(self) -> RedisChatStore:
        return RedisChatStore(self.url, key_prefix=self.prefix, expiry=self.expiry)

    @property
    @override
    def code(self) -> str:
        module = "from resumable_stream.chat.stores.redis import RedisChatStore"
        return f"{module}\nstore = RedisChatStore({self.url!r}, key_prefix={self.prefix!r})"

    @override
    async def check_clean(self) -> None:
        await self._check_server(int(self.url.rpartition(":")[2].partition("/")[0]))

    async def _check_server(self, port: int) -> None:
        async with Redis(port=port, protocol=2) as client:
            if self.expiry is not None:
                async for key in client.scan_iter(count=1000):
                    assert await client.pttl(key) != -1, f"{key!r} has no expiry"
            await client.flushall()
            with anyio.fail_after(5):  # a closed connection takes the server a moment to notice
                while len(await users_of(client)) > 1:
                    await anyio.sleep(0.01)


class InSentinel(InRedis):
    """A real server that is the master of a set."""

    def __init__(self, servers: SentinelSet) -> None:
        super().__init__(servers.url)
        self._servers = servers

    @override
    async def check_clean(self) -> None:
        await self._check_server(self._servers.master.port)


class InCluster(InRedis):
    """A real Cluster."""

    def __init__(self, servers: ClusterSet) -> None:
        super().__init__(servers.url)
        self._servers = servers

    @override
    async def check_clean(self) -> None:
        for member in self._servers.masters:
            await self._check_server(member.port)

"""What the proxy does to connections: of a plain server that sends back what it gets, and of Redis."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from resumable_stream.testing import TcpProxy
from tests.conftest import GetServer
from tests.servers import Server, free_port


class Echo:
    """A server that sends back what it gets, and remembers what that was and how connections ended."""

    def __init__(self) -> None:
        self.received = b""
        self.ends: list[str] = []
        self._changed = anyio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            while piece := await reader.read(65536):
                self.received += piece
                self._wake()
                writer.write(piece)
                await writer.drain()
            self.ends.append("closed")
        except ConnectionResetError:
            self.ends.append("reset")
        finally:
            writer.close()
            self._wake()

    async def wait_for(self, received: bytes, ends: list[str]) -> None:
        """Return when it has got this, and its connections have ended in these ways."""
        with anyio.fail_after(5):
            while (self.received, self.ends) != (received, ends):
                self._changed = anyio.Event()
                await self._changed.wait()

    def _wake(self) -> None:
        self._changed.set()


class Client:
    """A client of that server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, request: bytes) -> bytes:
        """Send a request and return what comes back."""
        self.writer.write(request)
        with anyio.fail_after(5):
            return await self.reader.readexactly(len(request))

    def reset(self) -> None:
        """Break the connection."""
        at_once = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        self.writer.transport.abort()

    async def hears_nothing(self) -> bool:
        """Whether nothing comes for a moment, neither bytes nor an end."""
        with anyio.move_on_after(0.05) as scope:
            await self.reader.read(1)
        return scope.cancelled_caught


@pytest.fixture
async def echo() -> Echo:
    """The memory of a running server."""
    return Echo()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[TcpProxy]:
    """A proxy in front of it."""
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    async with server:
        async with TcpProxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
            yield proxy
        await asyncio.sleep(0.01)  # the server's tasks see the end of their connections


@asynccontextmanager
async def connected(proxy: TcpProxy) -> AsyncIterator[Client]:
    """A client that is connected through the proxy."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)


async def test_forwards_both_ways(proxy: TcpProxy) -> None:
    """What a client sends reaches the server, and what that answers the client, for each connection by itself."""
    async with connected(proxy) as one, connected(proxy) as two:
        assert await one.ask(b"a") == b"a"
        assert await two.ask(b"bc") == b"bc"
        assert await one.ask(b"d") == b"d"
        assert (proxy.connections, proxy.open_connections) == (2, 2)
        assert (proxy.request_bytes, proxy.reply_bytes) == (4, 4)


async def test_forwards_the_end(proxy: TcpProxy, echo: Echo) -> None:
    """A side that sends no more can still receive, and a connection that both sides ended is over."""
    async with connected(proxy) as client:
        client.writer.write(b"last words")
        client.writer.write_eof()
        assert await client.reader.read() == b"last words"
        await echo.wait_for(b"last words", ["closed"])
        with anyio.fail_after(5):
            while proxy.open_connections:
                await anyio.sleep(0.001)


async def test_forwards_a_reset(proxy: TcpProxy, echo: Echo) -> None:
    """A connection that breaks on one side breaks on the other."""
    async with connected(proxy) as client:
        await client.ask(b"a")
        client.reset()
        await echo.wait_for(b"a", ["reset"])


async def test_end_comes_after_everything() -> None:
    """All that a server sent before it closed reaches a client, however slow that is."""
    sent = bytes(8 * 1024 * 1024)

    async def say_it_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        writer.close()
        await writer.wait_closed()

    async with (
        await asyncio.start_server(say_it_all, "127.0.0.1", 0) as server,
        TcpProxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy,
    ):
        narrow = socket.socket()
        narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        narrow.setblocking(False)
        await asyncio.get_running_loop().sock_connect(narrow, ("127.0.0.1", proxy.port))
        reader, writer = await asyncio.open_connection(sock=narrow)
        writer.write_eof()
        received = 0
        while piece := await reader.read(1024 * 1024):
            received += len(piece)
            await anyio.sleep(0.005)
        writer.transport.abort()
        assert received == len(sent)


async def test_server_that_is_not_there() -> None:
    """Where no server runs, connections through the proxy are reset."""
    async with TcpProxy("127.0.0.1", free_port()) as proxy, connected(proxy) as client:
        with pytest.raises(ConnectionResetError), anyio.fail_after(5):
            await client.reader.read(1)


async def test_cut(proxy: TcpProxy, echo: Echo) -> None:
    """`cut` resets what is connected, on both sides, and new connections work."""
    async with connected(proxy) as one, connected(proxy) as two:
        await one.ask(b"a")
        await two.ask(b"b")
        await proxy.cut()
        assert proxy.open_connections == 0
        for client in (one, two):
            with pytest.raises(ConnectionResetError), anyio.fail_after(5):
                await client.reader.read(1)
        await echo.wait_for(b"ab", ["reset", "reset"])
    async with connected(proxy) as client:
        assert await client.ask(b"c") == b"c"


async def test_refuse(proxy: TcpProxy, echo: Echo) -> None:
    """`refuse` resets what is connected and refuses what comes, until `accept`, which opens the same port."""
    async with connected(proxy) as client:
        await client.ask(b"a")
        await proxy.refuse()
        await proxy.refuse()
        with pytest.raises(ConnectionResetError), anyio.fail_after(5):
            await client.reader.read(1)
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
    assert proxy.connections == 1
    await proxy.accept()
    await proxy.accept()
    async with connected(proxy) as client:
        assert await client.ask(b"b") == b"b"


async def test_refuse_while_connections_come(proxy: TcpProxy) -> None:
    """Connections that are on their way, however far, are reset too."""
    for steps in range(8):
        await anyio.sleep(0.01)  # so that the proxy waits for them
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.setblocking(False)
            for _ in range(steps):
                await asyncio.sleep(0)
            await proxy.refuse()
            with pytest.raises(ConnectionResetError), anyio.fail_after(5):
                await asyncio.get_running_loop().sock_recv(client, 1)
            await proxy.accept()


async def test_cut_while_connections_come(proxy: TcpProxy) -> None:
    """Connections that are on their way are reset, or work: they never just end."""
    loop = asyncio.get_running_loop()
    outcomes: set[bytes] = set()
    for steps in range(12):
        with socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.setblocking(False)
            for _ in range(steps):
                await asyncio.sleep(0)
            await proxy.cut()
            with anyio.fail_after(5):
                try:
                    await loop.sock_sendall(client, b"works")
                    outcomes.add(await loop.sock_recv(client, 5))
                except (ConnectionResetError, BrokenPipeError):
                    outcomes.add(b"reset")
    assert outcomes == {b"works", b"reset"}


async def test_stall(proxy: TcpProxy, echo: Echo) -> None:
    """While stalled, nothing is forwarded and nothing closed, new connections included; then all of it is."""
    async with connected(proxy) as old:
        await old.ask(b"a")
        proxy.stall()
        async with connected(proxy) as new:
            old.writer.write(b"b")
            old.writer.write_eof()
            assert await new.hears_nothing()
            proxy.stall()
            assert await old.hears_nothing()
            assert (echo.received, echo.ends, proxy.open_connections) == (b"a", [], 2)
            proxy.resume()
            assert await old.reader.read() == b"b"
            assert await new.ask(b"c") == b"c"
            assert echo.ends == ["closed"]


async def test_stall_before_a_server_that_is_not_there() -> None:
    """While stalled, nobody learns that the server is gone."""
    async with TcpProxy("127.0.0.1", free_port()) as proxy:
        proxy.stall()
        async with connected(proxy) as client:
            assert await client.hears_nothing()
            proxy.resume()
            with pytest.raises(ConnectionResetError), anyio.fail_after(5):
                await client.reader.read(1)


async def test_reset_while_stalled() -> None:
    """What a side resets while all is stalled is reset for the other side later, even if that has sent something."""
    ends: list[str] = []
    may_speak, is_over = anyio.Event(), anyio.Event()

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await may_speak.wait()
        writer.write(b"news")
        try:
            await reader.read()
            ends.append("closed")
        except ConnectionResetError:
            ends.append("reset")
        writer.close()
        is_over.set()

    async with (
        await asyncio.start_server(speak, "127.0.0.1", 0) as server,
        TcpProxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy,
        connected(proxy) as client,
    ):
        proxy.stall()
        may_speak.set()
        with anyio.fail_after(5):
            while not proxy.reply_bytes:
                await anyio.sleep(0.001)
            client.reset()
            await anyio.sleep(0.05)
            assert ends == []
            proxy.resume()
            await is_over.wait()
        assert ends == ["reset"]


async def test_cut_while_stalled(proxy: TcpProxy, echo: Echo) -> None:
    """What waits in a stalled network is lost when that is cut, and new connections are stalled too."""
    async with connected(proxy) as client:
        await client.ask(b"a")
        proxy.stall()
        client.writer.write(b"lost")
        assert await client.hears_nothing()
        await proxy.cut()
    async with connected(proxy) as client:
        client.writer.write(b"b")
        assert await client.hears_nothing()
        proxy.resume()
        assert await client.reader.readexactly(1) == b"b"
    await echo.wait_for(b"ab", echo.ends)


async def test_stalled_proxy_holds_back_who_sends(proxy: TcpProxy, echo: Echo) -> None:
    """What waits is bounded: a client that sends on waits too. Nothing of it is lost or changed."""
    sent = bytes(range(256)) * (16 * 4096)
    async with connected(proxy) as client:
        proxy.stall()
        client.writer.write(sent)
        taken = -1
        while taken < proxy.request_bytes:  # until no more is taken
            taken = proxy.request_bytes
            await anyio.sleep(0.05)
        assert 0 < taken < 2 * 1024 * 1024 < len(sent)
        proxy.resume()
        with anyio.fail_after(10):
            assert await client.reader.readexactly(len(sent)) == sent


async def test_delay(proxy: TcpProxy) -> None:
    """Each direction takes longer by the delay, and not by more when much is on its way."""
    async with connected(proxy) as client:
        await client.ask(b"a")
        proxy.delay = 0.1
        began = anyio.current_time()
        for number in range(5):
            client.writer.write(b"%d" % number)
            await anyio.sleep(0.01)
        assert await client.reader.readexactly(5) == b"01234"
        assert 0.19 < anyio.current_time() - began < 0.4
        proxy.delay = 0
        began = anyio.current_time()
        await client.ask(b"b")
        assert anyio.current_time() - began < 0.1


async def test_lost_reply(proxy: TcpProxy, echo: Echo) -> None:
    """The request reaches the server, its reply is swallowed, and its connection reset; others are left alone."""
    async with connected(proxy) as one, connected(proxy) as two:
        is_lost = proxy.lose_reply_to(b"important")
        assert await one.ask(b"other, ") == b"other, "
        one.writer.write(b"an important one")
        with anyio.fail_after(5):
            await is_lost.wait()
        with pytest.raises(ConnectionResetError), anyio.fail_after(5):
            await one.reader.read(1)
        await echo.wait_for(b"other, an important one", ["reset"])
        assert await two.ask(b"important too") == b"important too"


async def test_several_lost_replies(proxy: TcpProxy) -> None:
    """Each call is for one request."""
    events = [proxy.lose_reply_to(), proxy.lose_reply_to()]
    for _ in events:
        async with connected(proxy) as client:
            client.writer.write(b"a")
            with pytest.raises(ConnectionResetError), anyio.fail_after(5):
                await client.reader.read(1)
    assert [event.is_set() for event in events] == [True, True]
    async with connected(proxy) as client:
        assert await client.ask(b"b") == b"b"


async def test_lost_replies_in_one_connection() -> None:
    """A connection loses one reply. What else is to be lost is left for the next one."""

    async def answer_two(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionResetError, asyncio.IncompleteReadError):
            await reader.readexactly(2)
            writer.write(b"answer")
            await reader.read()
        writer.close()

    async with (
        await asyncio.start_server(answer_two, "127.0.0.1", 0) as server,
        TcpProxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy,
    ):
        one, two = proxy.lose_reply_to(b"1"), proxy.lose_reply_to(b"2")
        for is_lost in (one, two):
            async with connected(proxy) as client:
                for request in (b"1", b"2"):
                    client.writer.write(request)
                    await anyio.sleep(0.01)
                with anyio.fail_after(5):
                    await is_lost.wait()
            assert one.is_set()
            assert two.is_set() == (is_lost is two)


async def test_leaving_when_cancelled(echo: Echo) -> None:
    """A proxy that is left because its task is cancelled resets and closes everything all the same."""
    async with await asyncio.start_server(echo.serve, "127.0.0.1", 0) as server:
        with anyio.CancelScope() as scope:
            async with TcpProxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy, connected(proxy) as client:
                await client.ask(b"a")
                scope.cancel()
                await anyio.sleep(5)
        assert scope.cancelled_caught
        assert proxy.open_connections == 0
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)
        await anyio.sleep(0.01)


async def test_leaving_resets_and_closes_everything() -> None:
    """After leaving, by whatever task, connections are reset and the port is free. It can be entered again."""
    echo = Echo()
    async with await asyncio.start_server(echo.serve, "127.0.0.1", 0) as server:
        proxy = TcpProxy("127.0.0.1", server.sockets[0].getsockname()[1])
        for turn in (1, 2):
            await asyncio.create_task(proxy.__aenter__())
            async with connected(proxy) as client:
                await client.ask(b"a")
                proxy.stall()
                client.writer.write(b"b")
                await asyncio.create_task(proxy.__aexit__(None, None, None))
                with pytest.raises(ConnectionResetError), anyio.fail_after(5):
                    await client.reader.read(1)
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", proxy.port)
            await echo.wait_for(b"a" * turn, ["reset"] * turn)
            proxy.resume()


@pytest.fixture
def server(server_of: GetServer) -> Server:
    """A real Redis."""
    return server_of("redis-6.2")


@asynccontextmanager
async def redis_client(port: int) -> AsyncIterator[Redis]:
    """A client that repeats nothing and has little patience."""
    async with Redis(port=port, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=0.2) as client:
        yield client


async def test_redis_that_is_cut_off(server: Server) -> None:
    """A command of Redis that waits for its reply fails when its connection is cut, and the next one works."""
    async with (
        TcpProxy("127.0.0.1", server.port) as proxy,
        redis_client(proxy.port) as client,
        redis_client(server.port) as witness,
    ):

        async def cut_when_blocked() -> None:
            while not (await witness.info("clients"))["blocked_clients"]:
                await anyio.sleep(0.001)
            await proxy.cut()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cut_when_blocked)
            with pytest.raises(RedisConnectionError):
                await client.blpop(["nothing"], timeout=5)
        assert await client.ping()


async def test_redis_that_is_away(server: Server) -> None:
    """A client cannot connect to a Redis that is refused, waits in vain for one that is stalled, and recovers."""
    async with TcpProxy("127.0.0.1", server.port) as proxy, redis_client(proxy.port) as client:
        await proxy.refuse()
        with pytest.raises(RedisConnectionError):
            await client.ping()
        await proxy.accept()
        assert await client.ping()
        proxy.stall()
        with pytest.raises(RedisTimeoutError):
            await client.ping()
        proxy.resume()
        assert await client.ping()


async def test_redis_whose_reply_is_lost(server: Server) -> None:
    """A command whose reply is lost was carried out."""
    async with (
        TcpProxy("127.0.0.1", server.port) as proxy,
        redis_client(proxy.port) as client,
        redis_client(server.port) as witness,
    ):
        await client.set("counter", 1, ex=60)
        is_lost = proxy.lose_reply_to(b"counter")
        with pytest.raises(RedisConnectionError):
            await client.incr("counter")
        assert is_lost.is_set()
        assert await witness.getdel("counter") == b"2"

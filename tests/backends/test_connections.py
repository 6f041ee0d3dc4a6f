"""What a server, a network and a user's settings can do to the connections of one process."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from redis.asyncio import Redis
from redis.asyncio.sentinel import Sentinel
from redis.exceptions import AskError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from resumable_stream import BackendError, BackendUnavailableError, ContextClosedError, InvalidSettingError
from resumable_stream.backends.redis import RedisBackend, connections, listener
from resumable_stream.backends.redis.connections import Connections, DirectConnection, SharedConnections
from resumable_stream.backends.redis.errors import Redirection, redirection_of, translated_errors
from resumable_stream.testing import TcpProxy
from resumable_stream.testing.backend_suite.harness import Pushes, append, chunks_of, create
from resumable_stream.types import Appended, AppendStatus
from tests.conftest import REAL_SERVERS, SET_SERVER, GetServer
from tests.servers import Member, Server, binaries, running, wait_until
from tests.stores import InRedis, connected, users_of

SOON = 5.0


@pytest.fixture(params=REAL_SERVERS)
def own_server(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A server that a test may spoil."""
    with running(binaries()[request.param]) as server:
        yield server


@pytest.fixture
async def one_store(server_of: GetServer) -> AsyncIterator[InRedis]:
    """One real server, for what is the same with all of them."""
    made = InRedis(server_of(SET_SERVER).url)
    yield made
    await made.check_clean()


@pytest.fixture
async def proxy(one_store: InRedis) -> AsyncIterator[TcpProxy]:
    """The way to that server, which a test may cut."""
    port = int(one_store.url.split(":")[-1].split("/")[0])
    async with TcpProxy("127.0.0.1", port) as proxy:
        yield proxy


def backend_through(proxy: TcpProxy, store: InRedis, **settings: Any) -> RedisBackend:
    """A backend that reaches the server through the proxy."""
    return RedisBackend(f"redis://127.0.0.1:{proxy.port}/0", key_prefix=store.prefix, **settings)


async def test_errors_that_pass(own_server: Server) -> None:
    """A server that is full, or has become a replica, is unavailable. When that has passed, the same call works."""
    async with Redis(port=own_server.port, protocol=2) as admin, connected(RedisBackend(own_server.url)) as backend:
        info = await create(backend)
        for spoil, mend in (
            (("CONFIG", "SET", "maxmemory", 1), ("CONFIG", "SET", "maxmemory", 0)),
            (("REPLICAOF", "127.0.0.1", 1), ("REPLICAOF", "NO", "ONE")),
            (("CONFIG", "SET", "min-replicas-to-write", 1), ("CONFIG", "SET", "min-replicas-to-write", 0)),
        ):
            await admin.execute_command(*spoil)
            for _ in range(2):
                with pytest.raises(BackendUnavailableError):
                    await append(backend, info, 0, ["a"])
                with pytest.raises(BackendUnavailableError):
                    await backend.request_stop("s", "x")
            await admin.execute_command(*mend)
        answer = await append(backend, info, 0, ["a"])
        assert answer == Appended(AppendStatus.ACCEPTED)


async def test_server_that_runs_a_script_for_ever(own_server: Server) -> None:
    """A server that is busy with somebody's script is unavailable."""
    async with Redis(port=own_server.port, protocol=2) as admin, connected(RedisBackend(own_server.url)) as backend:
        info = await create(backend)
        await admin.execute_command("CONFIG", "SET", "lua-time-limit", 1)
        async with anyio.create_task_group() as tasks:

            async def run() -> None:
                async with Redis(port=own_server.port, protocol=2) as other:
                    with pytest.raises(ResponseError):
                        await other.execute_command("EVAL", "while true do end", 0)

            tasks.start_soon(run)
            await anyio.sleep(0.1)
            with pytest.raises(BackendUnavailableError):
                await append(backend, info, 0, ["a"])
            await admin.execute_command("SCRIPT", "KILL")
        await append(backend, info, 0, ["a"])


@pytest.mark.parametrize("name", sorted(set(REAL_SERVERS) - {"redis-6.2"}))  # which cannot be made to load slowly
async def test_server_that_loads(name: str, tmp_path: Path) -> None:
    """A server that is starting is unavailable, and then as it was."""
    member = Member(binaries()[name], tmp_path, "--save", "")
    try:
        member.start()
        async with connected(RedisBackend(f"redis://127.0.0.1:{member.port}/0")) as backend:
            info = await create(backend)
            for number in range(200):
                member.ask("SET", number, "x" * 100)
            member.ask("SAVE")
            member.kill()
            slowly = ("--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024")
            starting = asyncio.create_task(asyncio.to_thread(member.start, *slowly))
            causes: set[str] = set()
            with anyio.fail_after(SOON):
                while True:
                    try:
                        await append(backend, info, 0, ["a"])
                    except BackendUnavailableError as error:
                        causes.add(type(error.__cause__).__name__)
                        await anyio.sleep(0.01)
                    else:
                        break
            assert causes == {"ConnectionError", "BusyLoadingError"}
            await starting
    finally:
        member.kill()


async def test_errors_that_do_not_pass(own_server: Server) -> None:
    """A user who may not in, or may not do what is needed, gets an error that is not worth a repetition."""
    async with Redis(port=own_server.port, protocol=2) as admin:
        rules = ("on", ">right", "~*", "&*", "+@all", "-evalsha", "-eval")
        await admin.execute_command("ACL", "SETUSER", "weak", *rules)
        for password in ("wrong", "right"):
            backend = RedisBackend(own_server.url.replace("://", f"://weak:{password}@"))
            with pytest.raises(BackendError) as caught:
                async with connected(backend):
                    await create(backend)
            assert type(caught.value) is BackendError
            assert caught.value.__cause__ is not None
        await admin.execute_command("CONFIG", "SET", "requirepass", "secret")
        with pytest.raises(BackendError) as caught:
            async with connected(RedisBackend(own_server.url)):
                pass
        assert type(caught.value) is BackendError


async def test_nobody_there() -> None:
    """A server that cannot be reached is unavailable, and closing what did not open works."""
    with pytest.raises(BackendUnavailableError):
        async with connected(RedisBackend("redis://127.0.0.1:1/0")):
            pass


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ResponseError("MISCONF Errors writing"), BackendUnavailableError),
        (ResponseError("MASTERDOWN Link with MASTER is down"), BackendUnavailableError),
        (ResponseError("CLUSTERDOWN The cluster is down"), BackendUnavailableError),
        (ResponseError("TRYAGAIN Multiple keys"), BackendUnavailableError),
        (ResponseError("Error running script (call to f_1): @user_script:9: -OOM no"), BackendUnavailableError),
        (ResponseError("ERR Error running script (call to f_1): @user_script:9: -WRONGTYPE no"), BackendError),
        (ResponseError("ERR unknown command 'OOM '"), BackendError),
        (ResponseError("MOVED 1 127.0.0.1:7000"), BackendError),
        (RedisTimeoutError("x"), BackendUnavailableError),
        (ConnectionResetError("x"), BackendUnavailableError),
        (ValueError("x"), BackendError),
    ],
)
def test_kinds_of_errors(error: Exception, kind: type[Exception]) -> None:
    """Our error says whether it may pass, and names the kind of the driver's error, not its words."""
    with pytest.raises(BackendError) as caught, translated_errors("do it"):
        raise error
    assert type(caught.value) is kind
    assert str(caught.value) == f"Redis failed to do it: {type(error).__name__}"


@pytest.mark.parametrize(
    ("error", "redirection"),
    [
        (ResponseError("MOVED 7 10.0.0.1:7000"), Redirection(7, "10.0.0.1", 7000, is_ask=False)),
        (ResponseError("ASK 7 ::1:7000"), Redirection(7, "::1", 7000, is_ask=True)),
        (AskError("7 :7000"), Redirection(7, "", 7000, is_ask=True)),
        (ResponseError("7 10.0.0.1:7000"), None),
        (ValueError("MOVED 7 10.0.0.1:7000"), None),
    ],
)
def test_redirections(error: Exception, redirection: Redirection | None) -> None:
    """Where a node sends us is understood, whether the driver's parser knows of Clusters or not."""
    assert redirection_of(error) == redirection


async def test_server_that_forgot_the_scripts(redis_store: InRedis) -> None:
    """A server whose cache of scripts was emptied is sent their texts."""
    async with Redis.from_url(redis_store.url, protocol=2) as admin, redis_store.open() as backend:
        info = await create(backend)
        for number in range(3):
            await admin.script_flush()
            await append(backend, info, number, ["a"])
            await admin.script_flush()
            assert len(chunks_of(await backend.read("s", 0, 1000))) == number + 1


async def test_connections_that_were_cut_while_idle(one_store: InRedis, proxy: TcpProxy) -> None:
    """The first call after a connection was cut does not notice."""
    async with connected(backend_through(proxy, one_store)) as backend:
        info = await create(backend)
        for number in range(3):
            await proxy.cut()
            await append(backend, info, number, ["a"])
            assert len(chunks_of(await backend.read("s", 0, 1000))) == number + 1


async def test_server_that_does_not_come_back(one_store: InRedis, proxy: TcpProxy) -> None:
    """A call to a server that is away fails at once, and not after many attempts."""
    async with connected(backend_through(proxy, one_store)) as backend:
        info = await create(backend)
        await proxy.refuse()
        with anyio.fail_after(1):
            with pytest.raises(BackendUnavailableError):
                await append(backend, info, 0, ["a"])
            with pytest.raises(BackendUnavailableError):
                await backend.read("s", 0, 0)
        await proxy.accept()
        await append(backend, info, 0, ["a"])


async def test_server_that_is_silent(one_store: InRedis, proxy: TcpProxy) -> None:
    """A reply that does not come is not waited for without end, and the next call does not take it for its own."""
    async with connected(backend_through(proxy, one_store)) as backend:
        info = await create(backend)
        assert isinstance(backend, RedisBackend)
        backend._servers._appending._timeout = 0.2  # type: ignore[attr-defined]
        await append(backend, info, 0, ["a"])
        proxy.stall()
        with pytest.raises(BackendUnavailableError):
            await append(backend, info, 1, ["b"])
        proxy.resume()
        assert (await append(backend, info, 1, ["b"])).status is AppendStatus.ACCEPTED
        assert chunks_of(await backend.read("s", 0, 1000)) == ["a", "b"]


async def test_waiting_for_a_server_that_is_silent(
    one_store: InRedis, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many calls that wait for a silent server, the last does not wait for the time-outs of all before it."""
    async with connected(backend_through(proxy, one_store)) as backend:
        await create(backend)
        monkeypatch.setattr(connections, "REPLY_TIMEOUT", 0.1)
        proxy.stall()
        async with anyio.create_task_group() as tasks:
            for _ in range(connections.READING_CONNECTIONS):
                tasks.start_soon(backend.read, "s", 0, 0)
            await anyio.wait_all_tasks_blocked()
            with anyio.fail_after(1), pytest.raises(BackendUnavailableError):
                await backend.read("s", 0, 0)
            proxy.resume()


async def test_cancelled_call_leaves_no_reply_behind(one_store: InRedis, proxy: TcpProxy) -> None:
    """The reply to a call that was cancelled is not taken for that to the next, and costs no connection."""
    async with connected(backend_through(proxy, one_store)) as backend:
        info = await create(backend)
        await append(backend, info, 0, [])
        before = proxy.connections
        proxy.delay = 0.02
        for number in range(3):
            with anyio.move_on_after(0.01):
                await backend.read("unknown", 0, 0)
            with anyio.move_on_after(0.01):
                await append(backend, info, number, ["x"])
            assert (await append(backend, info, number, ["x"])).status is AppendStatus.ACCEPTED
            page = await backend.read("s", 0, 0)
            assert page is not None
            assert page.info.length == number + 1
        assert proxy.connections == before


async def test_appends_do_not_wait_for_each_other(one_store: InRedis, proxy: TcpProxy) -> None:
    """Several calls are on their way on one connection. Where that breaks, all are repeated, and log nothing twice."""
    names = [f"s{number}" for number in range(5)]
    async with connected(backend_through(proxy, one_store)) as backend, one_store.open() as other:
        infos = [await create(backend, name) for name in names]
        await append(backend, infos[0], 0, [])
        before = proxy.connections
        proxy.delay = 0.1
        started = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for info in infos:
                tasks.start_soon(append, backend, info, 0, [f"a of {info.stream_id}"])
        assert anyio.current_time() - started < 0.35  # there and back takes 0.2
        assert proxy.connections == before
        async with anyio.create_task_group() as tasks:
            for info in infos:
                tasks.start_soon(append, backend, info, 1, [f"b of {info.stream_id}"])
            await anyio.sleep(0.15)  # all have been done, and nobody here knows
            await proxy.cut()
        assert proxy.connections == before + 2  # that which listens, too
        for name in names:
            assert chunks_of(await other.read(name, 0, 1000)) == [f"a of {name}", f"b of {name}"]


@pytest.fixture
async def direct(one_store: InRedis) -> AsyncIterator[DirectConnection]:
    """A connection that waits for 0.4 s."""
    made = Connections.of_pool(Redis.from_url(one_store.url).connection_pool)
    connection = DirectConnection(made.connect, 0.4)
    yield connection
    await connection.aclose(connections.make_closed_error)


async def test_time_of_who_waits_in_line(one_store: InRedis, direct: DirectConnection) -> None:
    """A server that takes its time for one command after the other answers in time, if it does so for each."""

    async def wait() -> None:
        assert await direct.execute(_blocked_for("0.2", one_store)) == [None]

    started = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(wait)
    assert anyio.current_time() - started > 0.7


async def test_too_late_is_only_who_was_not_answered(one_store: InRedis, direct: DirectConnection) -> None:
    """What waited behind a command that is not answered is repeated, on another connection."""

    async def wait() -> None:
        with pytest.raises(TimeoutError):
            await direct.execute(_blocked_for("5", one_store))

    await direct.execute(("PING",))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert await direct.execute(("ECHO", "behind it")) == [b"behind it"]
    with anyio.move_on_after(0.05):
        await direct.execute(_blocked_for("5", one_store))
    assert await direct.execute(("ECHO", "behind what was cancelled")) == [b"behind what was cancelled"]


async def test_cancelled_call_holds_up_no_reader(one_store: InRedis) -> None:
    """Who reads gets a connection on which no reply is to come, if there is one."""
    shared = SharedConnections(Connections.of_pool(Redis.from_url(one_store.url).connection_pool).connect)
    try:
        with anyio.move_on_after(0.05):
            await shared.execute(_blocked_for("5", one_store))
        with anyio.fail_after(1):
            for text in (b"a", b"b"):
                assert await shared.execute(("ECHO", text)) == [text]
    finally:
        await shared.aclose(connections.make_closed_error)


def _blocked_for(seconds: str, store: InRedis) -> tuple[str, str, str]:
    return "BLPOP", f"{store.prefix}:nothing", seconds


@pytest.mark.parametrize("is_closed", [False, True], ids=["given up", "closed"])
async def test_given_up_in_the_moment_in_which_it_is_made(one_store: InRedis, is_closed: bool) -> None:
    """A connection that was made when nothing was left to cancel is not used, and no reply goes to another call."""
    made = Connections.of_pool(Redis.from_url(one_store.url).connection_pool)
    is_made, may_return = anyio.Event(), asyncio.get_running_loop().create_future()

    async def connect() -> Any:
        connection = await made.connect()
        is_made.set()
        await may_return
        return connection

    connection = DirectConnection(connect)
    call = asyncio.create_task(connection.execute(("ECHO", "a")))
    await is_made.wait()
    may_return.set_result(None)
    if is_closed:
        with anyio.fail_after(1):
            await connection.aclose(connections.make_closed_error)
    else:
        connection.reconnect()
    with anyio.fail_after(1), pytest.raises(ContextClosedError if is_closed else RedisConnectionError):
        await call
    if not is_closed:
        for text in (b"b", b"c"):
            assert await connection.execute(("ECHO", text)) == [text]
        await connection.aclose(connections.make_closed_error)


async def test_four_connections(redis_store: InRedis) -> None:
    """However much is done at the same time, one server has four connections of a backend."""
    async with redis_store.open() as backend, Redis.from_url(redis_store.url, protocol=2) as admin:

        async def work(number: int) -> None:
            info = await create(backend, f"s{number}")
            await backend.subscribe(f"s{number}", lambda push: None)
            await backend.read(f"s{number}", 0, 1000)
            await backend.request_stop(info.stream_id, "x")

        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(work, number)
            for _ in range(20):
                await backend.append([])
                assert len(await users_of(admin)) <= 5
        info = await create(backend)
        await append(backend, info, 0, ["a"])
        assert len(await users_of(admin)) == 5


async def test_turns_are_fair(one_store: InRedis) -> None:
    """Calls are made in the order in which they came, by two at a time: none waits for one that came later."""
    async with one_store.open() as backend:
        done: list[int] = []
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(backend.read, "s", 0, 0)  # so that both are connected

        async def read(number: int) -> None:
            await backend.read("s", 0, 0)
            done.append(number)
            await backend.read("s", 0, 0)

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(read, number)
        assert all(abs(place - number) <= 1 for place, number in enumerate(done))


async def test_closing_while_calls_are_made(one_store: InRedis, proxy: TcpProxy) -> None:
    """Calls that are under way when the backend is closed fail at once, and leave no connection."""
    async with connected(backend_through(proxy, one_store)) as backend:
        info = await create(backend)
        await append(backend, info, 0, ["a"])
        errors: list[Exception] = []

        async def run(call: Any) -> None:
            with pytest.raises(ContextClosedError) as caught:
                await call
            errors.append(caught.value)

        proxy.stall()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, append(backend, info, 1, ["b"]))
            for _ in range(5):
                tasks.start_soon(run, backend.read("s", 0, 0))
            await anyio.sleep(0.05)
            with anyio.fail_after(1):
                await backend.aclose()
        assert len(errors) == 6
        with pytest.raises(ContextClosedError):
            await backend.read("s", 0, 0)
        proxy.resume()


async def test_closing_while_connecting() -> None:
    """A connection that is being made when it is given up is not kept."""
    is_connecting = anyio.Event()

    async def connect() -> Any:
        is_connecting.set()
        await anyio.sleep_forever()

    connection = DirectConnection(connect)
    async with anyio.create_task_group() as tasks:

        async def run() -> None:
            with pytest.raises(ContextClosedError):
                await connection.execute(("PING",))

        tasks.start_soon(run)
        tasks.start_soon(run)
        await is_connecting.wait()
        with anyio.fail_after(1):
            await connection.aclose(lambda: ContextClosedError("closed"))


async def test_half_open_subscriptions(
    one_store: InRedis, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection on which nothing comes any more is found out by a PING, and subscriptions get another."""
    monkeypatch.setattr(listener, "_SILENCE", 0.1)
    monkeypatch.setattr(listener, "_PING_TIMEOUT", 0.1)
    async with connected(backend_through(proxy, one_store)) as backend, one_store.open() as other:
        info = await create(other)
        pushes = Pushes()
        await backend.subscribe("s", pushes)
        before = proxy.connections
        await anyio.sleep(0.35)
        assert proxy.connections == before  # a server that answers keeps its connection
        with caplog.at_level(logging.INFO, "resumable_stream"):
            proxy.stall()
            with anyio.fail_after(SOON):
                while proxy.connections == before:
                    await anyio.sleep(0.01)
            proxy.resume()
            await pushes.wait_for(1)
        assert pushes.received == [None]
        await append(other, info, 0, ["a"])
        await pushes.wait_for(2)
        texts = [record.getMessage() for record in caplog.records]
        assert texts == ["subscriptions interrupted by TimeoutError, reconnecting", "subscriptions restored"]


async def test_log_of_an_outage(one_store: InRedis, proxy: TcpProxy, caplog: pytest.LogCaptureFixture) -> None:
    """An outage costs one warning and one line when it is over, however many attempts are made; and not all at once.

    The owner is told of each attempt, as it cannot hear of anything meanwhile.
    """
    with caplog.at_level(logging.INFO, "resumable_stream"):
        notices: list[str | None] = []
        backend = backend_through(proxy, one_store)
        async with connected(backend, notices.append), one_store.open() as other:
            await create(other)
            pushes = Pushes()
            await backend.subscribe("s", pushes)
            await proxy.refuse()
            await anyio.sleep(0.6)
            await proxy.accept()
            await pushes.wait_for(1)
            await other.request_stop("s", "x")
            with anyio.fail_after(SOON):
                while "s" not in notices:
                    await anyio.sleep(0.01)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert 2 <= len(notices) <= 8
    assert notices == [*[None] * (len(notices) - 1), "s"]


async def test_subscribing_while_the_server_is_away(one_store: InRedis, proxy: TcpProxy) -> None:
    """A subscription that is asked for during an outage is confirmed after it."""
    async with connected(backend_through(proxy, one_store)) as backend, one_store.open() as other:
        info = await create(other)
        await proxy.refuse()
        pushes = Pushes()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(backend.subscribe, "s", pushes)
            await anyio.sleep(0.1)
            await proxy.accept()
        await append(other, info, 0, ["a"])
        await pushes.wait_for(1)


async def test_subscription_that_is_not_confirmed(
    one_store: InRedis, proxy: TcpProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subscription that the server does not confirm fails, leaves nothing behind, and can be asked for again."""
    monkeypatch.setattr(listener, "_CONFIRM_TIMEOUT", 0.2)
    async with connected(backend_through(proxy, one_store)) as backend, one_store.open() as other:
        info = await create(other)
        refused, pushes = Pushes(), Pushes()
        proxy.stall()
        before = proxy.connections
        with pytest.raises(BackendUnavailableError):
            await backend.subscribe("s", refused)
        assert list(backend._servers._listener._subscriptions) == [f"{one_store.prefix}:notices".encode()]  # type: ignore[attr-defined]
        with anyio.fail_after(SOON):
            while proxy.connections == before:  # the old one may be dead without anybody having said so
                await anyio.sleep(0.01)
        proxy.resume()
        with anyio.fail_after(SOON):
            while True:
                try:
                    await backend.subscribe("s", pushes)
                except BackendUnavailableError:
                    continue
                break
        await append(other, info, 0, ["a"])
        await pushes.wait_for(1)
        assert refused.received == []


async def test_subscribed_again_before_the_first_was_confirmed(one_store: InRedis, proxy: TcpProxy) -> None:
    """A subscription that replaces one whose confirmation is on its way hears all that comes after its own."""
    async with connected(backend_through(proxy, one_store)) as backend, one_store.open() as other:
        info = await create(other)
        proxy.delay = 0.05
        old, new = Pushes(), Pushes()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(backend.subscribe, "s", old)
            await anyio.sleep(0.02)
            await backend.unsubscribe("s")
            started = anyio.current_time()
            await backend.subscribe("s", new)
            assert anyio.current_time() - started > 0.09  # there and back, and not the reply to the first
        await append(other, info, 0, ["a"])
        await new.wait_for(1)
        assert old.received == []


async def test_connection_that_is_given_up_while_it_is_made(one_store: InRedis) -> None:
    """What was told to reconnect does not keep the connection that was being made then."""
    made = Connections.of_pool(Redis.from_url(one_store.url).connection_pool)
    started, may_go_on = [anyio.Event(), anyio.Event()], anyio.Event()
    numbers = iter(range(2))

    async def connect() -> Any:
        started[next(numbers)].set()
        await may_go_on.wait()
        return await made.connect()

    hearing = listener.Listener(connect)
    hearing.start()
    await started[0].wait()
    hearing.reconnect()
    may_go_on.set()
    with anyio.fail_after(SOON):
        await started[1].wait()
    await hearing.aclose()


async def test_user_who_may_not_subscribe(redis_store: InRedis, caplog: pytest.LogCaptureFixture) -> None:
    """A user whom the server denies channels is told at once, and costs no connection; the rest works."""
    async with Redis.from_url(redis_store.url, protocol=2) as admin:
        rules = ("on", ">secret", "~*", "resetchannels", "+@all")
        await admin.execute_command("ACL", "SETUSER", "mute", *rules)
        backend = RedisBackend(redis_store.url.replace("://", "://mute:secret@"), key_prefix=redis_store.prefix)
        async with connected(backend):
            info = await create(backend)
            before = (await admin.info("stats"))["total_connections_received"]
            for _ in range(3):
                with pytest.raises(BackendError) as caught, anyio.fail_after(1):
                    await backend.subscribe("s", lambda push: None)
                assert type(caught.value) is BackendError
            await append(backend, info, 0, ["a"])
            await anyio.sleep(0.2)
            assert (await admin.info("stats"))["total_connections_received"] - before <= 1
        await admin.execute_command("ACL", "DELUSER", "mute")
    (record,) = caplog.records
    assert record.getMessage() == f"{redis_store.prefix}:notices is not heard: NoPermissionError"


async def test_messages_that_are_none_of_ours(one_store: InRedis) -> None:
    """What others publish on our channels costs a follower a look at the log, and interrupts nothing."""
    notices: list[str | None] = []
    async with one_store.open(notices.append) as backend, Redis.from_url(one_store.url, protocol=2) as admin:
        info = await create(backend)
        pushes = Pushes()
        await backend.subscribe("s", pushes)
        for junk in (b"\xff\xfe", b"a b", b"x 1 y z\n"):
            await admin.publish(f"{one_store.prefix}:{{s}}:push", junk)
        await admin.publish(f"{one_store.prefix}:notices", b"\xff")
        await pushes.wait_for(3)
        assert pushes.received == [None] * 3
        await append(backend, info, 0, ["a"])
        await backend.request_stop("s", "x")
        await pushes.wait_for(4)
        with anyio.fail_after(SOON):
            while not notices:
                await anyio.sleep(0.01)
        assert notices == ["s"]


async def test_strange_keys_among_ours(one_store: InRedis) -> None:
    """A key of somebody else's that looks like ours does not keep streams from being listed."""
    async with one_store.open() as backend, Redis.from_url(one_store.url, protocol=2) as admin:
        await create(backend)
        await admin.set(f"{one_store.prefix}:{{".encode() + b"\xff}:record", "x", ex=60)
        assert [info.stream_id async for info in backend.scan()] == ["s"]


@pytest.fixture
def pair(tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """A master and a replica of it."""
    binary = binaries()[request.param]
    master, replica = Member(binary, tmp_path / "master"), Member(binary, tmp_path / "replica")
    try:
        master.start("--save", "", "--repl-diskless-sync-delay", "0")
        replica.start("--save", "", "--replicaof", *map(str, master.address))
        yield master, replica
    finally:
        master.kill()
        replica.kill()


@pytest.mark.parametrize(
    "pair", sorted({SET_SERVER, REAL_SERVERS[-1]}), indirect=True
)  # WAIT has changed since Redis 7
async def test_waiting_for_replicas(pair: tuple[Member, Member]) -> None:
    """With ``wait_replicas``, an append counts when so many replicas have it. A repetition waits for them, too."""
    master, replica = pair
    url = f"redis://127.0.0.1:{master.port}/0"
    await asyncio.to_thread(wait_until, lambda: master.has_replica_in_step)
    settings: dict[str, Any] = {"wait_replicas": 1, "wait_timeout": 0.1}
    async with connected(RedisBackend(url, **settings)) as backend, connected(RedisBackend(url, **settings)) as other:
        info = await create(backend)
        await append(backend, info, 0, ["a"])
        replica.pause()
        for one in (backend, other, backend, other):  # another connection did not write what it repeats
            with pytest.raises(BackendUnavailableError):
                await append(one, info, 1, ["b"])
        replica.resume()
        assert (await append(other, info, 1, ["b"])).status is AppendStatus.ACCEPTED
        assert chunks_of(await backend.read("s", 0, 1000)) == ["a", "b"]
        master.ask("SET", "resumable-stream:{s}:record", "somebody else's")
        assert (await append(backend, info, 2, ["c"])).status is AppendStatus.UNUSABLE
        assert master.ask("GET", "resumable-stream:{s}:record") == "somebody else's"
        info = await create(backend, "t")
    for timeout in (0.05, 0.0001):
        async with connected(RedisBackend(url, wait_replicas=2, wait_timeout=timeout)) as backend:
            with pytest.raises(BackendUnavailableError), anyio.fail_after(2):
                await append(backend, info, 0, ["a"])


@pytest.mark.parametrize("pair", sorted({SET_SERVER, REAL_SERVERS[-1]}), indirect=True)
async def test_demotion_while_waiting_for_replicas(pair: tuple[Member, Member]) -> None:
    """A master that is demoted while it waits for a replica is away, like any master that is replaced."""
    master, replica = pair
    url = f"redis://127.0.0.1:{master.port}/0"
    await asyncio.to_thread(wait_until, lambda: master.has_replica_in_step)
    async with connected(RedisBackend(url, wait_replicas=1, wait_timeout=10)) as backend:
        info = await create(backend)
        await append(backend, info, 0, ["a"])
        replica.pause()
        async with anyio.create_task_group() as tasks:

            async def demote() -> None:
                await anyio.sleep(0.3)
                master.ask("REPLICAOF", "127.0.0.1", replica.port)

            tasks.start_soon(demote)
            with pytest.raises(BackendUnavailableError), anyio.fail_after(5):
                await append(backend, info, 1, ["b"])
        master.ask("REPLICAOF", "NO", "ONE")
        replica.resume()
        await asyncio.to_thread(wait_until, lambda: master.has_replica_in_step)
        assert (await append(backend, info, 1, ["b"])).status is AppendStatus.ACCEPTED


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://localhost",
        "redis://localhost:port",
        "redis://localhost?db=x",
        "redis://localhost?unheard_of=1",
        "redis+sentinel://localhost",
        "redis+sentinel://localhost/",
        "redis+sentinel:///service",
        "redis+sentinel://a,,b/service",
        "redis+sentinel://a:0/service",
        "redis+sentinel://a:65536/service",
        "redis+sentinel://a:1/service/x",
        "redis+sentinel://a:1/service?unheard_of=1",
        "redis+cluster://",
        "redis+cluster://a:x",
        "redis+cluster://a/1",
        "redis+cluster://a?db=1",
        "redis+cluster://a?sentinel_password=x",
        "redis+unheard://a",
    ],
)
def test_urls_that_cannot_be(url: str) -> None:
    """A URL that names nothing is told at once, and not quoted: it may have a password."""
    with pytest.raises(InvalidSettingError) as caught:
        RedisBackend(url)
    assert url not in str(caught.value) or not url


def test_clients_that_cannot_be() -> None:
    """What is no client, or one of replicas only, is told at once."""
    sentinel = Sentinel([("localhost", 1)])
    for client in (None, object(), sentinel, sentinel.slave_for("main")):
        with pytest.raises(InvalidSettingError):
            RedisBackend(client)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "settings",
    [
        {"wait_replicas": -1},
        {"wait_replicas": 1.5},
        {"wait_replicas": True},
        {"wait_timeout": 0},
        {"wait_timeout": -1.0},
        {"wait_timeout": math.nan},
        {"wait_timeout": math.inf},
        {"wait_timeout": "1"},
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any]) -> None:
    """Numbers that mean nothing are told at once."""
    with pytest.raises(InvalidSettingError):
        RedisBackend("redis://localhost", **settings)

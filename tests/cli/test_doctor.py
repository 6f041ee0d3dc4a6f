"""The doctor, before real servers."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from resumable_stream.backends.redis.connections import DirectConnection
from resumable_stream.cli.doctor.facts import Facts, ask
from resumable_stream.testing import TcpProxy
from tests.cli.conftest import Command, inside, start
from tests.conftest import REAL_SERVERS, SET_SERVER, GetCluster, GetSentinels, GetServer
from tests.servers import Server, binaries, running

PREFIX = "cli-doctor"


async def _examine(url: str, *options: str) -> tuple[int, dict[str, Any]]:
    done = await asyncio.to_thread(inside, "doctor", "--json", "--url", url, "--key-prefix", PREFIX, *options)
    (document,) = done.records
    assert "secret" not in done.text + done.err
    return done.code, document


def _by_check(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {check["check"]: check for check in document["checks"]}


@pytest.fixture(params=REAL_SERVERS)
async def examined(request: pytest.FixtureRequest, server_of: GetServer) -> AsyncIterator[Server]:
    """A server, in which the doctor leaves nothing."""
    server = server_of(request.param)
    yield server
    async with Redis.from_url(server.url) as client:
        assert [key async for key in client.scan_iter(f"{PREFIX}*")] == []


async def test_good_server(examined: Server) -> None:
    """A server that is fit has no problem; every check is named, and nothing is left behind."""
    code, document = await _examine(examined.url)
    checks = _by_check(document)
    assert code == 0
    assert document["problems"] == 0
    assert list(checks) == [
        *("reachable", "version", "replicas", "eviction", "memory", "persistence", "timeout", "pubsub-buffer"),
        *("ping", "permissions", "scripts", "append", "pushes"),
    ]
    assert {name for name, check in checks.items() if check["level"] != "ok"} == {"persistence"}
    assert checks["pushes"]["found"] == "50 of 50 arrived"
    assert checks["reachable"].keys() == {"server", "check", "level", "found", "advice"}


async def test_table(cli: Command) -> None:
    """People get a line for each check, and one more for what to change."""
    shown = await cli("doctor")
    lines = shown.text.splitlines()
    assert shown.code == 0
    assert lines[0] == cli.url
    assert lines[1].split() == ["CHECK", "FOUND"]
    assert "eviction       ok       maxmemory-policy is noeviction" in lines
    assert any(line.strip().startswith("→ Set appendonly to yes") for line in lines)


@pytest.fixture(scope="module")
def bad_server() -> Iterator[Server]:
    """A server that is set for a cache."""
    options = ("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru", "--timeout", "20")
    limit = ("--client-output-buffer-limit", "pubsub 1mb 1mb 60")
    with running(binaries()[SET_SERVER], *options, *limit, "--save", "3600 1") as server:
        yield server


async def test_server_for_a_cache(bad_server: Server) -> None:
    """A server that throws keys away is a problem, and what else is wrong with it a warning."""
    code, document = await _examine(bad_server.url)
    checks = _by_check(document)
    assert (code, document["problems"], document["warnings"]) == (1, 1, 3)
    assert checks["eviction"]["level"] == "problem"
    assert "noeviction" in checks["eviction"]["advice"]
    assert checks["timeout"]["level"] == checks["pubsub-buffer"]["level"] == "warning"
    assert "last snapshot" in checks["persistence"]["found"]


@pytest.fixture
async def user(examined: Server) -> AsyncIterator[Redis]:
    """An administrator's client, which takes the user away in the end."""
    async with Redis.from_url(examined.url) as client:
        yield client
        await client.acl_deluser("limited")


async def _as_user(admin: Redis, server: Server, *rules: str) -> tuple[int, dict[str, dict[str, Any]]]:
    await admin.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">secret", *rules)
    code, document = await _examine(server.url.replace("redis://", "redis://limited:secret@"))
    return code, _by_check(document)


async def test_advice_is_enough(examined: Server, user: Redis) -> None:
    """A user with the rights that the doctor advises, and no others, has no problem; what is not told is unknown."""
    code, checks = await _as_user(user, examined, "+ping")
    assert code == 1
    assert checks["permissions"]["level"] == "problem"
    rules = checks["permissions"]["advice"].partition("NAME ")[2].split()
    code, checks = await _as_user(user, examined, *rules)
    assert code == 0
    assert checks["permissions"]["level"] == "ok"
    told = {"eviction", "memory", "persistence", "timeout", "pubsub-buffer", "version", "replicas"}
    assert {name for name, check in checks.items() if check["level"] == "unknown"} == told


@pytest.mark.parametrize(
    ("rules", "refused"),
    [
        (("~*", "&*", "+@all", "-eval", "-evalsha"), "EVAL, EVALSHA"),
        (("~*", "&*", "+@all", "-rpush", "-hset"), "HSET, RPUSH"),
        (("~*", "&*", "+@all", "-scan"), "SCAN"),
        (("~*", "&*", "+@all", "-publish"), "PUBLISH"),
        (("~*", "&*", "+@all", "-publish", "-subscribe"), "PUBLISH, SUBSCRIBE"),
        (("~*", "resetchannels", "&other", "+@all"), "PUBLISH (channels), SUBSCRIBE (channels)"),
        (("~other:*", "&*", "+@all"), "PEXPIRE (keys), UNLINK (keys); so the rest was not tried"),
        (("~*", "&*", "+@all", "-unlink"), "UNLINK; so the rest was not tried"),
        (("~*", "&*", "+@all", "-pexpire"), "PEXPIRE; so the rest was not tried"),
    ],
)
async def test_refused(examined: Server, user: Redis, rules: tuple[str, ...], refused: str) -> None:
    """What the user may not do is named, and nothing that could not be removed is written."""
    code, checks = await _as_user(user, examined, *rules)
    assert code == 1
    assert checks["permissions"]["found"] == f"refused: {refused}"
    assert ("PUBLISH" in refused) == (checks.get("pushes", {"level": "ok"})["level"] == "problem")
    async with Redis.from_url(examined.url) as client:
        async for key in client.scan_iter(f"{PREFIX}*"):
            assert await client.pttl(key) > 0  # where it may not be removed, the stream expires
            await client.delete(key)


async def test_wrong_password(examined: Server, user: Redis) -> None:
    """A user that is not let in is a problem with reaching the server."""
    await user.execute_command("ACL", "SETUSER", "limited", "reset", "on", ">other")
    code, document = await _examine(examined.url.replace("redis://", "redis://limited:secret@"))
    assert code == 1
    assert [check["check"] for check in document["checks"]] == ["reachable"]


async def test_replica(tmp_path: Path) -> None:
    """A replica is a problem: it takes no writes."""
    binary = binaries()[SET_SERVER]
    with running(binary) as master, running(binary, "--replicaof", "127.0.0.1", str(master.port)) as replica:
        code, document = await _examine(replica.url)
    checks = _by_check(document)
    assert code == 1
    assert checks["replicas"]["found"] == "this is a replica: it takes no writes"
    assert {name for name, check in checks.items() if check["level"] == "problem"} == {"replicas"}
    assert checks["reachable"]["found"] == "it answers"
    assert "ping" in checks


async def test_full_server() -> None:
    """A server that is full is a problem with its memory, and with what was tried."""
    with running(binaries()[SET_SERVER], "--maxmemory", "1") as server:
        code, document = await _examine(server.url)
    checks = _by_check(document)
    assert code == 1
    assert checks["memory"]["level"] == checks["permissions"]["level"] == checks["scripts"]["level"] == "problem"
    assert checks["permissions"]["found"].startswith("failed: HSET (OutOfMemoryError)")
    assert "ACL" not in checks["permissions"]["advice"]


async def test_sentinels(sentinels_of: GetSentinels) -> None:
    """Of a set that Sentinels watch, the master is examined."""
    sentinels = sentinels_of(SET_SERVER)
    code, document = await _examine(sentinels.url)
    checks = _by_check(document)
    assert code == 0
    assert checks["replicas"]["found"] == "1, in step"
    assert checks["reachable"]["server"] == sentinels.url


async def test_cluster(cluster_of: GetCluster) -> None:
    """Of a Cluster every master is examined, with a stream of its own."""
    cluster = cluster_of(SET_SERVER)
    code, document = await _examine(cluster.url)
    assert code == 0
    names = {f"127.0.0.1:{member.port}" for member in cluster.masters}
    assert {check["server"] for check in document["checks"]} == names
    arrived = [check["found"] for check in document["checks"] if check["check"] == "pushes"]
    assert arrived == ["50 of 50 arrived"] * 3


async def test_user_in_cluster(cluster_of: GetCluster) -> None:
    """In a Cluster the advice is enough together with the two rights that the docs add."""
    cluster = cluster_of(SET_SERVER)
    url = cluster.url.replace("://", "://limited:secret@")
    try:
        for member in cluster.members:
            member.ask("ACL", "SETUSER", "limited", "reset", "on", ">secret", "+ping", "+cluster", "+command")
        code, document = await _examine(url)
        assert code == 1
        rules = _by_check(document)["permissions"]["advice"].partition("NAME ")[2].split()
        for member in cluster.members:
            member.ask("ACL", "SETUSER", "limited", *rules)
        code, document = await _examine(url)
        assert (code, document["problems"]) == (0, 0)
    finally:
        for member in cluster.members:
            member.ask("ACL", "DELUSER", "limited")


async def test_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that goes away while it is examined is a problem; what was found before is shown."""
    with running(binaries()[SET_SERVER]) as server:

        async def kill_and_ask(connection: DirectConnection) -> Facts:
            facts = await ask(connection)
            os.kill(server.pid, signal.SIGKILL)
            return facts

        monkeypatch.setattr("resumable_stream.cli.doctor.ask", kill_and_ask)
        code, document = await _examine(server.url)
    assert code == 1
    found = [check["level"] for check in document["checks"] if check["check"] == "reachable"]
    assert found == ["problem"]
    assert "version" in _by_check(document)


@pytest.mark.parametrize("cli", ["process"], indirect=True)
async def test_interrupted(cli: Command, server: Server) -> None:
    """Ctrl-C ends it with 130, and what it published is removed."""
    async with (
        TcpProxy("127.0.0.1", server.port) as proxy,
        Redis.from_url(cli.url) as client,
        client.pubsub() as pubsub,
    ):
        await pubsub.psubscribe(f"{cli.prefix}:*")
        proxy.delay = 0.02  # so that it is not ready before the signal comes
        process = await start("doctor", "--url", f"redis://127.0.0.1:{proxy.port}/0", "--key-prefix", cli.prefix)
        async for message in pubsub.listen():
            if message["type"] == "pmessage" and message["channel"].endswith(b":push"):
                break
        process.send_signal(signal.SIGINT)
        done = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, *done) == (130, b"", b"")

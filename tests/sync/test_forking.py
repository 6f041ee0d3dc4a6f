"""Processes that are forked: none shares a connection, or a thread, with another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from resumable_stream import StreamState
from resumable_stream.sync import ResumableStreamContext
from tests.servers import Server

_START = """
import gc, os, signal, sys, threading, time
from resumable_stream import ContextClosedError, JSONCodec, exceptions
from resumable_stream.backends.redis import RedisBackend
from resumable_stream.sync import ResumableChat, ResumableStreamContext

signal.alarm(45)  # ends a process that hangs
url, prefix = sys.argv[1:3]
goes_on = threading.Event()

def words(*given):
    def factory():
        yield from given
    return factory

def waits():
    yield "a"
    goes_on.wait(30)
    yield "b"

def forked(call):
    "Run a call in a child, which then exits as programs do; return its exit status."
    pid = os.fork()
    if pid == 0:
        signal.alarm(45)
        call()
        gc.collect()
        raise SystemExit(7)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

context = ResumableStreamContext.from_url(url, key_prefix=prefix)
"""


def run(script: str, server: Server, prefix: str, *, told: str = "") -> str:
    """Run a script; whatever goes wrong in one of its processes is an error. Return what it says."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _START + script, server.url, prefix]
    done = subprocess.run(command, capture_output=True, text=True, timeout=55)
    assert (done.returncode, done.stderr) == (0, told)
    return done.stdout


def test_made_before_the_fork(redis_server: Server) -> None:
    """A context that was not opened before the fork works in the child, in the parent, and in a child of the child."""
    script = """
def child():
    print(list(context.resumable_stream("s", words("of the child"))), flush=True)
    assert forked(lambda: print(list(context.resumable_stream("s", words("never"))), flush=True)) == 7

assert forked(child) == 7
print(list(context.resumable_stream("s", words("never"))))
assert forked(lambda: print(list(context.resume_existing_stream("s")), flush=True)) == 7
"""
    assert run(script, redis_server, "made") == "['of the child']\n" * 4


def test_opened_before_the_fork(redis_server: Server) -> None:
    """A child of a process with an open context has its own; when it exits, the parent's stream goes on unharmed."""
    script = """
with context:
    stream = context.resumable_stream("s", waits)
    assert next(stream) == "a"
    clients = context.twin  # of the parent

    def child():
        assert context.twin is not clients
        follower = context.resume_existing_stream("s")
        assert next(follower) == "a"
        list(context.resumable_stream(f"child-{os.getpid()}", words("x")))
        assert follower.state.value == "running"

    for _ in range(5):
        assert forked(child) == 7
        assert next(context.resume_existing_stream("s")) == "a"
        assert list(context.resumable_stream(f"parent-{os.getpid()}-{time.time_ns()}", words("y"))) == ["y"]
    goes_on.set()
    print(list(stream))
"""
    assert run(script, redis_server, "opened") == "['b']\n"


def test_child_reads_what_the_parent_publishes(redis_server: Server) -> None:
    """A child follows a stream of its parent while that publishes it; both at the same time."""
    script = """
stream = context.resumable_stream("s", waits)
pid = os.fork()
if pid == 0:
    follower = context.resumable_stream("s", words("never"))
    print(follower.role.value, list(follower), flush=True)
    raise SystemExit(0)
threading.Timer(0.3, goes_on.set).start()
list(stream)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""
    assert run(script, redis_server, "both") == "subscriber ['a', 'b']\n"


def test_what_a_child_cannot_use(redis_server: Server) -> None:
    """A stream of the parent's, and a context with a backend that was opened, are refused in a child; nobody hangs."""
    script = """
stream = context.resumable_stream("s", waits)
assert next(stream) == "a"
try:
    next(stream.blocks(timeout=0.0))
except TimeoutError:
    pass
other = context.resume_existing_stream("s")
made = ResumableStreamContext(RedisBackend(url, key_prefix=prefix))
given = ResumableStreamContext(RedisBackend(url, key_prefix=prefix))
given.open()

def child():
    for call in (stream.__next__, other.__next__, lambda: given.info("s"), given.open):
        try:
            call()
        except ContextClosedError as error:
            print(error, flush=True)
    stream.close()
    given.close()
    print(made.info("s").state.value, flush=True)

assert forked(child) == 7
goes_on.set()
print(list(stream), list(other), given.info("s").state.value)
"""
    refused = "it was opened before the process forked, and is that process's own\n"
    said = run(script, redis_server, "refused").splitlines(keepends=True)
    assert said[1] == refused
    assert "forked" in said[0]
    assert said[2] == said[3]
    assert "pass a callable that makes one" in said[2]
    assert said[4:] == ["running\n", "['b'] ['a', 'b'] done\n"]


def test_fork_in_many_threads(redis_server: Server) -> None:
    """Children that are forked while other threads use the context find no lock taken."""
    script = """
context.open()
is_over = threading.Event()

def use(number):
    while not is_over.is_set():
        list(context.resumable_stream(f"s-{number}-{time.time_ns()}", words("a", "b")))

threads = [threading.Thread(target=use, args=[number]) for number in range(4)]
for thread in threads:
    thread.start()
for number in range(6):
    assert forked(lambda: list(context.resumable_stream(f"child-{number}", words("x")))) == 7
is_over.set()
for thread in threads:
    thread.join()
print(sum(1 for info in context.list_streams() if info.stream_id.startswith("child") and info.state == "done"))
"""
    assert run(script, redis_server, "many") == "6\n"


def test_processes_of_multiprocessing(redis_server: Server) -> None:
    """A process of `multiprocessing`, which exits in a way of its own, closes its context, too."""
    script = """
import multiprocessing

def publish(number):
    next(context.resumable_stream(f"s{number}", waits))
    goes_on.set()  # the process ends while the factory runs

processes = multiprocessing.get_context("fork")
for is_open in (False, True):
    children = [processes.Process(target=publish, args=[2 * is_open + number]) for number in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
    context.open()
print(sorted((info.stream_id, info.state.value, info.length) for info in context.list_streams()))
"""
    expected = [(f"s{number}", "done", 2) for number in range(4)]
    assert run(script, redis_server, "pool") == f"{expected}\n"


def test_child_that_is_killed(redis_server: Server) -> None:
    """What a child published that is killed is lost within the lease, and the parent learns it."""
    script = """
context = ResumableStreamContext.from_url(url, key_prefix=prefix, lease=0.5)
context.open()
pid = os.fork()
if pid == 0:
    next(context.resumable_stream("s", waits))
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(pid, 0)
stream = context.resume_existing_stream("s")
print(next(stream))
try:
    next(stream)
except exceptions.PublisherLostError:
    print(list(context.resumable_stream("s", words("never"), takeover=lambda chunks: ["after", *chunks])))
"""
    assert run(script, redis_server, "killed") == "a\n['a', 'after', 'a']\n"


@pytest.mark.parametrize("kind", ["sql", "redis", "memory"])
def test_chats(redis_server: Server, tmp_path: Path, kind: str) -> None:
    """Chats work in children if their store is made by a callable; one that was opened is refused."""
    script = f"""
from resumable_stream.chat.stores.memory import MemoryChatStore
from resumable_stream.chat.stores.redis import RedisChatStore
from resumable_stream.chat.stores.sql import SQLChatStore

database = "sqlite+aiosqlite:///{tmp_path}/chats.db"
stores = {{
    "sql": lambda: SQLChatStore.from_url(database),
    "redis": lambda: RedisChatStore(url, key_prefix=prefix + "-chats", expiry=60),
    "memory": MemoryChatStore,
}}
make = stores["{kind}"]
context = ResumableStreamContext.from_url(url, key_prefix=prefix, codec=JSONCodec())
chats, refused = ResumableChat(context, make), ResumableChat(context, make())
context.call(SQLChatStore.from_url(database).migrate) if "{kind}" == "sql" else None

def ask(chat, chat_id):
    message = {{"role": "user", "parts": [{{"type": "text", "text": "?"}}]}}
    list(chat.send("ann", chat_id, lambda turn: ["!"], message=message))
    return len(chat.load("ann", chat_id).messages)

assert ask(chats, "before") == 2 if "{kind}" != "sql" else True

def child():
    try:
        refused.list("ann")
    except ContextClosedError:
        print("refused", flush=True)

def other_child():
    fresh = ResumableStreamContext.from_url(url, key_prefix=prefix, codec=JSONCodec())
    print(ask(ResumableChat(fresh, make), f"child-{{os.getpid()}}"), flush=True)

context.open()
assert forked(child) == 7
assert forked(other_child) == 7
print(ask(chats, "after"))
"""
    if kind == "sql":
        _migrate(tmp_path)
        script = script.replace(
            'context.call(SQLChatStore.from_url(database).migrate) if "sql" == "sql" else None\n', ""
        ).replace(' if "sql" != "sql" else True', "")
    assert run(script, redis_server, f"chats-{kind}") == "refused\n2\n2\n"


def _migrate(folder: Path) -> None:
    from resumable_stream.chat.stores.sql import SQLChatStore

    with ResumableStreamContext.from_url("memory://") as context:
        context.call(SQLChatStore.from_url(f"sqlite+aiosqlite:///{folder}/chats.db").migrate)


def test_nothing_is_left(redis_server: Server) -> None:
    """All of that left streams that ended, and no connection."""
    with ResumableStreamContext.from_url(redis_server.url, key_prefix="opened") as context:
        infos: list[Any] = list(context.list_streams())
        assert {info.state for info in infos} <= {StreamState.DONE}

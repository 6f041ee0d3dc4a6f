"""The npm package `resumable-stream` as it is published, in Node, and this package, on one Redis."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest
from redis.asyncio import Redis

from resumable_stream import (
    JSONCodec,
    PublisherLostError,
    ResumableStreamContext,
    StreamNotFoundError,
    StreamState,
)
from resumable_stream.chat import ResumableChat
from resumable_stream.chat.stores.memory import MemoryChatStore
from resumable_stream.interop.npm import NpmStream, NpmStreams
from resumable_stream.testing import TcpProxy
from tests.e2e.npm_peer import ENTRIES, Peer, peer
from tests.interop.dying import offering_process
from tests.servers import Server, binaries, running
from tests.streams import Tap, collect, never

TEXT = "a😀bé👍🏽"  # of 1, 2, 1, 1, 2 and 2 UTF-16 units
UNITS = 9


@pytest.fixture(scope="module")
def redis_server() -> Iterator[Server]:
    """A server for all tests here."""
    found = binaries()
    with running(found.get("redis-server") or found["redis-6.2"]) as server:
        yield server


@pytest.fixture
def prefix() -> str:
    """A prefix that no other test uses, and that only Node would choose."""
    return f"my app/{uuid.uuid4().hex}"


@pytest.fixture(params=sorted(ENTRIES))
def entry(request: pytest.FixtureRequest) -> str:
    """Each entry point of the package that makes its own clients."""
    name: str = request.param
    return name


@pytest.fixture
async def node(entry: str, redis_server: Server, prefix: str) -> AsyncIterator[Peer]:
    """A Node service."""
    async with peer(entry, redis_server.url, prefix) as made:
        yield made


@pytest.fixture
async def npm(redis_server: Server, prefix: str) -> AsyncIterator[NpmStreams]:
    """What is tested, with some impatience."""
    async with NpmStreams(redis_server.url, key_prefix=prefix, check_interval=0.3, lease=1.0, reply_timeout=30) as made:
        yield made


@pytest.fixture
async def context(redis_server: Server, npm: NpmStreams) -> AsyncIterator[ResumableStreamContext]:
    """A context whose streams are offered."""
    async with context_of(redis_server, companion=npm.offer) as made:
        yield made


def context_of(redis_server: Server, **settings: Any) -> ResumableStreamContext:
    """A context on the same server, with names of its own."""
    prefix = uuid.uuid4().hex
    return ResumableStreamContext.from_url(redis_server.url, key_prefix=prefix, drain_timeout=0.0, **settings)


@pytest.fixture
async def client(redis_server: Server) -> AsyncIterator[Redis]:
    """For looking at what is in Redis."""
    async with Redis.from_url(redis_server.url, decode_responses=True, protocol=2) as made:
        yield made


def javascript_slice(text: str, start: int) -> str:
    """What JavaScript's ``slice`` makes of a text, sent as UTF-8."""
    return text.encode("utf-16-le")[2 * start :].decode("utf-16-le", "replace")


async def rest(stream: NpmStream | None) -> str:
    """The text to the end."""
    assert stream is not None
    with anyio.fail_after(30):
        return "".join([text async for text in stream])


async def in_node(node: Peer, *chunks: str, stream_id: str = "s", create: bool = False) -> None:
    """Have Node publish a stream."""
    assert await node.call("publish", id=stream_id, create=create) == "stream"
    await node.call("push", id=stream_id, chunks=chunks)


# Node publishes and Python follows


@pytest.mark.parametrize("create", [False, True], ids=["resumableStream", "createNewResumableStream"])
async def test_python_follows_node(node: Peer, npm: NpmStreams, create: bool) -> None:
    """Python gets what a Node process has published and what it publishes then, and its end; after that, nothing."""
    await in_node(node, "one ", "two ", create=create)
    stream = await npm.resume_existing_stream("s")
    assert stream is not None
    assert await anext(stream) == "one two "
    await node.call("push", id="s", chunks=["three "])
    assert await anext(stream) == "three "
    assert await npm.has_existing_stream("s") is StreamState.RUNNING
    await node.call("end", id="s")
    assert await rest(stream) == ""
    await until_done(node)
    assert await npm.resume_existing_stream("s") is None
    assert await npm.has_existing_stream("s") is StreamState.DONE


async def test_python_asks_node_for_what_is_not_there(node: Peer, npm: NpmStreams) -> None:
    """What is unknown to Node is not found by Python."""
    assert await node.call("has", id="s") is None
    assert await npm.has_existing_stream("s") is None
    with pytest.raises(StreamNotFoundError):
        await npm.resume_existing_stream("s")


async def test_python_joins_late(node: Peer, npm: NpmStreams) -> None:
    """Several followers, each from another position, get exactly what Node would give them, emoji cut or not."""
    await in_node(node, TEXT)
    streams = [await npm.resume_existing_stream("s", skip_characters=skip) for skip in range(UNITS + 1)]
    told = [await node.follow("s", skip=skip) for skip in range(UNITS + 1)]
    await node.call("push", id="s", chunks=["!", "👍"])
    await node.call("end", id="s")
    expected = [javascript_slice(TEXT, skip) + "!👍" for skip in range(UNITS + 1)]
    assert [await rest(stream) for stream in streams] == expected
    assert [await one.to_the_end() for one in told] == expected
    assert [stream.position for stream in streams if stream is not None] == [UNITS + 3] * (UNITS + 1)


async def test_python_goes_on_from_where_it_was(node: Peer, npm: NpmStreams) -> None:
    """What one reader had, and what another gets from its position on, is the whole."""
    await in_node(node, TEXT)
    first = await npm.resume_existing_stream("s")
    assert first is not None
    text = await anext(first)
    await first.aclose()
    await node.call("push", id="s", chunks=["😀 more"])
    second = await npm.resume_existing_stream("s", skip_characters=first.position)
    await node.call("end", id="s")
    assert text + await rest(second) == TEXT + "😀 more"


async def test_python_gets_a_long_text(node: Peer, npm: NpmStreams) -> None:
    """Two million characters that were published before, and a thousand after, arrive whole."""
    await in_node(node)
    await node.call("pushMany", id="s", count=10_000, width=200)
    stream = await npm.resume_existing_stream("s")
    await node.call("pushMany", id="s", count=1_000, width=200)
    await node.call("end", id="s")
    numbers = [*range(10_000), *range(1_000)]
    assert await rest(stream) == "".join(f"{number:0200}" for number in numbers)


async def test_a_node_process_is_killed(node: Peer, npm: NpmStreams, redis_server: Server, prefix: str) -> None:
    """Who follows a Node process that is killed learns it within two looks; who comes later, when nobody answers."""
    await in_node(node, "some text")
    stream = await npm.resume_existing_stream("s")
    assert stream is not None
    assert await anext(stream) == "some text"
    await node.kill()
    with anyio.fail_after(10), pytest.raises(PublisherLostError):
        await anext(stream)
    assert await npm.has_existing_stream("s") is StreamState.RUNNING  # for a day, says the package
    async with NpmStreams(redis_server.url, key_prefix=prefix, reply_timeout=0.5) as late:
        with anyio.fail_after(10), pytest.raises(PublisherLostError):
            await late.resume_existing_stream("s")


async def test_python_follows_node_on_a_bad_network(node: Peer, redis_server: Server, prefix: str) -> None:
    """Though the connection of a follower is cut again and again, it gets everything, once, and in order."""
    async with (
        TcpProxy("127.0.0.1", redis_server.port) as proxy,
        NpmStreams(f"redis://127.0.0.1:{proxy.port}/0", key_prefix=prefix) as npm,
    ):
        await in_node(node)
        stream = await npm.resume_existing_stream("s")
        assert stream is not None
        expected = text = ""
        for number in range(40):
            chunks = [f"{number}-{index}😀 " for index in range(25)]
            await node.call("push", id="s", chunks=chunks)
            expected += "".join(chunks)
            if number % 3 != 1:
                await proxy.cut()
            with anyio.move_on_after(0.005 * (number % 5)):
                while len(text) < len(expected):
                    text += await anext(stream)
        with anyio.fail_after(30):
            while len(text) < len(expected):
                text += await anext(stream)
        await node.call("end", id="s")
        assert text + await rest(stream) == expected


# Python publishes and Node follows


@pytest.mark.parametrize("verb", ["resumeExistingStream", "resumableStream"])
async def test_node_follows_python(
    node: Peer, context: ResumableStreamContext, client: Redis, prefix: str, verb: str
) -> None:
    """Node gets what Python has published and what it publishes then, and its end; after that, null."""
    tap = Tap("one ", "two ")
    await context.resumable_stream("s", tap)
    assert await node.call("has", id="s") is True
    told = await node.follow("s", verb=verb)
    await told.has("one two ")
    tap.let("three ")
    await told.has("one two three ")
    tap.end("four")
    assert await told.to_the_end() == "one two three four"
    await until_done(node)
    for again in ("resumeExistingStream", "resumableStream"):
        assert await node.call("follow", id="s", verb=again) == "null"
    assert await client.get(f"{prefix}:rs:sentinel:s") == "DONE"
    assert await client.ttl(f"{prefix}:rs:sentinel:s") > 86_000


async def test_node_asks_python_for_what_is_not_there(node: Peer, context: ResumableStreamContext) -> None:
    """What Python does not publish is unknown to Node, and what it has not offered stays so."""
    assert await node.call("follow", id="s", verb="resumeExistingStream") == "undefined"


async def until_done(node: Peer, stream_id: str = "s") -> None:
    """Return when Node says that a stream is over."""
    with anyio.fail_after(10):
        while await node.call("has", id=stream_id) != "DONE":
            await anyio.sleep(0.01)


async def test_node_joins_late(node: Peer, context: ResumableStreamContext) -> None:
    """Several listeners, each from another position, get what the package itself would give them."""
    tap = Tap(TEXT)
    await context.resumable_stream("s", tap)
    told = [await node.follow("s", skip=skip) for skip in range(UNITS + 1)]
    tap.end("!", "👍")
    expected = [javascript_slice(TEXT, skip) + "!👍" for skip in range(UNITS + 1)]
    assert [await one.to_the_end() for one in told] == expected


async def test_node_gets_a_long_text(node: Peer, context: ResumableStreamContext) -> None:
    """Two million characters that were published before arrive whole, in pieces of at most 65,536 units."""
    chunks = [f"{number:020}" for number in range(100_000)]
    tap = Tap(*chunks)
    await context.resumable_stream("s", tap)
    told = await node.follow("s", skip=7)
    tap.end("the end")
    assert await told.to_the_end() == "".join([*chunks, "the end"])[7:]
    assert told.longest <= 65_536


async def test_node_gets_many_chunks(node: Peer, context: ResumableStreamContext) -> None:
    """A listener that is there from the start gets everything, however fast it comes."""
    tap = Tap()
    await context.resumable_stream("s", tap)
    told = [await node.follow("s") for _ in range(3)]
    chunks = [f"{number:020}" for number in range(20_000)]
    tap.end(*chunks)
    for one in told:
        assert await one.to_the_end() == "".join(chunks)


async def test_node_follows_python_on_a_bad_network(node: Peer, redis_server: Server, prefix: str) -> None:
    """Though a publisher is cut off again and again, its listeners get everything, once, and in order."""
    tap = Tap()
    async with (
        TcpProxy("127.0.0.1", redis_server.port) as proxy,
        NpmStreams(f"redis://127.0.0.1:{proxy.port}/0", key_prefix=prefix) as npm,
        ResumableStreamContext.from_url("memory://", companion=npm.offer) as context,
    ):
        await context.resumable_stream("s", tap)
        told = [await node.follow("s") for _ in range(3)]
        expected = ""
        for number in range(40):
            chunks = [f"{number}-{index}😀 " for index in range(25)]
            tap.let(*chunks)
            expected += "".join(chunks)
            await anyio.sleep(0.003 * (number % 5))
            if number % 3 != 1:
                await proxy.cut()
        for one in told:
            await one.has(expected)
        tap.end()
        for one in told:
            assert await one.to_the_end() == expected


async def test_node_looks_and_leaves(node: Peer, npm: NpmStreams, context: ResumableStreamContext) -> None:
    """A Node listener that goes away, as a page does, does not keep the others from being told."""
    tap = Tap("text")
    await context.resumable_stream("s", tap)
    assert await node.call("glance", id="s") == ""
    told = await node.follow("s")
    tap.end(" and more")
    assert await told.to_the_end() == "text and more"


async def test_a_python_process_is_killed(node: Peer, redis_server: Server, prefix: str) -> None:
    """When Python is killed, Node's listeners are let go and the stream is unknown, once the lease is over."""
    async with offering_process(redis_server.url, prefix, 1.0) as process:
        told = await node.follow("s")
        await told.has("some text")
        process.kill()
        assert await told.to_the_end() == "some text"  # the package's watchdog says so, which has no other word
        assert await node.call("follow", id="s", verb="resumeExistingStream") == "undefined"


async def test_what_failed_just_ends_in_node(node: Peer, context: ResumableStreamContext) -> None:
    """A stream that failed in Python ends in Node like one that is done, with all its text."""
    tap = Tap("some text")
    await context.resumable_stream("s", tap)
    told = await node.follow("s")
    await told.has("some text")
    tap.let(ValueError("no"))
    assert await told.to_the_end() == "some text"


async def test_a_chat_of_ours_in_node(node: Peer, redis_server: Server, prefix: str) -> None:
    """The answers of a chat are offered by the setting of its context, as server-sent events."""
    tap = Tap({"type": "start", "messageId": "m"}, {"type": "text-start", "id": "t"})

    def to_text(chunk: Any) -> str:
        return f"data: {json.dumps(chunk)}\n\n"

    async with (
        NpmStreams(redis_server.url, key_prefix=prefix, to_text=to_text) as npm,
        MemoryChatStore() as store,
        ResumableStreamContext.from_url("memory://", codec=JSONCodec(), companion=npm.offer) as context,
    ):
        chats = ResumableChat(context, store)
        message = {"role": "user", "parts": [{"type": "text", "text": "Hello"}]}
        answer = await chats.send("ada", "chat-1", lambda _turn: tap(), message=message)
        told = await node.follow(answer.stream_id)
        tap.let({"type": "text-delta", "id": "t", "delta": "Hi"})
        tap.end({"type": "text-end", "id": "t"}, {"type": "finish"})
        assert await told.to_the_end() == "".join(map(to_text, await collect(answer)))


# Both at once


async def test_one_redis_for_both(node: Peer, npm: NpmStreams, context: ResumableStreamContext) -> None:
    """Streams of both kinds run side by side, and each side follows the other's."""
    tap = Tap("from Python")
    await context.resumable_stream("p", tap)
    await in_node(node, "from Node", stream_id="n")
    told = await node.follow("p")
    stream = await npm.resume_existing_stream("n")
    tap.end()
    await node.call("end", id="n")
    assert await told.to_the_end() == "from Python"
    assert await rest(stream) == "from Node"


async def test_an_id_that_node_has(
    node: Peer, npm: NpmStreams, context: ResumableStreamContext, caplog: pytest.LogCaptureFixture
) -> None:
    """A stream of ours whose id a Node process publishes is not offered: Node's listeners get Node's text."""
    await in_node(node, "from Node")
    stream = await context.resumable_stream("s", tap := Tap("from Python"))
    assert "its id is taken there" in caplog.text
    told = await node.follow("s")
    tap.end()
    assert await collect(stream) == ["from Python"]
    await node.call("end", id="s")
    assert await told.to_the_end() == "from Node"


async def test_no_prefix_means_the_packages_own(entry: str) -> None:
    """Without a prefix both sides use the same one."""
    with running(binaries()["redis-6.2"]) as server:
        async with (
            NpmStreams(server.url) as npm,
            ResumableStreamContext.from_url(server.url, companion=npm.offer, drain_timeout=0.0) as context,
            peer(entry, server.url, "") as node,
        ):
            tap = Tap("text")
            await context.resumable_stream("s", tap)
            told = await node.follow("s")
            assert await context.resumable_stream("s", never) is not None
            tap.end()
            assert await told.to_the_end() == "text"

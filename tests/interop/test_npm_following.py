"""Streams of a publisher that speaks the npm package's protocol, here by hand. With the package itself: tests/e2e."""

from __future__ import annotations

import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from redis.asyncio import Redis

from resumable_stream import (
    BackendError,
    BackendUnavailableError,
    ConcurrentReadError,
    ContextClosedError,
    InvalidPositionError,
    InvalidSettingError,
    InvalidStreamIdError,
    PublisherLostError,
    StreamGoneError,
    StreamNotFoundError,
    StreamState,
)
from resumable_stream.interop.npm import NpmStream, NpmStreams
from resumable_stream.testing import TcpProxy
from tests.interop.by_hand import A_DAY, Publisher, until
from tests.interop.conftest import npm_streams, rest, user_who_may
from tests.servers import free_port
from tests.stores import InRedis


@pytest.fixture
async def publisher(client: Redis, redis_store: InRedis) -> Publisher:
    """The other side of stream s."""
    return Publisher(client, redis_store.prefix, "s")


@asynccontextmanager
async def behind_proxy(store: InRedis, **settings: Any) -> AsyncIterator[tuple[NpmStreams, TcpProxy]]:
    """What is tested, on a network that can be cut."""
    port = int(store.url.split(":")[2].split("/")[0])
    async with (
        TcpProxy("127.0.0.1", port) as proxy,
        npm_streams(store, f"redis://127.0.0.1:{proxy.port}/0", **settings) as npm,
    ):
        yield npm, proxy


async def resumed(npm: NpmStreams, stream_id: str = "s", skip: int = 0) -> NpmStream:
    """Follow a stream that runs."""
    stream = await npm.resume_existing_stream(stream_id, skip_characters=skip)
    assert stream is not None
    return stream


async def subscribed(client: Redis, prefix: str) -> list[str]:
    """The channels of listeners that somebody is subscribed to."""
    return [str(channel) for channel in await client.pubsub_channels(f"{prefix}:rs:chunk:*")]


async def test_text_so_far_and_what_follows(redis_store: InRedis, publisher: Publisher) -> None:
    """A follower gets the text so far, then what comes, to the end; after that the stream is done."""
    async with publisher.listening(), npm_streams(redis_store) as npm:
        await publisher.claim()
        await publisher.say("one ", "two ")
        async with await resumed(npm) as stream:
            assert stream.stream_id == "s"
            assert await anext(stream) == "one two "
            assert stream.position == 8
            await publisher.say("three ")
            assert await anext(stream) == "three "
            assert repr(stream) == "<NpmStream 's', at 14>"
            await publisher.end()
            assert await rest(stream) == ""
            assert await rest(stream) == ""
        assert await npm.resume_existing_stream("s") is None


async def test_unknown_running_and_done_are_told_apart(
    redis_store: InRedis, publisher: Publisher, client: Redis
) -> None:
    """A stream that is unknown is an error, one that is done is none; and looking changes nothing."""
    async with npm_streams(redis_store) as npm:
        assert await npm.has_existing_stream("s") is None
        with pytest.raises(StreamNotFoundError) as error:
            await npm.resume_existing_stream("s")
        assert error.value.stream_id == "s"
        assert isinstance(error.value, LookupError)
        await publisher.claim("3")
        assert await npm.has_existing_stream("s") is StreamState.RUNNING
        assert await client.get(publisher.sentinel) == "3"
        await publisher.end()
        assert await npm.has_existing_stream("s") is StreamState.DONE
        assert await npm.resume_existing_stream("s") is None


async def test_skipping(redis_store: InRedis, publisher: Publisher) -> None:
    """A follower gets what follows the UTF-16 units that it skips; of a character that it cuts in two, U+FFFD."""
    text = "a😀b"
    async with publisher.listening(), npm_streams(redis_store) as npm:
        await publisher.claim()
        await publisher.say(text)
        streams = [await resumed(npm, skip=skip) for skip in range(5)]
        await publisher.end()
        assert [await rest(stream) for stream in streams] == [text, "😀b", "\ufffdb", "b", ""]
        assert [stream.position for stream in streams] == [4, 4, 4, 4, 4]


async def test_ids_may_be_what_node_likes(redis_store: InRedis, client: Redis) -> None:
    """A stream id may have characters that ours may not."""
    publisher = Publisher(client, redis_store.prefix, "chats/1 ✓ {x}")
    async with publisher.listening(), npm_streams(redis_store) as npm:
        await publisher.claim()
        stream = await resumed(npm, "chats/1 ✓ {x}")
        await publisher.say("text")
        await publisher.end()
        assert await rest(stream) == "text"


async def test_a_dead_publisher_is_found_out_when_joining(redis_store: InRedis, publisher: Publisher) -> None:
    """A stream that is said to run and that nobody answers for is lost, after the time that was set."""
    await publisher.claim()
    async with npm_streams(redis_store, reply_timeout=0.2) as npm:
        with anyio.fail_after(5), pytest.raises(PublisherLostError) as error:
            await npm.resume_existing_stream("s")
        assert error.value.stream_id == "s"


async def test_a_frozen_publisher_is_found_out_when_joining(redis_store: InRedis, publisher: Publisher) -> None:
    """A publisher that hears and does not answer is lost; its request is not repeated."""
    await publisher.claim()
    async with publisher.listening(answers=False), npm_streams(redis_store, reply_timeout=0.3) as npm:
        with anyio.fail_after(5), pytest.raises(PublisherLostError):
            await npm.resume_existing_stream("s")
        assert len(publisher.requests) == 1


@pytest.mark.parametrize("end", ["done", "expired"])
async def test_an_end_while_joining(redis_store: InRedis, publisher: Publisher, client: Redis, end: str) -> None:
    """A stream that ends between the look and the answer is done, or unknown, and not lost."""
    await publisher.claim()
    found: list[object] = []
    async with npm_streams(redis_store) as npm, anyio.create_task_group() as tasks:

        async def join() -> None:
            try:
                found.append(await npm.resume_existing_stream("s"))
            except StreamNotFoundError as error:
                found.append(error)

        tasks.start_soon(join)
        await until(lambda: subscribed(client, redis_store.prefix))
        await (publisher.end() if end == "done" else client.delete(publisher.sentinel))
    assert found == [None] if end == "done" else isinstance(found[0], StreamNotFoundError)


async def test_a_publisher_that_is_late(redis_store: InRedis, publisher: Publisher, client: Redis) -> None:
    """A publisher that says that its stream runs a moment before it listens is asked again until it does."""
    await publisher.claim()
    async with npm_streams(redis_store) as npm, anyio.create_task_group() as tasks:
        texts: list[str] = []

        async def follow() -> None:
            texts.append(await rest(await resumed(npm)))

        tasks.start_soon(follow)
        await until(lambda: subscribed(client, redis_store.prefix))
        async with publisher.listening():
            await publisher.was_asked.wait()
            await publisher.say("text")
            await publisher.end()
            await until(lambda: _is_true(texts))
    assert texts == ["text"]
    assert len(publisher.requests) == 1


async def _is_true(what: object) -> bool:
    return bool(what)


async def test_a_publisher_that_dies(redis_store: InRedis, publisher: Publisher) -> None:
    """Who follows a publisher that dies gets what it said, and then an error, after two looks."""
    async with npm_streams(redis_store) as npm:
        async with publisher.listening():
            await publisher.claim()
            stream = await resumed(npm)
            await publisher.say("some ", "text")
        assert [await anext(stream), await anext(stream)] == ["some ", "text"]
        with anyio.fail_after(5), pytest.raises(PublisherLostError):
            await anext(stream)
        assert stream.position == 9
        assert await rest(stream) == ""


async def test_a_dead_publisher_is_found_out_by_impatient_readers(redis_store: InRedis, publisher: Publisher) -> None:
    """Reads that are cancelled again and again add up to the time after which it is looked."""
    async with npm_streams(redis_store) as npm:
        async with publisher.listening():
            await publisher.claim()
            stream = await resumed(npm)

        async def read_impatiently() -> None:
            while True:
                with anyio.move_on_after(0.06):
                    await anext(stream)

        with anyio.fail_after(10), pytest.raises(PublisherLostError):
            await read_impatiently()


async def test_a_user_who_may_not_look(redis_store: InRedis, publisher: Publisher, client: Redis) -> None:
    """A user who may not ask who listens can follow all the same, and takes nobody for dead."""
    async with user_who_may(client, redis_store, "&*", "+@all", "-pubsub") as url, npm_streams(redis_store, url) as npm:
        async with publisher.listening():
            await publisher.claim()
            stream = await resumed(npm)
            await publisher.say("text")
            assert await anext(stream) == "text"
        with anyio.move_on_after(0.5) as waiting:
            await anext(stream)
        assert waiting.cancelled_caught
        await publisher.end()
        assert await rest(stream) == ""


async def test_a_user_who_may_not_listen(redis_store: InRedis, publisher: Publisher, client: Redis) -> None:
    """A user who may not subscribe is told so by an error."""
    await publisher.claim()
    async with user_who_may(client, redis_store, "resetchannels", "+@all") as url, npm_streams(redis_store, url) as npm:
        with pytest.raises(BackendError):
            await npm.resume_existing_stream("s")


async def test_a_silent_publisher_is_not_lost(redis_store: InRedis, publisher: Publisher) -> None:
    """A publisher that is there and has nothing to say is waited for, however often it is looked."""
    async with publisher.listening(), npm_streams(redis_store, check_interval=0.05) as npm:
        await publisher.claim()
        stream = await resumed(npm)
        with pytest.raises(TimeoutError), anyio.fail_after(0.5):
            await anext(stream)
        await publisher.say("text")
        await publisher.end()
        assert await rest(stream) == "text"


async def test_the_word_about_the_end_gets_lost(redis_store: InRedis, publisher: Publisher) -> None:
    """A stream that is over ends for a follower that was not told."""
    async with publisher.listening(), npm_streams(redis_store) as npm:
        await publisher.claim()
        stream = await resumed(npm)
        await publisher.say("text")
        await publisher.end(with_word=False)
        with anyio.fail_after(5):
            assert await rest(stream) == "text"


async def test_an_interrupted_connection(redis_store: InRedis, publisher: Publisher) -> None:
    """After an interruption the publisher is asked for what follows: nothing comes twice, and nothing is missing."""
    async with publisher.listening(), behind_proxy(redis_store) as (npm, proxy):
        await publisher.claim()
        await publisher.say("0😀1 ")
        stream = await resumed(npm, skip=1)
        assert await anext(stream) == "😀1 "
        for number in range(2, 5):
            await proxy.refuse()
            await publisher.say(f"{number} ")
            await proxy.accept()
            assert await anext(stream) == f"{number} "
        await publisher.end()
        assert await rest(stream) == ""
        assert [request.get("skipCharacters") for request in publisher.requests] == [1, 5, 7, 9]


async def test_a_cancelled_read_after_an_interruption(redis_store: InRedis, publisher: Publisher) -> None:
    """A read that is cancelled while it asks again leaves that to the next one."""
    async with publisher.listening(), behind_proxy(redis_store) as (npm, proxy):
        await publisher.claim()
        stream = await resumed(npm)
        expected = text = ""
        for seconds in (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1):
            await proxy.cut()
            await publisher.say(f"{seconds} ")
            expected += f"{seconds} "
            with anyio.move_on_after(seconds):
                text += await anext(stream)
        with anyio.fail_after(20):
            while len(text) < len(expected):
                text += await anext(stream)
        await publisher.end()
        assert text + await rest(stream) == expected


async def test_an_end_while_the_connection_is_interrupted(redis_store: InRedis, publisher: Publisher) -> None:
    """What was said during an interruption cannot be had after the end: an error, and no text with a hole."""
    async with publisher.listening(), behind_proxy(redis_store) as (npm, proxy):
        await publisher.claim()
        stream = await resumed(npm)
        await publisher.say("text ")
        assert await anext(stream) == "text "
        await proxy.refuse()
        await publisher.say("more")
        await publisher.end()
        await proxy.accept()
        with anyio.fail_after(10), pytest.raises(StreamGoneError):
            await anext(stream)


async def test_a_death_while_the_connection_is_interrupted(redis_store: InRedis, publisher: Publisher) -> None:
    """A publisher that died while the connection was interrupted is lost."""
    async with behind_proxy(redis_store, reply_timeout=0.2) as (npm, proxy):
        async with publisher.listening():
            await publisher.claim()
            stream = await resumed(npm)
            await proxy.refuse()
        await proxy.accept()
        with anyio.fail_after(10), pytest.raises(PublisherLostError):
            await anext(stream)


async def test_redis_is_away(redis_store: InRedis, publisher: Publisher) -> None:
    """A server that stays away is an error after the time that was set; when it is back, reading goes on."""
    async with publisher.listening(), behind_proxy(redis_store, outage_timeout=0.3) as (npm, proxy):
        await publisher.claim()
        stream = await resumed(npm)
        await proxy.refuse()
        with anyio.fail_after(10), pytest.raises(BackendUnavailableError):
            await anext(stream)
        await proxy.accept()
        await publisher.say("text")
        with anyio.fail_after(10):
            while True:
                try:
                    assert await anext(stream) == "text"
                    break
                except BackendUnavailableError:
                    pass


async def test_a_request_whose_reply_is_lost(redis_store: InRedis, publisher: Publisher) -> None:
    """A request is not made twice, though the connection breaks before it is confirmed: each chunk would come twice."""
    async with publisher.listening(), behind_proxy(redis_store) as (npm, proxy):
        await publisher.claim()
        assert await rest_of_one(npm, publisher) == "one"  # so that the server knows the scripts
        await publisher.claim()
        lost = proxy.lose_reply_to(b"request")
        stream = await resumed(npm)
        await lost.wait()
        await publisher.say("two")
        await publisher.end()
        assert await rest(stream) == "onetwo"
        assert len(publisher.requests) == 2


async def rest_of_one(npm: NpmStreams, publisher: Publisher) -> str:
    """Follow once, for one word."""
    async with await resumed(npm) as stream:
        await publisher.say("one")
        return await anext(stream)


async def test_a_slow_reader(redis_store: InRedis, publisher: Publisher) -> None:
    """A reader for which too much waits asks again for the rest when it gets there, and misses nothing."""
    chunk = "x" * (1024 * 1024)
    async with publisher.listening(), npm_streams(redis_store) as npm:
        await publisher.claim()
        stream = await resumed(npm)
        for number in range(24):
            await publisher.say(f"{number:02}{chunk}")

        async def is_too_much() -> bool:
            return stream._follower.inbox.has_missed

        await until(is_too_much)
        text = ""
        while len(text) < 24 * (len(chunk) + 2):
            text += await anext(stream)
        await publisher.end()
        assert await rest(stream) == ""
        assert text == "".join(f"{number:02}{chunk}" for number in range(24))
        assert len(publisher.requests) == 2


async def test_a_cancelled_read_loses_nothing(redis_store: InRedis, publisher: Publisher) -> None:
    """A read that is cancelled takes nothing with it."""
    async with publisher.listening(), npm_streams(redis_store) as npm:
        await publisher.claim()
        stream = await resumed(npm)
        texts = ""
        for number in range(50):
            with anyio.move_on_after(0):
                texts += await anext(stream)
            await publisher.say(f"{number} ")
        await publisher.end()
        texts += await rest(stream)
        assert texts == "".join(f"{number} " for number in range(50))


async def test_a_cancelled_join_leaves_nothing(redis_store: InRedis, publisher: Publisher, client: Redis) -> None:
    """Cancelling the call, at any point of it, leaves no subscription."""
    await publisher.claim()
    async with publisher.listening(answers=False), npm_streams(redis_store) as npm:
        for seconds in (0.0, 0.001, 0.002, 0.004, 0.008, 0.1):
            with anyio.move_on_after(seconds):
                await npm.resume_existing_stream("s")

        async def nothing_is_subscribed() -> bool:
            return not await subscribed(client, redis_store.prefix)

        await until(nothing_is_subscribed)


@pytest.mark.parametrize("how", ["closed", "forgotten", "ended"])
async def test_who_leaves_is_unsubscribed(redis_store: InRedis, publisher: Publisher, client: Redis, how: str) -> None:
    """A stream that is closed, forgotten, or read to its end leaves no subscription."""
    async with publisher.listening(), npm_streams(redis_store) as npm:
        await publisher.claim()
        stream = await resumed(npm)
        assert len(await subscribed(client, redis_store.prefix)) == 1
        if how == "closed":
            await stream.aclose()
            await stream.aclose()
            assert await rest(stream) == ""
        elif how == "ended":
            await publisher.end()
            assert await rest(stream) == ""
        else:
            del stream
            gc.collect()

        async def nothing_is_subscribed() -> bool:
            return not await subscribed(client, redis_store.prefix)

        await until(nothing_is_subscribed)


async def test_closing_ends_a_read_in_another_task(redis_store: InRedis, publisher: Publisher) -> None:
    """A read that waits just ends when the stream is closed; a second one beside it is refused."""
    async with publisher.listening(), npm_streams(redis_store, check_interval=60) as npm:
        await publisher.claim()
        stream = await resumed(npm)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(rest, stream)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(ConcurrentReadError):
                await anext(stream)
            await stream.aclose()


async def test_leaving_wakes_readers(redis_store: InRedis, publisher: Publisher) -> None:
    """Readers that wait when the object is left learn that; nothing works outside of it; it can be entered again."""
    npm = npm_streams(redis_store, check_interval=60)
    async with publisher.listening():
        await publisher.claim()
        async with npm:
            stream = await resumed(npm)
            with pytest.raises(ContextClosedError):
                await npm.__aenter__()
        with pytest.raises(ContextClosedError):
            await anext(stream)
        for call in (npm.resume_existing_stream("s"), npm.has_existing_stream("s")):
            with pytest.raises(ContextClosedError):
                await call
        async with npm:
            stream = await resumed(npm)
            await publisher.end()
            assert await rest(stream) == ""


async def test_a_server_that_cannot_be_reached(redis_store: InRedis) -> None:
    """Entering says so when there is no server, and leaves nothing behind."""
    with pytest.raises(BackendError):
        async with NpmStreams(f"redis://127.0.0.1:{free_port()}"):
            pass


async def test_a_client_tells_where_the_server_is(redis_store: InRedis, publisher: Publisher) -> None:
    """A client of the user's own is accepted, however it decodes, and is not closed."""
    async with Redis.from_url(redis_store.url, decode_responses=True, protocol=2) as mine:
        async with publisher.listening(), NpmStreams(mine, key_prefix=redis_store.prefix) as npm:
            await publisher.claim()
            stream = await resumed(npm)
            await publisher.say("text")
            await publisher.end()
            assert await rest(stream) == "text"
        assert await mine.get(publisher.sentinel) == "DONE"
        assert await mine.ttl(publisher.sentinel) > A_DAY - 60


@pytest.mark.parametrize(
    "settings",
    [
        {"key_prefix": ""},
        {"reply_timeout": 0},
        {"check_interval": "5"},
        {"outage_timeout": True},
        {"lease": 1e12},
        {"tombstone": -1},
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any]) -> None:
    """A setting that is out of range is refused before anything is done."""
    with pytest.raises(InvalidSettingError):
        NpmStreams("redis://localhost", **settings)


@pytest.mark.parametrize("server", ["redis+cluster://localhost:7000", "http://localhost", 5])
def test_servers_that_cannot_be(server: Any) -> None:
    """A Cluster, which the npm package does not speak to, and what is no server, are refused."""
    with pytest.raises(InvalidSettingError):
        NpmStreams(server)


async def test_bad_arguments_ask_nothing(redis_store: InRedis) -> None:
    """An id or a position that cannot be is refused before anything is sent."""
    async with npm_streams(redis_store) as npm:
        with pytest.raises(InvalidStreamIdError):
            await npm.resume_existing_stream("")
        with pytest.raises(InvalidPositionError):
            await npm.resume_existing_stream("s", skip_characters=-1)


async def test_what_is_no_text(
    redis_store: InRedis, publisher: Publisher, client: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Bytes that are no UTF-8 become U+FFFD; a message of nobody's harms nothing."""
    async with publisher.listening(), npm_streams(redis_store) as npm:
        await publisher.claim()
        stream = await resumed(npm)
        (channel,) = await subscribed(client, redis_store.prefix)
        await client.publish(channel, b"\xff")
        assert await anext(stream) == "\ufffd"
        await publisher.end()
        assert await rest(stream) == ""
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]

"""Streams of ours, for listeners that speak the npm package's protocol, here by hand. With the package: tests/e2e."""

from __future__ import annotations

import itertools
import logging
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from redis.asyncio import Redis

from resumable_stream import ContextClosedError, JSONCodec, ResumableStreamContext, StreamState
from resumable_stream.interop.npm import NpmStreams, offering
from resumable_stream.testing import TcpProxy
from tests.interop.by_hand import A_DAY, Listener, listening, until
from tests.interop.conftest import npm_streams, rest, user_who_may
from tests.interop.dying import offering_process
from tests.servers import binaries, running
from tests.stores import InRedis
from tests.streams import Tap, collect, collect_until_error, factory_of, never, take


@asynccontextmanager
async def offered(store: InRedis, **settings: Any) -> AsyncIterator[ResumableStreamContext]:
    """A context whose streams are offered."""
    async with npm_streams(store, **settings) as npm, context_of(store, npm) as context:
        yield context


def context_of(store: InRedis, npm: NpmStreams, **settings: Any) -> ResumableStreamContext:
    """A context whose streams are offered, not entered yet."""
    return store.make_context(companion=npm.offer, **settings)


def sentinel_of(store: InRedis, stream_id: str = "s") -> str:
    """The key by which Node knows a stream."""
    return f"{store.prefix}:rs:sentinel:{stream_id}"


async def text_of(listener: Listener) -> str:
    """Everything that a listener is told, to the end."""
    return "".join(await listener.hear_all())


async def test_listeners_are_answered(redis_store: InRedis, client: Redis) -> None:
    """A listener is confirmed with an empty text, gets what there is and what comes, and is told the end."""
    tap = Tap("one ", "two ")
    async with offered(redis_store) as context, listening(client, redis_store.prefix, "s") as listener:
        await context.resumable_stream("s", tap)
        assert await listener.ask() == 1
        assert await listener.hear() == ""
        assert await listener.hear() == "one two "
        tap.let("three ")
        assert await listener.hear() == "three "
        tap.end("four")
        assert await text_of(listener) == "four"


async def test_node_finds_the_stream(redis_store: InRedis, client: Redis) -> None:
    """While a stream runs its sentinel is an integer that expires soon; after that it says DONE, for a day."""
    tap, sentinel = Tap("a"), sentinel_of(redis_store)
    async with offered(redis_store) as context:
        stream = await context.resumable_stream("s", tap)
        assert int(await client.get(sentinel) or 0) > 0
        assert 0 < await client.pttl(sentinel) <= 15_000
        assert await client.incr(sentinel) > 1
        assert await client.pttl(sentinel) <= 15_000
        tap.end()
        assert await collect(stream) == ["a"]
        await until(lambda: _is(client, sentinel, "DONE"))
        assert A_DAY - 60 < await client.ttl(sentinel) <= A_DAY

        async def nobody_listens() -> bool:
            return not await client.pubsub_channels(f"{redis_store.prefix}:rs:*")

        await until(nobody_listens)


async def _is(client: Redis, key: str, value: str | None) -> bool:
    return bool(await client.get(key) == value)


@pytest.mark.parametrize(("skip", "rest"), [(None, "a😀b"), (0, "a😀b"), (1, "😀b"), (2, "\ufffdb"), (3, "b"), (4, "")])
async def test_skipping(redis_store: InRedis, client: Redis, skip: int | None, rest: str) -> None:
    """A listener gets what follows its UTF-16 units; of a character that they cut in two, U+FFFD."""
    async with offered(redis_store) as context, listening(client, redis_store.prefix, "s") as listener:
        tap = Tap("a", "😀", "b")
        await context.resumable_stream("s", tap)
        await listener.ask(skip)
        tap.end()
        assert await text_of(listener) == rest


async def test_a_long_text_comes_in_bounded_frames(redis_store: InRedis, client: Redis) -> None:
    """Two million characters come in frames of at most 65,536, and are complete."""
    chunks = [f"{number:020}" for number in range(100_000)]
    async with offered(redis_store) as context, listening(client, redis_store.prefix, "s") as listener:
        tap = Tap(*chunks)
        await context.resumable_stream("s", tap)
        await listener.ask()
        tap.end()
        frames = await listener.hear_all()
    assert "".join(frames) == "".join(chunks)
    assert max(map(len, frames)) <= 65_536


async def test_characters_that_come_in_halves(redis_store: InRedis, client: Redis) -> None:
    """A character that the source cuts in two is told when it is whole; half of one that stays alone at the end."""
    tap = Tap("a")
    async with offered(redis_store) as context, listening(client, redis_store.prefix, "s") as listener:
        await context.resumable_stream("s", tap)
        await listener.ask()
        assert [await listener.hear(), await listener.hear()] == ["", "a"]
        for chunk in ("\ud83d", "\ude00 b", "\ud83d"):
            tap.let(chunk)
            await anyio.sleep(0.1)  # so that they come one after the other
        tap.end()
        assert await text_of(listener) == "\U0001f600 b\ufffd"


async def test_characters_that_come_in_halves_to_who_goes_on(redis_store: InRedis, client: Redis) -> None:
    """Who has what came before half a character, and goes on after it, gets the character whole."""
    tap = Tap("Hello ", "\ud83d")
    async with offered(redis_store) as context, listening(client, redis_store.prefix, "s") as listener:
        stream = await context.resumable_stream("s", tap)
        assert await take(stream, 2) == ["Hello ", "\ud83d"]
        await listener.ask(len("Hello "))
        assert await listener.hear() == ""
        tap.end("\ude00 b")
        assert await text_of(listener) == "\U0001f600 b"


async def test_several_listeners(redis_store: InRedis, client: Redis) -> None:
    """Each listener gets its own rest, whenever it comes."""
    tap = Tap("a")
    async with (
        offered(redis_store) as context,
        listening(client, redis_store.prefix, "s") as first,
        listening(client, redis_store.prefix, "s") as second,
        listening(client, redis_store.prefix, "s") as third,
    ):
        await context.resumable_stream("s", tap)
        await first.ask()
        tap.let("b")
        await second.ask(1)
        tap.let("c")
        await third.ask(3)
        tap.end("d")
        assert [await text_of(listener) for listener in (first, second, third)] == ["abcd", "bcd", "d"]


async def test_requests_that_come_twice_or_are_none(
    redis_store: InRedis, client: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """A listener that asks twice is told once; a message that is no request is logged, and harms nothing."""
    tap = Tap("a")
    async with offered(redis_store) as context, listening(client, redis_store.prefix, "s") as listener:
        await context.resumable_stream("s", tap)
        await client.publish(f"{redis_store.prefix}:rs:request:s", "no request")
        await listener.ask()
        await listener.ask()
        tap.end("b")
        assert await text_of(listener) == "ab"
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == [
        "ignored a message that is none of ours"
    ]


async def test_one_listener_too_many(
    redis_store: InRedis, client: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """There is a limit to the listeners of a process; beyond it a request is not answered, and the log says so."""
    monkeypatch.setattr(offering, "_MAX_LISTENERS", 1)
    tap = Tap("a")
    async with (
        offered(redis_store) as context,
        listening(client, redis_store.prefix, "s") as first,
        listening(client, redis_store.prefix, "s") as second,
    ):
        await context.resumable_stream("s", tap)
        await first.ask()
        assert await first.hear() == ""
        await second.ask()
        tap.let("b")
        assert await first.hear() in {"ab", "a"}
        tap.end()
        await text_of(first)
        assert "one too many" in caplog.text


async def test_an_offer_costs_one_subscription() -> None:
    """A stream that nobody asks for costs a subscription, the two words about it, and nothing for a chunk."""
    with running(binaries()["redis-6.2"]) as server:
        async with (
            Redis.from_url(server.url, protocol=2) as client,
            NpmStreams(server.url) as npm,
            ResumableStreamContext.from_url("memory://", companion=npm.offer) as context,
        ):
            await collect(await context.resumable_stream("warm", factory_of(["a"])))
            await until(lambda: _is_done(client, "warm"))
            await client.config_resetstat()
            chunks = [f"{number:020}" for number in range(20_000)]
            assert len(await collect(await context.resumable_stream("s", factory_of(chunks)))) == 20_000
            await until(lambda: _is_done(client, "s"))

            async def is_unsubscribed() -> bool:
                return not await client.pubsub_channels()

            await until(is_unsubscribed)
            calls = {name: of["calls"] for name, of in (await client.info("commandstats")).items()}
            assert calls["cmdstat_subscribe"] == 1
            assert calls["cmdstat_unsubscribe"] == 1
            assert calls["cmdstat_evalsha"] == 2
            assert calls["cmdstat_publish"] == 1  # within one of these
            assert not calls.keys() & {"cmdstat_eval", "cmdstat_script", "cmdstat_ping"}
            assert len(await client.client_list()) == 3  # two, and the one that asks


async def _is_done(client: Redis, stream_id: str) -> bool:
    return bool(await client.get(f"resumable-stream:rs:sentinel:{stream_id}") == b"DONE")


async def test_an_offer_is_renewed(redis_store: InRedis, client: Redis) -> None:
    """A sentinel is renewed while its stream runs, and keeps what callers counted."""
    sentinel = sentinel_of(redis_store)
    async with offered(redis_store, lease=0.3) as context:
        await context.resumable_stream("s", Tap("a"))
        counted = await client.incr(sentinel)
        seen = [0]

        async def is_renewed_thrice() -> bool:
            seen.append(await client.pttl(sentinel))
            return sum(later > earlier for earlier, later in itertools.pairwise(seen)) > 3

        await until(is_renewed_thrice)
        assert int(await client.get(sentinel) or 0) == counted


async def test_a_dead_process_is_forgotten(redis_store: InRedis, client: Redis) -> None:
    """When a process is killed, its streams are unknown to Node once the lease has lapsed."""
    async with offering_process(redis_store.url, redis_store.prefix, 0.5) as process:
        assert await client.get(sentinel_of(redis_store)) is not None
        process.kill()
        await until(lambda: _is(client, sentinel_of(redis_store), None))


@pytest.mark.parametrize("word", ["1", "3", "DONE", "nonsense"])
async def test_an_id_that_is_taken(
    redis_store: InRedis, client: Redis, caplog: pytest.LogCaptureFixture, word: str
) -> None:
    """A stream whose id Node has used is not offered: the log says so, the stream goes on, Node's word stays."""
    await client.set(sentinel_of(redis_store), word, ex=60)
    async with offered(redis_store) as context, listening(client, redis_store.prefix, "s") as listener:
        stream = await context.resumable_stream("s", factory_of("abc"))
        assert "its id is taken there" in caplog.text
        assert await listener.ask() == 0
        assert await collect(stream) == ["a", "b", "c"]
    assert await client.get(sentinel_of(redis_store)) == word


async def test_a_user_who_may_not_listen(redis_store: InRedis, client: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """Where Redis refuses the subscription, nothing is offered: the log says so, and the stream goes on."""
    async with (
        user_who_may(client, redis_store, "resetchannels", "+@all") as url,
        npm_streams(redis_store, url) as npm,
        context_of(redis_store, npm) as context,
    ):
        stream = await context.resumable_stream("s", factory_of("abc"))
        assert "Redis refuses the subscription" in caplog.text
        assert await client.get(sentinel_of(redis_store)) is None
        assert await collect(stream) == ["a", "b", "c"]


async def test_a_user_who_may_not_write(redis_store: InRedis, client: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """Where Redis refuses to say that the stream runs, the log says so, and the stream goes on."""
    async with (
        user_who_may(client, redis_store, "&*", "+@all", "-set") as url,
        npm_streams(redis_store, url, lease=0.1) as npm,
        context_of(redis_store, npm) as context,
    ):
        tap = Tap("a")
        stream = await context.resumable_stream("s", tap)
        assert "is not offered to Node yet" in caplog.text
        tap.end()
        assert await collect(stream) == ["a"]
    assert "it is not said to Node that stream s is over: BackendError" in caplog.text


async def test_a_takeover_is_offered(redis_store: InRedis, client: Redis) -> None:
    """Who takes a lost stream over offers it in place of the process that died, whose word still stands."""
    sentinel = sentinel_of(redis_store)
    await client.set(sentinel, 5 << 31, ex=60)
    async with offered(redis_store) as context, listening(client, redis_store.prefix, "s") as listener:
        tap = Tap("a")
        await context.resumable_stream("s", tap)
        await listener.ask()
        tap.end()
        assert await text_of(listener) == "a"
        await until(lambda: _is(client, sentinel, "DONE"))


async def test_an_old_owner_withdraws(redis_store: InRedis, client: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """A process whose sentinel is somebody else's now does not renew it, nor say that the stream is done."""
    sentinel, tap = sentinel_of(redis_store), Tap("a")
    async with offered(redis_store, lease=0.1) as context, listening(client, redis_store.prefix, "s") as listener:
        stream = await context.resumable_stream("s", tap)
        await client.set(sentinel, "1", ex=60)

        async def is_withdrawn() -> bool:
            return await listener.ask() == 0

        await until(is_withdrawn)
        assert "its id is taken there" in caplog.text
        tap.end()
        assert await collect(stream) == ["a"]
    assert await client.get(sentinel) == "1"


async def test_a_process_that_slept(redis_store: InRedis, client: Redis) -> None:
    """A process that slept until its stream was taken over does not answer what was asked meanwhile."""
    async with offering_process(redis_store.url, redis_store.prefix, 0.5, redis_store.prefix) as process:
        process.send_signal(signal.SIGSTOP)
        async with (
            offered(redis_store) as context,
            listening(client, redis_store.prefix, "s") as listener,
            listening(client, redis_store.prefix, "s") as last,
        ):
            tap = Tap(", and more")
            stream = await context.resumable_stream("s", never, takeover=lambda _chunks: tap())
            assert await take(stream, 2) == ["some text", ", and more"]
            await until(lambda: _is_asked_of_two(listener))
            assert [await listener.hear(), await listener.hear()] == ["", "some text, and more"]
            process.send_signal(signal.SIGCONT)

            async def has_heard_that_it_is_late() -> bool:
                return await last.ask() == 1

            await until(has_heard_that_it_is_late)
            tap.end(". The end.")
            assert await text_of(listener) == ". The end."
            assert await text_of(last) == "some text, and more. The end."


async def _is_asked_of_two(listener: Listener) -> bool:
    return await listener.ask() == 2


async def test_a_listener_that_is_told_already(redis_store: InRedis, client: Redis) -> None:
    """Two that take themselves for the publisher do not both tell one listener: who told it first goes on."""
    async with (
        npm_streams(redis_store) as npm,
        context_of(redis_store, npm) as context,
        listening(client, redis_store.prefix, "s") as listener,
    ):
        await context.resumable_stream("s", Tap("a"))
        await client.set(f"{redis_store.prefix}:rs:last:{listener.listener_id}", "5:1", ex=60)
        await listener.ask()

        async def is_let_alone() -> bool:
            return npm._offers.listeners == 0

        await until(is_let_alone)
        await client.publish(listener.channel, "of the other")
        assert await listener.hear() == "of the other"


async def test_a_stream_that_is_somebody_elses_is_not_done(redis_store: InRedis, client: Redis) -> None:
    """A publisher that was cut off does not say that the stream is over; its listeners are told what follows."""
    sentinel, tap = sentinel_of(redis_store), Tap("a")
    async with (
        redis_store.make_context() as elsewhere,
        npm_streams(redis_store) as npm,
        listening(client, redis_store.prefix, "s") as listener,
    ):
        await elsewhere.resumable_stream("s", tap)
        async with npm.offer(elsewhere, "s"):
            running_word = await client.get(sentinel)
            await listener.ask()
            assert [await listener.hear(), await listener.hear()] == ["", "a"]
        assert await client.get(sentinel) == running_word
        tap.end("b")
        assert await text_of(listener) == "b"


@pytest.mark.parametrize("how", ["failed", "stopped", "deleted"])
async def test_other_ends(redis_store: InRedis, client: Redis, how: str) -> None:
    """Whatever a stream ends of, listeners get what there is, and the end: Node has one word for it."""
    tap = Tap("a")
    async with offered(redis_store) as context, listening(client, redis_store.prefix, "s") as listener:
        stream = await context.resumable_stream("s", tap)
        await listener.ask()
        assert [await listener.hear(), await listener.hear()] == ["", "a"]
        if how == "failed":
            tap.let(ValueError("no"))
            await collect_until_error(stream)
        elif how == "stopped":
            await context.stop("s")
        else:
            await context.delete("s")
        assert await text_of(listener) == ""
        await until(lambda: _is(client, sentinel_of(redis_store), "DONE"))


async def test_leaving_the_context_tells_listeners_everything(redis_store: InRedis, client: Redis) -> None:
    """A context that is left has told its Node listeners all of it, and the end."""
    chunks = [f"{number:020}" for number in range(20_000)]
    async with listening(client, redis_store.prefix, "s") as listener, npm_streams(redis_store) as npm:
        async with context_of(redis_store, npm) as context:
            stream = await context.resumable_stream("s", Tap(*chunks))
            assert stream is not None
            for chunk in chunks:
                assert await anext(stream) == chunk
            await listener.ask()
            assert await listener.hear() == ""
        assert await text_of(listener) == "".join(chunks)
        assert await client.get(sentinel_of(redis_store)) == "DONE"


async def test_a_listener_that_comes_back(redis_store: InRedis, client: Redis) -> None:
    """A listener whose connection was lost for a moment gets every frame, once."""
    tap = Tap("a")
    async with offered(redis_store) as context, listening(client, redis_store.prefix, "s") as listener:
        await context.resumable_stream("s", tap)
        await listener.ask()
        assert [await listener.hear(), await listener.hear()] == ["", "a"]
        for text in ("b", "c"):
            await listener.leave()
            tap.let(text)
            await anyio.wait_all_tasks_blocked()
            await listener.come_back()
            assert await listener.hear() == text
        tap.end()
        assert await text_of(listener) == ""


async def test_a_listener_that_goes(redis_store: InRedis, client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener that went away is told no more, and costs nothing from then on."""
    monkeypatch.setattr(offering, "_GONE_TIMEOUT", 0.1)
    tap = Tap("a")
    async with npm_streams(redis_store) as npm, context_of(redis_store, npm) as context:
        await context.resumable_stream("s", tap)
        async with listening(client, redis_store.prefix, "s") as listener:
            await listener.ask()
            assert [await listener.hear(), await listener.hear()] == ["", "a"]
        assert npm._offers.listeners == 1
        tap.let("b")

        async def is_forgotten() -> bool:
            return npm._offers.listeners == 0

        await until(is_forgotten)


async def test_a_frame_whose_reply_is_lost(redis_store: InRedis, client: Redis) -> None:
    """A frame does not come twice, though the connection breaks before it is confirmed."""
    port = int(redis_store.url.split(":")[2].split("/")[0])
    tap = Tap("a")
    async with (
        TcpProxy("127.0.0.1", port) as proxy,
        npm_streams(redis_store, f"redis://127.0.0.1:{proxy.port}/0") as npm,
        context_of(redis_store, npm) as context,
        listening(client, redis_store.prefix, "s") as listener,
    ):
        await context.resumable_stream("s", tap)
        await listener.ask()
        assert [await listener.hear(), await listener.hear()] == ["", "a"]
        for text in ("bb", "cc", "dd"):
            lost = proxy.lose_reply_to(text.encode())
            tap.let(text)
            await lost.wait()
            assert await listener.hear() == text
        tap.end()
        assert await text_of(listener) == ""


async def test_redis_is_away_at_first(
    redis_store: InRedis, client: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A stream that begins while Node's Redis is away runs all the same, and is offered when that is back."""
    monkeypatch.setattr(offering, "_BEGIN_TIMEOUT", 0.1)
    port = int(redis_store.url.split(":")[2].split("/")[0])
    tap = Tap("a")
    async with (
        TcpProxy("127.0.0.1", port) as proxy,
        npm_streams(redis_store, f"redis://127.0.0.1:{proxy.port}/0", lease=0.3) as npm,
        context_of(redis_store, npm) as context,
        listening(client, redis_store.prefix, "s") as listener,
    ):
        await proxy.refuse()
        stream = await context.resumable_stream("s", tap)
        assert stream is not None
        assert await anext(stream) == "a"
        assert "is not offered to Node yet" in caplog.text
        await proxy.accept()

        async def is_offered() -> bool:
            return await client.get(sentinel_of(redis_store)) is not None

        await until(is_offered)
        await listener.ask()
        tap.end()
        assert await text_of(listener) == "a"


async def test_redis_is_away_in_between(redis_store: InRedis, client: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an outage listeners get what follows, and nothing twice, though they connect again later than we do."""
    monkeypatch.setattr(offering, "_GONE_TIMEOUT", 0.5)
    port = int(redis_store.url.split(":")[2].split("/")[0])
    tap = Tap("a")
    async with (
        TcpProxy("127.0.0.1", port) as proxy,
        npm_streams(redis_store, f"redis://127.0.0.1:{proxy.port}/0") as npm,
        context_of(redis_store, npm) as context,
        listening(client, redis_store.prefix, "s") as listener,
    ):
        await context.resumable_stream("s", tap)
        await listener.ask()
        assert [await listener.hear(), await listener.hear()] == ["", "a"]
        await listener.leave()
        await proxy.refuse()
        tap.let("b")
        await anyio.sleep(0.6)  # longer than who went away without an outage has
        await proxy.accept()
        await until(lambda: client.pubsub_channels(f"{redis_store.prefix}:rs:request:s"))
        await listener.come_back()
        assert await listener.hear() == "b"
        tap.end()
        assert await text_of(listener) == ""


async def test_redis_is_away_at_the_end(
    redis_store: InRedis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If Node cannot be told that a stream is over, the log says so, and nobody waits for long."""
    monkeypatch.setattr(offering, "_BEGIN_TIMEOUT", 0.1)
    port = int(redis_store.url.split(":")[2].split("/")[0])
    async with (
        TcpProxy("127.0.0.1", port) as proxy,
        npm_streams(redis_store, f"redis://127.0.0.1:{proxy.port}/0") as npm,
    ):
        with anyio.fail_after(10):
            async with context_of(redis_store, npm) as context:
                await proxy.refuse()
                assert await collect(await context.resumable_stream("s", factory_of("a"))) == ["a"]
        assert "it is not said to Node that stream s is over" in caplog.text


async def test_values_become_text(redis_store: InRedis, client: Redis) -> None:
    """Chunks that are no text are told as what `to_text` makes of them."""
    async with (
        npm_streams(redis_store, to_text=lambda value: f"data: {value['n']}\n\n") as npm,
        context_of(redis_store, npm, codec=JSONCodec()) as context,
        listening(client, redis_store.prefix, "s") as listener,
    ):
        tap = Tap({"n": 1}, {"n": 2})
        await context.resumable_stream("s", tap)
        await listener.ask(len("data: 1\n\n"))
        tap.end()
        assert await text_of(listener) == "data: 2\n\n"


@pytest.mark.parametrize("to_text", [None, lambda _chunk: 5, lambda chunk: chunk["no such key"]])
async def test_what_does_not_become_text(
    redis_store: InRedis, client: Redis, caplog: pytest.LogCaptureFixture, to_text: Any
) -> None:
    """A listener is told no more where chunks do not become text; the log says so, and the stream goes on."""
    async with (
        npm_streams(redis_store, to_text=to_text) as npm,
        context_of(redis_store, npm, codec=JSONCodec()) as context,
        listening(client, redis_store.prefix, "s") as listener,
    ):
        tap = Tap({"n": 1})
        stream = await context.resumable_stream("s", tap)
        await listener.ask()
        assert await listener.hear() == ""

        async def is_given_up() -> bool:
            return npm._offers.listeners == 0

        await until(is_given_up)
        assert "a Node listener of stream s is told no more" in caplog.text
        tap.end()
        assert await collect(stream) == [{"n": 1}]


async def test_a_new_stream_under_an_old_id(redis_store: InRedis, client: Redis) -> None:
    """A stream that was deleted and made again is offered once, in its new form."""
    async with offered(redis_store) as context, listening(client, redis_store.prefix, "s") as listener:
        await context.resumable_stream("s", Tap("old"))
        await context.delete("s")
        await until(lambda: _is(client, sentinel_of(redis_store), "DONE"))
        await client.delete(sentinel_of(redis_store))
        tap = Tap("new")
        await context.resumable_stream("s", tap)
        await until(lambda: _has_listener(listener))
        tap.end()
        assert await text_of(listener) == "new"


async def _has_listener(listener: Listener) -> bool:
    return await listener.ask() > 0


async def test_offering_outside(redis_store: InRedis, caplog: pytest.LogCaptureFixture) -> None:
    """Outside of its block nothing is offered: an error for who asks, a line in the log for a companion."""
    npm = npm_streams(redis_store)
    async with context_of(redis_store, npm) as context:
        with pytest.raises(ContextClosedError):
            await npm.offer(context, "s").__aenter__()
        stream = await context.resumable_stream("s", factory_of("a"))
        assert await collect(stream) == ["a"]
        assert "the companion of stream s raised ContextClosedError" in caplog.text


async def test_python_follows_what_python_offers(redis_store: InRedis) -> None:
    """Both directions fit together: what is offered can be followed, from any position, and is done after that."""
    tap = Tap("a😀", "b")
    async with offered(redis_store) as context, npm_streams(redis_store) as other:
        await context.resumable_stream("s", tap)
        assert await other.has_existing_stream("s") is StreamState.RUNNING
        streams = [await other.resume_existing_stream("s", skip_characters=skip) for skip in (0, 1, 3)]
        tap.end("c")
        texts = [await rest(stream) for stream in streams if stream is not None]
        assert texts == ["a😀bc", "😀bc", "bc"]

        async def is_done() -> bool:
            return await other.has_existing_stream("s") is StreamState.DONE

        await until(is_done)
        assert await other.resume_existing_stream("s") is None

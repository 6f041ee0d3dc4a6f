"""What is told of streams, and what can be done with them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest
from typing_extensions import override

from resumable_stream import JSONCodec, ResumableStreamContext, StreamInfo, StreamState
from resumable_stream.backends.memory import MemoryBackend
from resumable_stream.exceptions import BackendUnavailableError
from resumable_stream.inspector import Inspector, app, listing, views
from resumable_stream.testing import FaultyBackend
from resumable_stream.testing.backend_suite.harness import append, create, info_of, make_claim
from tests.inspector.conftest import HEADERS, client_of
from tests.stores import Store
from tests.streams import Tap, collect, collect_until_error, factory_of, take


async def get(client: httpx.AsyncClient, path: str, **query: Any) -> Any:
    """Ask for something that is there."""
    answer = await client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_streams_by_state(store: Store, context: ResumableStreamContext, client: httpx.AsyncClient) -> None:
    """Streams are listed, those that run first, with what there is to say of each; all are counted by state."""
    await collect(await context.resumable_stream("done", factory_of(["a", "b"])))
    await collect_until_error(await context.resumable_stream("failed", Tap("a", ValueError("no <b>"))))
    tap = Tap("a")
    stream = await context.resumable_stream("running", tap)
    await take(stream, 1)
    async with store.make_context(retention=0.0) as other:
        await collect(await other.resumable_stream("old", factory_of(["a"])))
    listed = await get(client, "/streams")
    assert listed["counts"] == {"running": 1, "done": 1, "failed": 1, "stopped": 0, "lost": 0, "tombstone": 1}
    assert listed["is_complete"]
    first, *others = listed["streams"]
    assert {row["id"]: row["state"] for row in others} == {"done": "done", "failed": "failed", "old": "tombstone"}
    assert (first["id"], first["length"], first["readers"], first["epoch"]) == ("running", 1, 1, 1)
    assert 14 <= first["lease_left"] <= 15
    (failed,) = (row for row in others if row["id"] == "failed")
    assert failed["error"] == "ValueError: no <b>"
    for query, ids in (({"state": "done"}, ["done"]), ({"contains": "unn"}, ["running"]), ({"limit": 1}, ["running"])):
        assert [row["id"] for row in (await get(client, "/streams", **query))["streams"]] == ids
    assert (await get(client, "/streams", limit=1))["found"] == 4
    tap.end()
    await collect(stream)


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=-1", "limit=x", "limit=²", "state=other"])
async def test_bad_questions(client: httpx.AsyncClient, query: str) -> None:
    """A filter that is none is refused."""
    assert (await client.get(f"/streams?{query}")).status_code == 400


async def test_walks_are_shared_and_bounded(
    context: ResumableStreamContext, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All who look within a second share one walk through the streams, and it ends after so many of them."""
    for number in range(5):
        await collect(await context.resumable_stream(f"s{number}", factory_of(["a"])))
    monkeypatch.setattr(listing, "MAX_SCANNED", 3)
    walks, list_streams = 0, context.list_streams

    def counted() -> Any:
        nonlocal walks
        walks += 1
        return list_streams()

    monkeypatch.setattr(context, "list_streams", counted)
    answers: list[Any] = []

    async def look() -> None:
        answers.append(await get(client, "/streams"))

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(look)
    assert walks == 1
    assert {(len(answer["streams"]), answer["is_complete"]) for answer in answers} == {(3, False)}


class Crowded(MemoryBackend):
    """A store in which others have so much that behind the first streams none comes for long."""

    scans = 0

    @override
    async def scan(self) -> AsyncIterator[StreamInfo]:
        self.scans += 1
        async for info in super().scan():
            yield info
        await anyio.sleep(60)


async def test_long_walks_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk that takes too long ends with what it has found, which is said; then there is a pause."""
    monkeypatch.setattr(listing, "_LONGEST_WALK", 0.05)
    backend = Crowded()
    async with (
        ResumableStreamContext(backend, drain_timeout=0.0) as context,
        client_of(Inspector(context, authorize=lambda _scope: True)) as client,
    ):
        for _ in range(2):
            assert (await client.get("/streams")).status_code == 503
        assert backend.scans == 1
        await collect(await context.resumable_stream("s", factory_of(["a"])))
        await anyio.sleep(1)
        found = await get(client, "/streams")
        assert (found["found"], found["is_complete"]) == (1, False)
        assert (await get(client, "/streams"))["found"] == 1
        assert backend.scans == 2


async def test_store_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store does not answer, nobody waits for long, however many ask; then it goes on."""
    monkeypatch.setattr(app, "_TIMEOUT", 0.2)
    backend = FaultyBackend(MemoryBackend())
    async with (
        ResumableStreamContext(backend, drain_timeout=0.0) as context,
        client_of(Inspector(context, authorize=lambda _scope: True)) as client,
    ):
        await collect(await context.resumable_stream("s", factory_of(["a"])))
        backend.go_away()
        statuses: list[int] = []

        async def look(path: str) -> None:
            statuses.append((await client.get(path)).status_code)

        with anyio.fail_after(2):
            async with anyio.create_task_group() as tasks:
                for _ in range(10):
                    tasks.start_soon(look, "/streams")
                    tasks.start_soon(look, "/streams/s")
        assert statuses == [503] * 20
        backend.come_back()
        monkeypatch.setattr(app, "_TIMEOUT", 8.0)
        assert (await get(client, "/streams/s"))["text"] == "a"
        assert (await get(client, "/streams"))["found"] == 1


async def test_chunks_per_second(
    context: ResumableStreamContext, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the second look on, it is told how fast each stream that runs grows."""
    monkeypatch.setattr(listing, "_INTERVAL", 0.0)
    monkeypatch.setattr(listing, "_SHARE", -1)
    tap = Tap("a")
    stream = await context.resumable_stream("s", tap)
    await take(stream, 1)
    assert (await get(client, "/streams"))["streams"][0]["rate"] is None
    tap.let(*"bcde")
    await take(stream, 4)
    assert (await get(client, "/streams"))["streams"][0]["rate"] > 0
    assert (await get(client, "/streams"))["streams"][0]["rate"] == 0
    tap.end()
    await collect(stream)


async def test_one_stream(
    context: ResumableStreamContext, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one stream it is told when its chunks came, and its text; what comes later is there at a later look."""
    monkeypatch.setattr(views, "_INTERVAL", 0.0)
    tap = Tap("a")
    stream = await context.resumable_stream("s", tap)
    await take(stream, 1)
    seen = await get(client, "/streams/s")
    assert (seen["stream"]["state"], seen["stream"]["readers"], seen["text"]) == ("running", 1, "a")
    tap.let("<script>alert(1)</script>", "ü\ud83d")
    await take(stream, 2)
    seen = await get(client, "/streams/s")
    assert seen["text"] == "a<script>alert(1)</script>ü\ud83d"
    assert sum(mark[3] for mark in seen["marks"]) == 3
    assert [mark[0] >= seen["stream"]["created_at"] for mark in seen["marks"]] == [True] * len(seen["marks"])
    assert (seen["takeovers"], seen["is_complete"], seen["is_cut"]) == ([], True, False)
    tap.end()
    await collect(stream)
    assert (await get(client, "/streams/s"))["stream"]["state"] == "done"
    assert context.readers() == {}


async def test_unknown_stream(context: ResumableStreamContext, client: httpx.AsyncClient) -> None:
    """A stream that is not there is 404 for all that can be asked of it, and what is no id is 400."""
    for stream_id, status in (("unknown", 404), ("no%20id", 400), ("x" * 300, 400), ("%3Cb%3E", 400), ("..%00", 400)):
        assert (await client.get(f"/streams/{stream_id}")).status_code == status
        for action in ("stop", "delete"):
            answer = await client.post(f"/streams/{stream_id}/{action}", headers=HEADERS)
            assert answer.status_code == status
    assert [info async for info in context.list_streams()] == []


async def test_takeovers(store: Store, client: httpx.AsyncClient, context: ResumableStreamContext) -> None:
    """It is told when a stream was taken over, and with how many chunks."""
    async with store.open() as backend:
        info = await create(backend, lease=0.1)
        await append(backend, info, 0, ["a", "b"])
        await store.advance(0.2)
        info = info_of(await backend.acquire("s", make_claim(allow_lost=True)))
        await append(backend, info, 2, ["c"])
        seen = await get(client, "/streams/s")
    ((epoch, length, at),) = seen["takeovers"]
    assert (epoch, length, seen["stream"]["epoch"], seen["text"]) == (2, 2, 2, "abc")
    assert seen["marks"][0][0] < at <= seen["marks"][1][0]


async def test_answers_are_bounded(
    context: ResumableStreamContext, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long a stream is, one look reads so much of it, shows so many marks, and the latest 64 KB of text."""
    monkeypatch.setattr(views, "_INTERVAL", 0.0)
    monkeypatch.setattr(views, "_MAX_BYTES", 100_000)
    text = [f"{number:01000}" for number in range(300)]
    await collect(await context.resumable_stream("s", factory_of(text)))
    seen = await get(client, "/streams/s")
    assert (seen["is_complete"], seen["text"]) == (False, "")
    for _ in range(5):
        seen = await get(client, "/streams/s")
    assert seen["is_complete"]
    assert seen["is_cut"]
    assert len(seen["text"]) == 64 * 1024
    assert "".join(text).endswith(seen["text"])
    assert sum(mark[3] for mark in seen["marks"]) == 300


async def test_views_are_bounded(context: ResumableStreamContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """The marks of a few streams are kept, and no more."""
    monkeypatch.setattr(views, "_MAX_VIEWS", 2)
    inspector = Inspector(context, authorize=lambda _scope: True)
    async with client_of(inspector) as client:
        for number in range(5):
            await collect(await context.resumable_stream(f"s{number}", factory_of(["a"])))
            await get(client, f"/streams/s{number}")
    assert list(inspector._views._views) == list(inspector._views._answers) == ["s3", "s4"]


async def test_values_and_bytes(store: Store) -> None:
    """Chunks that are values are shown as they are logged; and bytes as text, as far as they are that."""
    cases: list[tuple[JSONCodec | None, list[Any], Any]] = [
        (JSONCodec(), [{"a": 1}], JSONCodec().encode({"a": 1})),
        (None, [b"a\xff", b"b"], "a\ufffdb"),
    ]
    for codec, chunks, text in cases:
        async with (
            store.make_context(codec=codec) as context,
            client_of(Inspector(context, authorize=lambda _scope: True)) as client,
        ):
            await collect(await context.resumable_stream("s", factory_of(chunks)))
            assert (await get(client, "/streams/s"))["text"] == text
            await context.delete("s")


async def test_stop(context: ResumableStreamContext, client: httpx.AsyncClient) -> None:
    """A stream that runs is stopped, and keeps what it has."""
    tap = Tap("a")
    stream = await context.resumable_stream("s", tap)
    await take(stream, 1)
    assert (await client.post("/streams/s/stop", headers=HEADERS)).status_code == 200
    assert await collect(stream) == []
    info = await context.info("s")
    assert info is not None
    assert (info.state, info.reason, info.length) == (StreamState.STOPPED, "inspector", 1)


async def test_delete(context: ResumableStreamContext, client: httpx.AsyncClient) -> None:
    """A stream that is deleted is gone from the next answers, and a new one under its id begins anew."""
    await collect(await context.resumable_stream("s", factory_of(["a", "b"])))
    assert (await get(client, "/streams/s"))["text"] == "ab"
    assert len((await get(client, "/streams"))["streams"]) == 1
    assert (await client.post("/streams/s/delete", headers=HEADERS)).json() == {"state": None}
    assert (await get(client, "/streams"))["streams"] == []
    assert (await client.get("/streams/s")).status_code == 404
    await collect(await context.resumable_stream("s", factory_of(["new"])))
    seen = await get(client, "/streams/s")
    assert (seen["text"], sum(mark[3] for mark in seen["marks"])) == ("new", 1)


async def test_context_that_is_not_open(store: Store) -> None:
    """Before the context is entered and after it was left, what needs it is 503, and the page still comes."""
    context = store.make_context()
    async with client_of(Inspector(context, authorize=lambda _scope: True)) as client:
        for _ in range(2):
            for path in ("/streams", "/streams/s"):
                assert (await client.get(path)).status_code == 503
            assert (await client.post("/streams/s/stop", headers=HEADERS)).status_code == 503
            assert (await client.get("/")).status_code == 200
            async with context:
                pass


async def test_nothing_is_done_while_nobody_looks(context: ResumableStreamContext, client: httpx.AsyncClient) -> None:
    """Between two questions there is no reader of the inspector's, and no task."""
    stream = await context.resumable_stream("s", tap := Tap("a"))
    await take(stream, 1)
    before = asyncio.all_tasks()
    await get(client, "/streams/s")
    assert context.readers() == {"s": 1}
    assert asyncio.all_tasks() == before
    tap.end()
    await collect(stream)


async def test_text_that_was_missed_is_read_by_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """If a look is broken off before it has the text, of a stream that has ended too, the next one reads it."""
    async with (
        ResumableStreamContext(MemoryBackend()) as context,
        client_of(Inspector(context, authorize=lambda _scope: True)) as client,
    ):
        await collect(await context.resumable_stream("s", factory_of(["a", "b"])))
        resume, is_away = context.resume_existing_stream, True

        async def resume_unless_away(*args: Any, **position: Any) -> Any:
            if is_away:
                raise BackendUnavailableError("away")
            return await resume(*args, **position)

        monkeypatch.setattr(context, "resume_existing_stream", resume_unless_away)
        monkeypatch.setattr(views, "_INTERVAL", 0.0)
        assert (await get(client, "/streams/s"))["text"] == ""
        is_away = False
        assert (await get(client, "/streams/s"))["text"] == "ab"

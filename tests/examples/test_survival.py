"""What becomes of the example's chats when processes and servers end, and when there are several."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from redis import Redis

from resumable_stream import ResumableStreamContext, StreamState
from tests.chat.stores import postgresql
from tests.conftest import REAL_SERVERS
from tests.examples.serving import serving
from tests.examples.talking import Answer, ask, asking, counted, error_of, load, question, read, resume, texts
from tests.servers import binaries, running


def regenerate(client: httpx.Client, chat_id: str) -> Answer:
    """Ask for another answer to the last message, and read a little of it."""
    body = {"id": chat_id, "trigger": "regenerate-message"}
    with client.stream("POST", "/api/chat", json=body) as response:
        return read(response, 2)


def test_restart(tmp_path: Path) -> None:
    """What was saved is there after a restart, with streams in memory, too; and the conversation goes on."""
    with serving(tmp_path, {}) as app, app.client() as client:
        ask(client, "kept", "count 3")
    with serving(tmp_path, {}) as app, app.client() as client:
        assert texts(load(client, "kept")) == ["count 3", "1 2 3"]
        ask(client, "kept", "count 1")
        assert len(load(client, "kept")["messages"]) == 4


def test_killed_with_streams_in_memory(tmp_path: Path) -> None:
    """A server killed in mid-answer takes it along; the user's message is kept, and can be answered again."""
    with serving(tmp_path, {}) as app, app.client() as client:
        ask(client, "killed", "count 1000", limit=10)
        app.kill()
    with serving(tmp_path, {}) as app, app.client() as client:
        chat = load(client, "killed")
        assert (texts(chat), chat["activeStreamId"]) == (["count 1000"], None)
        assert client.get("/api/chat/killed/stream").status_code == 204
        assert regenerate(client, "killed").words == counted(2)
        assert client.post("/api/chat/killed/stop").json() == {"stopped": True}


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """The setting that says where chats are kept; for SQLite there is none, and it is a file of the test's own."""
    if request.param == "sqlite":
        yield {}
    else:
        with postgresql.running() as server:
            yield {"DATABASE_URL": server.url_of()}


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_with_streams_in_redis(redis_url: str, database: dict[str, str], tmp_path: Path, workers: int) -> None:
    """What a server had written when it was killed is kept, marked, and can be answered again."""
    settings = {"REDIS_URL": redis_url, "DEMO_DELAY": "0.02"} | database
    with serving(tmp_path, settings, workers=workers) as app, app.client() as client:
        seen = ask(client, "killed", "count 1000", limit=10)
        app.kill()
    with serving(tmp_path, settings, workers=workers) as app, app.client() as client:
        stream_id = load(client, "killed")["activeStreamId"]
        assert stream_id in (seen.stream_id, None)  # None: it took longer to start than to give the answer up
        rest = resume(client, seen.stream_id, after=seen.last_id)
        assert (rest.types, rest.is_whole) == (["error"], True)
        chat = load(client, "killed")
        written = seen.words + rest.words
        assert written == counted(len(written))
        assert texts(chat) == ["count 1000", "".join(written)]
        assert chat["messages"][1]["metadata"] == {"interrupted": "lost"}
        assert chat["messages"][1]["id"] == seen.frames[0][1]["messageId"]
        assert chat["activeStreamId"] is None
        assert regenerate(client, "killed").words == counted(2)
        assert client.post("/api/chat/killed/stop").json() == {"stopped": True}
        chat = load(client, "killed")
        assert len(chat["messages"]) == 2
        assert chat["messages"][1]["metadata"] == {"interrupted": "stopped"}


async def test_told_to_end(redis_url: str, tmp_path: Path) -> None:
    """A server that is told to end does so in bounded time, and keeps what it cannot finish, and says so."""
    settings = {"REDIS_URL": redis_url}
    with (
        serving(tmp_path, settings) as app,
        app.client() as client,
        asking(client, "cut", "count 10000") as response,
    ):
        stream_id = read(response, 1).stream_id
        app.process.terminate()
        assert app.process.wait(timeout=12) in (0, -signal.SIGTERM)
    async with ResumableStreamContext.from_url(redis_url) as context:
        info = await context.info(stream_id)
    assert info is not None
    assert (info.state, info.reason) == (StreamState.STOPPED, "shutdown")
    with serving(tmp_path, settings) as app, app.client() as client:
        answer = resume(client, stream_id)
        assert (answer.types, answer.is_whole) == (["start", "abort"], True)
        assert answer.words == counted(len(answer.words))
        chat = load(client, "cut")
        assert texts(chat) == ["count 10000", "".join(answer.words)]
        assert chat["messages"][1]["metadata"] == {"interrupted": "shutdown"}


def test_read_by_other_workers(redis_url: str, tmp_path: Path) -> None:
    """A running answer can be read from all worker processes, and each reader gets all of it."""
    with (
        serving(tmp_path, {"REDIS_URL": redis_url, "DEMO_DELAY": "0.02"}, workers=3) as app,
        app.client() as client,
        Redis.from_url(redis_url, protocol=2) as redis,
        ThreadPoolExecutor(100) as threads,
    ):
        stream_id = ask(client, "shared", "count 150", limit=1).stream_id
        readers: list[Future[Answer]] = []
        # The worker that writes has no need to subscribe, so the first channel shows that another one reads.
        while not redis.pubsub_channels("*:push"):
            assert len(readers) < 100, "one worker took all connections"
            readers.append(threads.submit(resume, client, "shared"))
            time.sleep(0.02)
        assert readers
        whole = readers[0].result()
        assert whole.words == counted(150)
        assert all(reader.result().frames == whole.frames for reader in readers)
        again = threads.map(lambda start_index: resume(client, stream_id, start_index=start_index), range(150))
        assert [answer.frames for answer in again] == [whole.frames[index:] for index in range(150)]
        assert texts(load(client, "shared")) == ["count 150", "".join(counted(150))]


def test_workers_share_chats(redis_url: str, tmp_path: Path) -> None:
    """Whichever worker is asked, a chat is the same, and an answer that one makes is stopped through another."""
    with (
        serving(tmp_path, {"REDIS_URL": redis_url, "DEMO_DELAY": "0.01"}, workers=2) as app,
        ThreadPoolExecutor() as threads,
    ):

        def talk(number: int) -> None:
            for text in ("count 2", "count 3"):
                with app.client() as client:  # a connection of its own: any worker may take it
                    ask(client, f"chat-{number}", text)
            with app.client() as client:
                ask(client, f"chat-{number}", "count 9999", limit=1)
            with app.client() as client:
                assert client.post(f"/api/chat/chat-{number}/stop").json() == {"stopped": True}
            with app.client() as client:
                chat = load(client, f"chat-{number}")
            assert texts(chat)[:4] == ["count 2", "1 2", "count 3", "1 2 3"]
            assert chat["messages"][5]["metadata"] == {"interrupted": "stopped"}

        list(threads.map(talk, range(8)))
        with app.client() as client:
            assert len(client.get("/api/chats").json()["chats"]) == 8


def test_redis_goes_away(tmp_path: Path) -> None:
    """Without Redis, an answer that is being written goes on to its end and into the chat; who asks anew comes back."""
    with running(binaries()[REAL_SERVERS[0]]) as redis:
        settings = {"REDIS_URL": redis.url, "DEMO_DELAY": "0.02"}
        with serving(tmp_path, settings) as app, app.client() as client:
            with asking(client, "away", "count 100") as response:
                os.kill(redis.pid, signal.SIGKILL)
                answer = read(response)
            assert (answer.words, answer.is_whole) == (counted(100), True)
            assert texts(load(client, "away")) == ["count 100", "".join(counted(100))]
            response = client.post("/api/chat", json={"id": "away", "message": question("count 1")})
            assert error_of(response) == (503, "unavailable")

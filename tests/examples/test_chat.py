"""The example chat, served by real uvicorn processes and read over HTTP."""

from __future__ import annotations

import importlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import anyio
import httpx
import pytest
from redis import Redis
from typing_extensions import override

from resumable_stream import ResumableStreamContext, StreamState
from tests.conftest import REAL_SERVERS, GetServer
from tests.examples.serving import App, serving
from tests.servers import binaries, running
from tests.stores import InRedis


class Event(NamedTuple):
    """A server-sent event."""

    id: str | None
    name: str | None
    data: Any


def parse(frame: str) -> Event:
    """Decode one event."""
    fields = dict(line.split(": ", 1) for line in frame.removesuffix("\n\n").split("\n"))
    return Event(fields.get("id"), fields.get("event"), json.loads(fields["data"]))


class Answer(NamedTuple):
    """An answer, or as much of it as was read."""

    chunks: list[str]
    ids: list[str | None]
    state: str | None


def read(response: httpx.Response, limit: int | None = None) -> Answer:
    """Read an answer to its end, or until ``limit`` chunks are there."""
    assert response.status_code == 200, response.read()
    answer, rest = Answer([], [], None), ""
    for part in response.iter_text():
        *frames, rest = (rest + part).split("\n\n")
        for event in map(parse, frames):
            if event.name == "end":
                return answer._replace(state=event.data["state"])
            answer.chunks.append(event.data)
            answer.ids.append(event.id)
            if len(answer.chunks) == limit:
                return answer
    return answer


@contextmanager
def asking(client: httpx.Client, stream_id: str, message: str) -> Iterator[httpx.Response]:
    """Ask, and stay connected while the block runs."""
    with client.stream("POST", "/api/chat", json={"id": stream_id, "message": message}) as response:
        yield response


def ask(client: httpx.Client, stream_id: str, message: str, limit: int | None = None) -> Answer:
    """Ask, read, and disconnect."""
    with asking(client, stream_id, message) as response:
        return read(response, limit)


def resume(client: httpx.Client, stream_id: str, *, after: str | None = None, start_index: int | None = None) -> Answer:
    """Read an answer from a position on."""
    headers = {} if after is None else {"last-event-id": after}
    params = {} if start_index is None else {"startIndex": start_index}
    with client.stream("GET", f"/api/chat/{stream_id}/stream", headers=headers, params=params) as response:
        return read(response)


def counted(last: int, first: int = 1) -> list[str]:
    """The chunks of an answer that counts."""
    return [str(number) if number == 1 else f" {number}" for number in range(first, last + 1)]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The example with everything in memory."""
    with serving(tmp_path_factory.mktemp("chat"), {"DEMO_DELAY": "0.005"}) as app:
        yield app


@pytest.fixture
def client(served: App) -> Iterator[httpx.Client]:
    """One that talks to it."""
    with served.client() as client:
        yield client


@pytest.fixture
async def redis_url(server_of: GetServer) -> AsyncIterator[str]:
    """A real server, empty, on which the processes of one test meet."""
    store = InRedis(server_of(REAL_SERVERS[0]).url)
    yield store.url
    await store.check_clean()


def test_page(client: httpx.Client) -> None:
    """The page is one HTML file that loads nothing from elsewhere."""
    response = client.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "://" not in response.text


def test_headers(client: httpx.Client) -> None:
    """An answer is an event stream that no proxy caches or holds back."""
    with asking(client, "headers", "count 1") as response:
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-accel-buffering"] == "no"


@pytest.mark.parametrize(("message", "last"), [("count 1", 1), ("count 100", 100), (" Count  7\n", 7)])
def test_count(client: httpx.Client, message: str, last: int) -> None:
    """Counting gives the numbers up to the one asked for, each a chunk of its own, and ends as done."""
    answer = ask(client, f"count-{last}", message)
    assert answer.chunks == counted(last)
    assert "".join(answer.chunks) == " ".join(map(str, range(1, last + 1)))
    assert answer.state == "done"
    assert len(set(answer.ids)) == last


@pytest.mark.parametrize("number", [0, -1, 10_001, 10**100])
def test_count_out_of_range(client: httpx.Client, number: int) -> None:
    """It counts to nothing outside of 1 to 10,000, and says so."""
    answer = ask(client, f"range-{number}", f"count {number}")
    assert "from 1 to 10,000" in "".join(answer.chunks)
    assert answer.state == "done"


def test_prose(client: httpx.Client) -> None:
    """Anything else gets paragraphs about it, word by word, and always the same."""
    first, second = [ask(client, f"prose-{i}", "the {tides} & the moon") for i in range(2)]
    assert first.chunks == second.chunks
    assert all(len(chunk.split()) == 1 for chunk in first.chunks)
    text = "".join(first.chunks)
    assert text.count("\n\n") >= 2
    assert "the {tides} & the moon" in text


def test_asked_again(client: httpx.Client) -> None:
    """Asking again under the same id follows the answer that there is."""
    first = ask(client, "again", "count 5")
    assert ask(client, "again", "count 99") == first


def test_resume_after_every_event(client: httpx.Client) -> None:
    """What was seen and what follows its last event are the whole answer."""
    whole = ask(client, "resume", "count 20")
    for seen in range(1, 21):
        rest = resume(client, "resume", after=whole.ids[seen - 1])
        assert whole.chunks[:seen] + rest.chunks == whole.chunks
        assert rest.state == "done"


@pytest.mark.parametrize(("start_index", "first"), [(0, 1), (7, 8), (20, 21), (-3, 18), (-20, 1), (-99, 1)])
def test_start_index(client: httpx.Client, start_index: int, first: int) -> None:
    """A start index skips that many chunks, and a negative one counts from the end."""
    ask(client, "index", "count 20")
    assert (resume(client, "index", start_index=start_index)).chunks == counted(20, first)


def test_event_id_is_newer_than_url(client: httpx.Client) -> None:
    """An EventSource that began at a start index and reconnects goes on after its last event."""
    whole = ask(client, "newer", "count 20")
    assert (resume(client, "newer", start_index=3, after=whole.ids[9])).chunks == counted(20, 11)


def test_two_readers(client: httpx.Client) -> None:
    """Two that read a running answer at the same time both get all of it."""
    with asking(client, "two", "count 200") as response, ThreadPoolExecutor() as threads:
        assert read(response, 1).chunks == ["1"]
        answers = list(threads.map(lambda start_index: resume(client, "two", start_index=start_index), [0, 0]))
    assert [answer.chunks for answer in answers] == [counted(200)] * 2


def test_disconnect_and_resume(client: httpx.Client) -> None:
    """Who leaves in the middle of a running answer can go on after the last event that came through."""
    seen = ask(client, "leave", "count 200", limit=50)
    assert seen.state is None
    rest = resume(client, "leave", after=seen.ids[-1])
    assert seen.chunks + rest.chunks == counted(200)
    assert rest.state == "done"


def test_unknown(client: httpx.Client) -> None:
    """Of an answer that nobody asked for there is nothing to read."""
    response = client.get("/api/chat/unknown/stream")
    assert (response.status_code, response.content) == (204, b"")


@pytest.mark.parametrize("stream_id", ["", "a b", "{x}", "a/b", "é", "x" * 257])
def test_bad_id(client: httpx.Client, stream_id: str) -> None:
    """An id that is none is refused, with JSON that says why."""
    response = client.post("/api/chat", json={"id": stream_id, "message": "count 1"})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == "invalid_id"
    assert "stream id" in error["message"]


def test_bad_id_to_resume(client: httpx.Client) -> None:
    """It is refused when resuming, too."""
    response = client.get("/api/chat/a b/stream")
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_id")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"id": "x"}', b'{"id": 1, "message": "m"}'])
def test_bad_body(client: httpx.Client, body: bytes) -> None:
    """A body that asks nothing is refused."""
    response = client.post("/api/chat", content=body, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")


@pytest.mark.parametrize("length", [0, 4001])
def test_message_length(client: httpx.Client, length: int) -> None:
    """A message has 1 to 4,000 characters."""
    response = client.post("/api/chat", json={"id": "length", "message": "x" * length})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "invalid_request")
    assert (client.get("/api/chat/length/stream")).status_code == 204


@pytest.mark.parametrize(
    ("params", "headers", "code"),
    [
        ({"startIndex": "6"}, {}, "invalid_position"),
        ({"startIndex": "9" * 30}, {}, "invalid_position"),
        ({"startIndex": "x"}, {}, "invalid_request"),
        ({}, {"last-event-id": "x"}, "invalid_position"),
        ({}, {"last-event-id": "0123456789abcdef-1"}, "invalid_position"),
    ],
)
def test_bad_position(client: httpx.Client, params: dict[str, str], headers: dict[str, str], code: str) -> None:
    """A position that is malformed, beyond the end or of another answer is refused."""
    ask(client, "position", "count 5")
    response = client.get("/api/chat/position/stream", params=params, headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == (400, code)


async def test_ping(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that waits gets comments, and then every chunk that it waited for."""
    app = importlib.import_module("examples.chat.app")
    monkeypatch.setattr(app, "PING_INTERVAL", 0.001)
    pinged = anyio.Event()

    async def slow() -> AsyncIterator[str]:
        yield "a"
        await pinged.wait()
        yield "b"

    frames: list[str] = []
    async with ResumableStreamContext.from_url("memory://") as context:
        async for frame in app.events(await context.resumable_stream("slow", slow)):
            if frame == ": ping\n\n":
                pinged.set()
            else:
                frames.append(frame)
    assert pinged.is_set()
    assert [parse(frame).data for frame in frames] == ["a", "b", {"state": "done"}]


def test_read_by_other_workers(redis_url: str, tmp_path: Path) -> None:
    """A running answer can be read from all worker processes, and each reader gets all of it."""
    with (
        serving(tmp_path, {"REDIS_URL": redis_url, "DEMO_DELAY": "0.02"}, workers=3) as app,
        app.client() as client,
        Redis.from_url(redis_url, protocol=2) as redis,
        ThreadPoolExecutor(100) as threads,
    ):
        assert ask(client, "shared", "count 150", limit=1).chunks == ["1"]
        readers: list[Future[Answer]] = []
        # The worker that writes has no need to subscribe, so the first channel shows that another one reads.
        while not redis.pubsub_channels("*:push"):
            assert len(readers) < 100, "one worker took all connections"
            readers.append(threads.submit(resume, client, "shared"))
            time.sleep(0.02)
        assert readers
        assert [reader.result().chunks for reader in readers] == [counted(150)] * len(readers)
        again = threads.map(lambda start_index: resume(client, "shared", start_index=start_index), range(150))
        assert [answer.chunks for answer in again] == [counted(150, index + 1) for index in range(150)]


def test_store_goes_away(tmp_path: Path) -> None:
    """Without its store, an answer that is being written goes on to its end; who asks anew is told to come back."""
    with running(binaries()[REAL_SERVERS[0]]) as redis:
        settings = {"REDIS_URL": redis.url, "DEMO_DELAY": "0.02"}
        with serving(tmp_path, settings) as app, app.client() as client:
            with asking(client, "away", "count 100") as response:
                os.kill(redis.pid, signal.SIGKILL)
                answer = read(response)
            assert (answer.chunks, answer.state) == (counted(100), "done")
            response = client.get("/api/chat/away/stream")
            assert (response.status_code, response.json()["error"]["code"]) == (503, "unavailable")


async def test_server_ends_in_the_middle(redis_url: str, tmp_path: Path) -> None:
    """A server that is told to end does so in bounded time, and records what it cannot finish as stopped."""
    with (
        serving(tmp_path, {"REDIS_URL": redis_url}) as app,
        app.client() as client,
        asking(client, "cut", "count 10000") as response,
    ):
        assert read(response, 1).chunks == ["1"]
        app.process.terminate()
        assert app.process.wait(timeout=12) in (0, -signal.SIGTERM)
    async with ResumableStreamContext.from_url(redis_url) as context:
        info = await context.info("cut")
    assert info is not None
    assert (info.state, info.reason) == (StreamState.STOPPED, "shutdown")
    with serving(tmp_path, {"REDIS_URL": redis_url}) as app, app.client() as client:
        answer = resume(client, "cut")
    assert (answer.chunks, answer.state) == (counted(info.length), "stopped")


class FakeOpenAI(BaseHTTPRequestHandler):
    """Streams a completion, or refuses a wrong key."""

    requests: list[dict[str, Any]]

    def do_POST(self) -> None:
        """Answer."""
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.requests.append({"path": self.path, **body})
        if self.headers["authorization"] != "Bearer right":
            self._send(401, "application/json", json.dumps({"error": {"message": "a secret"}}))
            return
        deltas = [{"role": "assistant", "content": ""}, {"content": "Höher"}, {"content": "\n\nals"}, {}]
        chunks = [json.dumps(self._chunk([{"index": 0, "delta": delta}])) for delta in deltas]
        frames = [*chunks, json.dumps(self._chunk([])), "[DONE]"]
        self._send(200, "text/event-stream", "".join(f"data: {frame}\n\n" for frame in frames))

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": choices}

    def _send(self, status: int, content_type: str, body: str) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.end_headers()
        self.wfile.write(body.encode())

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def openai() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The base URL of an OpenAI service, and what it is asked."""
    requests: list[dict[str, Any]] = []
    handler = type("Handler", (FakeOpenAI,), {"requests": requests})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1", requests
        server.shutdown()
        thread.join()


def test_openai(openai: tuple[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    """With an OpenAI key, the model that is named answers, at the address that is given."""
    url, requests = openai
    settings = {"OPENAI_API_KEY": "right", "OPENAI_BASE_URL": url, "OPENAI_MODEL": "great"}
    with serving(tmp_path, settings) as app, app.client() as client:
        answer = ask(client, "openai", "count 5")
    assert (answer.chunks, answer.state) == (["Höher", "\n\nals"], "done")
    (request,) = requests
    assert (request["path"], request["model"], request["stream"]) == ("/v1/chat/completions", "great", True)
    assert request["messages"] == [{"role": "user", "content": "count 5"}]


def test_openai_fails(openai: tuple[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    """A model that fails ends the answer as failed; why is told to the log, and not to the client."""
    url, _ = openai
    with serving(tmp_path, {"OPENAI_API_KEY": "wrong", "OPENAI_BASE_URL": url}) as app, app.client() as client:
        body = client.post("/api/chat", json={"id": "openai", "message": "hello"}).text
    assert body == 'event: end\ndata: {"state": "failed"}\n\n'
    assert "a secret" in app.log.read_text()


def test_stop(client: httpx.Client) -> None:
    """A stop ends an answer that is being written, keeps what there is of it, and may be repeated."""
    assert ask(client, "stopped", "count 2000", limit=3).chunks == counted(3)
    assert client.post("/api/chat/stopped/stop").json() in ({"state": "running"}, {"state": "stopped"})
    answer = resume(client, "stopped")
    assert answer.state == "stopped"
    assert answer.chunks == counted(len(answer.chunks))
    assert len(answer.chunks) < 2000
    assert client.post("/api/chat/stopped/stop").json() == {"state": "stopped"}
    assert client.post("/api/chat/unknown/stop").json() == {"state": None}
    assert client.post("/api/chat/a%20b/stop").status_code == 400

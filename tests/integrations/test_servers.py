"""The routes in every framework, on real servers: the same table, chunks that come at once, clients that go away."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from resumable_stream.http import ROUTES
from tests.integrations.served import WORDS
from tests.integrations.serving import ASGI_APPS, MESSAGE, OTHERS, Served, asking, last_id, read_until, serving

PLACES = [(server, app) for server in ("uvicorn", "hypercorn", "granian") for app in ASGI_APPS] + OTHERS
# For a request whose body the application does not read: Hypercorn ends the connection if its answer comes before that
# body, and says so to nobody.
ALONE = {"connection": "close"}


@pytest.fixture(scope="module", params=PLACES, ids="-".join)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The example of a framework, on a server of a kind."""
    server, app = request.param
    with serving(server, app, tmp_path_factory.mktemp("served")) as made:
        yield made


@pytest.fixture
def client(served: Served) -> Iterator[httpx.Client]:
    """A client who is signed in."""
    with served.client() as made:
        yield made


def test_chunks_come_at_once(served: Served, client: httpx.Client) -> None:
    """What is said is on the wire while the answer goes on; a second request resumes; silence is filled with pings."""
    with asking(client, "once") as (response, lines):
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-accel-buffering"] == "no"
        assert response.headers["x-vercel-ai-ui-message-stream"] == "v1"
        half = read_until(lines, until=WORDS[9])
        assert next(line for line in lines if line.startswith(":")) == ": ping"
        with client.stream("GET", "/api/chat/once/stream", params={"startIndex": len(_data(half))}) as silent:
            assert next(line for line in silent.iter_lines() if line) == ": ping"  # headers and pings come at once
        with client.stream("GET", "/api/chat/once/stream", headers={"last-event-id": last_id(half)}) as resumed:
            assert resumed.status_code == 200
            served.let_go("once")
            rest = list(resumed.iter_lines())
        assert _data(half) + _data(rest) == _data(half) + _data(list(lines))
        assert _data(rest)[-1] == "[DONE]"
    run = response.headers["x-workflow-run-id"]
    assert client.get("/api/chat/once/stream").status_code == 204
    again = client.get(f"/api/chat/{run}/stream", headers={"last-event-id": last_id(half)})
    assert _data(again.text.splitlines()) == _data(rest)
    loaded = client.get("/api/chats/once").json()
    assert loaded["messages"][1]["parts"][1]["text"] == "".join(WORDS)


def test_client_that_goes_away_is_noticed(served: Served, client: httpx.Client) -> None:
    """When a client goes away its reader ends, though there is nothing to send; the answer goes on."""
    with asking(client, "gone") as (_, lines):
        read_until(lines, until=WORDS[9])
        assert served.readers == 1
    served.wait_for_readers(0)
    served.let_go("gone")
    with client.stream("GET", "/api/chat/gone/stream") as resumed:
        assert resumed.status_code in (200, 204)
        resumed.read()
    assert client.get("/api/chats/gone").json()["messages"][1]["parts"][1]["text"] == "".join(WORDS)


def test_readers_are_apart(served: Served, client: httpx.Client) -> None:
    """Of several readers one that goes away ends itself alone."""
    with asking(client, "apart") as (_, lines):
        read_until(lines, until=WORDS[9])
        with client.stream("GET", "/api/chat/apart/stream") as other:
            other_lines = other.iter_lines()  # kept: it closes the response when it is forgotten
            read_until(other_lines, until=WORDS[9])
            assert served.readers == 2
        served.wait_for_readers(1)
        served.let_go("apart")
        assert _data(list(lines))[-1] == "[DONE]"


def test_data_stream_comes_at_once(served: Served, client: httpx.Client) -> None:
    """The wire of version 4 is not held back either, though it is plain text."""
    message = {"role": "user", "id": "u", "content": "Hello?"}
    with client.stream("POST", "/api/v4/chat", json={"id": "four", "messages": [message]}) as response:
        assert response.headers["x-vercel-ai-data-stream"] == "v1"
        lines = response.iter_lines()
        half = read_until(lines, until=WORDS[9])
        served.let_go("four")
        texts = [json.loads(line[2:]) for line in [*half, *lines] if line.startswith("0:")]
    assert "".join(texts) == "".join(WORDS)
    assert client.get("/api/chat", params={"chatId": "four"}).headers["x-vercel-ai-data-stream"] == "v1"


def test_stop(client: httpx.Client) -> None:
    """A stop ends the answer with a word about it, and keeps what there is of it."""
    with asking(client, "stopped") as (response, lines):
        half = read_until(lines, until=WORDS[9])
        assert client.post("/api/chat/stopped/stop").json() == {"stopped": True}
        rest = _data(list(lines))
    assert json.loads(rest[-2]) == {"type": "abort"}
    assert client.post("/api/chat/stopped/stop", json={}, headers=ALONE).json() == {"stopped": False}
    loaded = client.get("/api/chats/stopped").json()
    assert loaded["messages"][1]["metadata"] == {"interrupted": "stopped"}
    run = response.headers["x-resumable-stream-id"]
    nested = client.get(f"/api/chats/stopped/messages/{run}/stream", params={"startIndex": len(_data(half))})
    assert _data(nested.text.splitlines()) == rest


def test_head_is_answered_at_once(served: Served, client: httpx.Client) -> None:
    """Who asks for headers alone does not wait for the end of a stream, nor does what comes next on the connection."""
    with asking(client, "head") as (_, lines):
        read_until(lines, until=WORDS[9])
        for path in ("/count/head", "/api/chat/head/stream"):
            with served.client() as other:
                assert other.head(path, timeout=5).status_code in (200, 405)
                assert other.get("/api/chats", timeout=5).status_code == 200
            served.wait_for_readers(1)
        served.let_go("head")
        assert _data(list(lines))[-1] == "[DONE]"


def test_failure_is_told_in_our_words(client: httpx.Client) -> None:
    """An answer that fails says so, and nothing of what was raised."""
    with asking(client, "failing") as (_, lines):
        data = _data(list(lines))
    assert json.loads(data[-2])["type"] == "error"
    assert "secret" not in str(data)


def test_chats(client: httpx.Client) -> None:
    """Chats are made, listed, loaded and deleted."""
    made = client.post("/api/chats", json={"id": "kept", "metadata": {"title": "Ünïcode"}})
    assert (made.status_code, made.json()["metadata"]) == (201, {"title": "Ünïcode"})
    assert client.post("/api/chats", json={"id": "kept"}).status_code == 409
    listed = client.get("/api/chats", params={"limit": 1}).json()
    assert [chat["id"] for chat in listed["chats"]] == ["kept"]
    assert client.get("/api/chats/kept").json()["messages"] == []
    assert client.delete("/api/chats/kept").status_code == 200
    assert client.get("/api/chats/kept").status_code == 404


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_each_route_asks_who_it_is(served: Served, client: httpx.Client, route: Any) -> None:
    """Every row of the table is mounted, and answers nobody, and no other than the owner."""
    served.let_go("mine")
    run = client.post("/api/chat", json={"id": "mine", "message": MESSAGE}).headers.get("x-workflow-run-id", "run")
    path = "/api" + route.path.format(id="mine", runId=run)
    body = {"id": "mine", "message": MESSAGE} if route.method == "POST" else None
    parameters = {"chatId": "mine"} if route.name.startswith("resume_v4") else {}
    with served.client("") as nobody, served.client("bob") as bob:
        _check_error(nobody.request(route.method, path, json=body, params=parameters), 401, "unauthenticated")
        if route.name not in ("create_chat", "list_chats"):
            _check_error(bob.request(route.method, path, json=body, params=parameters), 403, "forbidden")


def test_errors(client: httpx.Client) -> None:
    """What cannot be done is answered with a status, a code and a text, whatever the framework does with errors."""
    client.post("/api/chats", json={"id": "e"})
    large = b'{"id": "' + b"x" * 120_000 + b'"}'
    json_type = {"content-type": "application/json"}
    foreign = {"content-type": "text/plain", "sec-fetch-site": "cross-site"}
    for response, status, code in [
        (client.get("/api/chats/unknown"), 404, "not_found"),
        (client.get("/api/chat"), 400, "invalid_request"),
        (client.get("/api/chat/a%20b/stream"), 400, "invalid_request"),
        (client.get("/api/chat/e/stream", params={"startIndex": "x"}), 400, "invalid_position"),
        (client.post("/api/chat", content=b"{", headers=json_type), 400, "invalid_request"),
        (client.post("/api/chat", content=large, headers=json_type | ALONE), 413, "too_large"),
        (client.post("/api/chat", content=b"{}", headers=foreign | ALONE), 415, "unsupported_media_type"),
    ]:
        _check_error(response, status, code)
    with asking(client, "busy") as (_, lines):
        read_until(lines, until=WORDS[9])
        again = {"id": "busy", "message": {**MESSAGE, "id": "other"}}
        _check_error(client.post("/api/chat", json=again), 409, "busy")
        client.post("/api/chat/busy/stop")


def test_any_stream(served: Served, client: httpx.Client) -> None:
    """A stream that is no chat is a response, too, which a client resumes, and which it may leave."""
    with client.stream("GET", "/count/s") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        half = read_until(lines, until='"number":5')
        assert served.readers == 1
    served.wait_for_readers(0)
    with client.stream("GET", "/count/s", headers={"last-event-id": last_id(half)}) as response:
        served.let_go("numbers")
        rest = list(response.iter_lines())
    numbers = [json.loads(data)["number"] for data in _data(half) + _data(rest)]
    assert numbers == list(range(1, 11))
    lines = client.get("/count/s", params={"wire": "ndjson", "startIndex": -2}).iter_lines()
    assert [json.loads(line)["number"] for line in lines] == [9, 10]


def test_bad_position_is_told(served: Served, client: httpx.Client) -> None:
    """In a route of the application's own, a position that is none is told as in those of chats."""
    served.let_go("numbers")
    assert client.get("/count/bad").status_code == 200
    for query, headers in [
        ({"startIndex": "x"}, {}),
        ({"startIndex": "99"}, {}),
        ({"startIndex": "1", "resumeAt": "1"}, {}),
        ({}, {"last-event-id": "junk"}),
    ]:
        _check_error(client.get("/count/bad", params=query, headers=headers), 400, "invalid_position")


def test_nothing_more_has_no_body(served: Served, client: httpx.Client) -> None:
    """Who has seen all of a stream gets 204, and not a byte behind its headers."""
    served.let_go("numbers")
    seen = last_id(client.get("/count/seen").text.splitlines())
    sent = f"GET /count/seen HTTP/1.1\r\nhost: x\r\nconnection: close\r\nlast-event-id: {seen}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", httpx.URL(served.url).port or 0), timeout=20) as connection:
        connection.sendall(sent.encode())
        head, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).partition(b"\r\n\r\n")
    status, *headers = head.decode().lower().split("\r\n")
    names = {line.partition(":")[0] for line in headers}
    assert (status.split()[1], body) == ("204", b"")
    assert not names & {"content-type", "content-length", "transfer-encoding"}, headers
    assert client.get("/count/seen", headers={"last-event-id": seen}).status_code == 204
    assert client.get("/api/chats").status_code == 200  # on the same connection


def test_nothing_to_resume_has_no_body(served: Served, client: httpx.Client) -> None:
    """Nor has that of the routes of chats."""
    nothing = client.get("/api/chat/none/stream")
    assert (nothing.status_code, nothing.content) == (204, b"")
    assert not nothing.headers.keys() & {"content-type", "content-length", "transfer-encoding"}, nothing.headers


def _check_error(response: httpx.Response, status: int, code: str) -> None:
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    assert response.headers["content-type"].startswith("application/json")
    assert response.headers["cache-control"] == "no-store"


def _data(lines: list[str]) -> list[str]:
    return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]

"""The example chat, served by a real uvicorn process and read over HTTP."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.examples.serving import App
from tests.examples.talking import ask, asking, counted, error_of, load, question, read, resume, texts


def test_page(client: httpx.Client) -> None:
    """The page is one HTML file that loads nothing from elsewhere."""
    response = client.get("/")
    assert response.status_code == 200
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert "://" not in response.text


def test_headers(client: httpx.Client) -> None:
    """An answer is an event stream that no proxy caches or holds back, and says which stream it is."""
    with asking(client, "headers", "count 1") as response:
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["cache-control"] == "no-cache"
        assert response.headers["x-accel-buffering"] == "no"
        assert response.headers["x-vercel-ai-ui-message-stream"] == "v1"
        stream_id = response.headers["x-resumable-stream-id"]
    assert resume(client, stream_id).stream_id == stream_id


def test_answer_is_saved(client: httpx.Client) -> None:
    """An answer comes in chunks with ids, and is in the chat, under the id that it began with, when its end is seen."""
    answer = ask(client, "saved", "count 5")
    assert answer.words == counted(5)
    assert (answer.types, answer.is_whole) == (["start", "finish"], True)
    assert len({event_id for event_id, _ in answer.frames}) == len(answer.frames)
    chat = load(client, "saved")
    assert texts(chat) == ["count 5", "1 2 3 4 5"]
    assert [message["role"] for message in chat["messages"]] == ["user", "assistant"]
    assert chat["messages"][1]["id"] == answer.frames[0][1]["messageId"]
    assert (chat["id"], chat["activeStreamId"]) == ("saved", None)
    for name in ("createdAt", "updatedAt"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", chat[name])


def test_running_answer_is_to_be_resumed(client: httpx.Client) -> None:
    """A chat that is loaded in mid-answer names the stream, and has no part of the answer."""
    with asking(client, "running", "count 100") as response:
        assert read(response, 3).words == counted(3)
        chat = load(client, "running")
    assert texts(chat) == ["count 100"]
    assert resume(client, chat["activeStreamId"]).words == counted(100)
    assert texts(load(client, "running")) == ["count 100", "".join(counted(100))]


def test_conversation_goes_on(client: httpx.Client) -> None:
    """Only the last message is sent; the chat has the others."""
    ask(client, "two", "count 1")
    ask(client, "two", "count 2")
    assert texts(load(client, "two")) == ["count 1", "1", "count 2", "1 2"]


def test_asked_again(client: httpx.Client) -> None:
    """The same message sent again follows the answer that there is, while it is made and after its end."""
    message = question("count 60", "asked-once")
    seen = ask(client, "again", "", limit=2, message=message)
    again = ask(client, "again", "", message=message)
    assert (again.stream_id, again.words) == (seen.stream_id, counted(60))
    assert ask(client, "again", "", message=message).frames == again.frames
    assert len(load(client, "again")["messages"]) == 2


def test_busy(client: httpx.Client) -> None:
    """While an answer is being made, another message is refused."""
    ask(client, "busy", "count 500", limit=1)
    response = client.post("/api/chat", json={"id": "busy", "message": question("count 2")})
    assert error_of(response) == (409, "busy")
    assert client.post("/api/chat/busy/stop").json() == {"stopped": True}


@pytest.mark.parametrize("is_named", [True, False])
def test_regenerate(client: httpx.Client, is_named: bool) -> None:
    """Another answer takes the place of the last one, which is named or not."""
    chat_id = f"regenerate-{is_named}"
    ask(client, chat_id, "count 3")
    old = load(client, chat_id)["messages"][1]["id"]
    body = {"id": chat_id, "trigger": "regenerate-message"} | ({"messageId": old} if is_named else {})
    with client.stream("POST", "/api/chat", json=body) as response:
        assert read(response).words == counted(3)
    chat = load(client, chat_id)
    assert texts(chat) == ["count 3", "1 2 3"]
    assert chat["messages"][1]["id"] != old


def test_edit(client: httpx.Client) -> None:
    """A message with an id that the chat has takes its place; what came after it is forgotten."""
    ask(client, "edit", "", message=question("count 3", "first"))
    ask(client, "edit", "count 2")
    ask(client, "edit", "", message=question("count 4", "first"), messageId="first")
    assert texts(load(client, "edit")) == ["count 4", "1 2 3 4"]


def test_resume_after_every_event(client: httpx.Client) -> None:
    """What was seen and what follows its last event are the whole answer; after the last there is nothing."""
    whole = ask(client, "resume", "count 20")
    for seen in range(1, len(whole.frames)):
        rest = resume(client, whole.stream_id, after=whole.frames[seen - 1][0])
        assert whole.frames[:seen] + rest.frames == whole.frames
        assert rest.is_whole
    response = client.get(f"/api/chat/{whole.stream_id}/stream", headers={"last-event-id": whole.last_id})
    assert (response.status_code, response.content) == (204, b"")


def test_start_index(client: httpx.Client) -> None:
    """A start index skips that many chunks, and a negative one counts from the end, or is all that there is."""
    whole = ask(client, "index", "count 20")
    length = len(whole.frames)
    for start_index in (0, 7, length - 1, -3, -length, -99):
        assert resume(client, whole.stream_id, start_index=start_index).frames == whole.frames[start_index:]
    assert client.get(f"/api/chat/{whole.stream_id}/stream", params={"startIndex": length}).status_code == 204


def test_event_id_is_newer_than_url(client: httpx.Client) -> None:
    """An EventSource that began at a start index and reconnects goes on after its last event."""
    whole = ask(client, "newer", "count 20")
    rest = resume(client, whole.stream_id, start_index=3, after=whole.frames[9][0])
    assert rest.frames == whole.frames[10:]


def test_disconnect_and_resume(client: httpx.Client) -> None:
    """Who leaves in the middle of an answer can go on after the last event that came through, by the chat's id."""
    seen = ask(client, "leave", "count 200", limit=50)
    assert not seen.is_whole
    rest = resume(client, "leave", after=seen.last_id)
    assert (seen.words + rest.words, rest.is_whole) == (counted(200), True)


def test_two_readers(client: httpx.Client) -> None:
    """Two that read a running answer at the same time both get all of it."""
    with asking(client, "readers", "count 200") as response, ThreadPoolExecutor() as threads:
        assert read(response, 1).words == ["1"]
        answers = list(threads.map(lambda start_index: resume(client, "readers", start_index=start_index), [0, 0]))
    assert [answer.words for answer in answers] == [counted(200)] * 2


def test_nothing_to_resume(client: httpx.Client) -> None:
    """In a chat in which no answer is being made there is nothing to read."""
    ask(client, "quiet", "count 1")
    response = client.get("/api/chat/quiet/stream")
    assert (response.status_code, response.content) == (204, b"")


def test_stop(client: httpx.Client) -> None:
    """A stop ends an answer, keeps what there is of it and marks that, and may be repeated."""
    seen = ask(client, "stopped", "count 2000", limit=3)
    assert client.post("/api/chat/stopped/stop", json={"activeStreamId": "stream-old"}).json() == {"stopped": False}
    which = {"activeStreamId": seen.stream_id}
    assert client.post("/api/chat/stopped/stop", json=which).json() == {"stopped": True}
    answer = resume(client, seen.stream_id)
    assert answer.words == counted(len(answer.words))
    assert len(answer.words) < 2000
    assert (answer.types, answer.is_whole) == (["start", "abort"], True)
    _, message = load(client, "stopped")["messages"]
    assert message["metadata"] == {"interrupted": "stopped"}
    assert message["parts"][-1] == {"type": "text", "text": "".join(answer.words), "state": "done"}
    assert client.post("/api/chat/stopped/stop").json() == {"stopped": False}


def test_chats(served: App) -> None:
    """Chats are made, listed page by page, the newest first, and deleted; nobody lists those of others."""
    with served.client("lister") as client:
        for number in range(3):
            made = client.post("/api/chats", json={"id": f"list-{number}", "metadata": {"title": f"{number}"}})
            assert (made.status_code, made.json()["id"]) == (201, f"list-{number}")
        given = client.post("/api/chats", json={}).json()["id"]
        first = client.get("/api/chats", params={"limit": 2}).json()
        second = client.get("/api/chats", params={"limit": 2, "after": first["next"]}).json()
        ids = [chat["id"] for page in (first, second) for chat in page["chats"]]
        assert ids == [given, "list-2", "list-1", "list-0"]
        assert second["next"] is None
        assert first["chats"][1]["metadata"] == {"title": "2"}
        assert error_of(client.post("/api/chats", json={"id": "list-0"})) == (409, "exists")
        assert client.delete("/api/chats/list-1").json() == {"id": "list-1", "deleted": True}
        assert error_of(client.get("/api/chats/list-1")) == (404, "not_found")
        assert len(client.get("/api/chats").json()["chats"]) == 3
    with served.client("another") as other:
        assert other.get("/api/chats").json() == {"chats": [], "next": None}


def test_delete_in_mid_answer(client: httpx.Client) -> None:
    """A chat that is deleted in mid-answer is gone, and so is its stream."""
    stream_id = ask(client, "gone", "count 2000", limit=1).stream_id
    assert client.delete("/api/chats/gone").status_code == 200
    assert client.get(f"/api/chat/{stream_id}/stream").status_code == 204
    assert error_of(client.delete("/api/chats/gone")) == (404, "not_found")


REQUESTS = [
    ("POST", "/api/chat", {"id": "mine", "message": question("count 1")}),
    ("GET", "/api/chat/mine/stream", None),
    ("POST", "/api/chat/mine/stop", None),
    ("GET", "/api/chats/mine", None),
    ("DELETE", "/api/chats/mine", None),
]


@pytest.mark.parametrize(("method", "path", "body"), REQUESTS)
def test_whose_chat_it_is(served: App, client: httpx.Client, method: str, path: str, body: Any) -> None:
    """Nobody reaches the chat of somebody else; and who does not say who they are, reaches nothing."""
    stream_id = ask(client, "mine", "count 1").stream_id
    with served.client("bob") as bob:
        assert error_of(bob.request(method, path, json=body)) == (403, "forbidden")
        assert error_of(bob.get(f"/api/chat/{stream_id}/stream")) == (403, "forbidden")
    response = httpx.request(method, served.url + path, json=body, trust_env=False)
    assert error_of(response) == (401, "unauthenticated")


def test_nobody(served: App) -> None:
    """Who does not say who they are has no chats; a cookie says it, too."""
    assert error_of(httpx.get(f"{served.url}/api/chats", trust_env=False)) == (401, "unauthenticated")
    assert error_of(httpx.post(f"{served.url}/api/chats", json={}, trust_env=False)) == (401, "unauthenticated")
    headers = {"cookie": "a=b; user=carla"}
    assert httpx.get(f"{served.url}/api/chats", headers=headers, trust_env=False).json()["chats"] == []


def test_unknown(client: httpx.Client) -> None:
    """What is not there is not found; and what might be a new chat has no answer to be read."""
    assert client.get("/api/chat/unknown/stream").status_code == 204
    for response in (
        client.get("/api/chats/unknown"),
        client.post("/api/chat/unknown/stop"),
    ):
        assert error_of(response) == (404, "not_found")


@pytest.mark.parametrize("chat_id", ["a b", "{x}", "a/b", "é", "x" * 257])
def test_bad_id(client: httpx.Client, chat_id: str) -> None:
    """An id that is none is refused, with JSON that says why."""
    response = client.post("/api/chat", json={"id": chat_id, "message": question("count 1")})
    assert error_of(response) == (400, "invalid_request")
    assert "chat id" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"id": 1, "message": {}}',
        b'{"id": "x"}',
        b'{"id": "x", "trigger": "sing"}',
        b'{"id": "x", "message": {}}',
        b'{"id": "x", "message": {"role": "system", "parts": []}}',
        b'{"id": "x", "trigger": "regenerate-message"}',
    ],
)
def test_bad_body(client: httpx.Client, body: bytes) -> None:
    """A body that asks nothing is refused."""
    response = client.post("/api/chat", content=body, headers={"content-type": "application/json"})
    assert error_of(response) == (400, "invalid_request")


def test_too_large(client: httpx.Client) -> None:
    """A message that is too large is refused."""
    response = client.post("/api/chat", json={"id": "x", "message": question("x" * 17_000)})
    assert error_of(response) == (413, "too_large")


@pytest.mark.parametrize(
    ("params", "headers"),
    [
        ({"startIndex": "99"}, {}),
        ({"startIndex": "9" * 30}, {}),
        ({"startIndex": "x"}, {}),
        ({}, {"last-event-id": "x"}),
        ({}, {"last-event-id": "0123456789abcdef-1"}),
    ],
)
def test_bad_position(client: httpx.Client, params: dict[str, str], headers: dict[str, str]) -> None:
    """A position that is malformed, beyond the end or of another answer is refused."""
    stream_id = ask(client, "position", "", message=question("count 5", "one")).stream_id
    response = client.get(f"/api/chat/{stream_id}/stream", params=params, headers=headers)
    assert error_of(response) == (400, "invalid_position")


@pytest.mark.parametrize("params", [{"limit": 0}, {"limit": 101}, {"limit": "x"}])
def test_bad_page(client: httpx.Client, params: dict[str, Any]) -> None:
    """A page that cannot be is refused."""
    assert error_of(client.get("/api/chats", params=params)) == (400, "invalid_request")
    assert error_of(client.get("/api/chats", params={"after": "x"})) == (400, "invalid_position")

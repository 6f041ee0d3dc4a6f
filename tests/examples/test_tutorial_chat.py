"""The chat that docs/tutorial-chat.md builds does at each step what the page says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.examples.talking import Answer, ask, asking, load, read, resume, texts
from tests.examples.tutorial import WHOLE, Step, serving, write

LOST = 1000.0
"""Seconds that an answer takes for a number, if nobody shall see its end."""


def text_of(answer: Answer) -> str:
    """All that it says."""
    return "".join(answer.words)


@pytest.mark.parametrize("step", list(Step))
def test_goes_on(tmp_path: Path, redis_url: str, step: Step) -> None:
    """Who drops the connection in the middle gets exactly what is missing, and a new reader all of the answer."""
    write(tmp_path, step)
    with serving(tmp_path, step, redis_url=redis_url) as app, app.client() as client:
        first = ask(client, "chat", "Count", limit=20)
        stream_id = load(client, "chat")["activeStreamId"]
        assert stream_id == first.stream_id
        with app.client() as other:
            rest = resume(other, stream_id, after=first.last_id)
            assert text_of(first) + text_of(rest) == WHOLE
            assert rest.is_whole
            assert text_of(resume(other, stream_id)) == WHOLE
        chat = load(client, "chat")
        assert texts(chat) == ["Count", WHOLE]
        assert chat["activeStreamId"] is None


@pytest.mark.parametrize("step", list(Step))
def test_stop(tmp_path: Path, redis_url: str, step: Step) -> None:
    """Stop ends the answer, which is kept as far as it got; a stop that means another stream ends nothing."""
    write(tmp_path, step, pause=0.1)
    with serving(tmp_path, step, redis_url=redis_url) as app, app.client() as client:
        with asking(client, "chat", "Count") as response, app.client() as other:
            path = "/api/chat/chat/stop"
            assert other.post(path, json={"activeStreamId": "another"}).json() == {"stopped": False}
            stream_id = response.headers["x-resumable-stream-id"]
            assert other.post(path, json={"activeStreamId": stream_id}).json() == {"stopped": True}
            answer = read(response)
        assert answer.types[-1] == "abort"
        message = load(client, "chat")["messages"][-1]
        assert message["metadata"] == {"interrupted": "stopped"}
        assert texts(load(client, "chat"))[-1] == text_of(answer) != WHOLE


def test_restart(tmp_path: Path) -> None:
    """With SQLite a chat is there after a restart; in memory it was gone."""
    write(tmp_path, Step.STOP, pause=0)
    with serving(tmp_path, Step.STOP) as app, app.client() as client:
        ask(client, "chat", "Count")
    with serving(tmp_path, Step.STOP) as app, app.client() as client:
        assert client.get("/api/chats/chat").status_code == 404
    write(tmp_path, Step.SQLITE, pause=0)
    with serving(tmp_path, Step.SQLITE) as app, app.client() as client:
        ask(client, "chat", "Count")
    with serving(tmp_path, Step.SQLITE) as app, app.client() as client:
        assert texts(load(client, "chat")) == ["Count", WHOLE]


def test_shutdown_in_the_middle(tmp_path: Path) -> None:
    """A server that is told to end keeps what there is of an answer that takes too long, and says so."""
    write(tmp_path, Step.SQLITE, pause=LOST)
    with serving(tmp_path, Step.SQLITE) as app, app.client() as client:
        seen = ask(client, "chat", "Count", limit=1)
    with serving(tmp_path, Step.SQLITE) as app, app.client() as client:
        message = load(client, "chat")["messages"][-1]
        assert message["metadata"] == {"interrupted": "shutdown"}
        assert texts(load(client, "chat"))[-1] == text_of(seen)


def test_killed_in_the_middle(tmp_path: Path, redis_url: str) -> None:
    """With Redis, what was written when all workers were killed is found, and marked, when the lease is over."""
    write(tmp_path, Step.REDIS, pause=LOST)
    with serving(tmp_path, Step.REDIS, redis_url=redis_url) as app, app.client() as client:
        seen = ask(client, "chat", "Count", limit=1)
        app.kill()
    with serving(tmp_path, Step.REDIS, redis_url=redis_url) as app, app.client() as client:
        resume(client, seen.stream_id)  # which waits for the lease to be over
        message = load(client, "chat")["messages"][-1]
        assert message["metadata"] == {"interrupted": "lost"}
        assert texts(load(client, "chat"))[-1] == text_of(seen)

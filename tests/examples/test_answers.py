"""Where the example's answers come from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from typing_extensions import override

from tests.examples.serving import serving
from tests.examples.talking import ask, counted, load, question


@pytest.mark.parametrize(("text", "last"), [("count 1", 1), ("count 100", 100), (" Count  7\n", 7)])
def test_count(client: httpx.Client, text: str, last: int) -> None:
    """Counting gives the numbers up to the one asked for, each a chunk of its own."""
    answer = ask(client, f"count-{last}", text)
    assert answer.words == counted(last)
    assert "".join(answer.words) == " ".join(map(str, range(1, last + 1)))
    assert answer.is_whole


@pytest.mark.parametrize("number", [0, -1, 10_001, 10**100])
def test_count_out_of_range(client: httpx.Client, number: int) -> None:
    """It counts to nothing outside of 1 to 10,000, and says so."""
    assert "from 1 to 10,000" in "".join(ask(client, f"range-{number}", f"count {number}").words)


def test_prose(client: httpx.Client) -> None:
    """Anything else gets paragraphs about it, word by word, and always the same."""
    first, second = [ask(client, f"prose-{i}", "the {tides} & the moon") for i in range(2)]
    assert first.words == second.words
    assert all(len(word.split()) == 1 for word in first.words)
    text = "".join(first.words)
    assert text.count("\n\n") >= 2
    assert "the {tides} & the moon" in text


def test_markdown(client: httpx.Client) -> None:
    """Who asks for Markdown gets some, with a table."""
    assert "| --- |" in "".join(ask(client, "markdown", "Show me some Markdown").words)


def test_message_without_text(client: httpx.Client) -> None:
    """A message need not have text."""
    message = question("") | {"parts": [{"type": "file", "url": "data:,", "mediaType": "text/plain"}]}
    assert "You wrote “”" in "".join(ask(client, "textless", "", message=message).words)


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
    """With an OpenAI key, the model that is named answers, at the address that is given, and knows the conversation."""
    url, requests = openai
    settings = {"OPENAI_API_KEY": "right", "OPENAI_BASE_URL": url, "OPENAI_MODEL": "great"}
    with serving(tmp_path, settings) as app, app.client() as client:
        assert ask(client, "openai", "count 5").words == ["Höher", "\n\nals"]
        ask(client, "openai", "count 6")
    assert [(request["path"], request["model"], request["stream"]) for request in requests] == [
        ("/v1/chat/completions", "great", True)
    ] * 2
    assert requests[1]["messages"] == [
        {"role": "user", "content": "count 5"},
        {"role": "assistant", "content": "Höher\n\nals"},
        {"role": "user", "content": "count 6"},
    ]


def test_openai_fails(openai: tuple[str, list[dict[str, Any]]], tmp_path: Path) -> None:
    """A model that fails ends the answer as failed; the log has the kind of error, and nobody what it says."""
    url, _ = openai
    with serving(tmp_path, {"OPENAI_API_KEY": "wrong", "OPENAI_BASE_URL": url}) as app, app.client() as client:
        answer = ask(client, "openai", "hello")
        chat = load(client, "openai")
    assert answer.types == ["error"]
    assert answer.frames[-1][1]["errorText"] == "The answer could not be made."
    assert answer.is_whole
    log = app.log.read_text()
    assert "AuthenticationError" in log
    assert "a secret" not in json.dumps([answer.frames, chat, log])

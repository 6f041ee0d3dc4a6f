"""Talking to the example chat over HTTP, as a page does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

END = "[DONE]"


@dataclass
class Answer:
    """An answer, or as much of it as was read."""

    stream_id: str
    frames: list[tuple[str | None, Any]] = field(default_factory=list)
    """Event id and chunk of each event, but for the last one."""
    is_whole: bool = False
    """Whether the last one came."""

    @property
    def words(self) -> list[str]:
        """The pieces of its text."""
        return [chunk["delta"] for _, chunk in self.frames if chunk["type"] == "text-delta"]

    @property
    def types(self) -> list[str]:
        """What its chunks are, without those of its text and of its steps."""
        types = [chunk["type"] for _, chunk in self.frames]
        return [kind for kind in types if not kind.startswith("text-") and not kind.endswith("-step")]

    @property
    def last_id(self) -> str:
        """The last event id that there was."""
        return [event_id for event_id, _ in self.frames if event_id][-1]


def question(text: str, message_id: str | None = None) -> dict[str, Any]:
    """A message of a user."""
    return {"id": message_id, "role": "user", "parts": [{"type": "text", "text": text}]}


def read(response: httpx.Response, limit: int | None = None) -> Answer:
    """Read an answer to its end, or until ``limit`` words are there."""
    assert response.status_code == 200, response.read()
    answer, rest = Answer(response.headers["x-resumable-stream-id"]), ""
    for part in response.iter_text():
        *frames, rest = (rest + part).split("\n\n")
        for frame in frames:
            fields = dict(line.split(": ", 1) for line in frame.split("\n"))
            assert not answer.is_whole, "something came after the end"
            if fields["data"] == END:
                answer.is_whole = True
            else:
                answer.frames.append((fields.get("id"), json.loads(fields["data"])))
            if limit and len(answer.words) == limit:
                return answer
    return answer


@contextmanager
def asking(client: httpx.Client, chat_id: str, text: str, **more: Any) -> Iterator[httpx.Response]:
    """Ask, and stay connected while the block runs."""
    body = {"id": chat_id, "message": question(text), "trigger": "submit-message"} | more
    with client.stream("POST", "/api/chat", json=body) as response:
        yield response


def ask(client: httpx.Client, chat_id: str, text: str, limit: int | None = None, **more: Any) -> Answer:
    """Ask, read, and disconnect."""
    with asking(client, chat_id, text, **more) as response:
        return read(response, limit)


def resume(client: httpx.Client, either_id: str, *, after: str | None = None, start_index: int | None = None) -> Answer:
    """Read an answer from a position on, by the id of its chat or of its stream."""
    headers = {} if after is None else {"last-event-id": after}
    params = {} if start_index is None else {"startIndex": start_index}
    with client.stream("GET", f"/api/chat/{either_id}/stream", headers=headers, params=params) as response:
        return read(response)


def load(client: httpx.Client, chat_id: str) -> dict[str, Any]:
    """A chat, as a page loads it."""
    response = client.get(f"/api/chats/{chat_id}")
    assert response.status_code == 200, response.text
    chat: dict[str, Any] = response.json()
    return chat


def texts(chat: dict[str, Any]) -> list[str]:
    """The text of each message of a chat."""
    return ["".join(part.get("text", "") for part in message["parts"]) for message in chat["messages"]]


def error_of(response: httpx.Response) -> tuple[int, str]:
    """Status and code of a request that was refused."""
    error = response.json()["error"]
    assert set(error) == {"code", "message"}
    assert error["message"]
    return response.status_code, error["code"]


def counted(last: int, first: int = 1) -> list[str]:
    """The words of an answer that counts."""
    return [str(number) if number == 1 else f" {number}" for number in range(first, last + 1)]

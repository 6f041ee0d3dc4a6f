"""Each row of the table of requests, with what it answers, and each error that it can answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI, Request
from typing_extensions import override

from resumable_stream import JSONCodec, Limits, ResumableStreamContext
from resumable_stream.backends.memory import MemoryBackend
from resumable_stream.chat import Chat, ChatChange, ChatInfo, ChatLimits, IdGenerator, ResumableChat
from resumable_stream.chat.stores.memory import MemoryChatStore
from resumable_stream.exceptions import BackendUnavailableError, ChatChangedError, ChatStoreError, StreamGoneError
from resumable_stream.http import ROUTES, AnswerRequest, error_response
from resumable_stream.integrations.fastapi import chat_routes

HELLO = {"id": "q", "role": "user", "parts": [{"type": "text", "text": "Hello?"}]}
OLD = {"id": "q", "role": "user", "content": "Hello?"}
CHUNKS: list[dict[str, Any]] = [
    {"type": "start-step"},
    {"type": "text-start", "id": "t"},
    *({"type": "text-delta", "id": "t", "delta": f"{number} "} for number in range(5)),
    {"type": "text-end", "id": "t"},
    {"type": "finish-step"},
]
LENGTH = len(CHUNKS) + 2  # with the start and the finish
HALF = 4
JSON = {"content-type": "application/json"}


class Store(MemoryChatStore):
    """A chat store whose next changes fail, if a test says so."""

    error: Exception | None = None
    after_load: Callable[[], Awaitable[None]] | None = None
    """What happens, once, between a look at a chat and what is done for it."""

    @override
    async def load(self, chat_id: str) -> Chat | None:
        if self.error is not None and not isinstance(self.error, ChatChangedError):
            raise self.error
        chat = await super().load(chat_id)
        if (happens := self.after_load) is not None:
            self.after_load = None
            await happens()
        return chat

    @override
    async def save(self, chat_id: str, change: ChatChange) -> ChatInfo:
        if isinstance(self.error, ChatChangedError) and change.begin is not None:
            raise self.error
        return await super().save(chat_id, change)


class Site:
    """An application, and a client of Ada's. Its answers stop half-way until a test lets them go on."""

    def __init__(self, context: ResumableStreamContext, store: Store, **settings: Any) -> None:
        self.store = store
        self.may_go_on = anyio.Event()
        self.is_half_way = anyio.Event()
        app = FastAPI()
        limits = ChatLimits(max_messages=4, max_message_bytes=1000)
        chat = ResumableChat(context, store, limits=limits, new_chat_id=IdGenerator("ours"))
        routes = chat_routes(chat, self.respond, authenticate=self.user_of, max_body_bytes=2000, **settings)
        app.include_router(routes, prefix="/api")
        transport = httpx.ASGITransport(app)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://test/api", headers={"x-user": "ada"})

    async def respond(self, asked: AnswerRequest) -> AsyncIterator[dict[str, Any]]:
        """Make an answer."""
        for number, chunk in enumerate(CHUNKS):
            if number == HALF - 1 and "slow" in asked.turn.chat.chat_id:
                self.is_half_way.set()
                await self.may_go_on.wait()
            yield chunk

    def user_of(self, request: Request) -> str | None:
        """Tell who asks."""
        return request.headers["x-user"] or None

    async def start(self, chat: str, user: str = "ada") -> str:
        """Have a question answered in a chat, and return the id of the stream."""
        response = await self.client.post("/chat", json={"id": chat, "message": HELLO}, headers={"x-user": user})
        assert response.status_code == 200
        return response.headers["x-resumable-stream-id"]

    @asynccontextmanager
    async def answering(self, chat: str = "slow") -> AsyncIterator[None]:
        """Have half of an answer; the rest of it comes when the block is left, at the latest."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.start, chat)
            await self.is_half_way.wait()
            yield
            self.may_go_on.set()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """An application with two chats of Ada's, one of them without an answer, and one of Bob's."""
    async with AsyncExitStack() as stack:
        limits = Limits(max_publishers=2)  # and whoever has failed is over at once, without a linger
        context = ResumableStreamContext(
            MemoryBackend(), codec=JSONCodec(), limits=limits, drain_timeout=0.0, linger=0.0
        )
        store = await stack.enter_async_context(Store())
        made = Site(await stack.enter_async_context(context), store)
        await stack.enter_async_context(made.client)
        await made.start("done")
        await made.client.post("/chats", json={"id": "empty"})
        await made.start("bobs", user="bob")
        yield made


def data_of(response: httpx.Response) -> list[str]:
    """The data of a response's events."""
    return [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]


def check_event_stream(response: httpx.Response, count: int) -> None:
    """It is an event stream with as many chunks, a good end, and what its row says of headers."""
    assert response.status_code == 200
    headers = {
        "content-type": "text/event-stream",
        "cache-control": "no-cache",
        "x-accel-buffering": "no",
        "x-vercel-ai-ui-message-stream": "v1",
        "x-workflow-run-id": response.headers["x-resumable-stream-id"],
    }
    assert headers.items() <= dict(response.headers).items()
    *chunks, done = data_of(response)
    assert done == "[DONE]"
    assert len(chunks) == count
    assert json.loads(chunks[-1]) == {"type": "finish"}


# --- What is answered if all is well ----------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [{"message": HELLO}, {"messages": [HELLO]}, {"message": HELLO, "extra": 1}])
async def test_start(site: Site, body: dict[str, Any]) -> None:
    """``POST /chat`` makes the chat and sends the answer, and so does the nested resource."""
    check_event_stream(await site.client.post("/chat", json={"id": "new", **body}), LENGTH)
    check_event_stream(await site.client.post("/chats/other/messages", json=body), LENGTH)
    for path in ("/chat", "/v4/chat"):
        response = await site.client.post(path, json=body | ({"message": OLD} if path == "/v4/chat" else {}))
        made = response.headers["x-resumable-chat-id"]
        assert made.startswith("ours")
        loaded = await site.client.get(f"/chats/{made}")
        assert [message["role"] for message in loaded.json()["messages"]] == ["user", "assistant"]


async def test_regenerate(site: Site) -> None:
    """Another answer takes the place of the last."""
    old = (await site.client.get("/chats/done")).json()["messages"]
    check_event_stream(await site.client.post("/chat", json={"id": "done", "trigger": "regenerate-message"}), LENGTH)
    new = (await site.client.get("/chats/done")).json()["messages"]
    assert new[0] == old[0]
    assert new[1]["parts"] == old[1]["parts"]
    assert new[1]["id"] != old[1]["id"]


async def test_resume(site: Site) -> None:
    """``GET /chat/{id}/stream`` goes on where the client says, by the id of the chat, of the run, and nested."""
    async with site.answering(), anyio.create_task_group() as tasks:
        run = (await site.client.get("/chats/slow")).json()["activeStreamId"]

        async def check(path: str, count: int, headers: Mapping[str, str] | None = None) -> None:
            response = await site.client.get(path, headers=headers)
            check_event_stream(response, count)
            assert response.headers["x-workflow-stream-tail-index"] == str(HALF - 1)
            assert response.headers["x-resumable-stream-id"] == run

        for path in ("/chat/slow/stream", f"/chat/{run}/stream", f"/chats/slow/messages/{run}/stream"):
            tasks.start_soon(check, path, LENGTH)
            tasks.start_soon(check, f"{path}?startIndex=3", LENGTH - 3)
            tasks.start_soon(check, f"{path}?startIndex=-1", LENGTH - HALF + 1)
            tasks.start_soon(check, f"{path}?startIndex=-100", LENGTH)
        await anyio.wait_all_tasks_blocked()
        site.may_go_on.set()
    whole = await site.client.get(f"/chat/{run}/stream")
    check_event_stream(whole, LENGTH)
    ids = [line.removeprefix("id: ") for line in whole.text.splitlines() if line.startswith("id: ")]
    for seen, event_id in enumerate(ids[:-1], start=1):
        for path in (f"/chat/{run}/stream?startIndex=0", "/chat/slow/stream"):
            check_event_stream(await site.client.get(path, headers={"last-event-id": event_id}), LENGTH - seen)
    assert (await site.client.get("/chat/slow/stream", headers={"last-event-id": ids[-1]})).status_code == 204


@pytest.mark.parametrize("chat", ["done", "empty", "unknown"])
async def test_nothing_to_resume(site: Site, chat: str) -> None:
    """A chat in which no answer is being made has nothing to resume: 204, of which `useChat` makes no error."""
    response = await site.client.get(f"/chat/{chat}/stream")
    assert (response.status_code, response.content) == (204, b"")


async def test_stop(site: Site) -> None:
    """``POST /chat/{id}/stop`` stops the answer that is meant; a stale id and a repeated call do nothing."""
    async with site.answering():
        stale = await site.client.post("/chat/slow/stop", json={"activeStreamId": "stale"})
        assert (stale.status_code, stale.json()) == (200, {"stopped": False})
        run = (await site.client.get("/chats/slow")).json()["activeStreamId"]
        stopped = await site.client.post("/chat/slow/stop", json={"activeStreamId": run})
        assert (stopped.status_code, stopped.json()) == (200, {"stopped": True})
    again = await site.client.post("/chat/slow/stop")
    assert (again.status_code, again.json()) == (200, {"stopped": False})
    response = await site.client.get(f"/chat/{run}/stream")
    assert json.loads(data_of(response)[-2]) == {"type": "abort"}
    loaded = (await site.client.get("/chats/slow")).json()
    assert loaded["activeStreamId"] is None
    assert loaded["messages"][1]["metadata"] == {"interrupted": "stopped"}


async def test_version_4(site: Site) -> None:
    """Version 4 starts and resumes an answer in its own protocol; one that is over comes in one piece."""
    asked = {"id": "slow", "messages": [{"id": "q", "role": "user", "content": "Hello?"}]}
    responses: list[httpx.Response] = []

    async def keep(method: str, path: str, body: Any = None) -> None:
        responses.append(await site.client.request(method, path, json=body))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep, "POST", "/v4/chat", asked)
        await site.is_half_way.wait()
        for path in ("/chat?chatId=slow", "/v4/chat?chatId=slow"):
            tasks.start_soon(keep, "GET", path)
        await anyio.wait_all_tasks_blocked()
        site.may_go_on.set()
    for response in responses:
        assert response.status_code == 200
        assert response.headers["x-vercel-ai-data-stream"] == "v1"
        assert "".join(json.loads(line[2:]) for line in response.text.splitlines() if line[0] == "0") == "0 1 2 3 4 "
    for path in ("/chat?chatId=slow", "/v4/chat?chatId=slow"):
        response = await site.client.get(path)
        assert (response.status_code, response.headers["x-vercel-ai-data-stream"]) == (200, "v1")
        (part,) = json.loads(response.text.removeprefix("2:"))
        assert part["type"] == "append-message"
        assert json.loads(part["message"])["content"] == "0 1 2 3 4 "


async def test_version_4_comes_just_too_late(site: Site) -> None:
    """An answer that ends after the chat was looked at, and before it is resumed, comes in one piece as well."""

    async def end() -> None:
        site.may_go_on.set()
        await site.client.get(f"/chat/{run}/stream")  # to its end, before which it is saved

    async with site.answering():
        run = (await site.client.get("/chats/slow")).json()["activeStreamId"]
        site.store.after_load = end
        response = await site.client.get("/v4/chat?chatId=slow")
    (part,) = json.loads(response.text.removeprefix("2:"))
    assert json.loads(part["message"])["content"] == "0 1 2 3 4 "


async def test_chats(site: Site) -> None:
    """Chats are made, listed, shown and deleted. One that answers is shown without the running turn."""
    made = await site.client.post("/chats", json={"id": "new", "metadata": {"title": "A"}})
    assert made.status_code == 201
    assert made.json().keys() == {"id", "createdAt", "updatedAt", "metadata"}
    pages: list[list[str]] = []
    after: str | None = ""
    while after is not None:
        page = (await site.client.get("/chats", params={"limit": 2} | ({"after": after} if after else {}))).json()
        pages.append([chat["id"] for chat in page["chats"]])
        after = page["next"]
    assert pages == [["new", "empty"], ["done"]]
    async with site.answering():
        loaded = (await site.client.get("/chats/slow")).json()
        assert loaded.keys() == {"id", "createdAt", "updatedAt", "metadata", "messages", "activeStreamId"}
        assert loaded["messages"] == [HELLO]
        assert loaded["activeStreamId"] is not None
    assert (await site.client.delete("/chats/new")).status_code == 200
    assert (await site.client.get("/chats/new")).status_code == 404


# --- What is answered if not ------------------------------------------------------------------------------------------

Case = tuple[str, str, Any, dict[str, str], int, str]


def _cases() -> list[Case]:
    nobody, bob = {"x-user": ""}, {"x-user": "bob"}
    cases: list[Case] = []
    for route in ROUTES:
        path = route.path.replace("{id}", "done").replace("{runId}", "RUN")
        path += "?chatId=done" if route.name.startswith("resume_v4") else ""
        body = {"id": "done", "message": HELLO} if route.method == "POST" else None
        cases.append((route.method, path, body, nobody, 401, "unauthenticated"))
        if route.name not in ("create_chat", "list_chats"):
            cases.append((route.method, path, body, bob, 403, "forbidden"))
    for path in ("/chat", "/v4/chat", "/chats/done/messages"):
        named = {} if "done" in path else {"id": "done"}
        bad: list[Any] = [{}, [], "{", "NaN", {"message": 1}, {"messages": 1}, {"message": {**HELLO, "role": "system"}}]
        bad += [{"message": HELLO, "messageId": 1}] if "v4" not in path else []
        bad += [{"message": {**HELLO, "id": "a/b"}}]
        for body in bad:
            sent = {**named, **body} if isinstance(body, dict) else body
            cases.append(("POST", path, sent, {}, 400, "invalid_request"))
        large = {**HELLO, "parts": [{"type": "text", "text": "a" * 1100}]}
        cases.append(("POST", path, {**named, "message": large}, {}, 413, "too_large"))
        cases.append(("POST", path, {**named, "message": HELLO, "more": "a" * 2000}, {}, 413, "too_large"))
        foreign = {"content-type": "text/plain", "sec-fetch-site": "cross-site"}
        cases.append(("POST", path, json.dumps({**named, "message": HELLO}), foreign, 415, "unsupported_media_type"))
    cases += [
        ("POST", "/chat", {"id": "done", "message": HELLO, "trigger": "x"}, {}, 400, "invalid_request"),
        ("POST", "/chat", {"id": "empty", "trigger": "regenerate-message"}, {}, 400, "invalid_request"),
        ("POST", "/chat", {"id": "a/b", "message": HELLO}, {}, 400, "invalid_request"),
        ("POST", "/chat", {"id": 1, "message": HELLO}, {}, 400, "invalid_request"),
        ("GET", "/chat", None, {}, 400, "invalid_request"),
        ("GET", "/chat?chatId=unknown", None, {}, 404, "not_found"),
        ("GET", "/chat?chatId=empty", None, {}, 404, "no_stream"),
        ("GET", "/chat?chatId=bobs", None, {}, 403, "forbidden"),
        ("GET", "/chat/bobs/stream", None, {}, 403, "forbidden"),
        ("GET", "/chat/a%20b/stream", None, {}, 400, "invalid_request"),
        ("GET", "/chat/RUN/stream", None, bob, 403, "forbidden"),
        ("GET", "/chats/done/messages/unknown/stream", None, {}, 404, "not_found"),
        ("GET", "/chats/empty/messages/RUN/stream", None, {}, 404, "not_found"),
        ("POST", "/chat/unknown/stop", None, {}, 404, "not_found"),
        ("POST", "/chat/done/stop", {"activeStreamId": 1}, {}, 400, "invalid_request"),
        ("POST", "/chats", {"id": "done"}, {}, 409, "exists"),
        ("POST", "/chats", {"id": "bobs"}, {}, 409, "exists"),
        ("POST", "/chats", {"id": ""}, {}, 400, "invalid_request"),
        ("POST", "/chats", {"metadata": 1}, {}, 400, "invalid_request"),
        ("GET", "/chats?limit=0", None, {}, 400, "invalid_request"),
        ("GET", "/chats?limit=1e3", None, {}, 400, "invalid_request"),
        ("GET", "/chats?after=x", None, {}, 400, "invalid_position"),
        ("GET", "/chats/unknown", None, {}, 404, "not_found"),
        ("DELETE", "/chats/unknown", None, {}, 404, "not_found"),
    ]
    for path in ("/chat/RUN/stream", "/chat/done/stream", "/chats/done/messages/RUN/stream"):
        for index in ("x", "1.5", "--1", "9" * 16, "\u0661"):
            cases.append(("GET", f"{path}?startIndex={index}", None, {}, 400, "invalid_position"))
        for query in ("startIndex=1000", "skipCharacters=1", "resumeAt=1"):
            cases.append(("GET", f"{path}?{query}", None, {}, 400, "invalid_position"))
        for event_id in ("x", "-", "0123456789abcdef-1", "1-x"):
            cases.append(("GET", path, None, {"last-event-id": event_id}, 400, "invalid_position"))
    return cases


def _name(value: object) -> str | None:
    return value[:60] if isinstance(value, str) else None


@pytest.mark.parametrize(("method", "path", "body", "headers", "status", "code"), _cases(), ids=_name)
async def test_errors(
    site: Site, method: str, path: str, body: Any, headers: dict[str, str], status: int, code: str
) -> None:
    """What cannot be done is answered with a status, a code and a text, and changes nothing."""
    if "RUN" in path:
        path = path.replace("RUN", await site.start("done"))
    before = (await site.client.get("/chats/done")).json()
    content = body if isinstance(body, str) else None if body is None else json.dumps(body)
    response = await site.client.request(method, path, content=content, headers=JSON | headers)
    check_error(response, status, code)
    assert (await site.client.get("/chats/done")).json() == before


def check_error(response: httpx.Response, status: int, code: str) -> None:
    """It is an error, in the form that all have."""
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (status, code)
    assert error.keys() == {"code", "message"}
    assert error["message"]
    assert response.headers["cache-control"] == "no-store"
    assert response.headers.get("retry-after") == ("1" if status == 503 else None)


async def test_busy(site: Site) -> None:
    """While an answer is being made, another question is refused, and another answer, too."""
    async with site.answering():
        for body in ({"message": {**HELLO, "id": "other"}}, {"trigger": "regenerate-message"}):
            check_error(await site.client.post("/chat", json={"id": "slow", **body}), 409, "busy")
        asked = {"id": "slow", "messages": [{"role": "user", "content": "Hm?"}]}
        check_error(await site.client.post("/v4/chat", json=asked), 409, "busy")


async def test_limits(site: Site) -> None:
    """A chat that is full, and a process that makes as many answers as it may, refuse more."""
    for number in range(2):
        body = {"id": "full", "message": {**HELLO, "id": f"q{number}"}}
        check_event_stream(await site.client.post("/chat", json=body), LENGTH)
    check_error(await site.client.post("/chat", json={"id": "full", "message": HELLO}), 409, "chat_full")
    async with site.answering("slow"), site.answering("slow-2"):
        await anyio.wait_all_tasks_blocked()
        check_error(await site.client.post("/chat", json={"id": "third", "message": HELLO}), 503, "overloaded")


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ChatChangedError("done"), 409, "conflict"),
        (ChatStoreError("secret"), 503, "unavailable"),
        (BackendUnavailableError("secret"), 503, "unavailable"),
        (RuntimeError("secret"), 500, "internal_error"),
    ],
)
async def test_trouble(site: Site, error: Exception, status: int, code: str) -> None:
    """What goes wrong behind the routes is told without a word of what it was."""
    site.store.error = error
    response = await site.client.post("/chat", json={"id": "done", "message": {**HELLO, "id": "other"}})
    check_error(response, status, code)
    assert "secret" not in response.text
    site.store.error = None
    check_event_stream(await site.client.post("/chat", json={"id": "done", "message": {**HELLO, "id": "o"}}), LENGTH)


def test_gone() -> None:
    """A stream that was deleted while somebody asked for it is gone."""
    response = error_response(StreamGoneError("s"))
    assert response.status == 404
    assert b'"gone"' in bytes(response.body)  # type: ignore[arg-type]  # of an error

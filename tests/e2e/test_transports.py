"""Clients below the hooks: the transport of `@workflow/ai`, a browser's `EventSource`, curl, and httpx-sse."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from httpx_sse import aconnect_sse
from playwright.async_api import Browser

from resumable_stream.http import EventStreamSettings
from tests.e2e.conftest import ServeThree
from tests.e2e.proxy import Proxy, proxying
from tests.e2e.serving import CLIENTS, install_clients

pytestmark = pytest.mark.asyncio(loop_scope="session")

EVENT_SOURCE = """
url => new Promise(resolve => {
    const events = [];
    const source = new EventSource(url);
    source.onmessage = ({ data, lastEventId }) => events.push([lastEventId, data]);
    source.onerror = () => source.readyState === EventSource.CLOSED && resolve(events);
})
"""


@pytest.fixture(params=["one worker", "three workers"])
def site(request: pytest.FixtureRequest) -> str:
    """Where chats are served."""
    address: str = request.getfixturevalue(request.param.replace(" ", "_"))
    return address


@pytest_asyncio.fixture(loop_scope="session")
async def client(site: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of ours, that asks and looks up what is to be expected."""
    async with httpx.AsyncClient(base_url=site, trust_env=False, timeout=30) as client:
        yield client


def new_chat() -> str:
    """The id of a chat that does not exist."""
    return f"chat-{uuid4().hex}"


async def ask(client: httpx.AsyncClient, chat: str, question: str) -> str:
    """Start an answer without reading it. Returns the id of its stream."""
    message = {"id": "question", "role": "user", "parts": [{"type": "text", "text": question}]}
    async with client.stream("POST", "/api/chat", json={"id": chat, "message": message}) as response:
        assert response.status_code == 200
        return response.headers["x-resumable-stream-id"]


async def logged(client: httpx.AsyncClient, stream: str) -> list[Any]:
    """All chunks of an answer, once it has ended."""
    response = await client.get(f"/api/chat/{stream}/stream")
    assert response.status_code == 200
    return [json.loads(data) for data in data_of(response.text)]


def data_of(text: str) -> list[str]:
    """The data of the events in a body, without the word about the end."""
    *data, done = re.findall(r"^data: (.*)$", text, re.MULTILINE)
    assert done == "[DONE]"
    return data


async def run_transport(**settings: Any) -> dict[str, Any]:
    """Run Node with the transport."""
    install_clients()
    process = await asyncio.create_subprocess_exec(
        "node", "workflow.mjs", json.dumps(settings), cwd=CLIENTS, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    result: dict[str, Any] = json.loads(output)
    return result


@asynccontextmanager
async def cutting(site: str, *, cut_after: int = 7, cleanly: bool = True) -> AsyncIterator[Proxy]:
    """Run a proxy that cuts streams off."""
    async with proxying([site], cut_after=cut_after, cleanly=cleanly) as proxy:
        yield proxy


@pytest.mark.parametrize("cleanly", [True, False], ids=["ended", "broken"])
@pytest.mark.parametrize("shape", ["flat", "nested"])
async def test_workflow_transport(site: str, client: httpx.AsyncClient, shape: str, cleanly: bool) -> None:
    """A question whose answer is cut off after each seven chunks is answered in full, in order, and with each once."""
    chat = new_chat()
    question = "think 40 sheep"
    async with cutting(site, cleanly=cleanly) as proxy:
        result = await run_transport(
            site=proxy.url, chat=chat, shape=shape, question=question, maxErrors=3 if cleanly else 100
        )
    chunks = await logged(client, result["run"])
    assert result["chunks"] == chunks
    assert result["ends"] == [{"chatId": chat, "chunkIndex": len(chunks)}]
    assert proxy.cuts >= len(chunks) // 7
    if cleanly:
        starts = [request.query for request in proxy.requests if request.method == "GET"]
        assert starts == [f"startIndex={start}" for start in range(7, len(chunks), 7)]


@pytest.mark.parametrize("shape", ["flat", "nested"])
async def test_workflow_transport_reads_the_tail(site: str, client: httpx.AsyncClient, shape: str) -> None:
    """With a negative index the transport gets the last chunks so far, and all that follow, though it is cut off."""
    chat = new_chat()
    stream = await ask(client, chat, "count 200 sheep")  # more than pass while Node starts
    async with client.stream("GET", f"/api/chat/{stream}/stream") as response:
        async for line in response.aiter_lines():
            if "sheep20 " in line:
                break
    async with cutting(site) as proxy:
        result = await run_transport(site=proxy.url, chat=chat, shape=shape, stream=stream, startIndex=-10)
    chunks = await logged(client, stream)
    got = result["chunks"]
    assert got == chunks[-len(got) :]
    assert 10 < len(got) < len(chunks)
    assert result["ends"] == [{"chatId": chat, "chunkIndex": len(chunks)}]
    starts = [int(request.query.removeprefix("startIndex=")) for request in proxy.requests]
    assert starts == [-10, *range(len(chunks) - len(got) + 7, len(chunks), 7)]


async def test_workflow_transport_reads_the_tail_of_an_ended_answer(site: str, client: httpx.AsyncClient) -> None:
    """With a negative index the transport gets the last chunks of an answer that is complete."""
    chat = new_chat()
    stream = await ask(client, chat, "count 30 sheep")
    chunks = await logged(client, stream)
    result = await run_transport(site=site, chat=chat, shape="nested", stream=stream, startIndex=-5)
    assert result["chunks"] == chunks[-5:]


@pytest.mark.parametrize("shape", ["flat", "nested"])
async def test_workflow_transport_and_a_stop(site: str, client: httpx.AsyncClient, shape: str) -> None:
    """The transport, which takes no end but ``finish`` for one, gets all of a stopped answer, and comes to its end."""
    chat = new_chat()
    async with cutting(site) as proxy:
        question = "count 400 sheep"
        running = asyncio.ensure_future(
            run_transport(site=proxy.url, chat=chat, shape=shape, question=question, maxErrors=3)
        )
        await proxy.wait_for_requests(3)
        assert (await client.post(f"/api/chat/{chat}/stop", json={})).json()["stopped"]
        result = await asyncio.wait_for(running, 30)
    chunks = await logged(client, result["run"])
    assert chunks[-1] == {"type": "abort"}
    assert result["chunks"] == [*chunks, {"type": "finish"}]
    assert len(chunks) < 400
    assert result["ends"] == [{"chatId": chat, "chunkIndex": len(result["chunks"])}]


@pytest.mark.parametrize(("by", "cleanly"), [("chat", False), ("stream", True)])
async def test_event_source(site: str, client: httpx.AsyncClient, chromium: Browser, by: str, cleanly: bool) -> None:
    """A browser's own EventSource gets each chunk once across ten disconnects, and stops when all was said."""
    chat = new_chat()
    page = await chromium.new_page()
    async with cutting(site, cut_after=10, cleanly=cleanly) as proxy:
        await page.goto(f"{proxy.url}/api/chats")  # a page of the same origin, which may take longer than an answer
        stream = await ask(client, chat, "count 100 sheep")
        path = f"/api/chat/{chat if by == 'chat' else stream}/stream"
        events = await page.evaluate(EVENT_SOURCE, path)
        await page.close()
    chunks = await logged(client, stream)
    assert [json.loads(data) for _, data in events if data != "[DONE]"] == chunks
    indices = [int(event_id.rpartition("-")[2]) for event_id, data in events if data != "[DONE]"]
    assert indices == list(range(len(chunks)))
    assert proxy.cuts >= 10
    statuses = [request.status for request in proxy.requests if request.path == path]
    assert set(statuses[:-1]) == {200}
    assert statuses[-1] == 204
    assert len(statuses[:-1]) - proxy.cuts in (0, 1)  # the last cut may come just behind the end


async def test_curl(site: str, client: httpx.AsyncClient) -> None:
    """`curl -N` gets each event when it happens."""
    stream = await ask(client, new_chat(), "count 60 sheep")
    process = await asyncio.create_subprocess_exec(
        "curl", "-sN", f"{site}/api/chat/{stream}/stream", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    text = (await process.stdout.readuntil(b"sheep3 ")).decode()
    assert "sheep60" not in text
    text += (await process.communicate())[0].decode()
    assert process.returncode == 0
    assert [json.loads(data) for data in data_of(text)] == await logged(client, stream)


async def read_by_httpx_sse(url: str, is_under_way: asyncio.Event | None = None) -> list[tuple[str, str]]:
    """Read an answer with httpx-sse, which leaves reconnecting to its user, until there is a 204."""
    events: list[tuple[str, str]] = []
    async with httpx.AsyncClient(trust_env=False, timeout=30) as reader:
        while True:
            headers = {"last-event-id": events[-1][0]} if events else {}
            async with aconnect_sse(reader, "GET", url, headers=headers) as source:
                if source.response.status_code == 204:
                    return events
                try:
                    async for event in source.aiter_sse():
                        if event.data:  # and not just a word about retrying
                            events.append((event.id, event.data))
                        if is_under_way is not None and "sheep10 " in event.data:
                            is_under_way.set()
                except httpx.TransportError:
                    pass  # as it was cut off


async def test_httpx_sse(site: str, client: httpx.AsyncClient) -> None:
    """With httpx-sse each chunk comes once, and then a 204."""
    chat = new_chat()
    stream = await ask(client, chat, "count 60 sheep")
    async with cutting(site, cleanly=False) as proxy:
        events = await read_by_httpx_sse(f"{proxy.url}/api/chat/{chat}/stream")
    assert [json.loads(data) for _, data in events if data != "[DONE]"] == await logged(client, stream)


async def test_publisher_is_killed(chromium: Browser, serve_three: ServeThree) -> None:
    """The worker that makes an answer is killed: who reads gets all that is logged, a word about it, and then a 204.

    So it is for who reads from another worker, and for an EventSource that was connected to the one that was killed.
    """
    with serve_three() as workers:
        page = await chromium.new_page()
        async with proxying([workers[0].url]) as proxy, httpx.AsyncClient(trust_env=False) as client:
            client.base_url = httpx.URL(proxy.url)
            stream = await ask(client, new_chat(), "count 400 sheep")
            path = f"/api/chat/{stream}/stream"
            await page.goto(f"{proxy.url}/api/chats")
            in_browser = asyncio.ensure_future(page.evaluate(EVENT_SOURCE, path))
            await proxy.wait_for_requests(1, path)
            is_under_way = asyncio.Event()
            elsewhere = asyncio.ensure_future(read_by_httpx_sse(workers[1].url + path, is_under_way))
            await asyncio.wait_for(is_under_way.wait(), 30)
            proxy.targets = [worker.url for worker in workers[1:]]
            workers[0].kill()
            seen = [await asyncio.wait_for(reading, 60) for reading in (elsewhere, in_browser)]
            await page.close()
            chunks = await logged(client, stream)
        assert chunks[-1] == {"type": "error", "errorText": EventStreamSettings().lost_text}
        for events in seen:
            assert [json.loads(data) for _, data in events if data != "[DONE]"] == chunks
            places = [event_id.rpartition("-")[2] for event_id, data in events if data != "[DONE]"]
            assert places == [*map(str, range(len(chunks) - 1)), f"{len(chunks) - 1}.lost"]
        statuses = [request.status for request in proxy.requests if request.path == path]
        assert statuses[:-1] == [200, 200, 204]

"""How what is served ends, in every framework: streams that break, and servers that are told to end."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
import pytest

from examples.frameworks.shared import numbers
from resumable_stream import JSONCodec, ResumableStreamContext, StreamState
from resumable_stream.chat import ResumableChat
from resumable_stream.chat.stores.redis import RedisChatStore
from tests.integrations.served import WORDS
from tests.integrations.serving import ASGI_APPS, OTHERS, asking, read_until, serving

PLACES = [("uvicorn", app) for app in ASGI_APPS if app != "layered"] + OTHERS


@pytest.mark.parametrize(("server", "app"), PLACES)
def test_stream_that_breaks_is_cut(server: str, app: str, tmp_path: Path) -> None:
    """On a wire that has no word for it, a stream that fails cuts the connection: half of it is not taken for all."""
    with serving(server, app, tmp_path, may_raise=True) as served, served.client() as client:
        with asking(client, "failing") as (response, lines):
            list(lines)
        run = response.headers["x-resumable-stream-id"]
        with client.stream("GET", f"/count/{run}", params={"wire": "ndjson"}) as broken:
            assert broken.status_code == 200
            broken_lines = broken.iter_lines()
            read_until(broken_lines, WORDS[4])
            with pytest.raises(httpx.RemoteProtocolError):
                list(broken_lines)
        assert client.get("/api/chats/failing").status_code == 200  # the server goes on


@pytest.mark.parametrize(("server", "app"), PLACES)
async def test_stream_that_is_kept_no_longer(server: str, app: str, redis_url: str, tmp_path: Path) -> None:
    """A stream whose retention is over is answered with 204, on every wire, and is not made again."""
    async with ResumableStreamContext.from_url(redis_url, codec=JSONCodec(), retention=0.0) as context:
        async for _ in await context.create_new_resumable_stream("over", numbers):
            pass
        with serving(server, app, tmp_path, redis_url) as served, served.client() as client:
            for wire in ("sse", "text", "ndjson"):
                response = client.get("/count/over", params={"wire": wire})
                assert (response.status_code, response.content) == (204, b"")
                assert response.headers["cache-control"] == "no-store"
        info = await context.info("over")
    assert "warning" not in served.log.read_text().lower()  # as of a body that may not be there
    assert info is not None
    assert info.epoch == 1


@pytest.mark.parametrize("stays", [False, True], ids=["alone", "read"])
@pytest.mark.parametrize(("server", "app"), PLACES)
async def test_told_to_end(server: str, app: str, stays: bool, redis_url: str, tmp_path: Path) -> None:
    """A server that is told to end does so in bounded time, and keeps what it cannot finish, and says so."""
    with serving(server, app, tmp_path, redis_url, may_raise=stays) as served, served.client() as client:
        with asking(client, "cut") as (response, lines):
            run = response.headers["x-resumable-stream-id"]
            read_until(lines, until=WORDS[9])
            if stays:
                served.process.terminate()
                served.process.wait(timeout=15)
        if not stays:
            served.process.terminate()
        assert served.process.wait(timeout=15) in (0, -signal.SIGTERM)
    store = RedisChatStore(redis_url)
    async with store, ResumableStreamContext.from_url(redis_url, codec=JSONCodec()) as context:
        info = await context.info(run)
        assert info is not None
        assert (info.state, info.reason) == (StreamState.STOPPED, "shutdown")
        chats = ResumableChat(context, store)
        message = (await chats.load("alice", "cut")).messages[1]
        await chats.delete("alice", "cut")
    assert message["parts"][1]["text"] == "".join(WORDS[:10])
    assert message["metadata"] == {"interrupted": "shutdown"}

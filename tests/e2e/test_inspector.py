"""The inspector's page in headless Chromium."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import Browser, Page, expect
from starlette.applications import Starlette
from starlette.routing import Mount

from resumable_stream import ResumableStreamContext, StreamState
from resumable_stream.backends.redis import RedisBackend
from resumable_stream.inspector import Inspector
from resumable_stream.testing.backend_suite.harness import append, create, info_of, make_claim
from tests.servers import binaries, running
from tests.streams import Tap, collect, collect_until_error, factory_of, take

pytestmark = pytest.mark.asyncio(loop_scope="session")

IMAGE = "<img src=x onerror=\"document.title='hit'\">"
HOSTILE = f"{IMAGE}<script>document.title='hit'</script>"


@dataclass
class Stage:
    """A context on Redis, its inspector on a server of its own, and what the browser complained of."""

    context: ResumableStreamContext
    redis_url: str
    url: str
    is_open: bool = True
    complaints: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def page(self, browser: Browser, **options: Any) -> AsyncIterator[Page]:
        """Open the page in a browser without a past, and confirm whatever it asks."""
        context = await browser.new_context(**options)
        context.set_default_timeout(10_000)
        page = await context.new_page()
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))
        await page.goto(self.url)
        yield page
        await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def stage() -> AsyncIterator[Stage]:
    """It, without any stream."""
    with running(binaries()["redis-6.2"]) as redis:
        async with ResumableStreamContext.from_url(redis.url, drain_timeout=0.0) as context:
            made = Stage(context, redis.url, "")
            app = Starlette(routes=[Mount("/ops/inspector", Inspector(context, authorize=lambda _: made.is_open))])
            server = uvicorn.Server(uvicorn.Config(app, port=0, lifespan="off", log_level="warning"))
            serving = asyncio.ensure_future(server.serve())
            with anyio.fail_after(10):
                while not server.started:
                    await asyncio.sleep(0.01)
            port = server.servers[0].sockets[0].getsockname()[1]
            made.url = f"http://127.0.0.1:{port}/ops/inspector/"
            try:
                yield made
            finally:
                server.should_exit = True
                await serving


async def test_streams_appear_and_grow(stage: Stage, chromium: Browser) -> None:
    """A stream that begins appears by itself, with its rate, its chunks and its readers, and is counted by state."""
    async with stage.page(chromium) as page:
        await expect(page.get_by_text("There are no streams.")).to_be_visible()
        tap = Tap()
        stream = await stage.context.resumable_stream("answer-1", tap)
        row = page.get_by_role("row").filter(has_text="answer-1")
        await expect(row).to_contain_text("running")
        await expect(page.get_by_role("button", name="running 1")).to_be_visible()
        rate = row.get_by_role("cell").nth(3)
        for number in range(400):
            tap.let(f"{number} ")
            await take(stream, 1)
            if number > 50 and re.fullmatch(r"[1-9][\d.,]*", await rate.inner_text()):
                break
            await asyncio.sleep(0.02)  # the pace of a model
        else:
            raise AssertionError("no rate was shown")
        assert re.fullmatch(r"[1-9]\d*", (await row.get_by_role("cell").nth(2).inner_text()).replace(",", ""))
        await expect(row.get_by_role("cell").nth(4)).to_have_text("1")
        tap.end()
        await collect(stream)
        await expect(row).to_contain_text("done")
        await page.get_by_role("button", name="failed 0").click()
        await expect(page.get_by_text("No stream is like this.")).to_be_visible()
    assert stage.complaints == []


async def test_picture(stage: Stage, chromium: Browser) -> None:
    """One stream is a picture: a tick for each entry, a line for the takeover, the gap before it, and its text."""
    backend = RedisBackend(stage.redis_url)
    try:
        await backend.connect(lambda _stream_id: None)
        info = await create(backend, "taken-over", lease=0.2)
        for index in range(5):
            await append(backend, info, index, [f"word{index} "])
        await asyncio.sleep(1.3)  # the gap, which is to be longer than a second
        info = info_of(await backend.acquire("taken-over", make_claim(allow_lost=True)))
        for index in range(5, 9):
            await append(backend, info, index, [f"word{index} "])
        async with stage.page(chromium) as page:
            await page.get_by_role("button", name="taken-over").press("Enter")
            await expect(page.get_by_role("heading", name="taken-over")).to_be_focused()
            await expect(page.locator("#picture .mark")).to_have_count(9)
            await expect(page.locator("#picture .takeover")).to_have_count(1)
            await expect(page.locator("#picture .takeover-name")).to_have_text("epoch 2")
            await expect(page.locator("#picture .gap").first).to_be_attached()
            await expect(page.locator("#events")).to_contain_text("taken over in epoch 2, with 5 chunks logged")
            await expect(page.locator("#events")).to_contain_text("before chunk 5")
            await expect(page.locator("#text")).to_have_text("".join(f"word{index} " for index in range(9)))
            await append(backend, info, 9, ["more"])
            await expect(page.locator("#picture .mark")).to_have_count(10)
            await page.reload()
            await expect(page.locator("#text")).to_contain_text("more")  # the address says which stream is open
    finally:
        await backend.aclose()
    assert stage.complaints == []


async def test_stop_and_delete(stage: Stage, chromium: Browser) -> None:
    """Stop ends a stream that runs, and delete forgets it, each after a question, by keyboard too."""
    tap = Tap("a")
    stream = await stage.context.resumable_stream("answer-1", tap)
    async with stage.page(chromium) as page:
        await page.get_by_role("button", name="answer-1").click()
        await expect(page.get_by_role("button", name="Stop", exact=True)).to_be_enabled()  # `press` would not wait
        await page.get_by_role("button", name="Stop", exact=True).press("Enter")
        await expect(page.locator("#facts")).to_contain_text("stopped")
        assert await collect(stream) == ["a"]
        assert await stage.context.has_existing_stream("answer-1") is StreamState.STOPPED
        await expect(page.get_by_role("button", name="Stop", exact=True)).to_be_disabled()
        await page.get_by_role("button", name="Delete", exact=True).click()
        await expect(page.get_by_text("There are no streams.")).to_be_visible()
        await expect(page.locator("#detail")).to_be_hidden()
    assert await stage.context.has_existing_stream("answer-1") is None
    assert stage.complaints == []


async def test_hostile_streams(stage: Stage, chromium: Browser) -> None:
    """Whatever a stream, its error, its id or the address says is shown as text, and never carried out."""
    await collect(await stage.context.resumable_stream("text", factory_of([HOSTILE])))
    await collect_until_error(await stage.context.resumable_stream("error", Tap("a", ValueError(HOSTILE))))
    backend = RedisBackend(stage.redis_url)
    try:
        await backend.connect(lambda _stream_id: None)
        await create(backend, HOSTILE)  # which the context would refuse
    finally:
        await backend.aclose()
    async with stage.page(chromium) as page:
        await expect(page.get_by_role("button", name=HOSTILE)).to_be_visible()
        await page.get_by_role("button", name="text", exact=True).click()
        await expect(page.locator("#text")).to_have_text(HOSTILE)
        await page.get_by_role("button", name="error", exact=True).click()
        await expect(page.locator("#facts")).to_contain_text(HOSTILE)
        assert stage.complaints == []
        await page.evaluate("text => { location.hash = encodeURIComponent(text); }", IMAGE)
        await expect(page.locator("#name")).to_have_text(IMAGE)
        await expect(page.locator("#problem")).to_contain_text("a stream id has only letters")
        assert await page.locator("img").count() == 0
        assert await page.title() == "Streams"


async def test_problem_that_is_over(stage: Stage, chromium: Browser) -> None:
    """What was wrong is not said any more when it is right."""
    async with stage.page(chromium) as page:
        await page.evaluate("() => { location.hash = 'soon'; }")
        await expect(page.locator("#problem")).to_contain_text("there is no such stream")
        await collect(await stage.context.resumable_stream("soon", factory_of(["a"])))
        await expect(page.locator("#text")).to_have_text("a")
        await expect(page.locator("#problem")).to_have_text("")


async def test_who_is_not_let_in(stage: Stage, chromium: Browser) -> None:
    """Without authorization there is no page; one that was open says so, and goes on when it is let in again."""
    await collect(await stage.context.resumable_stream("secret", factory_of(["a"])))
    async with stage.page(chromium) as page:
        await expect(page.get_by_role("button", name="secret")).to_be_visible()
        stage.is_open = False
        await expect(page.get_by_role("status")).to_have_text("you may not see this")
        async with stage.page(chromium) as other:
            await expect(other.get_by_text("you may not see this")).to_be_visible()
            assert "secret" not in await other.content()
        stage.is_open = True
        await expect(page.get_by_role("status")).to_contain_text("live")


async def test_hidden_page(stage: Stage, chromium: Browser) -> None:
    """A page that nobody sees does not ask, and asks at once when it is seen again."""
    async with stage.page(chromium) as page:
        await page.clock.install()
        await page.reload()
        await expect(page.get_by_role("status")).to_contain_text("live")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        for is_hidden in ("true", "false"):
            await page.evaluate(
                f"Object.defineProperty(document, 'hidden', {{ value: {is_hidden}, configurable: true }});"
                "document.dispatchEvent(new Event('visibilitychange'))"
            )
            if is_hidden == "true":
                asked.clear()
                await page.clock.fast_forward(60_000)
                assert asked == []
        with anyio.fail_after(10):
            while not asked:
                await asyncio.sleep(0.02)
    assert stage.complaints == []


async def test_narrow_and_dark(stage: Stage, chromium: Browser) -> None:
    """It fits a phone, and follows the colours that the reader prefers."""
    await collect(await stage.context.resumable_stream("answer-" + "x" * 200, factory_of(["word " * 500])))
    grounds = set()
    for scheme in ("light", "dark"):
        options = {"viewport": {"width": 360, "height": 700}, "color_scheme": scheme}
        async with stage.page(chromium, **options) as page:
            await page.get_by_role("button", name="answer-xxx").click()
            await expect(page.locator("#picture .mark").first).to_be_attached()
            assert await page.evaluate("document.documentElement.scrollWidth") == 360
            grounds.add(await page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2
    assert stage.complaints == []

"""The page that docs/tutorial-chat.md has one write, in headless Chromium."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from tests.e2e.proxy import proxying
from tests.examples.serving import App
from tests.examples.tutorial import COUNT, WHOLE, Step, serving, write
from tests.servers import binaries, running

pytestmark = pytest.mark.asyncio(loop_scope="session")

TIMEOUT = 30_000  # ms


@pytest.fixture(params=[Step.STOP, Step.REDIS])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[App]:
    """What the page has at the end of two of its steps: all in memory, and two workers on Redis."""
    step: Step = request.param
    write(tmp_path, step, pause=0.05)
    with ExitStack() as stack:
        redis_url = stack.enter_context(running(binaries()["redis-6.2"])).url if step is Step.REDIS else ""
        yield stack.enter_context(serving(tmp_path, step, redis_url=redis_url))


@asynccontextmanager
async def opened(chromium: Browser, url: str) -> AsyncIterator[Page]:
    """A tab of a browser of its own."""
    async with await chromium.new_context() as context:
        page = await context.new_page()
        await page.goto(url)
        yield page


async def ask(page: Page) -> None:
    """Type a question and send it by keyboard."""
    await page.get_by_role("textbox", name="Message").fill("Count")
    await page.keyboard.press("Enter")


async def wait_for_number(page: Page, number: int) -> None:
    """Wait until the answer has come to a number."""
    await expect(page.locator(".assistant")).to_contain_text(re.compile(rf"\b{number}\b"), timeout=TIMEOUT)


async def check_whole(page: Page) -> None:
    """The answer ends, and is all there, once."""
    await expect(page.locator("main")).to_have_attribute("aria-busy", "false", timeout=TIMEOUT)
    assert await page.locator("main p").all_text_contents() == ["Count", WHOLE]


async def test_reload_in_the_middle(chromium: Browser, app: App) -> None:
    """Reloads in the middle of an answer, and a second tab: it goes on, and all of it is there, once."""
    async with await chromium.new_context() as context:
        page = await context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(app.url)
        await ask(page)
        for moment in (5, 30, 60):
            await wait_for_number(page, moment)
            await page.reload()
        other = await context.new_page()
        await other.goto(page.url)
        await wait_for_number(other, COUNT - 10)
        for tab in (page, other):
            await check_whole(tab)
        await page.reload()
        await check_whole(page)
        assert errors == []


@pytest.mark.parametrize("cleanly", [False, True], ids=["connections break", "responses end early"])
async def test_network_fails_in_the_middle(chromium: Browser, app: App, cleanly: bool) -> None:
    """Without a reload, a connection that is cut off again and again leaves no gap, and nothing comes twice."""
    async with proxying([app.url], cut_after=40, cleanly=cleanly) as proxy, opened(chromium, proxy.url) as page:
        await ask(page)
        await wait_for_number(page, 50)
        shown = await page.locator(".assistant").text_content()
        assert WHOLE.startswith(shown or "-")
        await check_whole(page)
        assert proxy.cuts >= 2


async def test_stop(chromium: Browser, app: App) -> None:
    """The button is there while an answer is made, and ends it; what there is stays, after a reload, too."""
    async with opened(chromium, app.url) as page:
        stop = page.get_by_role("button", name="Stop")
        await expect(stop).to_be_hidden()
        await ask(page)
        await wait_for_number(page, 10)
        await stop.click()
        await expect(page.locator(".assistant")).to_contain_text("[stopped]")
        await expect(stop).to_be_hidden()
        (_, text) = await page.locator("main p").all_text_contents()
        assert WHOLE.startswith(text.removesuffix(" [stopped]"))
        await page.reload()
        await expect(page.locator("main p")).to_have_text(["Count", text])


async def test_stop_stands_still(chromium: Browser, app: App) -> None:
    """Somebody who is slow to release the mouse button has clicked, too, although the answer has grown by a line."""
    async with opened(chromium, app.url) as page:
        await ask(page)
        await wait_for_number(page, 10)
        await page.get_by_role("button", name="Stop").hover()
        await page.mouse.down()
        await wait_for_number(page, 60)
        await page.mouse.up()
        await expect(page.locator(".assistant")).to_contain_text("[stopped]")


async def test_restart_in_the_middle(chromium: Browser, tmp_path: Path) -> None:
    """A page that is left open while the server is restarted comes back by itself, and shows what was kept, marked."""
    write(tmp_path, Step.SQLITE, pause=1000)
    async with await chromium.new_context() as context:
        page = await context.new_page()
        with serving(tmp_path, Step.SQLITE) as app:
            await page.goto(app.url)
            await ask(page)
            await expect(page.locator(".assistant")).to_have_text("You said “Count”. I count:")
        with serving(tmp_path, Step.SQLITE, port=int(app.url.rpartition(":")[2])):
            shown = ["Count", "You said “Count”. I count: [shutdown]"]
            await expect(page.locator("main p")).to_have_text(shown, timeout=TIMEOUT)
            await expect(page.get_by_role("button", name="Stop")).to_be_hidden()


async def test_restart_that_forgets(chromium: Browser, tmp_path: Path) -> None:
    """If chats were in memory, a page that was left open shows an empty chat, and can send again."""
    write(tmp_path, Step.STOP, pause=1000)
    async with await chromium.new_context() as context:
        page = await context.new_page()
        with serving(tmp_path, Step.STOP) as app:
            await page.goto(app.url)
            await ask(page)
            await expect(page.locator(".assistant")).to_have_count(1)
            app.kill()
        write(tmp_path, Step.STOP)
        with serving(tmp_path, Step.STOP, port=int(app.url.rpartition(":")[2])):
            await expect(page.locator("main p")).to_have_count(0, timeout=TIMEOUT)
            await ask(page)
            await wait_for_number(page, COUNT)
            await check_whole(page)

"""The example's page in headless Chromium."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Locator, Page, async_playwright, expect

from tests.examples.serving import App, serving
from tests.servers import binaries, running

# Beside the usual for a machine without a screen: nothing that calls out by itself.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
FLAGS += ["--no-first-run", "--disable-component-update", "--disable-sync"]
TIMEOUT = 30_000  # ms
COUNT = 80
WHOLE = " ".join(map(str, range(1, COUNT + 1)))


@pytest.fixture(params=["memory", "three workers on Redis"], scope="module")
def app(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The example, served by one worker with streams in memory, or by three that share a Redis.

    For all tests: each has a browser of its own, and so is a user of its own.
    """
    folder, settings = tmp_path_factory.mktemp("app"), {"DEMO_DELAY": "0.05"}
    if request.param == "memory":
        with serving(folder, settings) as served:
            yield served
    else:
        with (
            running(binaries()["redis-6.2"]) as redis,
            serving(folder, settings | {"REDIS_URL": redis.url}, workers=3) as served,
        ):
            yield served


@asynccontextmanager
async def browser(profile: Path, errors: list[str]) -> AsyncIterator[BrowserContext]:
    """Run Chromium with a profile of its own, and collect what its console says of errors."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert executable, "these tests need Chromium: apt-get install chromium"
    async with async_playwright() as playwright:
        context = await playwright.chromium.launch_persistent_context(profile, executable_path=executable, args=FLAGS)
        context.set_default_timeout(TIMEOUT)
        context.on("weberror", lambda error: errors.append(str(error.error)))
        context.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        yield context
        await context.close()


async def open_page(context: BrowserContext, app: App) -> Page:
    """Open the page in a new tab."""
    page = await context.new_page()
    await page.goto(app.url)
    return page


async def ask(page: Page, text: str = f"count {COUNT}") -> None:
    """Type a question and send it by keyboard."""
    await page.get_by_role("textbox").fill(text)
    await page.keyboard.press("Enter")


def answers(page: Page) -> Locator:
    """The texts of all answers that are shown."""
    return page.locator(".assistant .text")


async def wait_for_number(page: Page, number: int) -> None:
    """Wait until the last answer has come to a number."""
    await expect(answers(page).last).to_contain_text(re.compile(rf"\b{number}\b"), timeout=TIMEOUT)


async def check_whole(page: Page) -> None:
    """The answer ends, and is all there, once, and saved."""
    await expect(page.get_by_role("button", name="Regenerate")).to_be_visible(timeout=TIMEOUT)
    assert await answers(page).all_text_contents() == [WHOLE]


async def test_reload_goes_on(app: App, tmp_path: Path) -> None:
    """Reloads in the middle of an answer: it goes on where it was, and says so."""
    errors: list[str] = []
    rng = random.Random(7)
    async with browser(tmp_path / "profile", errors) as context:
        page = await open_page(context, app)
        await ask(page)
        for moment in sorted(rng.sample(range(5, COUNT - 15), 4)):
            await wait_for_number(page, moment)
            await page.reload()
            await expect(page.locator(".note").last).to_have_text("resumed")
        await check_whole(page)
        await page.reload()
        await check_whole(page)
    assert errors == []


async def test_second_tab(app: App, tmp_path: Path) -> None:
    """A second tab shows the answer while it grows, and so does the first; a third question shows in both."""
    errors: list[str] = []
    async with browser(tmp_path / "profile", errors) as context:
        first = await open_page(context, app)
        await ask(first)
        await wait_for_number(first, 10)
        second = await open_page(context, app)
        await wait_for_number(second, 20)
        for page in (first, second):
            await check_whole(page)
        await ask(second, "count 3")
        await expect(answers(first).nth(1)).to_have_text("1 2 3", timeout=TIMEOUT)
    assert errors == []


async def test_killed_tab(app: App, tmp_path: Path) -> None:
    """A tab that dies in the middle of an answer, and a browser that does: the page opened again shows all of it."""
    errors: list[str] = []
    async with browser(tmp_path / "profile", errors) as context:
        page = await open_page(context, app)
        await ask(page)
        await wait_for_number(page, 10)
        await page.close()
        page = await open_page(context, app)
        await wait_for_number(page, 20)
    async with browser(tmp_path / "profile", errors) as context:
        await check_whole(await open_page(context, app))
    assert errors == []


async def test_stop_and_regenerate(app: App, tmp_path: Path) -> None:
    """Stop ends the answer, by whichever worker it is written; what there is stays, marked, until another is asked for.

    The page is as narrow as a phone.
    """
    errors: list[str] = []
    async with browser(tmp_path / "profile", errors) as context:
        page = await open_page(context, app)
        await page.set_viewport_size({"width": 360, "height": 640})
        await ask(page)
        await wait_for_number(page, 10)
        await page.get_by_role("button", name="Stop").click()
        await expect(page.locator(".note").last).to_have_text("stopped")
        await expect(page.get_by_role("button", name="Stop")).to_be_hidden()
        (text,) = await answers(page).all_text_contents()
        assert WHOLE.startswith(text.strip())
        assert text.strip() != WHOLE
        await page.reload()
        await expect(page.locator(".note").last).to_have_text("stopped")
        assert await answers(page).all_text_contents() == [text]
        assert await page.evaluate("document.documentElement.scrollWidth") == 360
        await page.get_by_role("button", name="Regenerate").press("Enter")
        await wait_for_number(page, 3)
        await check_whole(page)
    assert errors == []


async def test_chats(app: App, tmp_path: Path) -> None:
    """Chats are listed at the side, newest first; they are opened, begun and deleted there, by keyboard too."""
    errors: list[str] = []
    async with browser(tmp_path / "profile", errors) as context:
        page = await open_page(context, app)
        links = page.get_by_role("navigation").get_by_role("link")
        for text in ("count 3", "count 4"):
            await page.get_by_role("button", name="New chat").press("Enter")
            await ask(page, text)
            await expect(page.get_by_role("button", name="Regenerate")).to_be_visible()
            await expect(links.first).to_have_text(text)
        await expect(links).to_have_text(["count 4", "count 3"])
        await links.nth(1).press("Enter")
        await expect(answers(page)).to_have_text(["1 2 3"])
        await page.go_back()
        await expect(answers(page)).to_have_text(["1 2 3 4"])
        page.on("dialog", lambda dialog: dialog.accept())
        await page.get_by_role("button", name="Delete count 4").click()
        await expect(links).to_have_text(["count 3"])
        await expect(page.get_by_role("button", name="count 200")).to_be_visible()  # which a new chat offers
    async with browser(tmp_path / "somebody else", errors) as context:
        page = await open_page(context, app)
        await expect(page.get_by_role("button", name="count 200")).to_be_visible()
        assert await links_of(page) == []
    assert errors == []


async def links_of(page: Page) -> list[str]:
    """The titles of the chats that are listed."""
    return await page.get_by_role("navigation").get_by_role("link").all_text_contents()


@pytest.mark.parametrize("streams", ["memory", "Redis"])
async def test_server_is_killed(tmp_path: Path, streams: str) -> None:
    """After the server was killed in mid-answer, the page shows what was kept of it, marked, and can ask again.

    In Redis the answer is kept as far as it got; with streams in memory the question is all that is left.
    """
    settings = {"DEMO_DELAY": "0.05"}
    async with AsyncExitStack() as stack:
        context = await stack.enter_async_context(browser(tmp_path / "profile", []))  # a dead server makes errors
        if streams == "Redis":
            settings["REDIS_URL"] = stack.enter_context(running(binaries()["redis-6.2"])).url
        with serving(tmp_path, settings) as app:
            page = await open_page(context, app)
            await ask(page)
            await wait_for_number(page, 10)
            app.kill()
            await expect(page.locator(".note").last).to_have_text("not connected, trying again")
        port = int(app.url.rpartition(":")[2])
        with serving(tmp_path, settings, port=port) as app:
            await page.reload()
            note = "interrupted" if streams == "Redis" else "not answered"
            await expect(page.locator(".note").last).to_have_text(note, timeout=TIMEOUT)
            kept = await answers(page).all_text_contents()
            if streams == "Redis":
                (text,) = kept
                assert WHOLE.startswith(text)
                assert " 10" in text
            else:
                assert kept == []
            await page.get_by_role("button", name="Regenerate").click()
            await wait_for_number(page, 3)
            await check_whole(page)

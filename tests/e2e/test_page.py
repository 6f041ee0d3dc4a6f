"""The example's page in headless Chromium."""

from __future__ import annotations

import random
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, Page, async_playwright, expect

from tests.examples.serving import App, serving
from tests.servers import binaries, running

# Beside the usual for a machine without a screen: nothing that calls out by itself.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
FLAGS += ["--no-first-run", "--disable-component-update", "--disable-sync"]
TIMEOUT = 30_000  # ms
COUNT = 80
WHOLE = " ".join(map(str, range(1, COUNT + 1)))


@pytest.fixture(params=["memory", "three workers on Redis"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[App]:
    """The example, served by one worker in memory, or by three that share a Redis."""
    settings = {"DEMO_DELAY": "0.05"}
    if request.param == "memory":
        with serving(tmp_path, settings) as served:
            yield served
    else:
        with (
            running(binaries()["redis-6.2"]) as redis,
            serving(tmp_path, settings | {"REDIS_URL": redis.url}, workers=3) as served,
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


async def ask(page: Page) -> None:
    """Type a question and send it by keyboard."""
    await page.get_by_role("textbox").fill(f"count {COUNT}")
    await page.keyboard.press("Enter")


async def wait_for_number(page: Page, number: int) -> None:
    """Wait until the answer has come to a number."""
    await expect(page.locator(".answer")).to_contain_text(f" {number}", timeout=TIMEOUT)


async def check_whole(page: Page) -> None:
    """The answer ends, and is all there, once."""
    await expect(page.locator(".answer")).to_have_attribute("aria-busy", "false", timeout=TIMEOUT)
    assert await page.locator(".answer").all_text_contents() == [WHOLE]


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
            await expect(page.locator(".note")).to_contain_text("resumed at chunk")
        await check_whole(page)
    assert errors == []


async def test_second_tab(app: App, tmp_path: Path) -> None:
    """A second tab shows the answer while it grows, and so does the first."""
    errors: list[str] = []
    async with browser(tmp_path / "profile", errors) as context:
        first = await open_page(context, app)
        await ask(first)
        await wait_for_number(first, 10)
        second = await open_page(context, app)
        await wait_for_number(second, 20)
        for page in (first, second):
            await check_whole(page)
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


async def test_stop_button(app: App, tmp_path: Path) -> None:
    """The stop button ends the answer, by whichever worker it is written; what there is stays, over a reload too."""
    errors: list[str] = []
    async with browser(tmp_path / "profile", errors) as context:
        page = await open_page(context, app)
        await ask(page)
        await wait_for_number(page, 10)
        await page.get_by_role("button", name="Stop").click()
        await expect(page.locator(".note")).to_contain_text("stopped before its end")
        await expect(page.get_by_role("button", name="Stop")).to_be_hidden()
        (text,) = await page.locator(".answer").all_text_contents()
        assert WHOLE.startswith(text.strip())
        assert text.strip() != WHOLE
        await page.reload()
        assert await page.locator(".answer").all_text_contents() == [text]
    assert errors == []

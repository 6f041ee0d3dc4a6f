"""The example's page with React, as it is built, in headless Chromium."""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, ConsoleMessage, Locator, Page, expect
from playwright.async_api import TimeoutError as StillNotThere

from tests.examples.serving import ROOT, App, serving

pytestmark = pytest.mark.asyncio(loop_scope="session")

REACT = ROOT / "examples" / "chat" / "react"
COUNT = 200
WHOLE = " ".join(map(str, range(1, COUNT + 1)))


@pytest.fixture(scope="session")
def built() -> None:
    """The page, built, where the example finds it."""
    if not (REACT / "node_modules").exists():
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=REACT, check=True)
    subprocess.run(["npm", "run", "build"], cwd=REACT, check=True)


@pytest.fixture(scope="session")
def app(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The example."""
    with serving(tmp_path_factory.mktemp("react"), {"DEMO_DELAY": "0.015"}) as app:
        yield app


@dataclass
class Tab:
    """A tab with the page, and what its console says of errors."""

    page: Page
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    @property
    def answers(self) -> Locator:
        """The texts of all answers that are shown."""
        return self.page.locator(".assistant .text")

    @property
    def chats(self) -> Locator:
        """The chats that are listed."""
        return self.page.get_by_role("navigation").get_by_role("listitem").get_by_role("link")

    def button(self, name: str) -> Locator:
        """A button."""
        return self.page.get_by_role("button", name=name, exact=True)

    async def ask(self, text: str = f"count {COUNT}") -> None:
        """Type a question and send it by keyboard."""
        await self.page.get_by_role("textbox", name="Message").fill(text)
        await self.page.keyboard.press("Enter")

    async def wait_for_number(self, number: int) -> None:
        """Wait until the last answer has come to a number."""
        await expect(self.answers.last).to_contain_text(re.compile(rf"\b{number}\b"))

    async def check_whole(self) -> None:
        """The one answer ends, and is all there, once."""
        await expect(self.button("Regenerate")).to_be_visible()
        await expect(self.answers).to_have_text([WHOLE])


@pytest_asyncio.fixture(loop_scope="session")
async def tab(app: App, chromium: Browser) -> AsyncIterator[Tab]:
    """A tab of somebody who was not here before, whose console has nothing to say at the end."""
    context = await chromium.new_context()
    context.set_default_timeout(10_000)
    tab = Tab(await context.new_page())
    await tab.page.goto(f"{app.url}/react/")
    yield tab
    await context.close()
    assert tab.errors == []


async def test_reload_in_mid_answer(tab: Tab) -> None:
    """After a reload the answer goes on; the page says from which chunk on it is new, and shows all of it, once."""
    await tab.ask()
    for seen in (10, 60):
        await tab.wait_for_number(seen)
        await tab.page.reload()
        note = tab.page.get_by_text("Resumed at chunk")
        await expect(note).to_be_visible()
        assert int((await note.inner_text()).rpartition(" ")[2]) > seen
    await tab.check_whole()
    await tab.page.reload()
    await tab.check_whole()
    await expect(tab.page.get_by_text("Resumed at chunk")).to_have_count(0)


async def test_stop_and_regenerate(tab: Tab) -> None:
    """Stop ends the answer; what there is stays, marked, after a reload, too, until another one takes its place."""
    await tab.ask()
    await tab.wait_for_number(10)
    await tab.button("Stop").click()
    await expect(tab.page.get_by_text("Stopped")).to_be_visible()
    await expect(tab.button("Stop")).to_have_count(0)
    text = await tab.answers.inner_text()
    assert WHOLE.startswith(text)
    assert text != WHOLE
    await tab.page.reload()
    await expect(tab.page.get_by_text("Stopped")).to_be_visible()
    await expect(tab.answers).to_have_text([text])
    await tab.button("Regenerate").click()
    await expect(tab.page.get_by_text("Stopped")).to_have_count(0)
    await tab.check_whole()


async def test_chats(tab: Tab) -> None:
    """Chats are listed at the side under their first message, the newest first; they are opened and deleted there."""
    for text in ("count 3", "count 4"):
        await tab.page.get_by_role("link", name="New chat").click()
        await tab.ask(text)
        await expect(tab.button("Regenerate")).to_be_visible()
        await expect(tab.page.get_by_role("heading", level=1)).to_have_text(text)
    await expect(tab.chats).to_have_text(["count 4", "count 3"])
    await tab.chats.nth(1).click()
    await expect(tab.answers).to_have_text(["1 2 3"])
    await tab.page.go_back()
    await expect(tab.answers).to_have_text(["1 2 3 4"])
    await expect(tab.chats.first).to_have_attribute("aria-current", "page")
    tab.page.on("dialog", lambda dialog: dialog.accept())
    await tab.button("Delete count 4").click()
    await expect(tab.chats).to_have_text(["count 3"])
    await expect(tab.button("count 200")).to_be_visible()  # which a new chat offers


async def test_answers_in_two_chats(tab: Tab) -> None:
    """An answer goes on while another chat is shown, and has nothing of that one's."""
    await tab.ask()
    await tab.wait_for_number(5)
    await tab.page.get_by_role("link", name="New chat").click()
    await tab.ask("count 7")
    await expect(tab.answers).to_have_text(["1 2 3 4 5 6 7"])
    await tab.page.get_by_role("link", name=f"count {COUNT}").click()
    await expect(tab.page.get_by_text("Resumed at chunk")).to_be_visible()
    await tab.check_whole()


async def test_phone(tab: Tab) -> None:
    """On a phone nothing is wider than the screen, Markdown included, and the chats are in a drawer."""
    await tab.page.set_viewport_size({"width": 360, "height": 640})
    await tab.ask("Show me some Markdown")
    await expect(tab.button("Regenerate")).to_be_visible()
    await expect(tab.page.get_by_role("table").get_by_role("row")).to_have_count(4)
    await expect(tab.answers).to_contain_text("such as <b>this</b>")
    await expect(tab.answers.locator("b")).to_have_count(0)
    assert await tab.page.evaluate("document.documentElement.scrollWidth") == 360
    await expect(tab.chats.first).to_be_hidden()
    await tab.button("Chats").click()
    await expect(tab.page.get_by_role("link", name="New chat")).to_be_focused()
    await tab.page.keyboard.press("Escape")
    await expect(tab.chats.first).to_be_hidden()
    await expect(tab.button("Chats")).to_be_focused()
    await tab.button("Chats").click()
    await tab.page.get_by_role("link", name="New chat").click()
    await expect(tab.button("count 200")).to_be_visible()
    await expect(tab.chats.first).to_be_hidden()


async def test_keyboard_alone(tab: Tab) -> None:
    """Everything is reached by keyboard, in the order in which it is shown, and has a name."""
    press = tab.page.keyboard.press
    input_ = tab.page.get_by_role("textbox", name="Message")
    await expect(input_).to_be_focused()
    await tab.page.keyboard.type("count")
    await press("Shift+Enter")
    await tab.page.keyboard.type(f"{COUNT}")
    await expect(input_).to_have_value(f"count\n{COUNT}")
    await press("Enter")
    await tab.wait_for_number(5)
    await press("Escape")
    await expect(tab.page.get_by_text("Stopped")).to_be_visible()
    await expect(input_).to_be_focused()
    await press("Shift+Tab")
    await expect(tab.button("Regenerate")).to_be_focused()
    await press("Enter")
    await tab.check_whole()
    title = f"count {COUNT}"
    await tab.page.get_by_role("link", name="New chat").focus()
    for element in (
        tab.chats.first,
        tab.button(f"Delete {title}"),
        tab.page.get_by_role("main", name="Conversation"),
        tab.button("Regenerate"),
        input_,
        tab.button("Send"),
    ):
        await press("Tab")
        await expect(element).to_be_focused()


async def test_refused(tab: Tab) -> None:
    """What the server refuses is shown with its reason, and can be tried again: here a second answer at a time."""
    await tab.ask("count 300")
    await tab.wait_for_number(3)
    other = await tab.page.context.new_page()
    await other.goto(tab.page.url)
    await tab.button("Stop").click()
    await expect(tab.page.get_by_text("Stopped")).to_be_visible()
    await expect(other.get_by_text("Stopped")).to_be_visible()
    await tab.ask("count 300")
    await tab.wait_for_number(3)
    await Tab(other).ask("count 4")
    await expect(other.get_by_role("alert")).to_contain_text("An answer is being made in this chat.")
    await tab.button("Stop").click()
    await expect(tab.button("Stop")).to_have_count(0)
    await other.get_by_role("button", name="Retry").click()
    await expect(Tab(other).answers.last).to_have_text("1 2 3 4")
    await expect(other.get_by_role("alert")).to_have_count(0)


async def test_server_is_killed(built: None, chromium: Browser, tmp_path: Path) -> None:
    """A page whose server dies says so, goes on trying, and shows what is left when there is a server again."""
    context = await chromium.new_context()  # its console is full of errors
    tab = Tab(await context.new_page())
    with serving(tmp_path, {"DEMO_DELAY": "0.015"}) as app:
        await tab.page.goto(f"{app.url}/react/")
        await tab.ask()
        await tab.wait_for_number(10)
        app.kill()
        await expect(tab.page.get_by_role("alert").last).to_contain_text("Not connected, trying again.")
    with serving(tmp_path, {"DEMO_DELAY": "0.015"}, port=int(app.url.rpartition(":")[2])):
        await expect(tab.page.get_by_text("Not answered")).to_be_visible()  # it was in the memory of the other
        await expect(tab.page.get_by_role("alert")).to_have_count(0)
        await tab.button("Regenerate").click()
        await tab.check_whole()
    await context.close()


async def test_question_gets_through(built: None, chromium: Browser, tmp_path: Path) -> None:
    """What is asked while there is no server is asked again when there is one, and answered once."""
    context = await chromium.new_context()  # its console is full of errors
    tab = Tab(await context.new_page())
    with serving(tmp_path, {"DEMO_DELAY": "0.01"}) as app:
        await tab.page.goto(f"{app.url}/react/")
        await expect(tab.button("count 200")).to_be_visible()
        app.kill()
        await tab.ask()
        await expect(tab.page.get_by_role("alert").last).to_contain_text("Not connected, trying again.")
    with serving(tmp_path, {"DEMO_DELAY": "0.01"}, port=int(app.url.rpartition(":")[2])):
        with suppress(StillNotThere):  # it is gone if the page has tried by itself meanwhile
            await tab.button("Try now").click(timeout=3000)
        await tab.check_whole()
        await expect(tab.page.locator(".user .text")).to_have_text([f"count {COUNT}"])
        await expect(tab.chats).to_have_text([f"count {COUNT}"])
    await context.close()

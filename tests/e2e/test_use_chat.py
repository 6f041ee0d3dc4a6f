"""Pages with the hook `useChat` of four major versions of the AI SDK, as it is published."""

from __future__ import annotations

import json
import random
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, Route, expect

from tests.e2e.conftest import ServeThree
from tests.e2e.model import words_of
from tests.e2e.proxy import proxying

pytestmark = pytest.mark.asyncio(loop_scope="session")

TIMEOUT = 30_000  # ms

CLIENTS = {
    "4": "4?",
    "5": "5?",
    "6 by stream": "6?by=run",
    "7": "7?",
    "7 going on": "7?by=run&replay=false",
}
"""Pages, and how they resume: by the id of the chat or of the stream, from the start or from where they were."""
CASES = [(client, "three workers") for client in CLIENTS] + [("4", "one worker"), ("7 going on", "one worker")]


@dataclass
class Tabs:
    """A browser's tabs with one kind of client, and what their consoles say of errors."""

    site: str
    client: str
    context: BrowserContext
    errors: list[str] = field(default_factory=list)

    @property
    def is_v4(self) -> bool:
        """Whether the client has messages in a form of its own."""
        return self.client.startswith("4")

    async def open(self, chat: str) -> Page:
        """Open a chat in a new tab."""
        page = await self.context.new_page()
        await page.goto(f"{self.site}/pages/{CLIENTS[self.client]}&chat={chat}")
        await expect(page.locator("main")).to_be_visible()
        return page

    async def stored(self, chat: str) -> Any:
        """The chat as the server has it."""
        response = await self.context.request.get(f"{self.site}/api/chats/{chat}")
        assert response.ok
        return await response.json()

    async def check_whole(self, page: Page, chat: str, *questions: str) -> None:
        """The answers end, and are all there, once, as they are saved."""
        await wait_for_status(page, "ready")
        expected = [text for question in questions for text in (question, words_of(question))]
        await expect(page.locator("article")).to_have_text(expected)
        stored = await self.stored(chat)
        shown = json.loads(await page.evaluate("JSON.stringify(messages)"))  # without what is undefined
        assert [message["id"] for message in shown] == [message["id"] for message in stored["messages"]]
        assert stored["activeStreamId"] is None
        if not self.is_v4:
            assert shown == stored["messages"]


@pytest.fixture(params=CASES, ids=", ".join)
def case(request: pytest.FixtureRequest) -> tuple[str, str]:
    """A client, and the site where its chats are served."""
    client, site = request.param
    return client, request.getfixturevalue(site.replace(" ", "_"))


@pytest_asyncio.fixture(loop_scope="session")
async def tabs(case: tuple[str, str], chromium: Browser) -> AsyncIterator[Tabs]:
    """Tabs of each kind, whose consoles have nothing to say at the end."""
    context = await chromium.new_context()
    client, site = case
    tabs = Tabs(site, client, context)
    watch(context, tabs.errors)
    yield tabs
    await context.close()
    assert tabs.errors == []


def watch(context: BrowserContext, errors: list[str]) -> None:
    """Collect what the consoles of a browser's tabs say of errors."""

    def on_console(message: ConsoleMessage) -> None:
        is_new_chat = "/api/chats/" in message.location["url"] and "404" in message.text
        if message.type == "error" and not is_new_chat:
            errors.append(f"{message.text} {message.location['url']}")

    context.set_default_timeout(TIMEOUT)
    context.on("console", on_console)
    context.on("weberror", lambda error: errors.append(str(error.error)))


def new_chat() -> str:
    """The id of a chat that does not exist."""
    return f"chat-{uuid4().hex}"


async def ask(page: Page, question: str) -> None:
    """Type a question and send it."""
    await page.get_by_role("textbox").fill(question)
    await click(page, "Send")


async def click(page: Page, name: str) -> None:
    """Click on a button."""
    await page.get_by_role("button", name=name).click()


def answers(page: Page) -> Locator:
    """All answers that are shown."""
    return page.locator("article.assistant")


# Looked at with each frame, where `expect` would look again after a second.
IS_AT_WORD = r"""
word => new RegExp(`\\b${word}\\b`).test([...document.querySelectorAll("article.assistant")].at(-1)?.textContent)
"""
HAS_STATUS = "status => document.querySelector('main')?.dataset.status === status"


async def wait_for_word(page: Page, word: str) -> None:
    """Wait until the last answer has come to a word."""
    await page.wait_for_function(IS_AT_WORD, arg=word)


async def wait_for_status(page: Page, status: str) -> None:
    """Wait until the hook says a status."""
    await page.wait_for_function(HAS_STATUS, arg=status)


async def test_reload(tabs: Tabs) -> None:
    """Twenty reloads at random moments of two answers, the end of them among those: each is shown whole, and once."""
    rng = random.Random(f"{tabs.client} at {tabs.site[:4]}")
    chat = new_chat()
    page = await tabs.open(chat)
    questions = ["count 100 sheep", "think 100 goats"]
    for number, name in enumerate(["sheep", "goats"]):
        await ask(page, questions[number])
        for moment in sorted(rng.sample(range(1, 101), 10)):
            await wait_for_word(page, f"{name}{moment}")
            await page.reload()
        await wait_for_word(page, f"{name}100")
        await tabs.check_whole(page, chat, *questions[: number + 1])
    await page.reload()
    await tabs.check_whole(page, chat, *questions)


async def test_second_tab(tabs: Tabs) -> None:
    """A second tab that is opened in mid-answer shows all of it, and so does the first."""
    chat = new_chat()
    first = await tabs.open(chat)
    await ask(first, "think 50 sheep")
    await wait_for_word(first, "sheep10")
    second = await tabs.open(chat)
    for page in (second, first):
        await wait_for_word(page, "sheep50")
        await tabs.check_whole(page, chat, "think 50 sheep")


async def test_offline(tabs: Tabs) -> None:
    """A browser that loses its network in mid-answer, and gets it back, shows all of the answer."""
    chat = new_chat()
    async with proxying([tabs.site]) as network:
        tabs.site = network.url
        page = await tabs.open(chat)
        await ask(page, "think 60 sheep")
        await wait_for_word(page, "sheep10")
        await tabs.context.set_offline(True)
        network.cut()  # which a browser's own switch does not do
        await wait_for_status(page, "error")
        tabs.errors.clear()  # of which there is one about the network
        await tabs.context.set_offline(False)
        await wait_for_word(page, "sheep60")
        await tabs.check_whole(page, chat, "think 60 sheep")


@pytest.mark.parametrize("is_reloaded", [False, True], ids=["", "after a reload"])
async def test_stop(tabs: Tabs, is_reloaded: bool) -> None:
    """Stop ends an answer; what there is of it stays, marked, and the next question is answered."""
    chat = new_chat()
    page = await tabs.open(chat)
    await ask(page, "count 500 sheep")
    await wait_for_word(page, "sheep10")
    if is_reloaded:
        await page.reload()
        await wait_for_word(page, "sheep15")
    await click(page, "Stop")
    await wait_for_status(page, "ready")
    text = await answers(page).inner_text()
    assert words_of("count 500 sheep").startswith(text)
    assert "sheep500" not in text
    await page.reload()
    await expect(answers(page)).to_have_attribute("data-interrupted", "stopped")
    await expect(page.locator("article")).to_have_text(["count 500 sheep", text])
    await wait_for_status(page, "ready")
    await ask(page, "count 3 goats")
    await wait_for_word(page, "goats3")
    await wait_for_status(page, "ready")
    expected = ["count 500 sheep", text, "count 3 goats", "goats1 goats2 goats3"]
    await expect(page.locator("article")).to_have_text(expected)


async def test_regenerate(tabs: Tabs) -> None:
    """Another answer takes the place of the first, reloaded in the middle of it or not."""
    chat = new_chat()
    page = await tabs.open(chat)
    await ask(page, "count 20 sheep")
    await wait_for_word(page, "sheep20")
    await tabs.check_whole(page, chat, "count 20 sheep")
    old = (await tabs.stored(chat))["messages"][1]["id"]
    for is_reloaded in (False, True):
        await click(page, "Regenerate")
        await expect(answers(page).filter(has_text=re.compile(r"sheep20\b"))).to_have_count(0)
        if is_reloaded:
            await wait_for_word(page, "sheep5")
            await page.reload()
        await wait_for_word(page, "sheep20")
        await tabs.check_whole(page, chat, "count 20 sheep")
        new = (await tabs.stored(chat))["messages"][1]["id"]
        assert new != old
        old = new


async def test_two_chats_at_once(tabs: Tabs) -> None:
    """Answers in two tabs with two chats have nothing of each other, and both survive a reload."""
    names = {"sheep": new_chat(), "goats": new_chat()}
    opened = {name: await tabs.open(chat) for name, chat in names.items()}
    for name, page in opened.items():
        await ask(page, f"count 50 {name}")
    for name, page in opened.items():
        await wait_for_word(page, f"{name}5")
        await page.reload()
    for name, page in opened.items():
        await wait_for_word(page, f"{name}50")
        await tabs.check_whole(page, names[name], f"count 50 {name}")


@pytest.mark.parametrize("case", [case for case in CASES if case[0] == "4"], indirect=True, ids=", ".join)
async def test_append_message(tabs: Tabs) -> None:
    """An answer that ends after version 4 has loaded a chat, and before it resumes, comes in one piece."""
    chat = new_chat()
    page = await tabs.open(chat)
    await ask(page, "think 60 sheep")
    await wait_for_word(page, "sheep2")
    other = await tabs.context.new_page()

    async def wait_for_end(route: Route) -> None:
        await wait_for_word(page, "sheep60")
        await wait_for_status(page, "ready")
        await route.continue_()

    await other.route("**/api/v4/chat?chatId=*", wait_for_end)
    await other.goto(page.url)
    await wait_for_word(other, "sheep60")
    await tabs.check_whole(other, chat, "think 60 sheep")
    assert (await other.evaluate("appended"))["content"] == words_of("think 60 sheep")


async def test_publisher_is_killed(chromium: Browser, serve_three: ServeThree) -> None:
    """The worker that makes answers is killed: what there is of them stays, marked, and others can be had."""
    question = "count 200 sheep"
    context = await chromium.new_context()
    watch(context, [])  # a dead server makes errors
    with serve_three() as workers:
        addresses = [worker.url for worker in workers]
        async with proxying(addresses) as proxy:
            opened = []
            for client in CLIENTS:
                tabs, chat = Tabs(proxy.url, client, context), new_chat()
                opened.append((tabs, chat, await tabs.open(chat)))
            proxy.targets = addresses[:1]
            for _, _, page in opened:
                await ask(page, question)
            await wait_for_word(opened[-1][2], "sheep10")
            proxy.targets = addresses
            workers[0].kill()
            for tabs, chat, page in opened:
                await check_partial(tabs, chat, page, question)
            for tabs, chat, page in opened:
                await wait_for_word(page, "sheep200")
                await tabs.check_whole(page, chat, question)
    await context.close()


async def check_partial(tabs: Tabs, chat: str, page: Page, question: str) -> None:
    """After a reload, what there was is there, and marked when the chat is loaded again. Then have another answer."""
    await wait_for_status(page, "error")
    await page.reload()
    await wait_for_word(page, "sheep10")
    await wait_for_status(page, "error" if await page.locator("[data-interrupted]").count() == 0 else "ready")
    text = await answers(page).inner_text()
    assert words_of(question).startswith(text)
    assert "sheep200" not in text
    await page.reload()
    await expect(answers(page)).to_have_attribute("data-interrupted", "lost")
    await expect(page.locator("article")).to_have_text([question, text])
    await wait_for_status(page, "ready")
    assert (await tabs.stored(chat))["activeStreamId"] is None
    await click(page, "Regenerate")
    await expect(page.locator("[data-interrupted]")).to_have_count(0)

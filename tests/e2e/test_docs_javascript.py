"""What the docs have in JavaScript, run as it stands there: in Chromium with the AI SDK, and in Node."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from playwright.async_api import Browser, Page, expect

from resumable_stream import ResumableStreamContext
from resumable_stream.interop.npm import NpmStreams
from tests.e2e.model import words_of
from tests.e2e.npm_peer import NODE, install_package
from tests.e2e.serving import CLIENTS, ROOT, install_clients, serving
from tests.servers import binaries, running

pytestmark = pytest.mark.asyncio(loop_scope="session")

DOCS = ROOT / "docs"
QUESTION = "count 30 sheep"
TIMEOUT = 30_000  # ms


def block(page: str, language: str, has: str) -> str:
    """The one block of a page that has this in it."""
    fence = rf"^```{language}\n(.*?)^```$"
    blocks: list[str] = re.findall(fence, (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
    (found,) = [text for text in blocks if has in text]
    return found


def component(imports: str, before: str, *shown: str) -> str:
    """A page around blocks: what stands before them, and what is shown above the text of the answer, which grows."""
    return f"""
import {{ useEffect, useState }} from "react";
import {{ createRoot }} from "react-dom/client";
{imports}

const textOf = ({{ content, parts }}) => content ?? parts.map((part) => part.text ?? "").join("");

function Chat({{ chat }}) {{
{before}
  const answers = messages.filter((message) => message.role === "assistant");
  return <>{"".join(shown)}<p>{{answers.map(textOf).join("")}}</p></>;
}}

const id = new URLSearchParams(location.search).get("chat");
const response = await fetch(`/api/chats/${{id}}`);
const chat = response.ok ? await response.json() : {{ id, messages: [], activeStreamId: null }};
createRoot(document.getElementById("root")).render(<Chat chat={{chat}} />);
"""


SEND = f'<button onClick={{() => sendMessage({{ text: "{QUESTION}" }})}}>Send</button>'
PAGES = {
    1: component(
        'import { useChat } from "@ai-sdk/react6"; import { DefaultChatTransport } from "ai";',
        block("front-ends.md", "javascript", "DefaultChatTransport"),
        SEND,
    ),
    2: component(
        'import { useChat } from "@ai-sdk/react4";',
        block("front-ends.md", "javascript", "experimental_resume"),
        f'<button onClick={{() => append({{ role: "user", content: "{QUESTION}" }})}}>Send</button>',
    ),
    3: component(
        'import { useChat } from "@ai-sdk/react6";',
        "const chatId = chat.id, [activeStreamId, setActive] = useState(null);"
        + block("how-to/stop-buttons.md", "javascript", "const stop =")
        + block("how-to/stop-buttons.md", "javascript", "useChat").replace("messages,", "messages, sendMessage,")
        + "const load = async () => (await (await fetch(`/api/chats/${chatId}`)).json()).activeStreamId;"
        + 'useEffect(() => { if (status === "streaming") load().then(setActive); }, [status]);',
        SEND,
        block("how-to/stop-buttons.md", "jsx", "<button").strip(),
        "<i>{activeStreamId}</i>",
    ),
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the pages are served."""
    folder = tmp_path_factory.mktemp("docs")
    install_clients()
    options = ["--bundle", "--loader=jsx", "--jsx=automatic", "--format=esm", "--log-level=warning"]
    for number, text in PAGES.items():
        command = ["node_modules/.bin/esbuild", *options, f"--outfile={folder}/page{number}.js"]
        subprocess.run(command, cwd=CLIENTS, input=text.encode(), check=True)
    with serving(folder, {"E2E_BUNDLES": str(folder), "E2E_PACE": "0.1"}) as workers:
        yield workers[0].url


@asynccontextmanager
async def opened(chromium: Browser, site: str, number: int) -> AsyncIterator[Page]:
    """A page with a chat of its own. Its console has nothing to say of errors."""
    async with await chromium.new_context() as context:
        context.set_default_timeout(TIMEOUT)
        page = await context.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        await page.goto(f"{site}/pages/{number}?chat=chat-{uuid4().hex}")
        yield page
        assert errors == []


@pytest.mark.parametrize("number", [1, 2], ids=["AI SDK 6", "AI SDK 4"])
async def test_front_ends(chromium: Browser, site: str, number: int) -> None:
    """With the hooks as the page has them, a reload in the middle of an answer leaves no gap."""
    async with opened(chromium, site, number) as page:
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator("p")).to_contain_text("sheep5")
        await page.reload()
        await expect(page.locator("p")).to_have_text(words_of(QUESTION), timeout=TIMEOUT)
        await page.reload()
        await expect(page.locator("p")).to_have_text(words_of(QUESTION))


async def test_stop_button(chromium: Browser, site: str) -> None:
    """The button is there while an answer is made, and ends it; what the page shows is what is kept."""
    async with opened(chromium, site, 3) as page:
        stop = page.get_by_role("button", name="Stop")
        await expect(stop).to_be_hidden()
        await page.get_by_role("button", name="Send").click()
        await expect(page.locator("p")).to_contain_text("sheep2")
        await expect(page.locator("i")).not_to_be_empty()
        await stop.click()
        await expect(stop).to_be_hidden()
        text = await page.locator("p").text_content()
        assert text
        assert words_of(QUESTION).startswith(text.strip())
        assert len(text) < len(words_of(QUESTION))
        chat = await (await page.request.get(f"{site}/api/chats/{page.url.rpartition('=')[2]}")).json()
    assert chat["messages"][-1]["metadata"] == {"interrupted": "stopped"}
    assert chat["messages"][-1]["parts"][-1]["text"] == text


async def run_node(code: str, redis_url: str) -> str:
    """Run a module with the npm package, and return what it prints."""
    install_package()
    process = await asyncio.create_subprocess_exec(
        *("node", "--input-type=module", "--eval", code),
        cwd=NODE,
        env=os.environ | {"REDIS_URL": redis_url},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    return output.decode()


NODE_PAGE = """
import {{ createResumableStreamContext }} from "resumable-stream";
{before}
{block}
let text = "";
for await (const piece of stream) text += piece;
process.stdout.write(text, () => process.exit(0));
"""


async def test_node_reads_what_is_offered() -> None:
    """A Node service finds a stream of ours as the page says."""
    code = NODE_PAGE.format(before="const skipCharacters = 6;", block=block("interop-npm.md", "js", "my-app"))
    with running(binaries()["redis-6.2"]) as server:
        npm = NpmStreams(server.url, key_prefix="my-app")
        async with npm, ResumableStreamContext.from_url(server.url, companion=npm.offer, drain_timeout=0) as context:
            gate = asyncio.Event()

            async def answer() -> AsyncIterator[str]:
                yield "Hello from"
                await gate.wait()
                yield " Python"

            stream = await context.resumable_stream("answer-42", answer)
            reading = asyncio.create_task(run_node(code, server.url))
            assert stream is not None
            assert await anext(stream) == "Hello from"
            while context.readers()["answer-42"] < 2 and not reading.done():  # the service's is the other one
                await asyncio.sleep(0.01)
            gate.set()
            assert await reading == "from Python"


async def test_what_node_code_was_before() -> None:
    """What the page on migration starts from is how the package is used."""
    before = """
    const streamId = "answer-1", after = (promise) => promise;
    const makeStream = () => ReadableStream.from(["Hello ", "world"]);
    """
    code = NODE_PAGE.format(before=before, block=block("how-to/migrate-from-npm.md", "js", "makeStream"))
    with running(binaries()["redis-6.2"]) as server:
        assert await run_node(code, server.url) == "Hello world"


async def test_all_of_it_is_run() -> None:
    """There is no other JavaScript in the docs than what is run here, and in the tutorial's tests."""
    fence = re.compile(r"^```(?:js|javascript|jsx|ts|tsx)$", re.MULTILINE)
    found = {str(page.relative_to(DOCS)): len(fence.findall(page.read_text())) for page in DOCS.rglob("*.md")}
    run = {"front-ends.md": 2, "how-to/stop-buttons.md": 3, "interop-npm.md": 1, "how-to/migrate-from-npm.md": 1}
    assert {page: count for page, count in found.items() if count} == run

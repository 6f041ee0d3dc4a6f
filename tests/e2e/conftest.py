"""Servers, pages and a browser, started once for all tests here."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright, expect

from tests.e2e.proxy import proxying
from tests.e2e.serving import Worker, build_pages, serving
from tests.servers import binaries, running

# Beside the usual for a machine without a screen: nothing that calls out by itself.
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
FLAGS += ["--no-first-run", "--disable-component-update", "--disable-sync"]

expect.set_options(timeout=20_000)  # a whole answer takes four seconds, and more on a busy machine

ServeThree = Callable[[], AbstractContextManager[list[Worker]]]


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the scripts of the pages."""
    folder = tmp_path_factory.mktemp("pages")
    build_pages(folder)
    return folder


@pytest.fixture(scope="session")
def one_worker(pages: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server that keeps everything in memory."""
    with serving(tmp_path_factory.mktemp("one"), {"E2E_BUNDLES": str(pages)}) as workers:
        yield workers[0].url


@pytest.fixture(scope="session")
def serve_three(pages: Path, tmp_path_factory: pytest.TempPathFactory) -> ServeThree:
    """Serves with three processes, that share a Redis and a database in a file."""

    @contextmanager
    def serve() -> Iterator[list[Worker]]:
        folder = tmp_path_factory.mktemp("three")
        settings = {"E2E_BUNDLES": str(pages), "DATABASE_URL": f"sqlite+aiosqlite:///{folder}/chats.db"}
        with (
            running(binaries()["redis-6.2"]) as redis,
            serving(folder, settings | {"REDIS_URL": redis.url}, count=3) as workers,
        ):
            yield workers

    return serve


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def three_workers(serve_three: ServeThree) -> AsyncIterator[str]:
    """The address of a proxy, behind which three workers take turns."""
    with serve_three() as workers:
        async with proxying([worker.url for worker in workers]) as proxy:
            yield proxy.url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The browser."""
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert executable, "these tests need Chromium: apt-get install chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        await browser.close()

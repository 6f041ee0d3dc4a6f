"""What the docs say of versions, what they name, and what a browser would have to load."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
from dataclasses import asdict
from pathlib import Path

import pytest

from resumable_stream import ResumableStreamContext
from resumable_stream.backends.memory import MemoryBackend
from resumable_stream.context import Settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.mark.parametrize("name", ["redis", "anyio", "opentelemetry-api", "click", "rich"])
def test_lowest_versions(name: str) -> None:
    """The page on support names the lowest versions that the metadata allows."""
    table = (DOCS / "support.md").read_text().partition("## Web frameworks")[0]
    lowest = re.findall(rf'"{name}(?:\[\w+\])?>=([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert lowest
    assert all(re.search(rf"\b{re.escape(version)}\b", table) for version in lowest)


@pytest.mark.parametrize("name", ["uvloop", "opentelemetry-sdk", "click", "rich"])
def test_newest_versions(name: str) -> None:
    """The page on support names the versions that are pinned for the tests."""
    table = (DOCS / "support.md").read_text().partition("## Web frameworks")[0]
    first, *_ = re.findall(rf'"{name}==([\d.]+)', (ROOT / "pyproject.toml").read_text())
    assert first in table


def test_defaults() -> None:
    """What a setting says that its default is, it is."""
    setting = r'^    (\w+): float\n    """(?:.|\n)*?Default\s+([\d.]+)\."""$'
    said = re.findall(setting, inspect.getsource(Settings), re.MULTILINE)
    terms = ResumableStreamContext(MemoryBackend())._runtime._terms
    assert {name: float(default) for name, default in said} == asdict(terms)


PACKAGES = ["", ".answers", ".chat", ".http", ".inspector", ".interop.npm", ".observer", ".sync", ".telemetry"]


@pytest.mark.filterwarnings("ignore:websockets.connection was renamed:DeprecationWarning")  # by the oldest Sanic
@pytest.mark.parametrize("package", [*PACKAGES, ".testing"])
def test_docs_name_all_that_is_public(package: str) -> None:
    """What a public package exports is on a page, by its name or with the whole module that it is in."""
    pages = "\n".join(page.read_text() for page in DOCS.rglob("*.md"))
    whole = re.findall(r"^::: (resumable_stream(?:\.[a-z_]+)+)$", pages, re.MULTILINE)
    modules = (importlib.import_module(name) for name in whole if importlib.util.find_spec(name))
    named = {name for module in modules for name in module.__all__}
    for name in importlib.import_module(f"resumable_stream{package}").__all__:
        assert name in named or re.search(rf"\b{name}\b", pages), name


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=lambda page: str(page.relative_to(DOCS)))
def test_pages_load_nothing_from_elsewhere(page: Path) -> None:
    """No picture, script or style comes from another host, and no diagram needs a script that would."""
    text = page.read_text()
    prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    assert "```mermaid" not in text
    assert not re.search(r"!\[[^\]]*\]\(https?:|<(script|link|img|iframe)\b[^>]*https?:", prose)
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", prose):
        assert (page.parent / picture).is_file(), picture


@pytest.mark.parametrize("picture", sorted(DOCS.rglob("*.svg")), ids=lambda picture: picture.name)
def test_pictures_are_described(picture: Path) -> None:
    """A drawing says what it shows to those who cannot see it, and loads nothing."""
    text = picture.read_text()
    assert re.search(r"<title[^>]*>[^<]+</title>\s*<desc[^>]*>[^<]{40,}</desc>", text)
    assert not re.search("https?:", text.replace("http://www.w3.org/2000/svg", ""))

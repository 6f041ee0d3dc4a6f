"""What the docs say of versions, what they name, and what a browser would have to load."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
METADATA: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())


def pins(group: str) -> dict[str, list[str]]:
    """The versions that a dependency group pins, with those that it includes."""
    found: dict[str, list[str]] = {}
    for entry in METADATA["dependency-groups"][group]:
        if isinstance(entry, dict):
            found |= pins(entry["include-group"])
        elif match := re.match(r"([\w-]+)(?:\[\w+\])?==([\w.]+)", entry):
            found.setdefault(match[1], []).append(match[2])
    return found


@pytest.mark.parametrize("page", ["README.md", "docs/support.md"])
def test_versions_of_frameworks(page: str) -> None:
    """Of each framework the page names the lowest version and the newest ones that the tests install."""
    text = (ROOT / page).read_text()
    lowest, newest = pins("lowest"), pins("test")
    for framework in ("fastapi", "litestar", "django", "quart", "aiohttp", "sanic", "flask"):
        rows = re.findall(rf"^\| [^|]+ \| `{framework}` \| ([^,|]+), ([^|]+) \|", text, re.MULTILINE)
        assert rows, framework
        for low, others in rows:
            assert low in lowest[framework]
            assert set(re.findall(r"\d[\d.]*\d", others)) <= set(newest[framework])


def test_versions_of_clients() -> None:
    """The page on support names what is pinned of redis-py's companions."""
    text = (DOCS / "support.md").read_text()
    newest = pins("test")
    for name in ("uvloop", "opentelemetry-sdk", "click", "rich"):
        assert newest[name][0] in text, name


PACKAGES = ["", ".answers", ".chat", ".http", ".inspector", ".interop.npm", ".observer", ".sync", ".telemetry"]


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

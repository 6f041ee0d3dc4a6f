"""The chat of docs/tutorial-chat.md, put together as the page says, and served by its commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

from tests.examples.serving import ROOT, App, uvicorn

__all__ = ["COUNT", "WHOLE", "Step", "serving", "write"]

COUNT = 100


class Step(IntEnum):
    """How far somebody has read."""

    PAGE = 4
    STOP = 5
    SQLITE = 6
    REDIS = 7


WHOLE = "You said “Count”. I count: " + " ".join(map(str, range(1, COUNT + 1)))
"""What the chat answers to ``Count``."""


def write(folder: Path, step: Step, *, pause: float = 0.02) -> None:
    """Put the files of a step into a folder; the answer takes ``pause`` seconds for each number."""
    (app,) = _blocks("python", "# app.py\n")
    (page,) = _blocks("html", "<!-- page.html -->\n")
    if step >= Step.STOP:
        (button,) = _blocks("html", "<!-- page.html, at the end -->\n")
        page += button
    if step >= Step.SQLITE:
        for change in _blocks("diff"):
            app = _changed(app, change)
    app = _replaced(app, "asyncio.sleep(0.1)", f"asyncio.sleep({pause})")
    (folder / "app.py").write_text(app, encoding="utf-8")
    (folder / "page.html").write_text(page, encoding="utf-8")


@contextmanager
def serving(folder: Path, step: Step, *, redis_url: str = "", port: int = 0) -> Iterator[App]:
    """Serve what is in a folder with the command of a step, on a free port, until the block is left."""
    settings = {"REDIS_URL": redis_url} if step >= Step.REDIS else {}
    with uvicorn(folder, _arguments(step), settings, folder, port=port) as app:
        yield app


def _text() -> str:
    return (ROOT / "docs" / "tutorial-chat.md").read_text(encoding="utf-8")


def _blocks(language: str, first_line: str = "") -> list[str]:
    """The code blocks of a language that begin with a line."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", _text(), re.MULTILINE | re.DOTALL)
    return [block for block in blocks if block.startswith(first_line)]


def _arguments(step: Step) -> list[str]:
    """What the page has uvicorn told."""
    first, last = re.findall(r"^\$ (.*uvicorn app:app.*)$", _text(), re.MULTILINE)
    *_, arguments = (first if step < Step.REDIS else last).partition("uvicorn ")
    return shlex.split(arguments)


def _changed(text: str, change: str) -> str:
    """A text with a change made to it, of which the lines with a plus or a space are what shall be there."""
    lines = change.splitlines()
    old = "".join(f"{line[1:]}\n" for line in lines if line[0] in "- ")
    new = "".join(f"{line[1:]}\n" for line in lines if line[0] in "+ ")
    return _replaced(text, old, new)


def _replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"the page has this once: {old}"
    return text.replace(old, new)

"""Runs the code blocks of the README and of the docs, those of each page in an empty folder."""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import Any

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

_FOLDER = "_folder_of_this_page"


def _enter_folder(namespace: dict[str, Any]) -> None:
    stack = contextlib.ExitStack()
    stack.callback(os.chdir, os.getcwd())  # noqa: PTH109  # there is nothing to do with the path
    os.chdir(stack.enter_context(tempfile.TemporaryDirectory()))
    namespace[_FOLDER] = stack.pop_all()


def _leave_folder(namespace: dict[str, Any]) -> None:
    namespace[_FOLDER].close()


pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    patterns=["README.md", "docs/*.md", "docs/*/*.md"],
    setup=_enter_folder,
    teardown=_leave_folder,
).pytest()

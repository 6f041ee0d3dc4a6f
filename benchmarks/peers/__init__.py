"""The peers, as their registries have them, installed into a folder of its own that is no part of the tree."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent.parent / ".peers"
NPM = FOLDER / "npm"

_HERE = Path(__file__).parent
_TIMEOUT = 300.0


def python_of(name: str) -> Path:
    """Return the interpreter of the environment that has this peer alone."""
    return FOLDER / name / "bin" / "python"


def install() -> None:
    """Install what is not there yet, or is there in another version.

    Raises:
        subprocess.CalledProcessError: A registry cannot be reached, for instance.
    """
    FOLDER.mkdir(exist_ok=True)
    for requirements in sorted(_HERE.glob("*.txt")):
        _install_python(requirements)
    if shutil.which("npm") is not None:
        _install_npm()


def has_npm() -> bool:
    """Whether the peers from npm can be run."""
    return shutil.which("node") is not None and (NPM / "node_modules").is_dir()


def _install_python(requirements: Path) -> None:
    folder = FOLDER / requirements.stem
    if _is_current(folder, requirements):
        return
    _run(sys.executable, "-m", "venv", "--clear", folder)
    python = python_of(requirements.stem)
    _run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", requirements)
    shutil.copy(requirements, folder)


def _install_npm() -> None:
    lock = _HERE / "package-lock.json"
    if _is_current(NPM / "node_modules", lock):
        return
    NPM.mkdir(exist_ok=True)
    for name in (".npmrc", "package.json", "package-lock.json"):
        shutil.copy(_HERE / name, NPM)
    _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", cwd=NPM)
    shutil.copy(lock, NPM / "node_modules")


def _is_current(folder: Path, wanted: Path) -> bool:
    """Whether the folder has a copy of what it was made from, which is laid there last."""
    copy = folder / wanted.name
    return copy.exists() and copy.read_bytes() == wanted.read_bytes()


def _run(*command: str | Path, cwd: Path | None = None) -> None:
    subprocess.run(command, cwd=cwd, check=True, timeout=_TIMEOUT, stdout=subprocess.DEVNULL)

"""The wheel that users get."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a source distribution, as it is for a release."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=100)
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_has_all_that_is_not_python(wheel: Path) -> None:
    """The wheel has the scripts, the inspector's page, the marker of inline types, the licence, and no tests."""
    names = zipfile.ZipFile(wheel).namelist()
    kinds = {".py", ".lua", ".html", ".js", ".css", ".svg"}
    files = [path for path in (ROOT / "src").rglob("*") if path.suffix in kinds]
    assert {str(path.relative_to(ROOT / "src")) for path in files} < set(names)
    assert "resumable_stream/py.typed" in names
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"resumable_stream"}


def test_wheel_needs_three_packages(wheel: Path) -> None:
    """At run time the core needs redis with hiredis, anyio, and typing-extensions, and nothing else."""
    archive = zipfile.ZipFile(wheel)
    (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    fields = message_from_string(archive.read(metadata).decode())
    requirements = fields.get_all("Requires-Dist", [])
    needed = {requirement.split(">")[0] for requirement in requirements if "extra ==" not in requirement}
    assert needed == {"redis[hiredis]", "anyio", "typing-extensions"}
    assert fields["Name"] == "resumable-stream-context"


def test_wheel_has_the_command(wheel: Path) -> None:
    """Installing the wheel installs the command, which needs an extra."""
    archive = zipfile.ZipFile(wheel)
    (entries,) = (name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt"))
    assert archive.read(entries).decode().split() == [
        "[console_scripts]",
        *["resumable-stream", "=", "resumable_stream.cli:main"],
    ]


def test_wheel_works(wheel: Path, tmp_path: Path) -> None:
    """The package runs from the wheel alone, its scripts included."""
    code = """
import asyncio, fakeredis, resumable_stream
from resumable_stream import ResumableStreamContext

async def main():
    async with ResumableStreamContext(fakeredis.FakeAsyncRedis()) as context:
        stream = await context.resumable_stream("s", lambda: ["from ", "the ", "wheel"])
        print("".join([chunk async for chunk in stream]), resumable_stream.__file__)

asyncio.run(main())
"""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    run = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}"]
    done = subprocess.run(run, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == f"from the wheel {tmp_path / 'resumable_stream' / '__init__.py'}"


@pytest.mark.parametrize("page", ["README.md", "docs/support.md"])
def test_pages_name_tested_versions(page: str) -> None:
    """The tables of frameworks name the lowest versions that the metadata allows, and pinned ones."""
    project = (ROOT / "pyproject.toml").read_text()
    rows = re.findall(r"^\| [^|]+ \| `(\w+)` \| ([^|]+) \|", (ROOT / page).read_text(), re.MULTILINE)
    frameworks = {path.stem for path in (ROOT / "src/resumable_stream/integrations").glob("[a-z]*.py")}
    assert {extra for extra, _ in rows} == frameworks - {"django_wsgi"}
    for extra, versions in rows:
        allowed = re.search(rf'^{extra} = \["{extra}>=([\d.]+)"\]$', project, re.MULTILINE)
        assert allowed is not None
        lowest, *others = re.findall(r"\d+(?:\.\d+)+", versions.split(", and ")[0])
        assert lowest.removesuffix(".0") == allowed[1].removesuffix(".0")
        assert all(re.search(rf'"{extra}=={version}["\s]', project) for version in (lowest, *others))

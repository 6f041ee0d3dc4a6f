"""Chats in files: what a process leaves that dies, and ids that files must not be named after."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from filelock import FileLock

from resumable_stream.abc import ChatStore
from resumable_stream.chat.stores import json_files
from resumable_stream.chat.stores.json_files import JSONFileChatStore
from resumable_stream.chat_types import ChatChange, StreamRecord
from resumable_stream.exceptions import ChatStoreError, ContextClosedError
from resumable_stream.testing.chat_store_suite.harness import ODD_IDS, error_of

# Does all that can be done to a chat, again and again, and says so. With a number it stops for good at that step.
_WRITER = """
import asyncio, os, sys, threading
from pathlib import Path
from resumable_stream.chat.stores.json_files import JSONFileChatStore
from resumable_stream.chat_types import ChatChange, StreamRecord

folder, last = sys.argv[1], int(sys.argv[2])
steps = 0

def stop_at(function):
    def stopping(*args, **options):
        global steps
        steps += 1
        if steps == last:
            print("stopped", flush=True)
            threading.Event().wait()
        return function(*args, **options)
    return stopping

async def main():
    async with JSONFileChatStore(folder) as store:
        os.fsync, os.unlink = stop_at(os.fsync), stop_at(os.unlink)
        for name in ("replace", "touch", "unlink"):
            setattr(Path, name, stop_at(getattr(Path, name)))
        for number in range(100_000):
            chat_id = f"c{number}"
            await store.create(chat_id, "o", {})
            print("created", chat_id, flush=True)
            message = {"id": "m", "text": "x" * 20_000}
            await store.save(chat_id, ChatChange(put=[message], begin=StreamRecord(chat_id, "")))
            print("saved", chat_id, flush=True)
            if number % 2 == 0:
                await store.delete(chat_id)
                print("deleted", chat_id, flush=True)

asyncio.run(main())
"""


def _kill_at(folder: Path, *, step: int = 0, lines: int = 0) -> list[tuple[str, str]]:
    """Kill a writer at a step, or after so many lines; return what it said that it had done."""
    command = [sys.executable, "-c", _WRITER, str(folder), str(step)]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    said: list[str] = []
    try:
        for line in writer.stdout:
            said.append(line.strip())
            if said[-1] == "stopped" or len(said) == lines:
                break
        writer.kill()
        said += writer.communicate()[0].splitlines()
    finally:
        writer.kill()
        writer.wait()
    assert said, "it said nothing"
    return [(done, chat_id) for done, _, chat_id in (line.partition(" ") for line in said) if chat_id]


async def _check(store: ChatStore, said: list[tuple[str, str]]) -> None:
    """Fail unless all that was said to be done is, and what was not is done whole or not at all."""
    listed = {info.chat_id: info for info in (await store.list("o", 10_000, None)).chats}
    last: dict[str, str] = {}
    for done, chat_id in said:
        last[chat_id] = done
    number = len(last)
    for chat_id in (*last, f"c{number}"):
        chat = await store.load(chat_id)
        done = last.get(chat_id, "")
        assert (chat is not None and chat.info) == listed.get(chat_id, False)
        if chat is None:
            assert done in {"", "deleted"} or (done == "saved" and int(chat_id[1:]) % 2 == 0)
            assert await store.find_by_stream(chat_id) is None
            continue
        assert done != "deleted"
        is_saved = chat.info.version == 2
        assert is_saved or done != "saved"
        assert chat.messages == ([{"id": "m", "text": "x" * 20_000}] if is_saved else [])
        assert await store.find_by_stream(chat_id) == (chat.info if is_saved else None)


def _files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "locks"]


async def _check_usable(store: ChatStore, folder: Path) -> None:
    """Fail unless every chat can be made, changed and deleted, and then nothing of it is left."""
    for chat_id in ("c0", "c1", "c2"):
        if await store.describe(chat_id) is None:
            await store.create(chat_id, "o", {})
        info = await store.save(chat_id, ChatChange(begin=StreamRecord(chat_id, "")))
        assert await store.find_by_stream(chat_id) == info
        await store.delete(chat_id)
        assert await store.find_by_stream(chat_id) is None
    assert (await store.list("o", 10, None)).chats == []
    assert _files_in(folder) == []


@pytest.mark.parametrize("step", range(1, 25, 2))
async def test_killed_at_a_step(tmp_path: Path, step: int) -> None:
    """A process that is killed between any two steps leaves the chat as it was, or as it was to be; all can go on."""
    for at in (step, step + 1):
        folder = tmp_path / str(at)
        said = await anyio.to_thread.run_sync(lambda folder=folder, at=at: _kill_at(folder, step=at))  # type: ignore[misc]
        async with JSONFileChatStore(folder) as store:
            await _check(store, said)
            await _check_usable(store, folder)


@pytest.mark.parametrize("lines", [1, 2, 3, 8, 31, 77])
async def test_killed_at_any_time(tmp_path: Path, lines: int) -> None:
    """A process that is killed at any time has kept all that it said it had, and nothing by half."""
    said = await anyio.to_thread.run_sync(lambda: _kill_at(tmp_path, lines=lines))
    async with JSONFileChatStore(tmp_path) as store:
        await _check(store, said)


async def test_ids_name_no_files(tmp_path: Path) -> None:
    """Whatever the ids are, files are in the folder, and have names that every file system takes and tells apart."""
    folder = tmp_path / "deep" / "chats"
    async with JSONFileChatStore(folder) as store:
        for odd_id in ODD_IDS:
            await store.create(odd_id, odd_id, {})
            await store.save(odd_id, ChatChange(begin=StreamRecord(odd_id, "")))
    files = _files_in(tmp_path)
    assert all(path.relative_to(folder).parts[0] in {"chats", "owners", "streams"} for path in files)
    assert all(name.isascii() and name == name.lower() and len(name) < 100 for name in (path.name for path in files))
    assert len(files) == 3 * len(ODD_IDS)


async def test_file_that_is_not_a_chat(tmp_path: Path) -> None:
    """A file that something else wrote is an error that names it, and the other chats are there."""
    async with JSONFileChatStore(tmp_path) as store:
        await store.create("c", "o", {})
        (path,) = (tmp_path / "chats").iterdir()
        for content in (b"", b"{", b"[]", b"{}", b'{"format": 2}', path.read_bytes()[:-3], b"\xff"):
            path.write_bytes(content)
            for call in (store.load("c"), store.save("c", ChatChange()), store.delete("c"), store.create("c", "o", {})):
                assert path.name in str(await error_of(call, ChatStoreError))
            assert path.read_bytes() == content
        await store.create("d", "p", {})


@pytest.mark.parametrize("content", [b"", b"\xff\0", b"../x\0", b"../chats/x", b"0" * 63])
async def test_file_that_names_no_chat(tmp_path: Path, content: bytes) -> None:
    """A file of a stream that something else wrote is an error of the store, and leads nowhere."""
    async with JSONFileChatStore(tmp_path) as store:
        await store.create("c", "o", {})
        await store.save("c", ChatChange(begin=StreamRecord("s", "")))
        (path,) = (tmp_path / "streams").iterdir()
        path.write_bytes(content)
        await error_of(store.find_by_stream("s"), ChatStoreError)
        assert await store.load("c") is not None


async def test_folder_that_cannot_be(tmp_path: Path) -> None:
    """A folder that cannot be made is an error of the store, with the system's as its cause."""
    (tmp_path / "file").write_text("")
    store = JSONFileChatStore(tmp_path / "file" / "chats")
    error = await error_of(store.connect(), ChatStoreError)
    assert isinstance(error.__cause__, OSError)
    await store.aclose()


async def test_lock_that_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that another process does not let go of is an error in time; who reads does not need it."""
    monkeypatch.setattr(json_files, "_PATIENCE", 0.05)
    async with JSONFileChatStore(tmp_path) as store:
        info = await store.create("c", "o", {})
        for path in (tmp_path / "locks").iterdir():
            lock = FileLock(path)
            lock.acquire()
            try:
                with anyio.fail_after(5):
                    if path.stem == next((tmp_path / "chats").iterdir()).name[:2]:
                        await error_of(store.save("c", ChatChange()), ChatStoreError)
                        assert await store.describe("c") == info
            finally:
                lock.release()
        assert (await store.save("c", ChatChange())).version == 2


async def test_not_connected(tmp_path: Path) -> None:
    """Making a store does nothing; one that is not connected says so."""
    store = JSONFileChatStore(tmp_path / "chats")
    assert _files_in(tmp_path) == []
    await error_of(store.describe("c"), ContextClosedError)


async def test_folders_that_are_new_are_there_after_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each folder that is made, the one that it is in is written to the disk."""
    synced: list[Path] = []
    monkeypatch.setattr(json_files, "_sync_folder", synced.append)
    folder = tmp_path / "new" / "chats"
    for _ in range(2):
        async with JSONFileChatStore(folder):
            pass
    assert synced == [folder.parent, tmp_path, folder, folder]

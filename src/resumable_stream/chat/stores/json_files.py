"""Chats in a folder: a JSON file for each.

For one machine, or several that share a file system with locks: development, a desktop application, a small service.
Each save writes the whole chat.

::

    chats/<chat>.json                   the truth: a chat, its messages, its streams
    owners/<owner>/<created>-<chat>     empty; that it is there says: look at that chat
    streams/<stream>                    which chat to look at
    locks/<the chat's first two digits>.lock

``<chat>``, ``<owner>`` and ``<stream>`` are SHA-256 of the ids: an id may be anything, a name of a file may not. What
``owners`` and ``streams`` have is written before the chat, and removed after it, and is believed only if the chat says
so too. So whenever a process dies, all answers are right.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from typing_extensions import override

try:
    from filelock import FileLock
except ImportError as _error:
    raise ImportError("JSON files need filelock: pip install 'resumable-stream-context[json-files]'") from _error

from ...abc import ChatStore
from ...chat_types import Chat, ChatChange, ChatInfo, ChatPage, StreamRecord
from ...exceptions import (
    ChatExistsError,
    ChatNotFoundError,
    ChatStoreError,
    ContextClosedError,
    ResumableStreamError,
)
from ..changes import Changed, PagePosition, apply_change
from ..finishing import to_the_end
from .text import copy, copy_change, dump, load

__all__ = ["JSONFileChatStore"]

T = TypeVar("T")

_FORMAT = 1
_PATIENCE = 5.0
_POLL_INTERVAL = 0.005
_THREADS = 8
_NAME = re.compile(r"[0-9a-f]{64}")


class JSONFileChatStore(ChatStore):
    """Keeps chats in a folder, one JSON file each. Several processes may share it.

    A chat's file is replaced as a whole, after the new one is on disk: a crash of the process, or of the machine,
    leaves the one or the other. Files are read and written in threads, so the event loop goes on.

    Args:
        folder: Where the chats are. It is made when it is missing, and readable for its owner alone then.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = _Folder(Path(folder))
        self._threads: anyio.CapacityLimiter | None = None
        self._turns: dict[str, anyio.Lock] = {}

    @override
    async def connect(self) -> None:
        self._threads = anyio.CapacityLimiter(_THREADS)
        await self._read("open a folder", self._folder.make)

    @override
    async def aclose(self) -> None:
        self._threads = None

    @override
    async def create(self, chat_id: str, owner: str, metadata: Mapping[str, Any]) -> ChatInfo:
        return await self._write("create a chat", chat_id, self._folder.create, chat_id, owner, metadata)

    @override
    async def describe(self, chat_id: str) -> ChatInfo | None:
        chat = await self.load(chat_id)
        return None if chat is None else chat.info

    @override
    async def load(self, chat_id: str) -> Chat | None:
        kept = await self._read("read a chat", self._folder.read, _name_of(chat_id))
        return kept and kept.chat

    @override
    async def list(self, owner: str, limit: int, after: str | None) -> ChatPage:
        position = None if after is None else PagePosition.decode(after)
        return await self._read("list chats", self._folder.list, owner, limit, position)

    @override
    async def save(self, chat_id: str, change: ChatChange) -> ChatInfo:
        return await self._write("save a chat", chat_id, self._folder.save, chat_id, change)

    @override
    async def delete(self, chat_id: str, *, if_owner: str | None = None) -> Sequence[StreamRecord] | None:
        return await self._write("delete a chat", chat_id, self._folder.delete, chat_id, if_owner)

    @override
    async def list_streams(self, chat_id: str) -> Sequence[StreamRecord]:
        kept = await self._read("read a chat", self._folder.read, _name_of(chat_id))
        return kept.streams if kept else []

    @override
    async def find_by_stream(self, stream_id: str) -> ChatInfo | None:
        return await self._read("find a chat", self._folder.find_by_stream, stream_id)

    async def _read(self, doing: str, function: Callable[..., T], *args: Any) -> T:
        with _translated_errors(doing):
            return await to_the_end(self._in_thread(function, *args))

    async def _write(self, doing: str, chat_id: str, function: Callable[..., T], *args: Any) -> T:
        """Call what takes a lock. Tasks of this process take turns, so that one thread at most waits for each lock."""
        with _translated_errors(doing):
            return await to_the_end(self._in_turn(_stripe_of(_name_of(chat_id)), function, *args))

    async def _in_turn(self, stripe: str, function: Callable[..., T], *args: Any) -> T:
        turn = self._turns.setdefault(stripe, anyio.Lock())
        with anyio.fail_after(_PATIENCE):
            await turn.acquire()
        try:
            return await self._in_thread(function, *args)
        finally:
            turn.release()

    async def _in_thread(self, function: Callable[..., T], *args: Any) -> T:
        if self._threads is None:
            raise ContextClosedError("the store is not connected")
        return await anyio.to_thread.run_sync(partial(function, *args), limiter=self._threads)


@contextmanager
def _translated_errors(doing: str) -> Iterator[None]:
    """Raise what goes wrong with files as `ChatStoreError`. A `ValueError` is a file that we did not write."""
    try:
        yield
    except ResumableStreamError:
        raise
    except (OSError, ValueError) as error:
        raise ChatStoreError(f"failed to {doing}: {type(error).__name__}") from error


class _Folder:
    """The files. Everything here blocks, and is called in threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._chats, self._owners, self._streams, self._locks = (
            path / name for name in ("chats", "owners", "streams", "locks")
        )

    def make(self) -> None:
        """Make the folders that are missing, and try whether they can be written to."""
        missing = [folder for folder in (self._path, *self._path.parents) if not folder.exists()]
        self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in missing:
            _sync_folder(folder.parent)
        for folder in (self._chats, self._owners, self._streams, self._locks):
            folder.mkdir(exist_ok=True)
        _sync_folder(self._path)
        with self._locked(_name_of("")):
            pass

    def read(self, name: str) -> Changed | None:
        """Return the chat of a name. A file is replaced as a whole, so no lock is needed."""
        try:
            content = (self._chats / f"{name}.json").read_bytes()
        except FileNotFoundError:
            return None
        try:
            return _decode(load(content))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ChatStoreError(f"chats/{name}.json is not a chat") from error

    def create(self, chat_id: str, owner: str, metadata: Mapping[str, Any]) -> ChatInfo:
        """As `ChatStore.create`; and so are the others."""
        name = _name_of(chat_id)
        with self._locked(name):
            if self.read(name) is not None:
                raise ChatExistsError(chat_id)
            now = _now()
            info = ChatInfo(chat_id, owner, now, now, version=1, metadata=copy(metadata))
            mark = self._mark_of(info)
            mark.parent.mkdir(exist_ok=True)
            _sync_folder(self._owners)
            mark.touch()
            _sync_folder(mark.parent)
            self._write(name, Changed(Chat(info, []), []))
        return info

    def save(self, chat_id: str, change: ChatChange) -> ChatInfo:
        """Change a chat."""
        name = _name_of(chat_id)
        with self._locked(name):
            kept = self.read(name)
            if kept is None:
                raise ChatNotFoundError(chat_id)
            changed = apply_change(kept.chat, kept.streams, copy_change(change), _now())
            if len(changed.streams) > len(kept.streams):
                _replace(self._streams / _name_of(changed.streams[-1].stream_id), name.encode())
            self._write(name, changed)
        return changed.chat.info

    def delete(self, chat_id: str, if_owner: str | None) -> Sequence[StreamRecord] | None:
        """Forget a chat."""
        name = _name_of(chat_id)
        with self._locked(name):
            kept = self.read(name)
            if kept is None or if_owner not in (None, kept.chat.info.owner):
                return None
            (self._chats / f"{name}.json").unlink()
            _sync_folder(self._chats)
            self._mark_of(kept.chat.info).unlink(missing_ok=True)
            for stream in kept.streams:
                (self._streams / _name_of(stream.stream_id)).unlink(missing_ok=True)
        return kept.streams

    def list(self, owner: str, limit: int, after: PagePosition | None) -> ChatPage:
        """Return a page. Only the chats on it are read."""
        stop = None if after is None else _mark_name(after.created_at, _name_of(after.chat_id))
        chats: list[ChatInfo] = []
        for mark in self._marks_before(owner, stop):
            info = self._marked(mark)
            if info is not None and len(chats) == limit:
                return ChatPage(chats, PagePosition.of(chats[-1]).encode())
            if info is not None:
                chats.append(info)
        return ChatPage(chats, None)

    def find_by_stream(self, stream_id: str) -> ChatInfo | None:
        """Return the chat of a stream."""
        pointer = self._streams / _name_of(stream_id)
        try:
            name = pointer.read_text("ascii")
        except FileNotFoundError:
            return None
        if not _NAME.fullmatch(name):
            raise ChatStoreError(f"streams/{pointer.name} is not the name of a chat")
        kept = self.read(name)
        is_there = kept is not None and any(stream.stream_id == stream_id for stream in kept.streams)
        return kept.chat.info if kept is not None and is_there else None

    def _marks_before(self, owner: str, stop: str | None) -> Sequence[Path]:
        folder = self._owners / _name_of(owner)
        try:
            names = sorted((entry.name for entry in os.scandir(folder)), reverse=True)
        except FileNotFoundError:
            return []
        return [folder / name for name in names if stop is None or name < stop]

    def _marked(self, mark: Path) -> ChatInfo | None:
        """Return the chat that a mark stands for; if there is none, remove the mark: a process died half-way."""
        name = mark.name.rpartition("-")[2]
        kept = self.read(name)
        if kept is not None and self._mark_of(kept.chat.info) == mark:
            return kept.chat.info
        with self._locked(name):  # under which it is not being made
            kept = self.read(name)
            if kept is not None and self._mark_of(kept.chat.info) == mark:
                return kept.chat.info
            mark.unlink(missing_ok=True)
        return None

    def _mark_of(self, info: ChatInfo) -> Path:
        return self._owners / _name_of(info.owner) / _mark_name(info.created_at, _name_of(info.chat_id))

    def _write(self, name: str, kept: Changed) -> None:
        _replace(self._chats / f"{name}.json", dump(_encode(kept)).encode())

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        # There are 256 locks, not one per chat: a file of a lock can never be removed safely.
        with FileLock(self._locks / f"{_stripe_of(name)}.lock").acquire(_PATIENCE, poll_interval=_POLL_INTERVAL):
            yield


def _name_of(some_id: str) -> str:
    return hashlib.sha256(some_id.encode("utf-8", "surrogatepass")).hexdigest()


def _stripe_of(name: str) -> str:
    return name[:2]


def _mark_name(created_at: float, name: str) -> str:
    return f"{round(created_at * 1_000_000):016d}-{name}"


def _now() -> float:
    return time.time_ns() // 1000 / 1_000_000  # whole microseconds, which the names of marks have


def _replace(path: Path, content: bytes) -> None:
    """Replace a file so that, whatever happens meanwhile, it is either the old one or the new one, and whole."""
    new = path.with_name(path.name + ".new")  # one name, under the chat's lock: what a crash leaves is used next time
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    """Have on disk which files a folder has."""
    with suppress(PermissionError):  # Windows opens no folders; there it cannot be done
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _encode(kept: Changed) -> dict[str, Any]:
    info = kept.chat.info
    return {
        "format": _FORMAT,
        "chat_id": info.chat_id,
        "owner": info.owner,
        "created_at": info.created_at,
        "updated_at": info.updated_at,
        "version": info.version,
        "active_stream": info.active_stream and info.active_stream.stream_id,
        "metadata": dict(info.metadata),
        "streams": [
            {"stream_id": stream.stream_id, "created_at": stream.created_at, "replies_to": stream.replies_to}
            for stream in kept.streams
        ],
        "messages": kept.chat.messages,
    }


def _decode(document: Mapping[str, Any]) -> Changed:
    if document["format"] != _FORMAT:
        raise ValueError(f"format {document['format']!r}")
    chat_id = document["chat_id"]
    streams = [StreamRecord(chat_id=chat_id, **stream) for stream in document["streams"]]
    info = ChatInfo(
        chat_id,
        document["owner"],
        document["created_at"],
        document["updated_at"],
        document["version"],
        next((stream for stream in streams if stream.stream_id == document["active_stream"]), None),
        document["metadata"],
    )
    return Changed(Chat(info, document["messages"]), streams)

"""The Lua scripts, and what their replies mean."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple

from ...types import Appended, AppendStatus, End, Entry, EpochStart, Push, StreamInfo, StreamState

_STATUSES = (
    AppendStatus.ACCEPTED,
    AppendStatus.FENCED,
    AppendStatus.GONE,
    AppendStatus.MISPLACED,
    AppendStatus.UNUSABLE,
)

_new = tuple.__new__
"""Makes a named tuple of which each chunk has one: its class would make it in Python, which takes twice as long."""


class Script(NamedTuple):
    """A script's text, and the name under which the server caches it."""

    text: str
    sha: str


def read_script(package: str | None, *parts: str) -> Script:
    """Return the script that ``.lua`` files of a package make together.

    To be called where a module is imported. Later, reading them may find a lock of the import system taken for ever, by
    a thread that was left behind when the process forked.
    """
    assert package is not None, "a module of one asks"
    folder = files(package) / "lua"
    text = "\n".join((folder / f"{part}.lua").read_text(encoding="utf-8") for part in parts)
    return Script(text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


SCRIPTS: Mapping[str, Script] = {
    name: read_script(__package__, "describe", name) for name in ("acquire", "append", "delete", "read", "stop")
}
"""By name."""


def milliseconds(seconds: float) -> int:
    """Return what Redis wants to be told."""
    return round(seconds * 1000)


def encode_end(end: End) -> str:
    """Return an end as it is recorded."""
    return json.dumps([end.state.value, end.error_type, end.error_message, end.reason])


def _decode_end(ending: bytes) -> End:
    state, *details = json.loads(ending)
    return End(StreamState(state), *details)


class Description(NamedTuple):
    """A stream as ``describe.lua`` sees it."""

    info: StreamInfo
    is_id_free: bool


def decode_description(stream_id: str, reply: Sequence[Any]) -> Description | None:
    """Return the description in a reply of ``describe.lua``, or ``None`` if it says that there is none."""
    if not reply:
        return None
    generation, epoch, length, created_at, state, ending, ended_at, is_readable, is_id_free = reply[:9]
    epoch_start, lease_left, takeovers = reply[9:]
    end = _decode_end(ending) if ending else End(StreamState(state.decode()))
    info = StreamInfo(
        stream_id=stream_id,
        generation=generation.decode(),
        epoch=int(epoch),
        state=end.state,
        length=int(length),
        created_at=int(created_at) / 1000,
        ended_at=None if end.state is StreamState.RUNNING else int(ended_at) / 1000,
        is_readable=bool(is_readable),
        error_type=end.error_type,
        error_message=end.error_message,
        reason=end.reason,
        epoch_start=int(epoch_start),
        lease_left=int(lease_left) / 1000,
        takeovers=_decode_takeovers(takeovers, int(created_at)),
    )
    return Description(info, bool(is_id_free))


def _decode_takeovers(takeovers: bytes, created_at: int) -> tuple[EpochStart, ...]:
    starts = (map(int, start.split(b":")) for start in takeovers.split())
    return tuple(EpochStart(epoch, length, (created_at + after) / 1000) for epoch, length, after in starts)


def decode_appended(reply: Sequence[Any]) -> Appended:
    """Return the answer of ``append.lua`` to an append that was not simply accepted."""
    number, length, stop = reply
    return Appended(_STATUSES[number], length, _decode_end(stop).reason if stop else "")


def decode_page(entries: Sequence[bytes], created_at: float) -> list[Entry]:
    """Return the entries of ``read.lua``.

    Raises:
        ValueError, OverflowError: One was written by something else.
    """
    created = milliseconds(created_at)
    page: list[Entry] = []
    for entry in entries:
        header, _, payload = entry.partition(b"\n")
        entry_id, _, after = header.partition(b" ")
        first, _, count = entry_id.partition(b"-")
        chunks = int(count)
        if chunks < 1:
            raise ValueError("an entry without chunks")
        page.append(_new(Entry, (int(first), chunks, payload, (created + int(after)) / 1000)))
    return page


def decode_push(message: bytes) -> Push | None:
    """Return what ``append.lua`` published; ``None`` for the empty message that only says: look."""
    if not message:
        return None
    header, _, payload = message.partition(b"\n")
    generation, epoch, length, entry_id, ending = header.split(b" ", 4)
    stop = int(length)
    entry = None
    if entry_id:
        first = int(entry_id.partition(b"-")[0])
        entry = _new(Entry, (first, stop - first, payload, 0.0))
    end = _decode_end(ending) if ending else None
    return _new(Push, (generation.decode(), int(epoch), stop, entry, end))

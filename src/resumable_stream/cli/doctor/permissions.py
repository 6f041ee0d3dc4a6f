"""Is this user allowed to do what the library does? Found out by doing it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from redis.exceptions import NoScriptError, ResponseError

from ...backends.redis.errors import is_forbidden
from ...backends.redis.keys import Keys
from ...backends.redis.wire import Command
from .findings import Finding, Level
from .places import Place

_SECONDS = "60"
_NO_SCRIPT = "0" * 40
_COMMANDS = "+@read +@write +@pubsub +@scripting +@connection +time"


async def permissions(place: Place, prefix: str) -> Finding:
    """Do everything once, with keys that are removed in the same packet.

    Nothing is written if the user could not remove it again.

    Raises:
        RedisError, OSError: The server cannot be reached.
    """
    keys = Keys(prefix)
    record, log, channel = keys.of(place.probe_id)
    trial = (f"{record}-trial", f"{log}-trial")  # which nobody takes for a stream
    clearing: list[Command] = [("PEXPIRE", trial[0], "1"), ("UNLINK", *trial)]
    troubles = await _troubles(place, clearing)
    if troubles:
        return _finding(troubles, prefix, "; so the rest was not tried")
    verb = "S" if place.push_command == "SPUBLISH" else ""
    commands: list[Command] = [
        ("TIME",),
        ("HSET", trial[0], "trial", "1"),
        ("PEXPIRE", trial[0], f"{_SECONDS}000"),
        ("HSETNX", trial[0], "trial", "1"),
        ("HMGET", trial[0], "trial"),
        ("RPUSH", trial[1], "trial"),
        ("RPUSHX", trial[1], "trial"),
        ("PEXPIRE", trial[1], f"{_SECONDS}000"),
        ("LLEN", trial[1]),
        ("LINDEX", trial[1], "0"),
        ("LRANGE", trial[1], "0", "0"),
        ("RPOP", trial[1]),
        ("EVAL", "return 1", "1", trial[0]),
        ("EVALSHA", _NO_SCRIPT, "1", trial[0]),
        ("SCAN", "0", "MATCH", keys.record_pattern, "COUNT", "1"),
        ("PUBLISH", keys.notices, place.probe_id),  # others look whether they know it
        (place.push_command, channel, ""),
        ("UNLINK", *trial),
        # At the end: in this state a connection takes nothing else.
        (f"{verb}SUBSCRIBE", channel),
        (f"{verb}UNSUBSCRIBE", channel),
        ("SUBSCRIBE", keys.notices),
        ("UNSUBSCRIBE", keys.notices),
    ]
    return _finding(await _troubles(place, commands), prefix)


class _Trouble(NamedTuple):
    """A command that was not done."""

    name: str
    is_forbidden: bool


async def _troubles(place: Place, commands: Sequence[Command]) -> list[_Trouble]:
    replies = await place.connection.execute(*commands)
    troubles = (_trouble(str(command[0]), reply) for command, reply in zip(commands, replies, strict=True))
    return list(dict.fromkeys(trouble for trouble in troubles if trouble))


def _trouble(name: str, reply: object) -> _Trouble | None:
    if not isinstance(reply, Exception) or isinstance(reply, NoScriptError):
        return None
    text = str(reply)
    if not is_forbidden(reply):
        kind = type(reply).__name__ if type(reply) is not ResponseError else text.partition(" ")[0]
        return _Trouble(f"{name} ({kind})", is_forbidden=False)
    if "channel" in text:
        return _Trouble(f"{name} (channels)", is_forbidden=True)
    return _Trouble(f"{name} (keys)" if " key" in text else name, is_forbidden=True)


def _finding(troubles: Sequence[_Trouble], prefix: str, but: str = "") -> Finding:
    if not troubles:
        return Finding("permissions", Level.OK, "all that the library does is allowed")
    names = ", ".join(trouble.name for trouble in troubles)
    if not any(trouble.is_forbidden for trouble in troubles):
        return Finding("permissions", Level.PROBLEM, f"failed: {names}{but}", "See memory, and the server's log.")
    rules = f"~{prefix}:* resetchannels &{prefix}:* {_COMMANDS}"
    advice = f"A user for this alone has: ACL SETUSER NAME {rules}"
    return Finding("permissions", Level.PROBLEM, f"refused: {names}{but}", advice)

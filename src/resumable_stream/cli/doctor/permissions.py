"""Is this user allowed to do what the library does? Found out by doing it."""

from __future__ import annotations

from collections.abc import Sequence

from redis.exceptions import NoScriptError

from ...backends.redis.errors import is_forbidden
from ...backends.redis.keys import Keys
from ...backends.redis.wire import Command
from .findings import Finding, Level
from .places import Place

_SECONDS = "60"
_NO_SCRIPT = "0" * 40


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
    refused = await _refusals(place, clearing)
    if refused:
        return _finding([*refused, "and so the rest was not tried"], prefix)
    verb = "S" if place.push_command == "SPUBLISH" else ""
    commands: list[Command] = [
        ("TIME",),
        ("HSET", trial[0], "trial", "1"),
        ("PEXPIRE", trial[0], f"{_SECONDS}000"),
        ("HSETNX", trial[0], "trial", "1"),
        ("HMGET", trial[0], "trial"),
        ("XADD", trial[1], "1-1", "trial", "1"),
        ("PEXPIRE", trial[1], f"{_SECONDS}000"),
        ("XRANGE", trial[1], "-", "+", "COUNT", "1"),
        ("XREVRANGE", trial[1], "+", "-", "COUNT", "1"),
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
    return _finding(await _refusals(place, commands), prefix)


async def _refusals(place: Place, commands: Sequence[Command]) -> list[str]:
    replies = await place.connection.execute(*commands)
    named = [_refusal(command, reply) for command, reply in zip(commands, replies, strict=True)]
    return list(dict.fromkeys(name for name in named if name))


def _refusal(command: Command, reply: object) -> str:
    if not isinstance(reply, Exception) or isinstance(reply, NoScriptError):
        return ""
    name, text = str(command[0]), str(reply)
    if not is_forbidden(reply):
        return f"{name} ({text.partition(' ')[0]})"
    if "channel" in text:
        return f"{name} (channels)"
    return f"{name} (keys)" if " key" in text else name


def _finding(refused: Sequence[str], prefix: str) -> Finding:
    if not refused:
        return Finding("permissions", Level.OK, "all that the library does is allowed")
    commands = "+@read +@write +@pubsub +@scripting +@connection +time +scan"
    advice = f'Give the user at least: ACL SETUSER NAME "~{prefix}:*" "&{prefix}:*" {commands}'
    return Finding("permissions", Level.PROBLEM, f"refused: {', '.join(refused)}", advice)

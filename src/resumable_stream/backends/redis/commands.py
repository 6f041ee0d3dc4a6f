"""What is sent to one server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from redis.exceptions import NoScriptError

from .connections import REPLY_TIMEOUT, Channel
from .errors import UnconfirmedError, is_forbidden
from .scripts import Script, milliseconds
from .servers import ScriptCall
from .wire import Command

_SCAN_COUNT = 500

# WAIT asks for what its own connection wrote. Where a script found its work done already, by another connection, it
# wrote nothing, and some servers would confirm at once. So each key is written to, without being changed.
_TOUCH = """
for _, key in ipairs(KEYS) do
  local left = redis.call('PTTL', key)
  if left > 0 then redis.call('PEXPIRE', key, left) end
end
"""


class Replicas(NamedTuple):
    """How many replicas have to confirm each append, and how long to wait for them, in seconds."""

    number: int
    timeout: float

    @property
    def reply_timeout(self) -> float:
        """How long an append may take, in seconds."""
        return REPLY_TIMEOUT + self.timeout if self.number else REPLY_TIMEOUT


async def send(channel: Channel, *args: str | bytes | int) -> Any:
    """Send one command and return its reply.

    Raises:
        RedisError, OSError, TimeoutError: The server refused it, cannot be reached, or does not answer.
    """
    (reply,) = await channel.execute(args)
    if isinstance(reply, Exception):
        raise reply
    return reply


async def evaluate(channel: Channel, script: Script, calls: Sequence[ScriptCall], *then: Command) -> list[Any]:
    """Run a script some times, and other commands after it, all in one packet; return replies or errors.

    The script goes by its name in the server's cache. Where the cache does not have it, all is repeated with its text.
    """
    runs: list[Command] = [("EVALSHA", script.sha, len(keys), *keys, *args) for keys, args in calls]
    replies = await channel.execute(*runs, *then)
    if any(isinstance(reply, NoScriptError) for reply in replies):
        keys, args = calls[0]
        runs[0] = ("EVAL", script.text, len(keys), *keys, *args)  # which caches it for the others
        replies = await channel.execute(*runs, *then)
    return replies


async def evaluate_confirmed(
    channel: Channel, script: Script, calls: Sequence[ScriptCall], replicas: Replicas
) -> list[Any]:
    """Run a script some times; where too few replicas confirm what it wrote, that is the error of all its runs."""
    if not replicas.number:
        return await evaluate(channel, script, calls)
    touches: list[Command] = [("EVAL", _TOUCH, len(call.keys), *call.keys) for call in calls]
    wait = ("WAIT", replicas.number, max(milliseconds(replicas.timeout), 1))  # 0 would be: without end
    replies = await evaluate(channel, script, calls, *touches, wait)
    confirmations, replies = replies[-1], replies[: len(calls)]
    if isinstance(confirmations, int) and confirmations >= replicas.number:
        return replies
    # A server that is no master any more does not wait: it says so in other words than to a command that writes.
    is_refused = isinstance(confirmations, Exception) and is_forbidden(confirmations)
    problem = confirmations if is_refused else UnconfirmedError("too few replicas")
    return [reply if isinstance(reply, Exception) else problem for reply in replies]


async def scan(channel: Channel, pattern: str) -> AsyncIterator[str]:
    """Yield the keys of one server that match."""
    cursor: bytes | int = 0
    while True:
        cursor, keys = await send(channel, "SCAN", cursor, "MATCH", pattern, "COUNT", _SCAN_COUNT)
        for key in keys:
            yield key.decode(errors="replace")  # a key that is none of ours may be anything
        if int(cursor) == 0:
            return

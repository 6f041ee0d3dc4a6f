"""Checks of what a server says of itself. They decide, and ask nobody."""

from __future__ import annotations

import re
from collections.abc import Callable

from ..rendering import span
from .facts import Facts
from .findings import Finding, Level, unknown

_LOWEST = (6, 2)
_MIB = 1024 * 1024
_PUSHES = 4 * _MIB  # a push has up to 1 MiB, and a few of them may be on their way


def version(facts: Facts) -> Finding:
    """Is the server one that the scripts run on?"""
    info = facts.info
    compatible = info.get("redis_version", "")
    numbers = re.match(r"(\d+)\.(\d+)", compatible)
    if numbers is None:
        return unknown("version", "INFO")
    is_valkey = "valkey_version" in info or info.get("server_name") == "valkey"
    found = f"Valkey {info.get('valkey_version', compatible)}" if is_valkey else f"Redis {compatible}"
    if (int(numbers[1]), int(numbers[2])) < _LOWEST:
        return Finding("version", Level.PROBLEM, found, "Use Redis 6.2 or later, or Valkey.")
    return Finding("version", Level.OK, found)


def role(facts: Facts) -> Finding:
    """Can it be written to, and is there somebody to take its place?"""
    info = facts.info
    if "role" not in info:
        return unknown("replicas", "INFO")
    if facts.is_replica:
        return Finding(
            "replicas", Level.PROBLEM, "this is a replica: it takes no writes", "Name the master in the URL."
        )
    number = int(info.get("connected_slaves", "0"))
    if number == 0:
        return Finding("replicas", Level.OK, "none: who loses this server, loses its streams")
    lines = [value for name, value in info.items() if re.fullmatch(r"slave\d+", name)]
    late = sum("state=online" not in line for line in lines)
    if late:
        return Finding("replicas", Level.WARNING, f"{late} of {number} not in step", "Look at the replicas' logs.")
    return Finding("replicas", Level.OK, f"{number}, in step")


def eviction(facts: Facts) -> Finding:
    """Does the server throw streams away when it is full?"""
    policy = facts.config.get("maxmemory-policy") or facts.info.get("maxmemory_policy")
    if policy is None:
        return unknown("eviction", "INFO and CONFIG GET maxmemory-policy")
    if policy == "noeviction":
        return Finding("eviction", Level.OK, "maxmemory-policy is noeviction")
    advice = "Set maxmemory-policy to noeviction, or keep streams on a server of their own."
    if facts.info.get("maxmemory") == "0":
        found = f"maxmemory-policy is {policy}: with a maxmemory, which is not set, streams would be thrown away"
        return Finding("eviction", Level.WARNING, found, advice)
    return Finding("eviction", Level.PROBLEM, f"maxmemory-policy is {policy}: streams are thrown away", advice)


def memory(facts: Facts) -> Finding:
    """Is there room?"""
    if not {"used_memory", "maxmemory"} <= facts.info.keys():
        return unknown("memory", "INFO")
    used, most = int(facts.info["used_memory"]), int(facts.info["maxmemory"])
    if most == 0:
        return Finding("memory", Level.OK, f"{used / _MIB:.0f} MiB used, no maxmemory")
    found = f"{used / _MIB:.0f} of {most / _MIB:.0f} MiB used"
    if used < 0.8 * most:
        return Finding("memory", Level.OK, found)
    level = Level.PROBLEM if used >= 0.95 * most else Level.WARNING
    return Finding("memory", level, found, "Raise maxmemory, or shorten the retention. A full server takes no chunks.")


def timeout(facts: Facts) -> Finding:
    """Are connections closed that are idle?"""
    if "timeout" not in facts.config:
        return unknown("timeout", "CONFIG GET timeout")
    seconds = int(facts.config["timeout"])
    if seconds == 0:
        return Finding("timeout", Level.OK, "idle connections stay")
    found = f"connections are closed when they were idle for {span(seconds)}, and made anew"
    if seconds >= 60:
        return Finding("timeout", Level.OK, found)
    return Finding("timeout", Level.WARNING, found, "Set timeout to 0, or to some minutes.")


def persistence(facts: Facts) -> Finding:
    """What would a crash lose?"""
    info, config = facts.info, facts.config
    has_log = config.get("appendonly", {"1": "yes", "0": "no"}.get(info.get("aof_enabled", ""), ""))
    if not has_log:
        return unknown("persistence", "INFO and CONFIG GET appendonly")
    failing = [name for name in ("aof_last_write_status", "rdb_last_bgsave_status") if info.get(name, "ok") != "ok"]
    if failing:
        found = f"writing to disk fails ({', '.join(failing)})"
        return Finding("persistence", Level.PROBLEM, found, "See the server's log. It may refuse to take chunks.")
    if has_log == "yes":
        return _synced(config.get("appendfsync", ""))
    advice = "Set appendonly to yes, if streams have to outlive the server's process."
    if "save" not in config:
        return Finding("persistence", Level.WARNING, "no append-only file; cannot tell about snapshots", advice)
    if config["save"]:
        found = f"a crash loses what came after the last snapshot (save {config['save']})"
        return Finding("persistence", Level.WARNING, found, advice)
    return Finding("persistence", Level.WARNING, "none: a crash or a restart loses all streams", advice)


def _synced(appendfsync: str) -> Finding:
    lost = {
        "always": "a crash loses nothing that was confirmed",
        "everysec": "a crash of the machine loses about a second",
        "no": "a crash of the machine loses what the system had not written",
    }.get(appendfsync, "cannot tell how often it is synced")
    return Finding("persistence", Level.OK, f"append-only file: {lost}")


def pushes(facts: Facts) -> Finding:
    """Is a listener cut off soon?"""
    name = "client-output-buffer-limit"
    found = re.search(r"pubsub (\d+) (\d+) (\d+)", facts.config.get(name, ""))
    if found is None:
        return unknown("pubsub-buffer", f"CONFIG GET {name}")
    hard, soft, seconds = map(int, found.groups())
    shown = f"hard {hard / _MIB:.4g} MiB, soft {soft / _MIB:.4g} MiB for {seconds} s (0: none)"
    if 0 < hard < _PUSHES or 0 < soft < _PUSHES / 4:
        advice = f'Set {name} to "pubsub 33554432 8388608 60". Who is cut off has to catch up from the log.'
        return Finding("pubsub-buffer", Level.WARNING, shown, advice)
    return Finding("pubsub-buffer", Level.OK, shown)


CHECKS: tuple[Callable[[Facts], Finding], ...] = (
    version,
    role,
    eviction,
    memory,
    persistence,
    timeout,
    pushes,
)
"""In the order in which they are shown."""

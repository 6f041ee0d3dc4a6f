"""What the doctor makes of what servers say, by a table."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from resumable_stream.cli.doctor import settings
from resumable_stream.cli.doctor.facts import Facts
from resumable_stream.cli.doctor.findings import Finding

Check = Callable[[Facts], Finding]

_POLICY, _BUFFER = "maxmemory-policy", "client-output-buffer-limit"
_MIB = 1024 * 1024

CASES: list[tuple[Check, dict[str, str], dict[str, str], str, str]] = [
    (settings.version, {"redis_version": "7.2.4"}, {}, "ok", "Redis 7.2.4"),
    (settings.version, {"redis_version": "6.0.16"}, {}, "problem", "Redis 6.0.16"),
    (settings.version, {"redis_version": "7.2.4", "valkey_version": "9.1.0"}, {}, "ok", "Valkey 9.1.0"),
    (settings.version, {"redis_version": "255.255.255"}, {}, "ok", "255"),
    (settings.version, {"redis_version": "7.4-rc1"}, {}, "ok", "Redis 7.4-rc1"),
    (settings.version, {"redis_version": "unknown"}, {}, "unknown", "INFO"),
    (settings.role, {"role": "slave"}, {}, "problem", "replica"),
    (settings.role, {"role": "master", "connected_slaves": "0"}, {}, "ok", "none"),
    (settings.role, {"role": "master", "connected_slaves": "1", "slave0": "state=online"}, {}, "ok", "1, in step"),
    (settings.role, {"role": "master", "connected_slaves": "1", "slave0": "state=sync"}, {}, "warning", "1 of 1"),
    (settings.eviction, {}, {_POLICY: "noeviction"}, "ok", "noeviction"),
    (settings.eviction, {"maxmemory_policy": "noeviction"}, {}, "ok", "noeviction"),
    (settings.eviction, {"maxmemory": "0"}, {_POLICY: "volatile-ttl"}, "warning", "volatile-ttl"),
    (settings.eviction, {"maxmemory": "1"}, {_POLICY: "volatile-ttl"}, "problem", "volatile-ttl"),
    (settings.eviction, {}, {_POLICY: "allkeys-lfu"}, "problem", "allkeys-lfu"),
    (settings.memory, {"used_memory": str(_MIB), "maxmemory": "0"}, {}, "ok", "1 MiB used, no maxmemory"),
    (settings.memory, {"used_memory": str(_MIB), "maxmemory": str(2 * _MIB)}, {}, "ok", "1 of 2 MiB"),
    (settings.memory, {"used_memory": "85", "maxmemory": "100"}, {}, "warning", "used"),
    (settings.memory, {"used_memory": "95", "maxmemory": "100"}, {}, "problem", "used"),
    (settings.timeout, {}, {"timeout": "0"}, "ok", "stay"),
    (settings.timeout, {}, {"timeout": "59"}, "warning", "59 s"),
    (settings.timeout, {}, {"timeout": "300"}, "ok", "5 min"),
    (settings.persistence, {}, {"appendonly": "yes", "appendfsync": "always"}, "ok", "loses nothing"),
    (settings.persistence, {}, {"appendonly": "yes", "appendfsync": "everysec"}, "ok", "a second"),
    (settings.persistence, {}, {"appendonly": "yes", "appendfsync": "no"}, "ok", "system had not written"),
    (settings.persistence, {"aof_enabled": "1"}, {}, "ok", "cannot tell how often"),
    (settings.persistence, {"aof_enabled": "0"}, {}, "warning", "cannot tell about snapshots"),
    (settings.persistence, {}, {"appendonly": "no", "save": ""}, "warning", "all streams"),
    (settings.persistence, {}, {"appendonly": "no", "save": "3600 1"}, "warning", "save 3600 1"),
    (settings.persistence, {"aof_last_write_status": "err"}, {"appendonly": "yes"}, "problem", "aof_last_write_status"),
    (
        settings.pushes,
        {},
        {_BUFFER: "normal 0 0 0 pubsub 33554432 8388608 60"},
        "ok",
        "hard 32 MiB, soft 8 MiB for 60 s",
    ),
    (settings.pushes, {}, {_BUFFER: "pubsub 0 0 0"}, "ok", "hard 0 MiB"),
    (settings.pushes, {}, {_BUFFER: "pubsub 1048576 0 0"}, "warning", "hard 1 MiB"),
    (settings.pushes, {}, {_BUFFER: "pubsub 0 1000 60"}, "warning", "soft"),
]


@pytest.mark.parametrize(("check", "info", "config", "level", "found"), CASES)
def test_checks(check: Check, info: dict[str, str], config: dict[str, str], level: str, found: str) -> None:
    """Each check says how bad it is, what it found, and what to change where that is bad."""
    finding = check(Facts(info, config))
    assert finding.level.value == level
    assert found in finding.found
    assert bool(finding.advice) == (level in {"warning", "problem"})


@pytest.mark.parametrize("check", settings.CHECKS)
def test_nothing_told(check: Check) -> None:
    """A server that tells nothing is no failure: it cannot be told."""
    finding = check(Facts({}, {}))
    assert finding.level.value == "unknown"
    assert finding.found.startswith("cannot tell")

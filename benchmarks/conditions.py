"""When and where it was measured, and with what."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path

from redis import Redis

from .peers import NPM, has_npm


def conditions(port: int, *, use_uvloop: bool) -> dict[str, str]:
    """Return them by name."""
    loop = f"uvloop {version('uvloop')}" if use_uvloop else "asyncio"
    found = {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "load": f"{os.getloadavg()[0]:.2f} at the start",
        "Python": f"{platform.python_version()}, {loop}",
        "clients": f"redis-py {version('redis')}, hiredis {version('hiredis')}",
        "server": _server(port),
    }
    if has_npm():
        node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
        found["Node"] = f"{node}, {', '.join(map(_npm_version, ('resumable-stream', 'redis', 'ioredis')))}"
    return found


def _server(port: int) -> str:
    with Redis(port=port, protocol=2) as client:
        about = client.info("server")
    name = "Valkey" if "valkey_version" in about else "Redis"
    return f"{name} {about.get('valkey_version', about['redis_version'])}, on the loopback interface"


def _npm_version(name: str) -> str:
    package = json.loads((NPM / "node_modules" / name / "package.json").read_text(encoding="utf-8"))
    return f"{name} {package['version']}"


def _processor() -> str:
    description = Path("/proc/cpuinfo")
    if description.exists():
        for line in description.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown processor"

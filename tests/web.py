"""Web servers, which tests start as processes."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import httpx

_PATIENCE = 30.0


def wait_until_served(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when something answers at an address, whatever it says.

    Raises:
        RuntimeError: The process has ended, or nothing came of it. Its log is in the message.
    """
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            httpx.get(url, trust_env=False)
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"nothing is served at {url}:\n{log.read_text(errors='replace')}")

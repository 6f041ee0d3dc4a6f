"""What processes use, as the system and the server tell."""

from __future__ import annotations

from pathlib import Path

from .stage import Stage

_ESTABLISHED = "01"


def server_cpu(stage: Stage) -> float:
    """Return the processor time that the server has used, in seconds."""
    with stage.client() as client:
        about = client.info("cpu")
    return float(about["used_cpu_sys"]) + float(about["used_cpu_user"])


def connections_of(pid: int, port: int) -> int:
    """Return how many connections a process has to a port of the loopback interface."""
    remote = f"0100007F:{port:04X}"
    inodes = set()
    for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if fields[2] == remote and fields[3] == _ESTABLISHED:
            inodes.add(f"socket:[{fields[9]}]")
    descriptors = Path(f"/proc/{pid}/fd")
    return sum(_target(descriptor) in inodes for descriptor in descriptors.iterdir())


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:  # closed meanwhile
        return ""

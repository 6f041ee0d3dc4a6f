"""Who is compared."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from .peers import NPM, has_npm, python_of

_HERE = Path(__file__).parent
_NODE_PROGRAM = str(_HERE / "contestants" / "npm.mjs")


@dataclass(frozen=True)
class Contestant:
    """One program, and how it is started."""

    name: str
    python: str = sys.executable
    module: str = ""
    """Of `benchmarks.contestants`. Empty: it runs on Node."""
    node_kind: str = ""
    use_uvloop: bool = False
    slowness: int = 1
    """By how much it is slower than the others at work that goes as fast as it can: it is given that much less."""

    def command(self, url: str) -> list[str]:
        """Return how to start it."""
        if not self.module:
            return ["node", _NODE_PROGRAM, url, str(NPM), self.node_kind]
        options = ["--uvloop"] if self.use_uvloop else []
        return [self.python, "-m", f"benchmarks.contestants.{self.module}", url, *options]

    def on_uvloop(self) -> Contestant:
        """Return the same on uvloop."""
        return replace(self, name=f"{self.name}, uvloop", use_uvloop=True)


OURS = Contestant("ours", module="ours")
OURS_AT_ONCE = Contestant("ours, linger=0", module="ours_at_once")
OURS_LINGERING = Contestant("ours, linger=0.02", module="ours_lingering")
BARE = Contestant("bare redis-py", module="bare_redis_py", slowness=20)
BARE_APPEND = Contestant("bare redis-py, one append each", module="bare_append", slowness=20)
BARE_PAIRS = Contestant("bare redis-py, each chunk a value of its own", module="bare_pairs")
FLOOR = Contestant("bare hiredis", module="bare_hiredis")
FLOOR_OF_MANY = Contestant("bare hiredis, one append each", module="bare_log")
SOURCE = Contestant("source alone", module="source")
NODE_SOURCE = Contestant("source alone, Node", node_kind="source")
NODE_REDIS = Contestant("npm, node-redis", node_kind="redis")
IOREDIS = Contestant("npm, ioredis", node_kind="ioredis")
PYPI = Contestant("PyPI resumable-stream", python=str(python_of("pypi")), module="pypi")
ASSISTANT = Contestant("assistant-stream", python=str(python_of("assistant")), module="assistant", slowness=20)

NPM_PEERS = (NODE_REDIS, IOREDIS)
PYTHON_PEERS = (PYPI, ASSISTANT)
PEERS = (*NPM_PEERS, *PYTHON_PEERS)


def present(*contestants: Contestant) -> list[Contestant]:
    """Return those that can be started here: without Node the peers from npm are left out, and the report says so."""
    return [one for one in contestants if one.module or has_npm()]

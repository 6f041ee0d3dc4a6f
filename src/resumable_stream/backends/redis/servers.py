"""What the backend needs of the servers, however they are laid out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from ...abc import OnPush
from .scripts import Script

OnMessage = Callable[[bytes], None]
OnInterrupted = Callable[[], None]


class ScriptCall(NamedTuple):
    """Keys and arguments of one run of a script. All keys are of one stream, so they are on one server."""

    keys: Sequence[str]
    args: Sequence[str | bytes | int]


AppendCall: TypeAlias = tuple[Sequence[str], Sequence[str | bytes | int], str]
"""Keys and arguments of one append, and the end to record, if it ends its stream, which goes after all arguments.

Not a named tuple, which takes ten times as long to make.
"""


class Servers(ABC):
    """One server, or several that share the work.

    Opens a constant number of connections, however many streams there are. Every script can be repeated, so a command
    whose connection broke is repeated, once and at once; having patience is for the layers above.

    **Errors** are the driver's: `RedisError`, `OSError`, `TimeoutError`.
    """

    push_command: str = "PUBLISH"
    """How scripts push: ``SPUBLISH`` where channels belong to slots. Known once connected."""

    @abstractmethod
    async def connect(self, notices: str, on_notice: OnMessage, on_interrupted: OnInterrupted) -> None:
        """Get ready, and call ``on_notice`` for each message on the channel ``notices`` from now on.

        ``on_interrupted`` is called when a connection breaks on which pushes are heard, and each time that it cannot be
        made anew.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of all connections. Calls that are under way fail. Works after a failed `connect`, and twice."""

    @abstractmethod
    async def run(self, script: Script, call: ScriptCall) -> Any:
        """Run a script and return its reply."""

    @abstractmethod
    async def append(self, script: Script, shared: str, calls: Iterable[AppendCall]) -> Sequence[Any]:
        """Run the append script for many streams, with ``shared`` as the first argument of each run.

        May be called while it runs, for other streams. What it sends is not behind anything that `run` sends. Calls
        come one by one: were they there all at once, the garbage collector would have to look through them.

        Returns:
            For each call, in order, nothing, if it was simply accepted; else its three values; or the error that kept
            it from being made, which is raised if no call was made at all.
        """

    @abstractmethod
    async def subscribe(self, channel: str, on_push: OnPush) -> None:
        """Call ``on_push`` for each message on a stream's channel, from when this returns.

        Raises:
            BackendError: The server does not confirm. Nothing is subscribed to.
        """

    @abstractmethod
    async def unsubscribe(self, channel: str) -> None:
        """Stop calling. The server is told, and not waited for."""

    @abstractmethod
    def scan(self, pattern: str) -> AsyncIterator[str]:
        """Yield the keys that match, on all servers. One may come twice."""

"""Where contestants take turns."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
from redis import Redis

from tests.servers import binaries, running

from .contestants.sources import GO, JOINED, RELEASE
from .driver import Driver, DriverError, Order
from .field import Contestant
from .findings import Table

_SERVERS = ("redis-server", "valkey-9", "redis-6.2")


@dataclass(frozen=True)
class Stage:
    """A server of its own, and how much is to be measured."""

    port: int
    pid: int
    is_quick: bool = False
    use_uvloop: bool = False
    repeats: int = 5

    @property
    def url(self) -> str:
        """The server's."""
        return f"redis://127.0.0.1:{self.port}/0"

    def pick(self, full: int, quick: int) -> int:
        """Return how much, by whether it is to be quick."""
        return quick if self.is_quick else full

    def times(self, full: int | None = None) -> int:
        """Return how many samples to take."""
        return min(full or self.repeats, self.repeats)

    def client(self) -> Redis:
        """Return a client of its own."""
        return Redis(port=self.port, protocol=2)

    def flush(self) -> None:
        """Let the server forget all streams."""
        with self.client() as client:
            client.flushall()

    def dressed(self, contestants: Sequence[Contestant]) -> list[Contestant]:
        """Return contestants as they run: with the option, those in Python are on uvloop."""
        return [one.on_uvloop() if self.use_uvloop and one.module else one for one in contestants]

    def names(self, *contestants: Contestant) -> list[str]:
        """Return their names as they run."""
        return [one.name for one in self.dressed(contestants)]


@dataclass
class Pair:
    """Two processes of one contestant: one publishes, the other follows."""

    contestant: Contestant
    publisher: Driver
    follower: Driver

    async def open(self, gate: str, tag: str) -> None:
        """Let sources go on."""
        await self.publisher.call("open_gate", gate=gate, tag=tag)

    async def release(self, tag: str) -> None:
        """Let sources that are held come to their end."""
        await self.open(RELEASE, tag)

    async def go(
        self,
        published: Order,
        followed: Order,
        tag: str,
        before_go: Callable[[], Awaitable[None]] | None = None,
    ) -> float:
        """See to it that followers hear, and let the sources of a publisher begin; return when."""
        await published.said("joined")
        await followed.said("joined")
        await self.open(JOINED, tag)
        await followed.said("first")
        if before_go is not None:
            await before_go()
        begun = time.perf_counter()
        await self.open(GO, tag)
        return begun


@asynccontextmanager
async def pair_of(contestant: Contestant, stage: Stage) -> AsyncIterator[Pair]:
    """Start both processes, and end them on leaving."""
    command = contestant.command(stage.url)
    async with Driver(command) as publisher, Driver(command) as follower:
        yield Pair(contestant, publisher, follower)


Sampler = Callable[[Pair, bool], Awaitable[dict[str, float]]]
"""Takes one sample; the flag says that it is a rehearsal, which does not count and can be short."""


async def take_turns(
    stage: Stage,
    table: Table,
    contestants: Sequence[Contestant],
    sample: Sampler,
    *,
    repeats: int | None = None,
    limit: float = 30.0,
    rehearse: bool = True,
    prepare: Callable[[Pair], Awaitable[None]] | None = None,
    keep: bool = False,
    strikes_allowed: int = 1,
) -> None:
    """Take a sample of each in turn, several times, into the table.

    One that fails is started anew, and left out after some failures. It is in the table what was seen.

    Args:
        stage: Where.
        table: What is added to.
        contestants: Who.
        sample: How.
        repeats: How many times.
        limit: Seconds for one sample.
        rehearse: Whether there is one that does not count, so that programs are warm.
        prepare: Called with each pair of processes that was started.
        keep: Whether the server keeps what it has from one sample to the next.
        strikes_allowed: After how many failures more it is left out.
    """
    pairs: dict[str, Pair] = {}
    strikes: dict[str, int] = {}
    async with AsyncExitStack() as stack:
        for turn in range(-1 if rehearse else 0, stage.times(repeats)):
            for contestant in contestants:
                name = contestant.name
                if strikes.get(name, 0) > strikes_allowed:
                    continue
                try:
                    with anyio.fail_after(limit):
                        if name not in pairs:
                            pairs[name] = await stack.enter_async_context(pair_of(contestant, stage))
                            if prepare is not None:
                                await prepare(pairs[name])
                        taken = await sample(pairs[name], turn < 0)
                    if turn >= 0:
                        table.add(name, taken)
                except (DriverError, TimeoutError, ConnectionError) as error:
                    strikes[name] = strikes.get(name, 0) + 1
                    table.fail(name, _seen(error, limit))
                    if (broken := pairs.pop(name, None)) is not None:
                        broken.publisher.kill()
                        broken.follower.kill()
                if not keep:
                    stage.flush()
        stage.flush()


def _seen(error: Exception, limit: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no end within {limit:g} s"
    return str(error) or type(error).__name__


def new_name() -> str:
    """Return a name for a stream."""
    return secrets.token_hex(8)


def check(found: dict[str, object], expected: Sequence[object]) -> None:
    """See whether readers have got the right texts.

    Raises:
        DriverError: One has not, or has none.
    """
    if found["failures"]:
        raise DriverError(f"readers failed: {found['failures']}")
    texts = found["texts"]
    assert isinstance(texts, list), "as the drivers say it"
    wrong = sum(one != other for one, other in zip(texts, expected, strict=True))
    if wrong:
        raise DriverError(f"{wrong} of {len(texts)} readers got a wrong text; characters: {_some(found['lengths'])}")


def _some(lengths: object) -> object:
    return lengths[:5] if isinstance(lengths, list) else lengths


@contextmanager
def server() -> Iterator[tuple[int, int]]:
    """Start a Redis server; yield its port and its process id."""
    found = binaries()
    with running(_binary(found)) as started:
        yield started.port, started.pid


def _binary(found: dict[str, Path]) -> Path:
    return next(found[name] for name in _SERVERS if name in found)

"""Whoever is cancelled, and at whatever moment: the others never notice, and nothing is left behind.

Each test plays one story again and again, cancels somebody each time at another moment, and looks at what is left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Literal, get_args

import anyio
import pytest
from anyio.lowlevel import checkpoint
from typing_extensions import override

from resumable_stream import (
    ContextClosedError,
    Limits,
    ResumableStream,
    ResumableStreamContext,
    StreamGoneError,
    StreamState,
)
from resumable_stream._core.packing import pack, unpack
from resumable_stream.abc import StreamBackend
from resumable_stream.backends.memory import MemoryBackend, MemoryStore
from resumable_stream.testing import ManualClock
from resumable_stream.testing.faults import Call, Fault, FaultyBackend, Hold
from resumable_stream.types import Append, Claim
from tests.streams import Tap, collect, never, take

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])  # in whatever loop, the same is to be cancelled

ENOUGH = 1024 * 1024
WHOLE = ["a", "b", "c"]
DONE, STOPPED, LOST = StreamState.DONE, StreamState.STOPPED, StreamState.LOST
LIMITS = Limits(pending_chunks=1, window_bytes=1, page_bytes=1)  # so that there are many calls
LEASE, LEASE_OF_THE_DEAD = 30.0, 1.0

Victim = Literal["caller", "reader", "context", "host"]
"""Who is cancelled: who opens the stream or does something to it; who reads it; all that is inside of the context,
which is left so; or the context's own task as well, as when an event loop is torn down."""
Stream = ResumableStream[str]


class HoldReply(Hold):
    """Holds the answers to calls back. One that is cancelled meanwhile was carried out."""

    @override
    async def __call__(self, call: Call) -> Any:
        """Carry out the call, and wait."""
        answer = await call()

        async def done() -> Any:
            return answer

        return await super().__call__(done)


class HoldingBackend(FaultyBackend):
    """Holds one call: the one with a number, of all calls of all methods."""

    def __init__(self, number: int, hold: Hold) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(clock=self.clock)
        self.memory = MemoryBackend(self.store)
        self.hold = hold
        self.held = ""
        """The method whose call was held."""
        self._number = number
        self._calls = 0
        super().__init__(self.memory, on_call=self._fault_of)

    @override
    async def aclose(self) -> None:
        await self._fault_of("aclose")(super().aclose)

    def _fault_of(self, method: str) -> Fault:
        self._calls += 1
        if self._calls != self._number:
            return pause
        self.held = method
        return self.hold


async def pause(call: Call) -> Any:
    """Take a moment, and another one until the answer is there."""
    await checkpoint()
    answer = await call()
    await checkpoint()
    return answer


def make_context(backend: StreamBackend) -> ResumableStreamContext:
    """Make a context in which nothing waits for a clock, so that the passes of the loop can be counted."""
    return ResumableStreamContext(backend, limits=LIMITS, lease=LEASE, drain_timeout=0, linger=0)


class Stage:
    """What a story is played on: a process whose calls are held, and one that nobody mistreats."""

    def __init__(self, elsewhere: ResumableStreamContext, backend: HoldingBackend) -> None:
        self.elsewhere = elsewhere
        self.store = backend.store
        self.clock = backend.clock
        self.backend = backend
        self.context = make_context(backend)
        self.tap = Tap("a", "b")
        """What makes the chunks, in whichever process."""
        self.is_reached = False
        """Whether the story lasted until the moment at which somebody is cancelled."""
        self.has_cancelled = False
        """Whether the victim was doing something then."""
        self.companion: list[str] = []
        """What another reader in the process got."""
        self.has_seen_two = anyio.Event()
        """Set when it has two chunks."""
        self.has_let_go = anyio.Event()
        """Set when the call that was held went on."""
        self.streams: list[Stream] = []
        """Those that were closed, kept so that it is not forgetting them that lets go of them."""
        self._scopes: dict[Victim, anyio.CancelScope] = {}
        self._is_ended = False

    @contextmanager
    def played_by(self, victim: Victim) -> Iterator[None]:
        """Have what is inside cancelled with the victim."""
        with anyio.CancelScope() as self._scopes[victim]:
            try:
                yield
            finally:
                del self._scopes[victim]

    async def cancel_when_held(self, victim: Victim) -> None:
        """Cancel the victim while a call is held, and then let that go on."""
        await self.backend.hold.is_reached.wait()
        await settle()
        self._cancel(victim)
        await settle()
        self.backend.hold.release()
        self.has_let_go.set()

    async def cancel_after(self, victim: Victim, passes: int) -> None:
        """Cancel the victim after so many passes of the event loop."""
        for _ in range(passes):
            await checkpoint()
        self.is_reached = True
        self._cancel(victim)

    def _cancel(self, victim: Victim) -> None:
        host = self.context._runtime._host
        if victim == "host" and host is not None:
            host.cancel()
        scope = self._scopes.get("context" if victim == "host" else victim)
        if scope is not None:
            self.has_cancelled = True
            scope.cancel()

    def end(self) -> None:
        """Have the last chunk made."""
        if not self._is_ended:
            self._is_ended = True
            self.tap.end("c")

    def take_over(self, chunks: list[str]) -> AsyncIterator[str]:
        """Go on after what the dead one made."""
        assert chunks == WHOLE[: len(chunks)]
        return self.tap()

    def log(self) -> tuple[StreamState | None, list[str]]:
        """Return what the store has of the stream."""
        page = self.store.read("s", 0, ENOUGH)
        if page is None:
            return None, []
        return page.info.state, [str(chunk) for entry in page.entries for chunk in unpack(entry.payload, entry.count)]


async def settle() -> None:
    """Let everybody do what they can do now."""
    for _ in range(15):
        await checkpoint()


@dataclass(frozen=True)
class Story:
    """A stream is opened and read; when two chunks have come, somebody does something; then it comes to its end."""

    name: str
    opens: Callable[[Stage], Awaitable[Stream | None]]
    prepare: Callable[[Stage], Awaitable[object]]
    """Happens before the context is entered."""
    act: Callable[[Stage], Awaitable[object]]
    ends: set[StreamState | None]
    """What may become of the stream if the caller or the reader is cancelled. ``None``: there is none."""
    ends_with_context: set[StreamState | None]
    """The same if the context is left at any time."""
    start: int = 0
    """Where readers start."""
    is_left: bool = False
    """Whether the context is left before the stream has come to its end."""
    has_others: bool = True
    """Whether somebody else in the process reads, too."""


async def nothing(_stage: Stage) -> None:
    """Do nothing."""


async def publish(stage: Stage) -> Stream | None:
    """Publish, or read what is published in this process."""
    return await stage.context.resumable_stream("s", stage.tap)


async def follow(stage: Stage) -> Stream | None:
    """Read what another process publishes."""
    return await stage.context.resumable_stream("s", never)


async def skip(stage: Stage) -> Stream | None:
    """Read, in the call itself, past what was seen."""
    return await stage.context.resume_existing_stream("s", skip_characters=1)


async def offer_takeover(stage: Stage) -> Stream | None:
    """Read, and take the stream over if it is lost."""
    return await stage.context.resumable_stream("s", never, takeover=stage.take_over)


async def published_elsewhere(stage: Stage) -> None:
    """The other process publishes."""
    await take(await stage.elsewhere.resumable_stream("s", stage.tap), 2)


async def finished_elsewhere(stage: Stage) -> None:
    """The other process has published."""
    stage.end()
    await collect(await stage.elsewhere.resumable_stream("s", stage.tap))


async def published_by_the_dead(stage: Stage, *chunks: str) -> None:
    """A process that is dead by now has published."""
    stage.store.acquire("s", Claim("dead", LEASE_OF_THE_DEAD, retention=60.0, tombstone=60.0))
    stage.store.append(Append("s", "dead", 1, 0, len(chunks), pack(list(chunks))))


async def lost(stage: Stage) -> None:
    """The stream is lost before anybody comes."""
    await published_by_the_dead(stage, "a")
    stage.clock.advance(LEASE_OF_THE_DEAD * 2)
    stage.tap = Tap("b")


async def about_to_be_lost(stage: Stage) -> None:
    """The stream will be lost when its readers are there."""
    await published_by_the_dead(stage, "a", "b")
    stage.tap = Tap()


async def lose(stage: Stage) -> None:
    """Have the stream lost, and the process look."""
    stage.clock.advance(LEASE_OF_THE_DEAD * 2)
    stage.backend.memory.on_push("s", None)


async def stop(stage: Stage) -> None:
    """Stop the stream."""
    await stage.context.stop("s")


async def delete(stage: Stage) -> None:
    """Delete the stream, when the call that was held cannot make it anew."""
    if stage.backend.held:
        await stage.has_let_go.wait()
    await stage.context.delete("s")


STORIES = [
    Story("publish", publish, nothing, nothing, {DONE}, {DONE, STOPPED, None}),
    Story("leave", publish, nothing, nothing, {STOPPED}, {STOPPED, None}, is_left=True),
    Story("follow", follow, published_elsewhere, nothing, {DONE}, {DONE}),
    Story("leave another's", follow, published_elsewhere, nothing, {DONE}, {DONE}, is_left=True),
    Story("replay", follow, finished_elsewhere, nothing, {DONE}, {DONE}),
    Story("skip", skip, published_elsewhere, nothing, {DONE}, {DONE}, start=1),
    Story("take over", offer_takeover, lost, nothing, {DONE}, {DONE, STOPPED, LOST}),
    Story("wait and take over", offer_takeover, about_to_be_lost, lose, {DONE}, {DONE, STOPPED, LOST}),
    Story("publish alone", publish, nothing, nothing, {DONE}, {DONE, STOPPED, None}, has_others=False),
    Story("follow alone", follow, published_elsewhere, nothing, {DONE}, {DONE}, has_others=False),
    Story("take over alone", offer_takeover, lost, nothing, {DONE}, {DONE, STOPPED, LOST}, has_others=False),
    Story(
        "wait and take over alone",
        offer_takeover,
        about_to_be_lost,
        lose,
        {DONE, LOST},
        {DONE, STOPPED, LOST},
        has_others=False,
    ),
    Story("stop", publish, nothing, stop, {STOPPED}, {STOPPED, None}),
    Story("stop another's", follow, published_elsewhere, stop, {DONE, STOPPED}, {DONE, STOPPED}),
    Story("delete", publish, nothing, delete, {DONE, None}, {DONE, STOPPED, None}),
    Story("delete another's", follow, published_elsewhere, delete, {DONE, None}, {DONE, None}),
]
SHORT_STORIES = [story for story in STORIES if not story.has_others or story.name in ("skip", "stop", "delete")]
"""Those that together come by every await there is."""


async def play(story: Story, stage: Stage) -> None:
    """Play a story to its end, or until the context is cancelled."""
    async with anyio.create_task_group() as readers, stage.context:
        with stage.played_by("caller"):
            readers.start_soon(read if story.has_others else read_and_forget, stage, await story.opens(stage))
        if story.has_others:
            readers.start_soon(read_along, stage, await story.opens(stage))
        if story.has_others or not stage.has_cancelled:
            await stage.has_seen_two.wait()
        with stage.played_by("caller"):
            await story.act(stage)
        if not story.is_left:
            stage.end()
            await check_idle(stage)


async def read(stage: Stage, stream: Stream | None) -> None:
    """Read what the caller opened, to the end."""
    assert stream is not None
    stage.streams.append(stream)
    with stage.played_by("reader"):
        async with stream:
            await drain(stream, [])


async def read_and_forget(stage: Stage, stream: Stream | None) -> None:
    """Read, as the only one, and do not close the stream."""
    with stage.played_by("reader"):
        await take(stream, 2)
        stage.has_seen_two.set()
        assert stream is not None
        await drain(stream, [])
    stage.has_seen_two.set()


async def read_along(stage: Stage, stream: Stream | None) -> None:
    """Read to the end, and be cancelled by nobody."""
    assert stream is not None
    async with stream:
        stage.companion += await take(stream, 2 - stream.index)
        stage.has_seen_two.set()
        await drain(stream, stage.companion)


async def drain(stream: Stream, chunks: list[str]) -> None:
    """Read to the end, or until the stream is deleted or the context is left."""
    with suppress(StreamGoneError, ContextClosedError):
        async for chunk in stream:
            chunks.append(chunk)


def remains_of(stage: Stage) -> dict[str, object]:
    """Return what the process still keeps for callers, readers and publishers."""
    runtime = stage.context._runtime
    assert runtime._tasks is not None
    hub = runtime._tasks.hub
    kept = {
        "calls": runtime._opening,
        "publishers": list(runtime._publishers),
        "offers": runtime._offers,
        "feeds": hub._feeds,
        "reads": hub._updating,
        "subscriptions": stage.backend.memory._subscriptions,
    }
    return {name: value for name, value in kept.items() if value}


async def check_idle(stage: Stage) -> None:
    """Check that nothing is left of callers, readers and publishers when all have come to their end."""
    with anyio.move_on_after(5):
        while remains_of(stage):
            await checkpoint()
    assert remains_of(stage) == {}


async def check_end(story: Story, stage: Stage, victim: Victim) -> None:
    """Check what became of the stream, and of what made it, when the context was left."""
    stage.end()
    stage.clock.advance((LEASE if stage.tap.calls == 0 else LEASE_OF_THE_DEAD) * 2)
    is_cut_short = victim in ("context", "host") and stage.has_cancelled
    ends = story.ends_with_context if is_cut_short else story.ends
    seen: list[str] = []
    state, _ = stage.log()
    if state not in (None, LOST):
        stream = await stage.elsewhere.resume_existing_stream("s")
        assert stream is not None
        await drain(stream, seen)
    state, text = stage.log()
    assert state in ends | ({LOST} if victim == "host" else set())  # it may just have acquired the stream
    assert text == WHOLE[: len(text)]
    if state is DONE:
        assert text == seen == WHOLE
    if state is DONE and story.has_others and not (is_cut_short or story.is_left):
        assert stage.companion == WHOLE[story.start :]
    assert stage.tap.calls <= 1
    assert stage.tap.is_closed.is_set() == (stage.tap.calls == 1)
    # A task that is cancelled before its first step has no chance to close anything.
    assert victim == "host" or stage.backend.memory not in stage.store._backends


@pytest.mark.parametrize("make_hold", [Hold, HoldReply], ids=["before", "after"])
@pytest.mark.parametrize("victim", get_args(Victim))
@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
async def test_cancelled_at_every_call(story: Story, victim: Victim, make_hold: Callable[[], Hold]) -> None:
    """Promise 2, while any call is under way: the run goes on, others read all of it, and nothing is left behind."""
    cancellations = 0
    for number in count(1):
        stage = await rehearse(story, victim, HoldingBackend(number, make_hold()), Stage.cancel_when_held)
        cancellations += stage.has_cancelled
        if not stage.backend.held:
            break
    assert cancellations


@pytest.mark.parametrize("victim", get_args(Victim))
@pytest.mark.parametrize("story", SHORT_STORIES, ids=lambda story: story.name)
async def test_cancelled_at_every_pass(story: Story, victim: Victim) -> None:
    """The same between any two passes of the event loop, and so at every await there is."""
    cancellations = 0
    for number in count():
        stage = await rehearse(story, victim, HoldingBackend(0, Hold()), partial(Stage.cancel_after, passes=number))
        cancellations += stage.has_cancelled
        if not stage.is_reached:
            break
    assert cancellations


async def rehearse(
    story: Story,
    victim: Victim,
    backend: HoldingBackend,
    cancel: Callable[[Stage, Victim], Coroutine[Any, Any, None]],
) -> Stage:
    """Play a story, in which somebody is cancelled, and check how it ends."""
    tasks = asyncio.all_tasks()
    context = ResumableStreamContext(
        MemoryBackend(backend.store), limits=LIMITS, lease=LEASE, drain_timeout=0, linger=0
    )
    with anyio.fail_after(10):
        async with context as elsewhere:
            stage = Stage(elsewhere, backend)
            await story.prepare(stage)
            async with anyio.create_task_group() as watching:
                watching.start_soon(cancel, stage, victim)
                with stage.played_by("context"):
                    await play(story, stage)
                watching.cancel_scope.cancel()
            await check_end(story, stage, victim)
    assert asyncio.all_tasks() == tasks
    return stage

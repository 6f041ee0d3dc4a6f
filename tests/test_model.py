"""Models of the protocol: whatever is done, in whatever order, stores and contexts do what the contracts say.

Hypothesis makes up what is done. `make test` does the same each time, and little of it. To look for faults, say how
many examples to try, at random: ``MODEL_EXAMPLES=5000 python -m pytest tests/test_model.py --timeout=0``.
"""

from __future__ import annotations

import asyncio
import os
import selectors
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from unittest.mock import patch

import anyio
import fakeredis
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from resumable_stream import (
    BackendError,
    BackendUnavailableError,
    ContextClosedError,
    InvalidPositionError,
    Limits,
    PublisherFailedError,
    PublisherLostError,
    ResumableStream,
    ResumableStreamContext,
    StreamBackend,
    StreamGoneError,
    StreamInfo,
    StreamState,
)
from resumable_stream._core.packing import unpack
from resumable_stream.backends.memory import MemoryBackend, MemoryStore
from resumable_stream.backends.redis import RedisBackend
from resumable_stream.testing import ManualClock
from resumable_stream.testing.faults import Fault, FaultyBackend, Method, delay, lose_reply, refuse, repeat
from resumable_stream.types import Acquired, Append, Appended, AppendStatus, Claim, End, Entry, EpochStart, Page, Push

T = TypeVar("T")

Wanted = tuple[str, int, bytes, End | None]

ENOUGH = 1024 * 1024
TICK = 0.125
"""The least time that passes, in seconds: exact as a float and in milliseconds, so that all clocks agree to the bit."""
START = 1_000_000.0
GRACE = 60.0
"""How long entries can be read after the retention, by the contract."""

IDS = ["a", "b"]


def profile(examples: int, steps: int) -> settings:
    """Return how to run a machine: always the same way, or as many random examples as the environment says."""
    wanted = os.environ.get("MODEL_EXAMPLES")
    return settings(
        max_examples=int(wanted or examples),
        stateful_step_count=steps,
        derandomize=wanted is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )


# --- The contract of a backend ---------------------------------------------------------------------------------------


@dataclass
class Modelled:
    """One stream, as the contract has it. What time makes of it is not stored, but told for a moment."""

    stream_id: str
    claim: Claim
    """Its newest owner's."""
    created_at: float
    leased_until: float
    generation: str
    epoch: int = 1
    epoch_start: int = 0
    takeovers: tuple[EpochStart, ...] = ()
    entries: list[Entry] = field(default_factory=list)
    reason: str = ""
    """Why it was asked to stop."""
    recorded: tuple[End, float] | None = None
    last: Append | None = None
    """What was written last."""

    @property
    def length(self) -> int:
        """How many chunks are logged."""
        return self.entries[-1].stop if self.entries else 0

    def ended(self, now: float) -> tuple[End, float] | None:
        """Return how and when it ended: as was recorded, or with its lease."""
        if self.recorded is not None or now <= self.leased_until:
            return self.recorded
        end = End(StreamState.STOPPED, reason=self.reason) if self.reason else End(StreamState.LOST)
        return end, self.leased_until

    def ends_with(self, append: Append) -> bool:
        """Whether what is to be appended is what is logged last, be it by that append or by another."""
        end = self.recorded[0] if self.recorded else None
        entry = (append.first, append.count, append.payload)
        return (
            append.stop == self.length
            and append.end == end
            and (entry in (logged[:3] for logged in self.entries) or (not append.count and end is not None))
        )

    def since_retention(self, now: float) -> float:
        """Return how long its retention has been over, in seconds; negative if it is not."""
        ended = self.ended(now)
        return now - ended[1] - self.claim.retention if ended else -1.0

    def is_readable(self, now: float) -> bool:
        """Whether readers may join."""
        return self.since_retention(now) < 0

    def is_known(self, now: float) -> bool:
        """Whether its id is taken."""
        return self.since_retention(now) < self.claim.tombstone

    def is_lost(self, now: float) -> bool:
        """Whether it is lost, and can still be read."""
        ended = self.ended(now)
        return ended is not None and ended[0].state is StreamState.LOST and self.is_readable(now)

    def may_be_taken_over(self, claim: Claim, now: float) -> bool:
        """Whether who makes this claim takes it over."""
        return self.is_lost(now) and claim.allow_lost and claim.lost_epoch in (0, self.epoch)

    def describe(self, now: float) -> StreamInfo:
        """Return what a store should say of it."""
        end, ended_at = self.ended(now) or (End(StreamState.RUNNING), None)
        has_lease = end.state in (StreamState.RUNNING, StreamState.LOST)
        return StreamInfo(
            self.stream_id,
            self.generation,
            self.epoch,
            end.state,
            self.length,
            self.created_at,
            ended_at,
            self.is_readable(now),
            end.error_type,
            end.error_message,
            end.reason,
            self.epoch_start,
            self.leased_until - now if has_lease else 0.0,
            self.takeovers[-20:],
        )

    def moments(self) -> Iterator[float]:
        """Yield when time changes something."""
        ended_at = self.recorded[1] if self.recorded else self.leased_until
        after = ended_at + self.claim.retention
        yield from (ended_at, after, after + self.claim.tombstone, after + GRACE)


class Model:
    """A store, as the contract has it."""

    def __init__(self) -> None:
        self.now = START
        self.streams: dict[str, Modelled] = {}
        """With those that are forgotten, but may still be read."""
        self.generations: dict[str, list[str]] = {stream_id: ["none"] for stream_id in IDS}
        self.made: dict[str, list[Append]] = {stream_id: [] for stream_id in IDS}

    def find(self, stream_id: str) -> Modelled | None:
        """Return a stream, unless its id is free."""
        stream = self.streams.get(stream_id)
        return stream if stream and stream.is_known(self.now) else None

    def acquire(self, stream_id: str, claim: Claim) -> tuple[Acquired, bool]:
        """Return the answer, and whether a lost stream was taken over."""
        stream = self.find(stream_id)
        is_taken_over = stream is not None and stream.may_be_taken_over(claim, self.now)
        if stream is None:
            if not claim.allow_new:
                return Acquired(is_publisher=False, info=None), False
            stream = Modelled(stream_id, claim, self.now, self.now + claim.lease, generation=claim.token)
            self.streams[stream_id] = stream
            self.generations[stream_id].append(claim.token)
        elif is_taken_over:
            stream.epoch, stream.epoch_start = stream.epoch + 1, stream.length
            stream.claim, stream.leased_until = claim, self.now + claim.lease
            stream.takeovers += (EpochStart(stream.epoch, stream.length, self.now),)
        is_owner = stream.claim.token == claim.token
        return Acquired(is_owner, stream.describe(self.now)), is_taken_over

    def append(self, append: Append) -> tuple[set[AppendStatus], Push | None]:
        """Return which status the answer may have, and what is pushed."""
        stream = self.streams.get(append.stream_id)
        if stream is None or stream.generation != append.generation:
            return {AppendStatus.GONE}, None
        refusals = set(self.refusals(stream, append))
        if stream.last == append and stream.epoch == append.epoch and stream.is_readable(self.now):
            return {AppendStatus.ACCEPTED}, None
        if refusals and stream.epoch == append.epoch and stream.ends_with(append):
            return {AppendStatus.ACCEPTED} | refusals, None
        if refusals:
            return refusals, None
        stream.leased_until = self.now + stream.claim.lease
        if not append.count and not append.end:
            return {AppendStatus.ACCEPTED}, None
        entry = Entry(append.first, append.count, append.payload) if append.count else None
        stream.entries += [entry._replace(at=self.now)] if entry else []
        stream.recorded = (append.end, self.now) if append.end else None
        stream.last = append
        return {AppendStatus.ACCEPTED}, Push(stream.generation, stream.epoch, stream.length, entry, append.end)

    def refusals(self, stream: Modelled, append: Append) -> Iterator[AppendStatus]:
        """Yield what an append that is not a repetition may be refused with."""
        if not stream.is_known(self.now):
            yield AppendStatus.GONE  # which not every store notices, as long as something is left of it
        if stream.epoch != append.epoch or stream.ended(self.now):
            yield AppendStatus.FENCED
        elif stream.length != append.first:
            yield AppendStatus.MISPLACED

    def request_stop(self, stream_id: str, reason: str) -> tuple[StreamInfo | None, bool]:
        """Return the answer, and whether the publisher has to be told."""
        stream = self.find(stream_id)
        if stream is None:
            return None, False
        is_asked = not stream.reason and (stream.ended(self.now) is None or stream.is_lost(self.now))
        stream.reason = reason if is_asked else stream.reason
        return stream.describe(self.now), is_asked

    def page(self, stream: Modelled, start: int, max_bytes: int) -> list[Entry]:
        """Return the longest page."""
        page: list[Entry] = []
        for entry in stream.entries:
            if entry.stop > start and sum(len(taken.payload) for taken in page) < max_bytes:
                page.append(entry)
        return page


@dataclass(eq=False)
class Side:
    """One backend, as a process would have it, and what it has heard."""

    backend: StreamBackend
    notices: list[str | None] = field(default_factory=list)
    heard: dict[str, list[Push | None]] = field(default_factory=dict)
    """By the stream that is subscribed to."""
    pushed: dict[str, list[Push | None]] = field(default_factory=dict)
    """What was to be heard."""

    def has_heard(self) -> bool:
        """Whether all that was pushed was heard, in order. Nothing else may be, but that something was missed."""
        return all(self._has_heard(stream_id, pushed) for stream_id, pushed in self.pushed.items())

    def _has_heard(self, stream_id: str, pushed: list[Push | None]) -> bool:
        at = 0
        for push in self.heard[stream_id]:
            if at < len(pushed) and push == pushed[at]:
                at += 1
            else:
                assert push is None, f"{push} was heard, and not {pushed[at:]}"
        return at == len(pushed)


ids = st.sampled_from(IDS)
sides = st.sampled_from([0, 1])
mostly = st.sampled_from([True, True, True, False])
seldom = st.sampled_from([False] * 7 + [True])
seconds = st.sampled_from([100.0, 2.0, 0.0])
leases = st.sampled_from([8.0, 1.0])
epochs = st.sampled_from([0, 1, 2])
claims = st.builds(Claim, st.just(""), leases, seconds, seconds, mostly, mostly, epochs)
ends = [
    End(StreamState.DONE),
    End(StreamState.FAILED, error_type="ValueError", error_message='"ü"\n\x00'),
    End(StreamState.STOPPED, reason="enough"),
]
kinds = st.sampled_from(
    [
        *("right", "right", "right", "right", "right", "right"),
        *("again", "older", "other content", "end alone", "of this epoch"),
        *("early", "late", "old epoch", "new epoch", "old generation"),
    ]
)
payloads = st.sampled_from([b"x", b"\n", b"{}\r\n\x00\xff", b"y" * 100])
wanted_appends = st.tuples(kinds, st.sampled_from([1, 2, 3, 0]), payloads, st.sampled_from([None] * 9 + ends))


class Contract(RuleBasedStateMachine):
    """Two backends on one store, whose clock is moved, against a model of the contract."""

    def __init__(self, make_backend: Callable[[], StreamBackend]) -> None:
        super().__init__()
        self.make_backend = make_backend
        self.model = Model()
        self.claims = [Claim("first", 8.0, 100.0, 100.0)]
        self.loop = asyncio.new_event_loop()
        self.sides = [self.run(self.open()) for _ in range(2)]

    def run(self, doing: Awaitable[T]) -> T:
        """Do something in the machine's event loop."""

        async def bounded() -> T:
            with anyio.fail_after(5):
                return await doing

        return self.loop.run_until_complete(bounded())

    async def open(self) -> Side:
        """Return a side that is connected."""
        side = Side(self.make_backend())
        await side.backend.connect(side.notices.append)
        return side

    def pass_time(self, seconds: float) -> None:
        """Let the store's clock pass."""
        raise AssertionError("each machine has its own")

    @rule(at=sides, stream_id=ids, claim=claims, again=seldom)
    def acquire(self, at: int, stream_id: str, claim: Claim, again: bool = False) -> None:
        """Somebody wants a stream, or repeats an earlier claim."""
        if again:
            claim = self.claims[-1]
        else:
            claim = claim._replace(token=f"token-{len(self.claims)}")
            self.claims.append(claim)
        answer = self.run(self.sides[at].backend.acquire(stream_id, claim))
        expected, is_taken_over = self.model.acquire(stream_id, claim)
        assert answer == expected
        assert _lease_left(answer.info) == _lease_left(expected.info)
        if is_taken_over:
            self.run(self.has_news(stream_id))

    @rule(at=sides, begins=mostly, rounds=st.lists(st.tuples(wanted_appends, wanted_appends), min_size=1, max_size=3))
    def publish(self, at: int, begins: bool, rounds: list[tuple[Wanted, Wanted]]) -> None:
        """Publishers append, to both streams in each call, and not all of it is right."""
        if begins:
            for stream_id in IDS:
                self.begin(at, stream_id)
        for wanted in rounds:
            appends = list(map(self.make_append, IDS, wanted))
            answers = self.run(self.sides[at].backend.append(appends))
            assert len(answers) == len(appends)
            for append, answer in zip(appends, answers, strict=True):
                self.check_answer(append, answer)
            self.run(self.hear())

    @rule(at=sides, stream_id=ids, reason=st.sampled_from(["why", "because"]))
    def request_stop(self, at: int, stream_id: str, reason: str) -> None:
        """Somebody wants a stream to stop."""
        answer = self.run(self.sides[at].backend.request_stop(stream_id, reason))
        expected, is_asked = self.model.request_stop(stream_id, reason)
        assert answer == expected
        assert _lease_left(answer) == _lease_left(expected)
        if is_asked:
            self.run(self.wait_for_notice(stream_id))

    @rule(at=sides, stream_id=ids)
    def delete(self, at: int, stream_id: str) -> None:
        """Somebody deletes a stream."""
        existed = self.run(self.sides[at].backend.delete(stream_id))
        is_known = self.model.find(stream_id) is not None
        assert existed is is_known
        self.model.streams.pop(stream_id, None)
        if is_known:
            self.run(self.has_news(stream_id))

    @rule(at=sides, stream_id=ids, start=st.integers(0, 12), max_bytes=st.sampled_from([0, 1, 2, 99, 150, ENOUGH]))
    def read(self, at: int, stream_id: str, start: int, max_bytes: int) -> None:
        """Somebody reads from somewhere."""
        self.check_page(stream_id, self.run(self.sides[at].backend.read(stream_id, start, max_bytes)), start, max_bytes)

    @rule(at=sides, stream_id=ids)
    def subscribe_or_unsubscribe(self, at: int, stream_id: str) -> None:
        """A process begins to follow, or has enough of it."""
        side = self.sides[at]
        if stream_id in side.heard:
            for _ in range(2):  # without a subscription, nothing happens
                self.run(side.backend.unsubscribe(stream_id))
            del side.pushed[stream_id], side.heard[stream_id]
        else:
            heard: list[Push | None] = []
            self.run(side.backend.subscribe(stream_id, heard.append))
            side.heard[stream_id], side.pushed[stream_id] = heard, []

    @rule(at=sides)
    def reopen(self, at: int) -> None:
        """A process ends, and another takes its place."""
        self.run(self.sides[at].backend.aclose())
        self.sides[at] = self.run(self.open())

    @rule(ticks=st.sampled_from([1, 8, 65, 0]), which=st.integers(0, 20), more=st.integers(-1, 1))
    def wait(self, ticks: int, which: int, more: int) -> None:
        """Time passes: some, or until something is about to change, changes at that moment, or has just changed."""
        moments = [moment + more * TICK for stream in self.model.streams.values() for moment in stream.moments()]
        ahead = sorted({moment for moment in moments if moment > self.model.now})
        seconds = ahead[which % len(ahead)] - self.model.now if ahead and not ticks else ticks * TICK
        self.model.now += seconds
        self.pass_time(seconds)

    @invariant()
    def reads_are_right(self) -> None:
        """Every stream reads as the model says."""
        backend = self.sides[0].backend
        for stream_id in IDS:
            self.check_page(stream_id, self.run(backend.read(stream_id, 0, ENOUGH)), 0, ENOUGH)

    @invariant()
    def scan_is_right(self) -> None:
        """Every stream that is known is described once, and no other."""

        async def scan() -> list[StreamInfo]:
            return [info async for info in self.sides[1].backend.scan()]

        known = filter(None, map(self.model.find, IDS))
        described = sorted(self.run(scan()), key=lambda info: info.stream_id)
        assert described == [stream.describe(self.model.now) for stream in known]

    def teardown(self) -> None:
        """Close everything."""
        try:
            for side in self.sides:
                self.run(side.backend.aclose())
            assert not asyncio.all_tasks(self.loop)
        finally:
            self.loop.close()

    def make_append(self, stream_id: str, wanted: Wanted) -> Append:
        """Return an append of some kind to a stream as it is."""
        model, stream = self.model, self.model.streams.get(stream_id)
        kind, count, payload, end = wanted
        owner = (stream.generation, stream.epoch, stream.length) if stream else (model.generations[stream_id][-1], 1, 0)
        right = Append(stream_id, *owner, count, payload if count else b"", end)
        made = model.made[stream_id] or [right]
        append = {
            "right": right,
            "again": made[-1],
            "older": made[count % len(made)],
            "other content": made[-1]._replace(payload=payload if made[-1].count else b"", end=end),
            "end alone": made[-1]._replace(first=made[-1].stop, count=0, payload=b""),
            "of this epoch": made[-1]._replace(epoch=right.epoch),
            "early": right._replace(first=max(right.first - 1, 0)),
            "late": right._replace(first=right.first + 1),
            "old epoch": right._replace(epoch=right.epoch - 1),
            "new epoch": right._replace(epoch=right.epoch + 1),
            "old generation": right._replace(generation=model.generations[stream_id][0]),
        }[kind]
        model.made[stream_id].append(append)
        return append

    def check_answer(self, append: Append, answer: Appended) -> None:
        """Check the answer to an append."""
        expected, push = self.model.append(append)
        assert answer.status in expected, f"{append}: {answer}, not {expected}"
        stream = self.model.streams.get(append.stream_id)
        if stream is not None and answer.status is AppendStatus.ACCEPTED:
            assert answer.stop_reason == stream.reason
        elif stream is not None and answer.status is not AppendStatus.GONE:
            assert answer.length == stream.length
        if push is not None:
            self.push(append.stream_id, push)

    def check_page(self, stream_id: str, page: Page | None, start: int, max_bytes: int) -> None:
        """Check what was read."""
        stream, now = self.model.streams.get(stream_id), self.model.now
        may_be_gone = stream is None or stream.since_retention(now) >= GRACE
        if page is None or stream is None:
            assert page is None
            assert may_be_gone
            assert self.model.find(stream_id) is None
            return
        described = stream.describe(now)
        assert page.info == described
        assert _lease_left(page.info) == _lease_left(described)
        longest = self.model.page(stream, start, max_bytes)
        assert page.entries == longest[: len(page.entries)]
        assert page.entries or not longest or may_be_gone

    def begin(self, at: int, stream_id: str) -> None:
        """Have a stream run."""
        stream = self.model.find(stream_id)
        if stream is not None and stream.recorded is not None:
            self.delete(at, stream_id)
        self.acquire(at, stream_id, Claim("", lease=8.0, retention=100.0, tombstone=100.0, allow_lost=True))

    def push(self, stream_id: str, push: Push | None) -> None:
        """Have those who follow a stream hear something."""
        for side in self.sides:
            if stream_id in side.pushed:
                side.pushed[stream_id].append(push)

    async def has_news(self, stream_id: str) -> None:
        """Check that followers and publishers of a stream are made to look."""
        self.push(stream_id, None)
        await self.hear()
        await self.wait_for_notice(stream_id)

    async def hear(self) -> None:
        """Wait for all that was pushed."""
        while not all(side.has_heard() for side in self.sides):
            await asyncio.sleep(0)

    async def wait_for_notice(self, stream_id: str) -> None:
        """Wait until all processes were told that a stream's publisher has news."""
        for side in self.sides:
            while stream_id not in side.notices:
                await asyncio.sleep(0)
            side.notices.clear()


def _lease_left(info: StreamInfo | None) -> float | None:
    return None if info is None else info.lease_left  # which does not count where descriptions are compared


class OnMemory(Contract):
    """The reference implementation."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        with patch("time.time", self.clock):  # by which it tells the time of day
            store = MemoryStore(clock=self.clock)
        super().__init__(lambda: MemoryBackend(store))

    def pass_time(self, seconds: float) -> None:
        """Move the clock."""
        self.clock.advance(seconds)


class OnFakeRedis(Contract):
    """The scripts, on a server whose clock can be moved: it is this process's."""

    def __init__(self) -> None:
        self.clock = ManualClock(START)
        self.patched = patch("time.time", self.clock)
        self.patched.start()
        server = fakeredis.FakeServer()
        self.client = fakeredis.FakeRedis(server=server)
        super().__init__(lambda: RedisBackend(fakeredis.FakeAsyncRedis(server=server)))

    def pass_time(self, seconds: float) -> None:
        """Move the clock."""
        self.clock.advance(seconds)

    @invariant()
    def keys_expire(self) -> None:
        """Every key expires by itself, whatever becomes of who wrote it."""
        assert all(self.client.pttl(key) >= 0 for key in self.client.scan_iter())

    def teardown(self) -> None:
        """Let time go on."""
        try:
            self.client.close()
            super().teardown()
        finally:
            self.patched.stop()


@pytest.mark.parametrize(("machine", "examples"), [(OnMemory, 150), (OnFakeRedis, 40)])
def test_backends_keep_the_contract(machine: type[Contract], examples: int) -> None:
    """Whatever callers do at whatever time, each answer, page and push is what the contract says."""
    run_state_machine_as_test(machine, settings=profile(examples, steps=40))


# --- Whole contexts --------------------------------------------------------------------------------------------------

LENGTH = 8
"""How many chunks each stream has in the end."""


class _Skipping(selectors.SelectSelector):
    """Does not wait, and says how long it would have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready, or let time pass until the next timer."""
        ready = super().select(0)
        assert ready or timeout is not None, "everybody waits for somebody else"
        self.now += 1e-6 if ready else max(timeout or 0.0, 1e-6)
        return ready


class SkippingLoop(asyncio.SelectorEventLoop):
    """An event loop that skips the time in which nothing happens: leases lapse by design, not by a slow machine."""

    def __init__(self) -> None:
        self._skipping = _Skipping()
        super().__init__(self._skipping)

    def time(self) -> float:
        """Return the time, in seconds, which passes only while nothing happens."""
        return self._skipping.now


class FactoryError(Exception):
    """What factories raise that are to fail."""


class Answer:
    """One stream as its factories make it: chunk number i is ``{stream id}:{i}``, and tells which factory made it."""

    def __init__(self, stream_id: str) -> None:
        self.stream_id = stream_id
        self.runs = 0
        self.takeovers = 0
        self.deletions = 0
        """How often somebody tried to."""
        self.is_stopped = False
        """Whether somebody wanted that."""
        self.fails = False
        self.open = 0
        """How many factories run."""
        self._allowed = 2
        self._changed = asyncio.Event()

    def let(self, count: int, *, fails: bool = False) -> None:
        """Let factories make so many chunks more, or raise then."""
        self.fails |= fails
        self._allowed += count
        self._changed.set()
        self._changed = asyncio.Event()

    def factory(self) -> AsyncIterator[str]:
        """Begin a new stream."""
        self.runs += 1
        return self._make(f"made by {self.runs}", 0)

    def takeover(self, chunks: list[str]) -> AsyncIterator[str]:
        """Go on where another factory was lost."""
        self.takeovers += 1
        check_text(chunks, 0)
        return self._make(f"taken over by {self.takeovers}", len(chunks))

    async def _make(self, maker: str, start: int) -> AsyncIterator[str]:
        self.open += 1
        try:
            for index in range(start, LENGTH):
                while index >= self._allowed:
                    await self._changed.wait()
                if self.fails:
                    raise FactoryError
                yield f"{self.stream_id}:{index} {maker}"
        finally:
            self.open -= 1


def check_text(chunks: Sequence[str], first: int) -> None:
    """Check that chunks are consecutive ones of one stream, from index ``first`` on."""
    names = [chunk.partition(" ")[0] for chunk in chunks]
    stream_id = names[0].partition(":")[0] if names else ""
    assert names == [f"{stream_id}:{first + number}" for number in range(len(names))]


def text_of(page: Page | None) -> list[str]:
    """Return the chunks of a page."""
    entries = page.entries if page else []
    return [str(chunk) for entry in entries for chunk in unpack(entry.payload, entry.count)]


@dataclass(eq=False)
class Process:
    """A context, and what lies between it and the store."""

    backend: FaultyBackend
    context: ResumableStreamContext
    is_dead: bool = False
    is_left: bool = False

    def come_back(self) -> None:
        """Reach the store again, unless it is too late."""
        if not self.is_dead:
            self.backend.come_back()


@dataclass(eq=False)
class Reading:
    """One reader, and what it has got so far."""

    store: MemoryStore
    process: Process
    answer: Answer
    position: dict[str, Any]
    patience: float
    """After how many seconds it cancels a read, and reads again."""
    first: int = 0
    chunks: list[str] = field(default_factory=list)
    event_id: str | None = None
    state: StreamState | None = None
    """How the stream just ended."""

    @property
    def index(self) -> int:
        """Index of the next chunk."""
        return self.first + len(self.chunks)

    async def read(self, opening: Callable[[], Awaitable[ResumableStream[str] | None]]) -> None:
        """Read to the end."""
        stream = await opening()
        if stream is None:
            return
        self.first = stream.index
        async with stream:
            while self.state is None:
                with anyio.move_on_after(self.patience):
                    await self._step(stream)

    async def _step(self, stream: ResumableStream[str]) -> None:
        try:
            chunk = await anext(stream)
        except StopAsyncIteration:
            self.state = stream.state
            return
        self.chunks.append(chunk)
        self.event_id = stream.event_id
        assert stream.index == self.index
        check_text(self.chunks, self.first)
        page = self.store.read(self.answer.stream_id, 0, ENOUGH)
        if page is not None and self.event_id == f"{page.info.generation}-{self.index - 1}" and not stream.degraded:
            assert text_of(page)[self.first : self.index] == self.chunks, "it is not what is logged"


places = st.sampled_from([0, 1, 2])
answers = st.sampled_from([0, 0, 1])
patiences = st.sampled_from([1000.0, 0.02])
faults = st.sampled_from([refuse, lose_reply, repeat, delay(before=0.02), delay(after=0.02), delay(after=0.5)])
faulty_methods: st.SearchStrategy[Method] = st.sampled_from(
    ["acquire", "append", "read", "subscribe", "unsubscribe", "request_stop", "delete"]
)


class Contexts(RuleBasedStateMachine):
    """Three processes on one store that are mistreated: whole contexts, against what they promise."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = SkippingLoop()
        self.loop.set_exception_handler(self.on_unhandled)
        self.store = MemoryStore(clock=self.loop.time)
        self.answers = [Answer("a"), Answer("b")]
        self.readings: dict[asyncio.Task[None], Reading] = {}
        self.calls: list[asyncio.Task[Any]] = []
        self.dead: list[Process] = []
        self.processes: list[Process] = []
        self.complaints: list[str] = []
        self.is_disturbed = False
        self.is_any_left = False
        self.pace = self.lease = self.rate = 0.0

    @initialize(
        pace=st.sampled_from([0.01, 0.0, 0.1]),
        lease=st.sampled_from([0.6, 0.1]),
        rate=st.sampled_from([0.0, 0.0, 0.1, 0.3]),
        seed=st.integers(0, 1000),
        offers_takeover=mostly,
    )
    def begin(self, pace: float, lease: float, rate: float, seed: int, offers_takeover: bool) -> None:
        """Three processes start, one publishes, and another reads."""
        self.pace, self.lease, self.rate, self.seed = pace, lease, rate, seed
        self.is_disturbed = rate > 0
        self.processes = [self.run(self.start_process()) for _ in range(3)]
        self.publish_or_read(at=0, which=0, offers_takeover=False, patience=1000.0)
        self.publish_or_read(at=1, which=0, offers_takeover=offers_takeover, patience=1000.0)

    def run(self, doing: Awaitable[T], seconds: float = 60.0) -> T:
        """Do something, while all the rest goes on."""

        async def bounded() -> T:
            with anyio.fail_after(seconds):
                return await doing

        return self.loop.run_until_complete(bounded())

    async def start_process(self) -> Process:
        """Return a new process."""
        self.seed += 1
        backend = FaultyBackend.random(MemoryBackend(self.store), self.seed, rate=self.rate)
        limits = Limits(window_bytes=200, page_bytes=1 + self.seed % 3 * 10, pending_chunks=1 + self.seed % 3)
        context = ResumableStreamContext(
            backend, limits=limits, lease=self.lease, drain_timeout=0.0, call_timeout=2.0, outage_timeout=3.0
        )
        await context.__aenter__()
        return Process(backend, context)

    @rule(at=places, which=answers, offers_takeover=mostly, patience=patiences)
    def publish_or_read(self, at: int, which: int, offers_takeover: bool, patience: float) -> None:
        """Somebody wants an answer from its start."""
        process, answer = self.processes[at], self.answers[which]
        takeover = answer.takeover if offers_takeover else None
        opening = partial(process.context.resumable_stream, answer.stream_id, answer.factory, takeover=takeover)
        self.read(Reading(self.store, process, answer, {}, patience), opening)

    @precondition(lambda self: self.readings)
    @rule(at=places, which=st.integers(0, 20), form=st.sampled_from(["after", "start_index", "from the end"]))
    def resume(self, at: int, which: int, form: str) -> None:
        """Somebody goes on where one reader is, elsewhere perhaps."""
        earlier = list(self.readings.values())[which % len(self.readings)]
        positions: dict[str, dict[str, Any]] = {
            "after": {"after": earlier.event_id},
            "start_index": {"start_index": earlier.index},
            "from the end": {"start_index": -(which % LENGTH)},
        }
        reading = Reading(self.store, self.processes[at], earlier.answer, positions[form], 1000.0)
        opening = self.processes[at].context.resume_existing_stream
        self.read(reading, partial(opening, earlier.answer.stream_id, **reading.position))

    @rule(which=answers, count=st.sampled_from([1, 2, LENGTH]), fails=seldom)
    def let(self, which: int, count: int, fails: bool) -> None:
        """A factory has more chunks, or raises."""
        self.answers[which].let(count, fails=fails)
        self.wait(self.pace)

    @rule(at=places, which=answers, method=st.sampled_from(["info", "info", "stop", "delete"]))
    def call(self, at: int, which: int, method: str) -> None:
        """Somebody asks about an answer, stops it, or deletes it."""
        process, answer = self.processes[at], self.answers[which]
        answer.is_stopped |= method == "stop"
        answer.deletions += method == "delete"

        async def call() -> None:
            try:
                await getattr(process.context, method)(answer.stream_id)
            except (BackendUnavailableError, ContextClosedError) as error:
                self.check_excuse(process, error)

        self.calls.append(self.loop.create_task(call()))
        self.wait(self.pace)

    @precondition(lambda self: self.readings)
    @rule(which=st.integers(0, 20))
    def drop(self, which: int) -> None:
        """A reader goes away, or the caller who was about to become one."""
        list(self.readings)[which % len(self.readings)].cancel()
        self.wait(self.pace)

    @rule(at=places, which=st.sampled_from([None, 0, 1]), seconds=st.sampled_from([0.02, 0.2, 1.0]))
    def go_away(self, at: int, which: int | None, seconds: float) -> None:
        """The store is away for a process, or one of its streams is."""
        self.is_disturbed = True
        process = self.processes[at]
        process.backend.go_away(*([] if which is None else [self.answers[which].stream_id]))
        self.loop.call_later(seconds, process.come_back)
        self.wait(self.pace)

    @rule(at=places, method=faulty_methods, fault=faults)
    def mistreat(self, at: int, method: Method, fault: Fault) -> None:
        """The next call of some kind fails in some way."""
        self.is_disturbed = True
        self.processes[at].backend.plan(method, fault)

    @rule(at=places)
    def die(self, at: int) -> None:
        """The store hears no more of a process, and another takes its place."""
        self.is_disturbed = True
        process = self.processes[at]
        process.is_dead = True
        process.backend.go_away()
        self.dead.append(process)
        self.processes[at] = self.run(self.start_process())

    @rule(at=places)
    def leave(self, at: int) -> None:
        """A context is left, and another takes its place."""
        process = self.processes[at]
        process.is_left = self.is_any_left = True
        self.calls.append(self.loop.create_task(process.context.__aexit__(None, None, None)))
        self.processes[at] = self.run(self.start_process())

    @rule(seconds=st.sampled_from([0.05, 0.2, 1.0, 4.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.run(anyio.sleep(seconds))

    @invariant()
    def nobody_complains(self) -> None:
        """Nothing happened that may not."""
        assert not self.complaints, self.complaints

    def teardown(self) -> None:
        """Let everything come to its end, and check that it does."""
        try:
            if self.processes:
                self.run(self.finish(), 200.0)
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.run_until_complete(asyncio.sleep(0))
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
            self.loop.close()

    async def finish(self) -> None:
        """Let everything come to its end, and check what it comes to."""
        for answer in self.answers:
            answer.let(LENGTH)
        for reading in self.readings.values():
            reading.patience = 1000.0
        for process in self.processes:
            process.backend.come_back()
        if self.readings or self.calls:
            _, hanging = await asyncio.wait([*self.readings, *self.calls], timeout=30.0)
            assert not hanging, [self.readings.get(task, task) for task in hanging]
        for process in self.processes:
            process.is_left = self.is_any_left = True
            await process.context.__aexit__(None, None, None)
        if self.dead:
            await anyio.sleep(self.lease * 2)
        self.check_store()
        for process in self.dead:
            await process.context.__aexit__(None, None, None)
        assert [answer.open for answer in self.answers] == [0, 0]
        assert all(answer.runs <= 1 + answer.deletions for answer in self.answers)
        assert not self.store._backends
        assert asyncio.all_tasks(self.loop) == {asyncio.current_task()}
        self.nobody_complains()

    def check_store(self) -> None:
        """Check that each stream came to an end, and that its text is right."""
        for info in self.store.scan():
            assert not info.is_running
            page = self.store.read(info.stream_id, 0, ENOUGH)
            assert page is not None
            chunks = text_of(page)
            check_text(chunks, 0)
            assert len(chunks) == info.length
            assert info.state is not StreamState.DONE or info.length == LENGTH

    def read(self, reading: Reading, opening: Callable[[], Awaitable[ResumableStream[str] | None]]) -> None:
        """Read in a task."""
        task = self.loop.create_task(reading.read(opening))
        self.readings[task] = reading
        task.add_done_callback(self.on_read)
        self.wait(self.pace)

    def on_unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Take note of an error that nobody handled."""
        self.complaints.append(f"unhandled: {context}")

    def on_read(self, task: asyncio.Task[None]) -> None:
        """Check how a reader ended."""
        reading = self.readings[task]
        if task.cancelled():
            return
        error = task.exception()
        try:
            if error is None:
                self.check_end(reading)
            else:
                self.check_error(reading, error)
        except AssertionError as complaint:
            self.complaints.append(f"{reading} {error!r}: {complaint}")

    def check_end(self, reading: Reading) -> None:
        """Check how a stream just ended, for one reader."""
        if reading.state is StreamState.STOPPED:
            assert reading.answer.is_stopped or self.is_any_left or reading.process.is_dead
        elif reading.state is not None:
            assert reading.state is StreamState.DONE
            assert reading.index == LENGTH

    def check_error(self, reading: Reading, error: BaseException) -> None:
        """Check that what happened excuses an error."""
        page = self.store.read(reading.answer.stream_id, 0, 0)
        was_lost = self.is_disturbed and (page is None or page.info.epoch > 1 or page.info.state is StreamState.LOST)
        if isinstance(error, PublisherFailedError):
            assert error.error_type.endswith("FactoryError")
            assert reading.answer.fails
        elif isinstance(error, PublisherLostError):
            assert was_lost
        elif isinstance(error, StreamGoneError):
            is_ahead = self.is_disturbed and page is not None and page.info.length < reading.index
            assert reading.answer.deletions or was_lost or is_ahead
        elif isinstance(error, InvalidPositionError):
            assert reading.answer.deletions or self.is_disturbed
        else:
            self.check_excuse(reading.process, error)

    def check_excuse(self, process: Process, error: BaseException) -> None:
        """Check that a process may get this error."""
        kinds = (BackendError, ContextClosedError) if process.is_dead or process.is_left else ()
        assert isinstance(error, kinds), repr(error)


def test_contexts_keep_their_promises() -> None:
    """Whatever is lost, doubled, away or dead: readers get a true text, whole where it is done, and nobody hangs."""
    run_state_machine_as_test(Contexts, settings=profile(examples=150, steps=25))

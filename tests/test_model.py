"""Models of the protocol: whatever is done, in whatever order, stores and contexts do what the contracts say.

Hypothesis makes up what is done. `make test` does the same each time, and little of it. To look for faults, say how many
examples to try, at random: ``MODEL_EXAMPLES=5000 python -m pytest tests/test_model.py --timeout=0``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from unittest.mock import patch

import anyio
import fakeredis
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from resumable_stream import StreamBackend, StreamInfo, StreamState
from resumable_stream.backends.memory import MemoryBackend, MemoryStore
from resumable_stream.backends.redis import RedisBackend
from resumable_stream.testing import ManualClock
from resumable_stream.types import Acquired, Append, Appended, AppendStatus, Claim, End, Entry, Page, Push

T = TypeVar("T")

ENOUGH = 1024 * 1024
TICK = 0.125
"""The least time that passes, in seconds: exact as a float and in milliseconds, so that all clocks agree to the bit."""
START = 1_000_000.0
GRACE = 60.0
"""How long entries can be read after the retention, by the contract."""

IDS = ["a", "b", "c"]


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
        """Whether it may be taken over."""
        ended = self.ended(now)
        return ended is not None and ended[0].state is StreamState.LOST and self.is_readable(now)

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
        was_lost = stream is not None and stream.is_lost(self.now)
        if stream is None:
            if not claim.allow_new:
                return Acquired(is_publisher=False, info=None), False
            stream = Modelled(stream_id, claim, self.now, self.now + claim.lease, generation=claim.token)
            self.streams[stream_id] = stream
            self.generations[stream_id].append(claim.token)
        elif was_lost and claim.allow_lost:
            stream.epoch, stream.epoch_start = stream.epoch + 1, stream.length
            stream.claim, stream.leased_until = claim, self.now + claim.lease
        is_owner = stream.claim.token == claim.token
        return Acquired(is_owner, stream.describe(self.now)), was_lost and claim.allow_lost

    def append(self, append: Append) -> tuple[set[AppendStatus], Push | None]:
        """Return which status the answer may have, and what is pushed."""
        stream = self.streams.get(append.stream_id)
        if stream is None or stream.generation != append.generation:
            return {AppendStatus.GONE}, None
        refusals = set(self.refusals(stream, append))
        if stream.last == append:
            return {AppendStatus.ACCEPTED} | (set() if stream.is_known(self.now) else refusals), None
        if refusals:
            return refusals, None
        stream.leased_until = self.now + stream.claim.lease
        if not append.count and not append.end:
            return {AppendStatus.ACCEPTED}, None
        entry = Entry(append.first, append.count, append.payload) if append.count else None
        stream.entries += [entry] if entry else []
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
    notices: list[str] = field(default_factory=list)
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
seconds = st.sampled_from([0.0, 2.0, 100.0])
claims_made = st.builds(Claim, st.just(""), st.sampled_from([1.0, 8.0]), seconds, seconds, st.booleans(), st.booleans())
ends = st.sampled_from(
    [
        None,
        None,
        End(StreamState.DONE),
        End(StreamState.FAILED, error_type="ValueError", error_message='"ü"\n\x00'),
        End(StreamState.STOPPED, reason="enough"),
    ]
)
payloads = st.sampled_from([b"x", b"\n", b"{}\r\n\x00\xff", b"y" * 100])
kinds = st.sampled_from(
    ["right", "right", "right", "again", "look-alike", "older", "early", "late", "old epoch", "new epoch", "generation"]
)
wanted_appends = st.lists(
    st.tuples(ids, kinds, st.integers(0, 3), payloads, ends), min_size=1, max_size=3, unique_by=lambda wanted: wanted[0]
)


class Contract(RuleBasedStateMachine):
    """Two backends on one store, whose clock is moved, against a model of the contract."""

    claims = Bundle("claims")

    def __init__(self, make_backend: Callable[[], StreamBackend]) -> None:
        super().__init__()
        self.make_backend = make_backend
        self.model = Model()
        self.tokens = 0
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
        raise NotImplementedError

    @rule(target=claims, at=sides, stream_id=ids, claim=claims_made)
    def acquire(self, at: int, stream_id: str, claim: Claim) -> Claim:
        """Somebody wants a stream."""
        self.tokens += 1
        claim = claim._replace(token=f"token-{self.tokens}")
        self.acquire_again(at, stream_id, claim)
        return claim

    @rule(at=sides, stream_id=ids, claim=claims)
    def acquire_again(self, at: int, stream_id: str, claim: Claim) -> None:
        """A claim is repeated, late perhaps."""
        answer = self.run(self.sides[at].backend.acquire(stream_id, claim))
        expected, is_taken_over = self.model.acquire(stream_id, claim)
        assert answer == expected
        assert _lease_left(answer.info) == _lease_left(expected.info)
        if is_taken_over:
            self.run(self.has_news(stream_id))

    @rule(at=sides, wanted=wanted_appends)
    def append(self, at: int, wanted: list[tuple[str, str, int, bytes, End | None]]) -> None:
        """Publishers append, those who may and those who may not."""
        appends = [self.make_append(*parts) for parts in wanted]
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
        if is_known or stream_id not in self.model.streams:  # else something may be left of it, or not
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
            self.run(side.backend.unsubscribe(stream_id))
            del side.pushed[stream_id], side.heard[stream_id]
        else:
            heard: list[Push | None] = []
            self.run(side.backend.subscribe(stream_id, heard.append))
            side.heard[stream_id], side.pushed[stream_id] = heard, []

    @rule(at=sides)
    def unsubscribe_from_nothing(self, at: int) -> None:
        """Without a subscription, nothing happens."""
        self.run(self.sides[at].backend.unsubscribe("none"))

    @rule(at=sides)
    def reopen(self, at: int) -> None:
        """A process ends, and another takes its place."""
        self.run(self.sides[at].backend.aclose())
        self.sides[at] = self.run(self.open())

    @rule(ticks=st.sampled_from([1, 8, 100]))
    def wait(self, ticks: int) -> None:
        """Time passes."""
        self.model.now += ticks * TICK
        self.pass_time(ticks * TICK)

    @rule(which=st.integers(0, 20), ticks=st.integers(-1, 1))
    def wait_for_a_moment(self, which: int, ticks: int) -> None:
        """Time passes until something is about to change, changes at that moment, or has just changed."""
        moments = [moment + ticks * TICK for stream in self.model.streams.values() for moment in stream.moments()]
        ahead = sorted({moment for moment in moments if moment > self.model.now})
        if ahead:
            self.wait(round((ahead[which % len(ahead)] - self.model.now) / TICK))

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

    def make_append(self, stream_id: str, kind: str, count: int, payload: bytes, end: End | None) -> Append:
        """Return an append of some kind to a stream as it is."""
        model, stream = self.model, self.model.streams.get(stream_id)
        if stream is None:
            right = Append(stream_id, model.generations[stream_id][-1], 1, 0, count, payload if count else b"", end)
        else:
            at = (stream.generation, stream.epoch, stream.length)
            right = Append(stream_id, *at, count, payload if count else b"", end)
        made = model.made[stream_id] or [right]
        append = {
            "right": right,
            "again": made[-1],
            "look-alike": made[-1]._replace(payload=payload if made[-1].count else b"", end=end),
            "older": made[count % len(made)],
            "early": right._replace(first=max(right.first - 1, 0)),
            "late": right._replace(first=right.first + 1),
            "old epoch": right._replace(epoch=right.epoch - 1),
            "new epoch": right._replace(epoch=right.epoch + 1),
            "generation": right._replace(generation=model.generations[stream_id][0]),
        }[kind]
        model.made[stream_id].append(append)
        return append

    def check_answer(self, append: Append, answer: Appended) -> None:
        """Check the answer to an append."""
        expected, push = self.model.append(append)
        assert answer.status in expected, f"{append}: {answer}, not {expected}"
        stream = self.model.streams.get(append.stream_id)
        if stream is not None and answer.status is not AppendStatus.GONE:
            assert answer.length == stream.length
        if stream is not None and answer.status is AppendStatus.ACCEPTED:
            assert answer.stop_reason == stream.reason
        if push is not None:
            self.push(append.stream_id, push)

    def check_page(self, stream_id: str, page: Page | None, start: int, max_bytes: int) -> None:
        """Check what was read."""
        stream, now = self.model.streams.get(stream_id), self.model.now
        may_be_gone = stream is None or stream.since_retention(now) >= GRACE
        if page is None or stream is None:
            assert page is None
            assert may_be_gone and self.model.find(stream_id) is None
            return
        described = stream.describe(now)
        assert page.info == described
        assert _lease_left(page.info) == _lease_left(described)
        longest = self.model.page(stream, start, max_bytes)
        assert page.entries == longest[: len(page.entries)]
        assert page.entries or not longest or may_be_gone

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
        while not all([side.has_heard() for side in self.sides]):
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
        super().__init__(lambda: RedisBackend(fakeredis.FakeAsyncRedis(server=server)))

    def pass_time(self, seconds: float) -> None:
        """Move the clock."""
        self.clock.advance(seconds)

    def teardown(self) -> None:
        """Let time go on."""
        try:
            super().teardown()
        finally:
            self.patched.stop()


@pytest.mark.parametrize("machine", [OnMemory, OnFakeRedis])
def test_backends_keep_the_contract(machine: type[Contract]) -> None:
    """Whatever callers do at whatever time, each answer, page and push is what the contract says."""
    run_state_machine_as_test(machine, settings=profile(examples=60, steps=40))

"""What the backend that is mistreated does, and that it does nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, get_args

import anyio
import pytest
from typing_extensions import override

from resumable_stream import BackendUnavailableError, StreamBackend, StreamInfo
from resumable_stream.abc import OnNotice
from resumable_stream.backends.memory import MemoryBackend, MemoryStore
from resumable_stream.testing import (
    BackendHarness,
    BackendSuite,
    Call,
    Fault,
    FaultyBackend,
    Hold,
    Late,
    ManualClock,
    Method,
    delay,
    lose_reply,
    refuse,
    repeat,
)
from resumable_stream.types import Append, Appended, AppendStatus, Claim, Push

CLAIM = Claim("token", lease=60, retention=60, tombstone=60)
PUSH = Push("generation", epoch=1, length=1, entry=None, end=None)
METHODS: tuple[Method, ...] = get_args(Method)


def ignore(hint: Any) -> None:
    """Take a push or a notice and do nothing."""


async def collect(backend: StreamBackend) -> list[StreamInfo]:
    """Scan a store."""
    return [info async for info in backend.scan()]


CALLS: dict[Method, Callable[[StreamBackend], Awaitable[Any]]] = {
    "connect": lambda backend: backend.connect(ignore),
    "acquire": lambda backend: backend.acquire("s", CLAIM),
    "append": lambda backend: backend.append([append_of(0)]),
    "read": lambda backend: backend.read("s", 0, 1000),
    "subscribe": lambda backend: backend.subscribe("s", ignore),
    "unsubscribe": lambda backend: backend.unsubscribe("s"),
    "request_stop": lambda backend: backend.request_stop("s", "enough"),
    "delete": lambda backend: backend.delete("s"),
    "scan": collect,
}


def append_of(first: int, stream_id: str = "s") -> Append:
    """An append of one chunk by the owner of a stream."""
    return Append(stream_id, "token", 1, first, 1, b"%d" % first)


async def length_of(backend: StreamBackend) -> int:
    """How many chunks stream "s" has."""
    page = await backend.read("s", 0, 0)
    assert page is not None
    return page.info.length


@pytest.fixture
def store() -> MemoryStore:
    """A store with the streams "s" and "t", which have the same owner."""
    store = MemoryStore()
    for stream_id in ("s", "t"):
        assert store.acquire(stream_id, CLAIM).is_publisher
    return store


@pytest.fixture
async def backend(store: MemoryStore) -> AsyncIterator[FaultyBackend]:
    """A connected backend that does not mistreat anything yet."""
    backend = FaultyBackend(MemoryBackend(store))
    await backend.connect(ignore)
    yield backend
    await backend.aclose()


class Harmless(BackendHarness):
    """A store behind backends that have no faults."""

    lease = 10.0

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.store = MemoryStore(clock=self.clock)

    @override
    @asynccontextmanager
    async def open(self, on_notice: OnNotice = ignore) -> AsyncIterator[StreamBackend]:
        backend = FaultyBackend(MemoryBackend(self.store))
        await backend.connect(on_notice)
        try:
            yield backend
        finally:
            await backend.aclose()

    @override
    async def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


class TestWithoutFaults(BackendSuite):
    """Without faults it keeps the contract."""

    @pytest.fixture
    def harness(self) -> Harmless:
        """The store to test."""
        return Harmless()


# Calls


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("fault", "times", "is_answered"),
    [(None, 1, True), (refuse, 0, False), (lose_reply, 1, False), (repeat, 2, True), (delay(0.001, 0.001), 1, True)],
    ids=["none", "refuse", "lose_reply", "repeat", "delay"],
)
async def test_planned_faults(method: Method, fault: Fault | None, times: int, is_answered: bool) -> None:
    """Each method is carried out as often, and answered or not, as the fault says; the call after it as usual."""
    carried_out: list[Method] = []
    backend = FaultyBackend(FaultyBackend(MemoryBackend(), on_call=carried_out.append))
    backend.plan(method, fault)
    if is_answered:
        await CALLS[method](backend)
    else:
        with pytest.raises(BackendUnavailableError):
            await CALLS[method](backend)
    assert carried_out == [method] * times
    await CALLS[method](backend)
    assert carried_out == [method] * (times + 1)
    await backend.aclose()


async def test_plans_come_before_on_call(backend: FaultyBackend) -> None:
    """Planned faults are used in order, once, each for its method; then `on_call` is asked, and may be replaced."""
    asked: list[Method] = []

    def refuse_reads(method: Method) -> Fault | None:
        asked.append(method)
        return refuse if method == "read" else None

    backend.on_call = refuse_reads
    backend.plan("read", None, lose_reply)
    backend.plan("read", None)
    outcomes: list[str] = []
    for _ in range(4):
        try:
            await backend.read("s", 0, 0)
            outcomes.append("answered")
        except BackendUnavailableError as error:
            outcomes.append(str(error))
    assert outcomes == ["answered", "the reply was lost", "answered", "the call was refused"]
    await backend.append([append_of(0)])
    assert asked == ["read", "append"]
    backend.on_call = lambda method: None
    assert await length_of(backend) == 1


async def test_plan_for_a_method_that_is_none(backend: FaultyBackend) -> None:
    """A plan for what is no method is an error: it would never be used."""
    with pytest.raises(ValueError, match="'apend' is none of connect, acquire, append, read"):
        backend.plan("apend", refuse)  # type: ignore[arg-type]  # what a test without type checks can do


async def test_fault_of_ones_own(backend: FaultyBackend) -> None:
    """A fault is any coroutine function: it answers and raises what it likes."""

    async def unsure(call: Call) -> list[Appended]:
        return [Appended(AppendStatus.UNAVAILABLE) for _ in await call()]

    backend.plan("append", unsure)
    assert await backend.append([append_of(0)]) == [Appended(AppendStatus.UNAVAILABLE)]
    assert await length_of(backend) == 1


@pytest.mark.parametrize(("fault", "length"), [(delay(before=60), 0), (delay(after=60), 1)], ids=["before", "after"])
async def test_cancelled_while_delayed(backend: FaultyBackend, fault: Fault, length: int) -> None:
    """A cancelled call was carried out or not, as the delay is after or before; repeating it is safe."""
    backend.plan("append", fault)
    with anyio.move_on_after(0.01) as scope:
        await backend.append([append_of(0)])
    assert scope.cancelled_caught
    assert await length_of(backend) == length
    assert await backend.append([append_of(0)]) == [Appended(AppendStatus.ACCEPTED)]


async def test_delay_takes_its_time(backend: FaultyBackend) -> None:
    """A delayed call takes as long as both delays together, and others overtake it."""
    backend.plan("read", delay(before=0.03, after=0.02))
    ends: list[str] = []

    async def read(name: str) -> None:
        await backend.read("s", 0, 0)
        ends.append(name)

    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read, "slow")
        tasks.start_soon(read, "fast")
    assert anyio.current_time() - began > 0.045
    assert ends == ["fast", "slow"]


async def test_held_calls(backend: FaultyBackend) -> None:
    """A held call waits until it is released; one that is cancelled before is not carried out; later ones pass."""
    hold = Hold()
    backend.plan("append", hold, hold, hold)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(backend.append, [append_of(0)])
        await hold.is_reached.wait()
        with anyio.move_on_after(0.01) as scope:
            await backend.append([append_of(0, "t")])
        assert scope.cancelled_caught
        assert await length_of(backend) == 0
        hold.release()
    assert await length_of(backend) == 1
    assert await backend.append([append_of(0, "t")]) == [Appended(AppendStatus.ACCEPTED)]


# Outages


@pytest.mark.parametrize("method", METHODS)
async def test_store_that_is_away(method: Method) -> None:
    """While the store is away, every method raises and nothing is carried out; then each works."""
    carried_out: list[Method] = []
    backend = FaultyBackend(FaultyBackend(MemoryBackend(), on_call=carried_out.append))
    backend.go_away()
    for _ in range(2):
        with pytest.raises(BackendUnavailableError, match="away"):
            await CALLS[method](backend)
    assert carried_out == []
    backend.come_back()
    await CALLS[method](backend)
    assert carried_out == [method]
    backend.go_away()
    await backend.aclose()
    await backend.aclose()


async def test_outage_uses_up_no_plan(backend: FaultyBackend) -> None:
    """A plan is for calls that reach the store."""
    backend.plan("append", lose_reply)
    backend.go_away()
    with pytest.raises(BackendUnavailableError, match="away"):
        await backend.append([append_of(0)])
    backend.come_back()
    with pytest.raises(BackendUnavailableError, match="reply"):
        await backend.append([append_of(0)])
    assert await length_of(backend) == 1


@pytest.mark.parametrize("is_reply_held", [False, True])
async def test_outage_while_calls_are_under_way(
    store: MemoryStore, backend: FaultyBackend, is_reply_held: bool
) -> None:
    """A call that is under way when the store goes away raises, whether it was carried out or not."""
    hold = Hold()

    async def hold_reply(call: Call) -> Any:
        answer = await call()
        await hold(nothing)
        return answer

    async def nothing() -> None:
        pass

    async def append() -> None:
        with pytest.raises(BackendUnavailableError, match="away"):
            await backend.append([append_of(0)])

    backend.plan("append", hold_reply if is_reply_held else hold)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(append)
        await hold.is_reached.wait()
        backend.go_away()
        hold.release()
    page = store.read("s", 0, 0)
    assert page is not None
    assert page.info.length == is_reply_held


async def test_subscribers_hear_of_the_return(store: MemoryStore, backend: FaultyBackend) -> None:
    """Pushes are lost in an outage; then subscribers, and no others, hear that they may have missed some."""
    pushes: list[Push | None] = []
    others: list[Push | None] = []
    await backend.subscribe("s", pushes.append)
    await backend.subscribe("t", others.append)
    await backend.unsubscribe("t")
    backend.come_back()
    assert pushes == []
    backend.go_away()
    store.append(append_of(0))
    assert pushes == []
    backend.come_back()
    assert pushes == [None]
    store.append(append_of(1))
    assert [push and push.length for push in pushes] == [None, 2]
    assert others == []


async def test_notices_are_lost_in_an_outage(store: MemoryStore) -> None:
    """What publishers should hear is lost while the store is away."""
    notices: list[str | None] = []
    backend = FaultyBackend(MemoryBackend(store))
    await backend.connect(notices.append)
    backend.go_away()
    store.request_stop("s", "enough")
    backend.come_back()
    store.request_stop("t", "enough")
    assert notices == ["t"]
    await backend.aclose()


async def test_part_of_the_store_that_is_away(store: MemoryStore) -> None:
    """If some streams are away, the rest works; appends to them are answered as unavailable, and are not made."""
    pushes: list[Push | None] = []
    others: list[Push | None] = []
    notices: list[str | None] = []
    carried_out: list[Method] = []
    backend = FaultyBackend(FaultyBackend(MemoryBackend(store), on_call=carried_out.append))
    await backend.connect(notices.append)
    await backend.subscribe("s", pushes.append)
    await backend.subscribe("t", others.append)
    carried_out.clear()
    backend.go_away("s")
    answers = await backend.append([append_of(0), append_of(0, "t")])
    assert answers == [Appended(AppendStatus.UNAVAILABLE), Appended(AppendStatus.ACCEPTED)]
    assert await backend.append([append_of(0)]) == [Appended(AppendStatus.UNAVAILABLE)]
    for method in METHODS:
        if method not in ("connect", "append"):
            with pytest.raises(BackendUnavailableError, match="away"):
                await CALLS[method](backend)
    assert carried_out == ["append"]
    assert await backend.read("t", 0, 1000)
    for stream_id in ("s", "t"):
        store.request_stop(stream_id, "enough")
    assert (pushes, [push and push.length for push in others], notices) == ([], [1], ["t"])
    backend.come_back()
    assert (pushes, len(others)) == ([None], 1)
    assert await backend.append([append_of(0)]) == [Appended(AppendStatus.ACCEPTED, stop_reason="enough")]
    await backend.aclose()


@pytest.mark.parametrize("method", ["append", "scan"])
async def test_part_of_the_store_that_goes_while_a_call_is_under_way(store: MemoryStore, method: Method) -> None:
    """A call for a stream that goes away meanwhile has failed, whether it was carried out or not."""
    inner = FaultyBackend(MemoryBackend(store))
    backend = FaultyBackend(inner)
    await backend.connect(lambda _: None)
    hold = Hold()
    inner.plan(method, hold)

    async def call() -> None:
        if method == "append":
            answers = await backend.append([append_of(0), append_of(0, "t")])
            assert answers == [Appended(AppendStatus.UNAVAILABLE), Appended(AppendStatus.ACCEPTED)]
        else:
            with pytest.raises(BackendUnavailableError, match="away"):
                await CALLS[method](backend)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call)
        await hold.is_reached.wait()
        backend.go_away("s")
        hold.release()
    await backend.aclose()


# Pushes and notices


@pytest.mark.parametrize(
    ("on_push", "lengths"),
    [
        (lambda push: [], []),
        (lambda push: [push, push], [1, 1, 2, 2]),
        (lambda push: [None], [None, None]),
        (lambda push: [push], [1, 2]),
    ],
    ids=["lost", "doubled", "emptied", "as it is"],
)
async def test_mistreated_pushes(
    store: MemoryStore,
    backend: FaultyBackend,
    on_push: Callable[[Push | None], Sequence[Push | None]],
    lengths: list[int | None],
) -> None:
    """Subscribers get what `on_push` returns in the place of each push."""
    pushes: list[Push | None] = []
    await backend.subscribe("s", pushes.append)
    backend.on_push = on_push
    store.append(append_of(0))
    store.append(append_of(1))
    assert [push and push.length for push in pushes] == lengths


async def test_late_pushes_are_overtaken(store: MemoryStore, backend: FaultyBackend) -> None:
    """A late push comes after others that were pushed after it."""
    lengths: list[int] = []
    all_came = anyio.Event()

    def take(push: Push | None) -> None:
        assert push is not None
        lengths.append(push.length)
        if len(lengths) == 3:
            all_came.set()

    delays = iter([0.02, 0.01])
    backend.on_push = lambda push: [Late(push, next(delays))] if push and push.length < 3 else [push]
    await backend.subscribe("s", take)
    for first in range(3):
        store.append(append_of(first))
    assert lengths == [3]
    with anyio.fail_after(5):
        await all_came.wait()
    assert lengths == [3, 2, 1]


async def test_nothing_is_late_for_who_is_gone(store: MemoryStore) -> None:
    """What is late is lost if nobody is subscribed by then, if the store is away, or if the backend was closed."""
    pushes: list[Push | None] = []
    again: list[Push | None] = []
    notices: list[str | None] = []
    backend = FaultyBackend(
        MemoryBackend(store),
        on_push=lambda push: [Late(push, 0.01)],
        on_notice=lambda stream_id: [Late(stream_id, 0.01)],
    )
    await backend.connect(notices.append)
    await backend.subscribe("s", pushes.append)
    store.append(append_of(0))
    await backend.unsubscribe("s")
    await backend.subscribe("s", again.append)
    await anyio.sleep(0.02)
    store.append(append_of(1))
    store.request_stop("s", "enough")
    backend.go_away()
    await anyio.sleep(0.02)
    assert (pushes, again, notices) == ([], [], [])
    backend.come_back()
    assert (pushes, again) == ([], [None])
    store.append(append_of(2))
    store.request_stop("t", "enough")
    backend.go_away()
    await backend.aclose()
    backend.come_back()
    await anyio.sleep(0.02)
    assert (pushes, again, notices) == ([], [None], [])


async def test_nothing_is_late_that_was_lost(store: MemoryStore) -> None:
    """What is pushed while the store is away is lost, and does not come late."""
    pushes: list[Push | None] = []
    notices: list[str | None] = []
    backend = FaultyBackend(
        MemoryBackend(store),
        on_push=lambda push: [Late(push, 0.01)],
        on_notice=lambda stream_id: [Late(stream_id, 0.01)],
    )
    await backend.connect(notices.append)
    await backend.subscribe("s", pushes.append)
    backend.go_away()
    store.append(append_of(0))
    store.request_stop("s", "enough")
    backend.come_back()
    await anyio.sleep(0.02)
    assert (pushes, notices) == ([None], [])
    await backend.aclose()


async def test_mistreated_notices(store: MemoryStore) -> None:
    """Publishers hear of what `on_notice` returns in the place of each notice, some of it later."""
    notices: list[str | None] = []
    late_came = anyio.Event()

    def take(stream_id: str | None) -> None:
        notices.append(stream_id)
        if stream_id == "late":
            late_came.set()

    backend = FaultyBackend(MemoryBackend(store))
    await backend.connect(take)
    backend.on_notice = lambda stream_id: [] if stream_id == "s" else [Late("late", 0.01), stream_id, stream_id]
    store.delete("s")
    store.delete("t")
    assert notices == ["t", "t"]
    with anyio.fail_after(5):
        await late_came.wait()
    await backend.aclose()


# Chance


def name_of(fault: Fault | None) -> str:
    """What kind of fault it is."""
    names: dict[Fault | None, str] = {None: "none", refuse: "refuse", lose_reply: "lose_reply", repeat: "repeat"}
    return names.get(fault, "delay")


def kind_of(hints: Sequence[Any], original: Any) -> str:
    """What became of a push or a notice."""
    if len(hints) == 1:
        (hint,) = hints
        return "late" if isinstance(hint, Late) else "none" if hint == original else "emptied"
    return "doubled" if hints else "lost"


def random_backend(seed: int, rate: float) -> FaultyBackend:
    """One that mistreats by chance."""
    return FaultyBackend.random(MemoryBackend(), seed, rate=rate)


def test_same_seed_same_faults() -> None:
    """What becomes of the nth append depends on the seed, and not on other calls and pushes in between."""
    one, two, other = random_backend(1, 0.5), random_backend(1, 0.5), random_backend(2, 0.5)
    appends, pushes = ([name_of(one.on_call("append")) for _ in range(50)], [one.on_push(None) for _ in range(50)])
    interleaved = [(name_of(two.on_call("append")), two.on_call("read"), two.on_push(None)) for _ in range(50)]
    assert ([append for append, _, _ in interleaved], [push for _, _, push in interleaved]) == (appends, pushes)
    assert [name_of(other.on_call("append")) for _ in range(50)] != appends
    assert [name_of(read) for _, read, _ in interleaved] != appends


def test_all_kinds_of_faults_come_up() -> None:
    """By chance there is every fault there is, for every method but connecting."""
    backend = random_backend(1, 0.5)
    for method in METHODS:
        kinds = {name_of(backend.on_call(method)) for _ in range(200)}
        everything = {"none", "refuse", "lose_reply", "repeat", "delay"}
        assert kinds == ({"none"} if method == "connect" else everything)
    pushes = {kind_of(list(backend.on_push(PUSH)), PUSH) for _ in range(200)}
    assert pushes == {"none", "lost", "emptied", "doubled", "late"}
    assert {kind_of(list(backend.on_notice("s")), "s") for _ in range(200)} == {"none", "lost", "doubled", "late"}


@pytest.mark.parametrize(("rate", "expected"), [(0, 0), (0.1, 100), (1, 1000)])
def test_rate(rate: float, expected: int) -> None:
    """The rate is the share of calls, and of pushes, that are mistreated."""
    backend = random_backend(1, rate)
    for mistreated in (
        sum(backend.on_call("read") is not None for _ in range(1000)),
        sum(backend.on_push(PUSH) != [PUSH] for _ in range(1000)),
        sum(backend.on_notice("s") != ["s"] for _ in range(1000)),
    ):
        assert abs(mistreated - expected) <= expected * (1 - rate) / 3


async def test_log_under_random_faults(store: MemoryStore) -> None:
    """Whatever becomes of appends, one that is repeated until it is accepted is in the log once."""
    backend = FaultyBackend.random(MemoryBackend(store), seed=1, rate=0.5)
    await backend.connect(ignore)
    attempts = 0
    for first in range(40):
        answers: list[Appended] = []
        while not answers:
            attempts += 1
            with suppress(BackendUnavailableError):
                answers = await backend.append([append_of(first)])
        assert answers == [Appended(AppendStatus.ACCEPTED)]
    await backend.aclose()
    assert attempts > 40
    page = store.read("s", 0, 10_000)
    assert page is not None
    assert [entry.payload for entry in page.entries] == [b"%d" % first for first in range(40)]

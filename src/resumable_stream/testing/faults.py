"""A backend that is mistreated as a test says: calls fail or hang, pushes get lost or late, the store goes away."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any, Generic, Literal, TypeVar, get_args

import anyio
from typing_extensions import Self, override

from ..abc import OnNotice, OnPush, StreamBackend
from ..exceptions import BackendUnavailableError
from ..types import Acquired, Append, Appended, AppendStatus, Claim, Page, Push, StreamInfo

__all__ = [
    "Call",
    "Fault",
    "FaultyBackend",
    "Hold",
    "Late",
    "Method",
    "NoticeTreatment",
    "PushTreatment",
    "delay",
    "lose_reply",
    "refuse",
    "repeat",
]

T = TypeVar("T")

Method = Literal["connect", "acquire", "append", "read", "subscribe", "unsubscribe", "request_stop", "delete", "scan"]
"""A method of `StreamBackend` that can be mistreated."""

Call = Callable[[], Awaitable[Any]]
"""Carries out a call, each time that it is awaited anew, and returns the answer."""

Fault = Callable[[Call], Awaitable[Any]]
"""What becomes of a call. Your own is a coroutine function that carries the call out, or not, and answers or raises."""


async def refuse(call: Call) -> Any:  # noqa: ARG001  # that it is not carried out is the fault
    """Raise `BackendUnavailableError`, and do not carry out the call."""
    raise BackendUnavailableError("the call was refused")


async def lose_reply(call: Call) -> Any:
    """Carry out the call, and raise `BackendUnavailableError` all the same."""
    await call()
    raise BackendUnavailableError("the reply was lost")


async def repeat(call: Call) -> Any:
    """Carry out the call twice, as a driver does that lost a reply; answer what the second time gave."""
    await call()
    return await call()


def delay(before: float = 0.0, after: float = 0.0) -> Fault:
    """Return the fault of a slow network.

    Args:
        before: Seconds until the call is carried out. One that is cancelled meanwhile is not.
        after: Seconds until the answer is there. A call that is cancelled meanwhile was carried out.
    """

    async def fault(call: Call) -> Any:
        await anyio.sleep(before)
        answer = await call()
        await anyio.sleep(after)
        return answer

    return fault


class Hold:
    """A fault that holds calls back until the test releases them. One that is cancelled before is not carried out."""

    def __init__(self) -> None:
        self.is_reached: anyio.Event = anyio.Event()
        """Set when the first call is held."""
        self._released = anyio.Event()

    def release(self) -> None:
        """Let all calls go on, and those that come later pass."""
        self._released.set()

    async def __call__(self, call: Call) -> Any:
        """Wait, and carry out the call."""
        self.is_reached.set()
        await self._released.wait()
        return await call()


@dataclass(frozen=True)
class Late(Generic[T]):
    """A push or a notice that comes some seconds later, after others that came meanwhile."""

    hint: T
    seconds: float


PushTreatment = Callable[[Push | None], Iterable[Push | Late[Push | None] | None]]
"""Called with what the backend pushed; returns what subscribers get in its place."""

NoticeTreatment = Callable[[str], Iterable[str | Late[str]]]
"""Called with the id of the stream that a notice is about; returns the ids that publishers hear of in its place."""


class FaultyBackend(StreamBackend):
    """Does what another backend does, and mistreats calls, pushes and notices as it is told.

    By itself it mistreats nothing. The three attributes can be replaced at any time.

    Args:
        backend: The one that does the work.
        on_call: Called with the name of the method for each call that `plan` says nothing about; returns its fault, or
            ``None``: it is carried out as it is.
        on_push: Called for each push; returns what is delivered in its place, in order. ``[]`` loses it, ``[None]``
            empties it, ``[push, push]`` doubles it, and `Late` ones are delivered later.
        on_notice: The same for the ids of streams that notices are about.
    """

    def __init__(
        self,
        backend: StreamBackend,
        *,
        on_call: Callable[[Method], Fault | None] = lambda _method: None,
        on_push: PushTreatment = lambda push: [push],
        on_notice: NoticeTreatment = lambda stream_id: [stream_id],
    ) -> None:
        self.on_call = on_call
        self.on_push = on_push
        self.on_notice = on_notice
        self._backend = backend
        self._planned: defaultdict[Method, deque[Fault | None]] = defaultdict(deque)
        self._is_all_away = False
        self._away: set[str] = set()
        self._subscriptions: dict[str, OnPush] = {}
        self._timers: set[asyncio.TimerHandle] = set()

    @classmethod
    def random(cls, backend: StreamBackend, seed: int, *, rate: float = 0.1) -> Self:
        """Return one that mistreats by chance.

        The same seed mistreats the same calls in the same way, counted for each method by itself, and so with pushes
        and notices. Connecting is left alone: it is done once, and a context that fails to do it cannot be entered.

        Args:
            backend: The one that does the work.
            seed: Another one, another course of events.
            rate: The share of calls, of pushes and of notices that are mistreated: 0 none, 1 all.
        """
        chance = _Chance(seed, rate)
        return cls(backend, on_call=chance.fault_of, on_push=chance.treat_push, on_notice=chance.treat_notice)

    def plan(self, method: Method, *faults: Fault | None) -> None:
        """Say what becomes of the next calls of a method, one after the other, and after those planned before.

        A call that is made while the store is away is none of these.

        Args:
            method: Its name.
            faults: One for each call. ``None``: it is carried out as it is.
        """
        if method not in get_args(Method):
            raise ValueError(f"{method!r} is none of {', '.join(get_args(Method))}")
        self._planned[method].extend(faults)

    def go_away(self, *stream_ids: str) -> None:
        """Be away until `come_back`: each call raises `BackendUnavailableError`, and pushes and notices are lost.

        So does a call that is under way, whether it was carried out or not.

        Args:
            stream_ids: Only these streams are away, like those on one of several servers. Appends to them are answered
                with ``UNAVAILABLE``, and nothing can be scanned. Without any, all of the store is away.
        """
        self._is_all_away |= not stream_ids
        self._away.update(stream_ids)

    def come_back(self) -> None:
        """Be there again, with all streams, and tell their subscribers that they may have missed something."""
        missed = [on_push for stream_id, on_push in self._subscriptions.items() if self._is_away(stream_id)]
        self._is_all_away = False
        self._away.clear()
        for on_push in missed:
            on_push(None)

    @override
    async def connect(self, on_notice: OnNotice) -> None:
        await self._call("connect", lambda: self._backend.connect(partial(self._take_notice, on_notice)))

    @override
    async def aclose(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._subscriptions.clear()
        await self._backend.aclose()

    @override
    async def acquire(self, stream_id: str, claim: Claim) -> Acquired:
        return await self._call("acquire", lambda: self._backend.acquire(stream_id, claim), stream_id)

    @override
    async def append(self, appends: Sequence[Append]) -> list[Appended]:
        answers = await self._call("append", lambda: self._append(appends))
        return [  # some may have gone meanwhile
            Appended(AppendStatus.UNAVAILABLE) if append.stream_id in self._away else answer
            for append, answer in zip(appends, answers, strict=True)
        ]

    @override
    async def read(self, stream_id: str, start: int, max_bytes: int) -> Page | None:
        return await self._call("read", lambda: self._backend.read(stream_id, start, max_bytes), stream_id)

    @override
    async def subscribe(self, stream_id: str, on_push: OnPush) -> None:
        async def subscribe() -> None:
            await self._backend.subscribe(stream_id, partial(self._take_push, stream_id, on_push))
            self._subscriptions[stream_id] = on_push

        await self._call("subscribe", subscribe, stream_id)

    @override
    async def unsubscribe(self, stream_id: str) -> None:
        async def unsubscribe() -> None:
            self._subscriptions.pop(stream_id, None)
            await self._backend.unsubscribe(stream_id)

        await self._call("unsubscribe", unsubscribe, stream_id)

    @override
    async def request_stop(self, stream_id: str, reason: str) -> StreamInfo | None:
        return await self._call("request_stop", lambda: self._backend.request_stop(stream_id, reason), stream_id)

    @override
    async def delete(self, stream_id: str) -> bool:
        return await self._call("delete", lambda: self._backend.delete(stream_id), stream_id)

    @override
    async def scan(self) -> AsyncIterator[StreamInfo]:
        for info in await self._call("scan", self._scan):
            yield info

    async def _append(self, appends: Sequence[Append]) -> list[Appended]:
        here = [append for append in appends if append.stream_id not in self._away]
        answered = zip(here, await self._backend.append(here) if here else [], strict=True)
        answers = {append.stream_id: answer for append, answer in answered}
        return [answers.get(append.stream_id, Appended(AppendStatus.UNAVAILABLE)) for append in appends]

    async def _scan(self) -> list[StreamInfo]:
        if self._away:
            raise _away_error()
        found = [info async for info in self._backend.scan()]
        if self._away:
            raise _away_error()
        return found

    async def _call(self, method: Method, call: Callable[[], Awaitable[T]], stream_id: str = "") -> T:
        async def carry_out() -> T:
            self._check_here(stream_id)  # it may have gone while a fault waited
            return await call()

        self._check_here(stream_id)
        planned = self._planned[method]
        fault = planned.popleft() if planned else self.on_call(method)
        answer: T = await (carry_out() if fault is None else fault(carry_out))
        self._check_here(stream_id)
        return answer

    def _is_away(self, stream_id: str) -> bool:
        return self._is_all_away or stream_id in self._away

    def _check_here(self, stream_id: str) -> None:
        if self._is_away(stream_id):
            raise _away_error()

    def _take_push(self, stream_id: str, on_push: OnPush, push: Push | None) -> None:
        def hand_on(hint: Push | None) -> None:
            if self._subscriptions.get(stream_id) is on_push and not self._is_away(stream_id):
                on_push(hint)

        if not self._is_away(stream_id):
            self._deliver(self.on_push(push), hand_on)

    def _take_notice(self, on_notice: OnNotice, stream_id: str | None) -> None:
        def hand_on(hint: str) -> None:
            if not self._is_away(hint):
                on_notice(hint)

        if stream_id is None:
            on_notice(None)
        elif not self._is_away(stream_id):
            self._deliver(self.on_notice(stream_id), hand_on)

    def _deliver(self, hints: Iterable[T | Late[T]], hand_on: Callable[[T], None]) -> None:
        for hint in hints:
            if isinstance(hint, Late):
                self._deliver_late(hint, hand_on)
            else:
                hand_on(hint)

    def _deliver_late(self, late: Late[T], hand_on: Callable[[T], None]) -> None:
        def deliver() -> None:
            self._timers.discard(timer)
            hand_on(late.hint)

        timer = asyncio.get_running_loop().call_later(late.seconds, deliver)
        self._timers.add(timer)


def _away_error() -> BackendUnavailableError:
    return BackendUnavailableError("the store is away")


class _Chance:
    """Decides what is mistreated, and how."""

    _MAX_DELAY = 0.01

    def __init__(self, seed: int, rate: float) -> None:
        self._seed = seed
        self._rate = rate
        self._generators: dict[str, Random] = {}

    def fault_of(self, method: Method) -> Fault | None:
        """Return what becomes of a call."""
        if method == "connect":
            return None
        seconds = self._seconds(method)
        return self._choose(method, None, refuse, lose_reply, repeat, delay(before=seconds), delay(after=seconds))

    def treat_push(self, push: Push | None) -> Sequence[Push | Late[Push | None] | None]:
        """Return what becomes of a push."""
        return self._choose("push", [push], [], [None], [push, push], [Late(push, self._seconds("push"))])

    def treat_notice(self, stream_id: str) -> Sequence[str | Late[str]]:
        """Return what becomes of a notice."""
        late = Late(stream_id, self._seconds("notice"))
        return self._choose("notice", [stream_id], [], [stream_id, stream_id], [late])

    def _choose(self, name: str, usual: T, *others: T) -> T:
        generator = self._generator(name)
        is_mistreated, other = generator.random() < self._rate, generator.choice(others)
        return other if is_mistreated else usual

    def _seconds(self, name: str) -> float:
        return self._generator(name).uniform(0.0, self._MAX_DELAY)

    def _generator(self, name: str) -> Random:
        # One for each name, so that how calls and pushes happen to interleave does not change what becomes of them.
        if name not in self._generators:
            self._generators[name] = Random(f"{self._seed} {name}")  # noqa: S311  # to be repeated, not to be secret
        return self._generators[name]

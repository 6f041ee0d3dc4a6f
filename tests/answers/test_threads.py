"""Blocking generators in threads."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from resumable_stream.answers import in_thread
from resumable_stream.exceptions import InvalidFactoryError, InvalidSettingError


def threads() -> list[threading.Thread]:
    """Return the threads of ours that are alive."""
    return [thread for thread in threading.enumerate() if thread.name == "resumable-stream-answer"]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Look for threads after each test."""
    yield
    for thread in threads():
        thread.join(5)
    assert threads() == []


async def test_order() -> None:
    """Items come in the order in which they were made, however many there are."""
    assert [item async for item in in_thread(lambda: range(10_000))] == list(range(10_000))
    assert threads() == []


async def test_it_runs_elsewhere() -> None:
    """The factory is called, and the generator runs, in another thread, and the loop goes on meanwhile."""
    seen = []
    may_go_on = threading.Event()

    def write() -> Iterator[str]:
        seen.append(threading.current_thread() is threading.main_thread())
        assert may_go_on.wait(5)
        yield "x"

    reader = in_thread(write)
    first = asyncio.ensure_future(anext(reader))
    await asyncio.sleep(0)
    may_go_on.set()
    assert await first == "x"
    assert [item async for item in reader] == []
    assert seen == [False]


async def test_it_is_not_far_ahead() -> None:
    """A generator waits for a reader that is slower."""
    made: list[int] = []
    has_made = threading.Event()

    def write() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            if number == 3:
                has_made.set()
            yield number

    reader = in_thread(write, ahead=3)
    assert await anext(reader) == 0
    await asyncio.to_thread(has_made.wait, 5)
    assert len(made) <= 1 + 3 + 3 + 1  # taken, waiting, and the one that finds no room
    assert [item async for item in reader] == list(range(1, 100))


async def test_what_is_raised() -> None:
    """What the generator raises is raised to the reader, after what came before."""

    def write() -> Iterator[int]:
        yield 1
        raise KeyError("x")

    reader = in_thread(write)
    assert await anext(reader) == 1
    with pytest.raises(KeyError, match="x"):
        await anext(reader)


async def test_a_factory_that_fails() -> None:
    """So is what the factory raises."""

    def fail() -> list[int]:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        await anext(in_thread(fail))


async def test_a_reader_that_stops() -> None:
    """When the reader stops, the generator's ``finally`` runs in its thread, and no thread is left."""
    ended: list[bool] = []

    def write() -> Iterator[int]:
        try:
            yield from range(1_000_000)
        finally:
            ended.append(threading.current_thread() is threading.main_thread())

    reader = in_thread(write, ahead=1)
    assert await anext(reader) == 0
    await reader.aclose()  # type: ignore[attr-defined]
    assert ended == [False]
    assert threads() == []


async def test_a_reader_that_is_cancelled() -> None:
    """The same happens when the reader is cancelled while it waits."""
    ended = threading.Event()
    may_go_on = threading.Event()

    def write() -> Iterator[int]:
        try:
            yield 1
            may_go_on.wait(5)
            yield 2
        finally:
            ended.set()

    has_first = asyncio.Event()

    async def read() -> None:
        async for _ in in_thread(write):
            has_first.set()

    task = asyncio.create_task(read())
    await has_first.wait()
    task.cancel()
    asyncio.get_running_loop().call_later(0.02, may_go_on.set)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_a_reader_that_is_forgotten() -> None:
    """A reader that nobody holds any more stops its generator."""
    ended = threading.Event()

    def write() -> Iterator[int]:
        try:
            yield from range(1_000_000)
        finally:
            ended.set()

    reader = in_thread(write)
    await anext(reader)
    del reader
    gc.collect()
    assert await asyncio.to_thread(ended.wait, 5)


async def test_a_generator_that_is_blocked(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody hangs on a generator that is blocked: it is left to itself, and ends when it goes on."""
    may_go_on, ended = threading.Event(), threading.Event()

    def write() -> Iterator[int]:
        try:
            yield 1
            may_go_on.wait(10)
            yield 2
        finally:
            ended.set()

    reader = in_thread(write, patience=0.05)
    await anext(reader)
    started = time.monotonic()
    with caplog.at_level(logging.WARNING, "resumable_stream"):
        await reader.aclose()  # type: ignore[attr-defined]
    assert time.monotonic() - started < 5
    assert "blocked" in caplog.text
    assert not ended.is_set()
    may_go_on.set()
    assert await asyncio.to_thread(ended.wait, 5)


def test_a_loop_that_is_closed() -> None:
    """A generator that outlives its loop ends by itself."""
    may_go_on, ended = threading.Event(), threading.Event()

    def write() -> Iterator[int]:
        try:
            yield 1
            may_go_on.wait(10)
            yield 2
        finally:
            ended.set()

    async def main() -> None:
        reader = in_thread(write, patience=0.0)
        await anext(reader)
        await reader.aclose()  # type: ignore[attr-defined]

    asyncio.run(main())
    may_go_on.set()
    assert ended.wait(5)


async def test_a_generator_that_fails_too_late(caplog: pytest.LogCaptureFixture) -> None:
    """What a generator raises when it is closed, after its reader has gone, is in the log."""

    def write() -> Iterator[int]:
        try:
            yield from range(1_000_000)
        finally:
            raise KeyError("x")

    reader = in_thread(write)
    await anext(reader)
    with caplog.at_level(logging.WARNING, "resumable_stream"):
        await reader.aclose()  # type: ignore[attr-defined]
    assert "KeyError" in caplog.text


async def test_context_variables() -> None:
    """The generator sees the context variables of whoever called `in_thread`."""
    user = contextvars.ContextVar("user", default="nobody")
    user.set("ann")
    reader = in_thread(lambda: [user.get()])
    user.set("bob")
    assert [item async for item in reader] == ["ann"]


async def test_what_has_a_close() -> None:
    """A stream that is iterated over by another object is closed itself."""

    class Stream:
        is_closed = False

        def __iter__(self) -> Iterator[int]:
            return iter([1])

        def close(self) -> None:
            self.is_closed = True

    stream = Stream()
    assert [item async for item in in_thread(lambda: stream)] == [1]
    assert stream.is_closed


async def test_nothing_runs_before_it_is_read() -> None:
    """An iterator that nobody asks for an item has no thread, and can be closed."""
    called: list[bool] = []
    reader = in_thread(lambda: [called.append(True)])  # type: ignore[func-returns-value]
    await reader.aclose()  # type: ignore[attr-defined]
    assert called == []


@pytest.mark.parametrize("factory", [None, [1], "x"])
def test_what_is_no_factory(factory: Any) -> None:
    """A factory can be called."""
    with pytest.raises(InvalidFactoryError):
        in_thread(factory)


async def test_what_makes_no_iterable() -> None:
    """And it makes something to iterate over, not with ``async for``."""

    async def write() -> Any:
        yield 1

    factory: Any
    for factory in (write, lambda: 5):
        with pytest.raises(InvalidFactoryError):
            await anext(in_thread(factory))


@pytest.mark.parametrize("options", [{"ahead": 0}, {"patience": -1.0}])
def test_settings(options: dict[str, Any]) -> None:
    """Bounds are bounds."""
    with pytest.raises(InvalidSettingError):
        in_thread(list, **options)

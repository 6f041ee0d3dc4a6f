"""How a call is cancelled."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from resumable_stream.chat.finishing import to_the_end


class _Call:
    """A call that ends when it is told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.has_begun, self.may_end = anyio.Event(), anyio.Event()
        self.is_done = False
        self._error = error

    async def __call__(self) -> str:
        self.has_begun.set()
        await self.may_end.wait()
        self.is_done = True
        if self._error is not None:
            raise self._error
        return "answer"


async def test_answer_and_error() -> None:
    """A call that nobody cancels answers, or raises."""
    call, failing = _Call(), _Call(ValueError("wrong"))
    call.may_end.set()
    failing.may_end.set()
    assert await to_the_end(call()) == "answer"
    with pytest.raises(ValueError, match="wrong"):
        await to_the_end(failing())


@pytest.mark.parametrize("error", [None, ValueError("wrong")])
@pytest.mark.parametrize("times", [1, 3])
async def test_cancelled_task(times: int, error: Exception | None) -> None:
    """A task that is cancelled, however often, ends when the call is done, and is cancelled then."""
    call = _Call(error)
    task = asyncio.create_task(to_the_end(call()))
    await call.has_begun.wait()
    for _ in range(times):
        task.cancel()
        await anyio.wait_all_tasks_blocked()
        assert not task.done()
    call.may_end.set()
    await asyncio.wait([task])
    assert task.cancelled()
    assert call.is_done


async def test_cancelled_scope() -> None:
    """So does a scope that is cancelled, without a loop that turns meanwhile."""
    call = _Call()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(to_the_end, call())
        await call.has_begun.wait()
        tasks.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            await anyio.wait_all_tasks_blocked()
            assert not call.is_done
            call.may_end.set()
    assert call.is_done

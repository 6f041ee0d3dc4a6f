"""What keeps a context from being left while something is published."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextvars import copy_context
from typing import Any

import anyio
from anyio.abc import TaskGroup

from .publisher import Publisher


class Keeper:
    """Keeps a task group open while there are publishers, with one task for all. Cancelling it breaks them off.

    Args:
        tasks: The task group. Publishers are started from within it.
        see_to_end: A task of its own for a publisher whose end is not recorded without more ado.
    """

    # A task for each publisher would be half of all the memory that a live stream takes.

    def __init__(self, tasks: TaskGroup, see_to_end: Callable[[Publisher], Coroutine[Any, Any, None]]) -> None:
        self._tasks = tasks
        self._see_to_end = see_to_end
        self._publishers: set[Publisher] = set()
        self._in_trouble: list[Publisher] = []
        self._wake = asyncio.Event()
        self._is_keeping = False
        self._are_broken_off = False
        # Of whoever enters the context: that of the request that publishes first is not to be kept by all others.
        self._context = copy_context()

    def __iter__(self) -> Iterator[Publisher]:
        return iter(list(self._publishers))

    def start(self, publisher: Publisher) -> None:
        """Have a publisher call its factory."""
        self._publishers.add(publisher)
        if not self._is_keeping:
            self._is_keeping = True
            self._context.run(self._tasks.start_soon, self._keep)
        publisher.start()
        if self._are_broken_off:
            publisher.leave("cancelled")

    def see_to_end(self, publisher: Publisher) -> None:
        """Start the task for a publisher's end. Works from callbacks of the event loop, too."""
        if publisher in self._publishers:  # else it is one that nobody kept any more when the context was left last
            self._in_trouble.append(publisher)
            self._wake.set()

    def discard(self, publisher: Publisher) -> None:
        """Take note that a publisher is over."""
        self._publishers.discard(publisher)
        if not self._publishers:
            self._wake.set()

    async def _keep(self) -> None:
        try:
            await self._until_all_are_over()
        except BaseException:
            self._are_broken_off = True
            for publisher in self:
                publisher.leave("cancelled")
            with anyio.CancelScope(shield=True):
                await self._until_all_are_over()
            raise

    async def _until_all_are_over(self) -> None:
        while self._publishers:
            self._wake.clear()
            for publisher in list(self._in_trouble):
                self._tasks.start_soon(self._begin_to_see_to, publisher)
            await self._wake.wait()
        self._is_keeping = False

    async def _begin_to_see_to(self, publisher: Publisher) -> None:
        # It stays in trouble until here: a task that is cancelled before its first step sees to nothing.
        if publisher in self._in_trouble:
            self._in_trouble.remove(publisher)
            await self._see_to_end(publisher)

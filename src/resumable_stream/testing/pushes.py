"""A backend whose pushes get lost, doubled and emptied."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence

from typing_extensions import override

from ..abc import OnPush, StreamBackend
from ..types import Acquired, Append, Appended, Claim, Page, Push, StreamInfo

__all__ = ["UnreliablePushes"]


class UnreliablePushes(StreamBackend):
    """Does what another backend does, and treats each push as it is told.

    Args:
        backend: The one that does the work.
        deliver: Called for each push; returns what is delivered in its place, in order. An empty list loses it.
    """

    def __init__(self, backend: StreamBackend, deliver: Callable[[Push | None], Sequence[Push | None]]) -> None:
        self._backend = backend
        self._deliver = deliver

    @override
    async def connect(self) -> None:
        await self._backend.connect()

    @override
    async def aclose(self) -> None:
        await self._backend.aclose()

    @override
    async def acquire(self, stream_id: str, claim: Claim) -> Acquired:
        return await self._backend.acquire(stream_id, claim)

    @override
    async def append(self, appends: Sequence[Append]) -> list[Appended]:
        return await self._backend.append(appends)

    @override
    async def read(self, stream_id: str, start: int, max_bytes: int) -> Page | None:
        return await self._backend.read(stream_id, start, max_bytes)

    @override
    async def subscribe(self, stream_id: str, on_push: OnPush) -> None:
        def deliver(push: Push | None) -> None:
            for delivered in self._deliver(push):
                on_push(delivered)

        await self._backend.subscribe(stream_id, deliver)

    @override
    async def unsubscribe(self, stream_id: str) -> None:
        await self._backend.unsubscribe(stream_id)

    @override
    async def delete(self, stream_id: str) -> bool:
        return await self._backend.delete(stream_id)

    @override
    def scan(self) -> AsyncIterator[StreamInfo]:
        return self._backend.scan()

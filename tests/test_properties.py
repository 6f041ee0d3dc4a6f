"""Promise 4, for whatever chunks, batches, positions, arrivals and reconnects Hypothesis comes up with."""

from __future__ import annotations

import random
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

import anyio
import anyio.lowlevel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resumable_stream import Limits, ResumableStream, ResumableStreamContext
from resumable_stream.testing import FaultyBackend
from resumable_stream.types import Push
from tests.stores import Store
from tests.streams import never

chunks_of_text = st.lists(st.text(st.characters(exclude_categories=()), max_size=6), max_size=40)
few = st.integers(1, 60)
limits = st.builds(Limits, pending_chunks=few, pending_bytes=few, window_bytes=st.integers(1, 2000), page_bytes=few)


@given(
    chunks=chunks_of_text,
    pauses=st.lists(st.booleans(), min_size=1, max_size=10),
    publisher_limits=limits,
    follower_limits=limits,
    seed=st.integers(0, 2**32),
)
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_prefix_and_resumed_suffix_are_the_whole(
    store: Store,
    chunks: list[str],
    pauses: list[bool],
    publisher_limits: Limits,
    follower_limits: Limits,
    seed: int,
) -> None:
    """Readers who come at any time and reconnect at any chunk, by any form of position, see every character once."""
    rng = random.Random(seed)
    stream_id = uuid.uuid4().hex  # a failing example is tried again, and must not find what the last one left

    async def factory() -> AsyncIterator[str]:
        for index, chunk in enumerate(chunks):
            if pauses[index % len(pauses)]:
                await anyio.lowlevel.checkpoint()
            yield chunk

    unreliable = FaultyBackend(store.make_backend(), on_push=lambda push: _mistreat(push, rng))
    async with (
        store.make_context(limits=publisher_limits) as here,
        ResumableStreamContext(unreliable, limits=follower_limits, lease=0.05, drain_timeout=0) as elsewhere,
    ):
        texts: list[str] = []

        async def read(context: ResumableStreamContext, arrival: int, first: ResumableStream[str] | None) -> None:
            for _ in range(arrival):
                await anyio.lowlevel.checkpoint()
            texts.append(await _read_with_reconnects(context, stream_id, first, rng))

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read, here, 0, await here.resumable_stream(stream_id, factory))
                for _ in range(4):
                    tasks.start_soon(read, rng.choice((here, elsewhere)), rng.randrange(40), None)
        assert texts == ["".join(chunks)] * 5
        await here.delete(stream_id)


def _mistreat(push: Push | None, rng: random.Random) -> Sequence[Push | None]:
    return rng.choice(([], [push], [push], [push, push], [None]))


async def _read_with_reconnects(
    context: ResumableStreamContext, stream_id: str, stream: ResumableStream[str] | None, rng: random.Random
) -> str:
    """Read to the end, leaving after a few chunks and coming back with one form of position or another."""
    seen: list[str] = []
    index, event_id = 0, None
    while True:
        if stream is None:
            forms: list[dict[str, Any]] = [{"start_index": index}, {"skip_characters": len("".join(seen))}]
            if event_id is not None:
                forms.append({"after": event_id})
            stream = await context.resumable_stream(stream_id, never, **rng.choice(forms))
            assert stream is not None
        patience = rng.choice((1, 2, 5, 10**6))
        async with stream:
            try:
                for _ in range(patience):
                    seen.append(await anext(stream))
            except StopAsyncIteration:
                return "".join(seen)
            index, event_id = stream.index, stream.event_id
        stream = None

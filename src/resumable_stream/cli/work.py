"""What the commands do, over the API that everybody has."""

from __future__ import annotations

import heapq
import sys
from typing import Any

from ..context import ResumableStreamContext
from ..exceptions import StreamNotFoundError
from ..stream import ResumableStream
from ..types import StreamBlock, StreamInfo, StreamState
from .exits import Exit
from .options import Store
from .records import chunk_record, print_record, stream_record
from .rendering import print_stream, print_streams
from .running import say


async def ls(store: Store, *, state: StreamState | None, limit: int, as_json: bool) -> Exit:
    """List streams."""
    async with store.context() as context:
        streams, found = await _newest(context, state, limit)
    if as_json:
        for info in streams:
            print_record(stream_record(info))
    else:
        print_streams(streams)
    if found > len(streams):
        say(f"{found - len(streams)} older ones are left out: see --limit")
    return Exit.OK


async def _newest(
    context: ResumableStreamContext, state: StreamState | None, limit: int
) -> tuple[list[StreamInfo], int]:
    """Return the newest streams, and how many there are. Never are more than ``limit`` held."""
    newest: list[tuple[float, str, StreamInfo]] = []
    found = 0
    async for info in context.list_streams():
        if state is not None and info.state is not state:
            continue
        found += 1
        item = (info.created_at, info.stream_id, info)
        if len(newest) < limit:
            heapq.heappush(newest, item)
        else:
            heapq.heappushpop(newest, item)
    return [info for *_, info in sorted(newest, key=lambda item: item[:2], reverse=True)], found


async def check(store: Store, *, stream_id: str) -> Exit:
    """Find out whether there is a stream.

    Raises:
        StreamNotFoundError: There is none.
    """
    async with store.context() as context:
        await _described(context, stream_id)
    return Exit.OK


async def show(store: Store, *, stream_id: str, as_json: bool) -> Exit:
    """Show a stream."""
    async with store.context() as context:
        info = await _described(context, stream_id)
    if as_json:
        print_record(stream_record(info))
    else:
        print_stream(info)
    return Exit.OK


async def _described(context: ResumableStreamContext, stream_id: str) -> StreamInfo:
    info = await context.info(stream_id)
    if info is None:
        raise StreamNotFoundError(stream_id)
    return info


async def tail(store: Store, *, stream_id: str, start: int, as_json: bool) -> Exit:
    """Replay and follow a stream."""
    async with store.context() as context:
        stream = await context.resume_existing_stream(stream_id, start_index=start)
        if stream is None:
            await _described(context, stream_id)
            say(f"stream {stream_id!r} is over, and its chunks are gone with its retention")
            return Exit.NOT_FOUND
        async with stream:
            async for block in stream.blocks():
                _write(stream, block, as_json=as_json)
            is_stopped = stream.state is StreamState.STOPPED
        if is_stopped:
            info = await context.info(stream_id)
            say(f"stream {stream_id!r} was stopped: {info.reason if info else 'and deleted since'}")
    return Exit.OK


def _write(stream: ResumableStream[Any], block: StreamBlock, *, as_json: bool) -> None:
    if as_json:
        for index, chunk in enumerate(block.chunks, block.index):
            print_record(chunk_record(stream.event_id_of(index), index, chunk))
    else:
        # As the log has it, whatever the terminal's encoding.
        for chunk in block.chunks:
            sys.stdout.buffer.write(chunk.encode("utf-8", "surrogatepass") if isinstance(chunk, str) else chunk)
    sys.stdout.flush()


async def stop(store: Store, *, stream_id: str, reason: str, as_json: bool) -> Exit:
    """Stop a stream."""
    async with store.context() as context:
        state = await context.stop(stream_id, reason=reason)
    if state is None:
        raise StreamNotFoundError(stream_id)
    if as_json:
        print_record({"stream_id": stream_id, "state": state.value})
    elif state is StreamState.RUNNING:
        sys.stdout.write(f"{stream_id} is about to stop\n")
    else:
        sys.stdout.write(f"{stream_id} has ended: {state.value}\n")
    return Exit.OK


async def delete(store: Store, *, stream_id: str, as_json: bool) -> Exit:
    """Delete a stream."""
    async with store.context() as context:
        if not await context.delete(stream_id):
            raise StreamNotFoundError(stream_id)
    if as_json:
        print_record({"stream_id": stream_id, "deleted": True})
    else:
        sys.stdout.write(f"{stream_id} is deleted\n")
    return Exit.OK

"""The answer that a stream's log holds."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ..context import ResumableStreamContext
from ..exceptions import InvalidMessageChunkError, PublisherError, StreamGoneError
from ..stream import ResumableStream
from ..types import StreamInfo, StreamState
from .planning import interrupted
from .reducer import MessageReducer, Sdk

__all__ = ["drain", "recovered_message"]

_logger = logging.getLogger("resumable_stream")


async def recovered_message(
    context: ResumableStreamContext, info: StreamInfo, messages: Sequence[dict[str, Any]], sdk: Sdk
) -> dict[str, Any] | None:
    """Return the message that the log of an ended stream makes; ``None``: it makes none.

    Args:
        context: Where the stream is.
        info: Describes the stream.
        messages: Of the chat, the one that is answered last.
        sdk: The major version of the AI SDK whose rules make the message.

    Raises:
        BackendError: The log cannot be read.
    """
    stream = await context.resume_existing_stream(info.stream_id)
    if stream is None:
        return None
    last = messages[-1] if messages and messages[-1].get("role") == "assistant" else None
    reducer = MessageReducer(last, message_id=last["id"] if last else info.stream_id, sdk=sdk)
    async with stream:
        await _fold(stream, reducer)
    try:
        message = reducer.message
    except InvalidMessageChunkError:  # it is nested too deeply; a chat must not wait for a message that never comes
        _logger.warning("the answer of stream %s cannot be kept", info.stream_id)
        return None
    if info.state is StreamState.DONE:
        return message
    return interrupted(message, "shutdown" if info.reason == "shutdown" else info.state.value)


async def drain(stream: ResumableStream[Any]) -> None:
    """Read a stream to its end, whichever that is."""
    try:
        async for _ in stream.encoded_blocks():
            pass
    except (PublisherError, StreamGoneError):
        _logger.debug("stream %s did not come to a good end", stream.stream_id)


async def _fold(stream: ResumableStream[Any], reducer: MessageReducer) -> None:
    """Read a stream to its end, and fold what it has: chunk by chunk, for one may be broken."""
    try:
        async for chunk in stream:
            _add(reducer, chunk)
    except (PublisherError, StreamGoneError):
        _logger.debug("stream %s did not come to a good end", stream.stream_id)
    except (ValueError, RecursionError) as error:  # of the codec
        _logger.warning("the log of stream %s cannot be read on: %s", stream.stream_id, type(error).__name__)


def _add(reducer: MessageReducer, chunk: Any) -> None:
    if isinstance(chunk, Mapping):
        try:
            reducer.add(chunk)
        except InvalidMessageChunkError:  # who published it was told; what comes after it may be all right
            _logger.debug("a chunk could not be folded")

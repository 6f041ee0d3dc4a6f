"""The answer that a stream's log holds."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ..context import ResumableStreamContext
from ..exceptions import InvalidMessageChunkError, PublisherError, StreamGoneError
from ..stream import ResumableStream
from ..types import StreamInfo, StreamState
from .planning import ENDS, interrupted
from .reducer import MessageReducer, Sdk

__all__ = ["drain", "recovered_message"]

_logger = logging.getLogger("resumable_stream")


async def recovered_message(
    context: ResumableStreamContext,
    info: StreamInfo,
    messages: Sequence[dict[str, Any]],
    sdk: Sdk,
    *,
    keep_partial: bool,
) -> dict[str, Any] | None:
    """Return the message that the log of an ended stream makes; ``None``: it makes none that is to be kept.

    An answer that the log has to its finish is whole, whatever became of its stream after that.

    Args:
        context: Where the stream is.
        info: Describes the stream.
        messages: Of the chat, the one that is answered last.
        sdk: The major version of the AI SDK whose rules make the message.
        keep_partial: Whether an answer that broke off is kept.

    Raises:
        BackendError: The log cannot be read.
    """
    stream = await context.resume_existing_stream(info.stream_id)
    if stream is None:
        return None
    last = messages[-1] if messages and messages[-1].get("role") == "assistant" else None
    reducer = MessageReducer(last, message_id=last["id"] if last else info.stream_id, sdk=sdk)
    async with stream:
        is_whole = await _fold(stream, reducer, info.length) or info.state is StreamState.DONE
    if not is_whole and not keep_partial:
        return None
    try:
        message = reducer.message
    except InvalidMessageChunkError:  # it is nested too deeply; a chat must not wait for a message that never comes
        _logger.warning("the answer of stream %s cannot be kept", info.stream_id)
        return None
    if is_whole:
        return message
    return interrupted(message, "shutdown" if info.reason == "shutdown" else info.state.value)


async def drain(stream: ResumableStream[Any]) -> None:
    """Read a stream to its end, whichever that is."""
    try:
        async for _ in stream.encoded_blocks():
            pass
    except (PublisherError, StreamGoneError):
        _logger.debug("stream %s did not come to a good end", stream.stream_id)


async def _fold(stream: ResumableStream[Any], reducer: MessageReducer, length: int) -> bool:
    """Fold so many chunks of a stream, one by one, for one may be broken. Return whether the last says that it is so.

    What comes after them is not waited for: a publisher that was lost may be back, and go on for hours.
    """
    chunk: Any = None
    try:
        while stream.index < length:
            chunk = await anext(stream)
            _add(reducer, chunk)
    except StopAsyncIteration:
        _logger.debug("stream %s is shorter than it was", stream.stream_id)
    except (PublisherError, StreamGoneError):
        _logger.debug("stream %s did not come to a good end", stream.stream_id)
    except (ValueError, RecursionError) as error:  # of the codec
        _logger.warning("the log of stream %s cannot be read on: %s", stream.stream_id, type(error).__name__)
    return isinstance(chunk, Mapping) and chunk.get("type") in ENDS


def _add(reducer: MessageReducer, chunk: Any) -> None:
    if isinstance(chunk, Mapping):
        try:
            reducer.add(chunk)
        except InvalidMessageChunkError:  # who published it was told; what comes after it may be all right
            _logger.debug("a chunk could not be folded")

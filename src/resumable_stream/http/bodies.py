"""What event streams consist of: frames of what a reader gets, signs of life, and a word about the end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import anyio

from .._core.ids import format_event_id, parse_event_id
from ..exceptions import (
    InvalidInputError,
    InvalidSettingError,
    PublisherError,
    PublisherFailedError,
    ResumableStreamError,
)
from ..protocols import ndjson, plain, sse
from ..protocols.ai_sdk import data_stream, ui_message_stream
from ..protocols.ai_sdk.data_stream import DataStreamPart
from ..protocols.ai_sdk.data_stream_translator import DataStreamTranslator
from ..stream import ResumableStream
from ..types import RawChunk, StreamBlock, StreamState
from .messages import HTTPResponse

__all__ = ["EventStreamSettings", "Wire", "data_stream_body", "stream_response", "ui_event_stream_body"]

Wire = Literal["sse", "text", "ndjson"]
"""How a stream is sent: server-sent events, its text alone, or a line of JSON for each chunk."""

_Body = Callable[[ResumableStream[Any], "EventStreamSettings"], AsyncGenerator[bytes, None]]

_PING = sse.encode_comment("ping")


@dataclass(frozen=True)
class EventStreamSettings:
    """How event streams are sent."""

    ping_interval: float = 15.0
    """After so many seconds of silence a comment is sent, so that nobody on the way takes the connection for dead."""
    failed_text: str = "The answer could not be made."
    """What users are told when the answer's factory raised. What it raised is in the log and not for them."""
    lost_text: str = "The answer was interrupted."
    """What users are told when the process died that made the answer."""
    unavailable_text: str = "The answer cannot be read just now."
    """What users are told when the store failed."""

    def __post_init__(self) -> None:
        if not 0 < self.ping_interval < float("inf"):
            raise InvalidSettingError("ping_interval is a number of seconds above 0")

    def text_of(self, error: Exception) -> str:
        """Return what a user is told of an error."""
        if isinstance(error, PublisherFailedError):
            return self.failed_text
        return self.lost_text if isinstance(error, PublisherError) else self.unavailable_text


def stream_response(
    stream: ResumableStream[Any],
    settings: EventStreamSettings | None = None,
    wire: Wire = "sse",
    headers: Mapping[str, str] | None = None,
) -> HTTPResponse:
    """Return a response that sends any stream, with more headers if there are any.

    Server-sent events have an id each, signs of life, and an event of the type ``error`` if the stream does not come to
    a good end. The other wires have none of these: there the body raises, so that the connection is cut, and nobody
    takes half a stream for a whole one.

    Raises:
        InvalidSettingError: There is no such wire.
    """
    if wire not in _WIRES:
        raise InvalidSettingError(f"a wire is one of {', '.join(_WIRES)}, not {wire!r}")
    of_wire, body = _WIRES[wire]
    return HTTPResponse(200, {**of_wire, **(headers or {})}, body(stream, settings or EventStreamSettings()))


async def _event_stream_body(
    stream: ResumableStream[Any], settings: EventStreamSettings
) -> AsyncGenerator[bytes, None]:
    try:
        async for frame in _frames(stream, settings):
            yield frame
    except ResumableStreamError as error:
        yield sse.encode_event(settings.text_of(error), event="error")


async def _plain_body(stream: ResumableStream[Any], _settings: EventStreamSettings) -> AsyncGenerator[bytes, None]:
    encoder = plain.PlainTextEncoder()
    async with stream:
        async for block in stream.blocks():
            yield encoder.encode(block.chunks)
    yield encoder.end()


async def _ndjson_body(stream: ResumableStream[Any], _settings: EventStreamSettings) -> AsyncGenerator[bytes, None]:
    async with stream:
        async for block in stream.blocks():
            yield ndjson.encode_lines(block.chunks)


_WIRES: Mapping[str, tuple[Mapping[str, str], _Body]] = {
    "sse": (
        {"content-type": "text/event-stream", "cache-control": "no-cache", "x-accel-buffering": "no"},
        _event_stream_body,
    ),
    "text": (plain.HEADERS, _plain_body),
    "ndjson": (ndjson.HEADERS, _ndjson_body),
}


async def ui_event_stream_body(
    stream: ResumableStream[Any], settings: EventStreamSettings
) -> AsyncGenerator[bytes, None]:
    """Send an answer as a UI message stream. The word about a bad end has an id behind that of the last chunk."""
    try:
        async for frame in _frames(stream, settings):
            yield frame
    except ResumableStreamError as error:
        yield ui_message_stream.encode_error(settings.text_of(error), event_id=_id_of_end(stream))
    else:
        if stream.state is StreamState.STOPPED:
            yield ui_message_stream.encode_abort(event_id=_id_of_end(stream))
    yield ui_message_stream.DONE


async def data_stream_body(stream: ResumableStream[Any], settings: EventStreamSettings) -> AsyncGenerator[bytes, None]:
    """Send an answer as a data stream of the AI SDK's version 4. It has no comments: no data is the sign of life."""
    translator = DataStreamTranslator()
    try:
        async with stream:
            async for block in _blocks(stream.blocks(), settings.ping_interval):
                parts = [part for chunk in block.chunks for part in translator.add(chunk)] if block else [_NO_DATA]
                yield data_stream.encode_parts(parts)
    except ResumableStreamError as error:
        yield data_stream.encode_part("3", settings.text_of(error))
    yield data_stream.encode_parts(translator.end())


_NO_DATA: DataStreamPart = ("2", [])


async def _frames(stream: ResumableStream[Any], settings: EventStreamSettings) -> AsyncGenerator[bytes, None]:
    async with stream:
        async for block in _blocks(stream.encoded_blocks(), settings.ping_interval):
            yield _PING if block is None else _as_events(block)


async def _blocks(blocks: AsyncIterator[StreamBlock], ping_interval: float) -> AsyncIterator[StreamBlock | None]:
    """Yield the blocks, and ``None`` whenever there was none for a while. Cancelling a read loses nothing."""
    while True:
        block: StreamBlock | None = None
        with anyio.move_on_after(ping_interval) as scope:
            block = await anext(blocks, None)
        if block is None and not scope.cancelled_caught:
            return
        yield block


def _as_events(block: StreamBlock) -> bytes:
    texts = list(map(_text, block.chunks))
    try:
        return sse.encode_events(zip(_ids(block), texts, strict=True))
    except InvalidInputError:
        # A model has cut a character in two. As JSON escapes them both halves arrive, and clients join them.
        whole = [text.encode("utf-8", "backslashreplace").decode() for text in texts]
        return sse.encode_events(zip(_ids(block), whole, strict=True))


def _ids(block: StreamBlock) -> Iterator[str]:
    generation, _ = parse_event_id(block.event_id)
    return (format_event_id(generation, index) for index in range(block.index, block.index + len(block.chunks)))


def _text(chunk: RawChunk) -> str:
    return chunk if isinstance(chunk, str) else chunk.decode()


def _id_of_end(stream: ResumableStream[Any]) -> str | None:
    """Return the id behind that of the last chunk, which says that the word about the end was seen, too."""
    if stream.event_id is None:
        return None
    generation, index = parse_event_id(stream.event_id)
    return format_event_id(generation, index + 1)

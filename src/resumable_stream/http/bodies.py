"""What event streams consist of: frames of what a reader gets, signs of life, and a word about the end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from .._core.ids import format_event_id, format_loss_id, parse_event_id
from .._core.whole_texts import WholeTexts
from ..exceptions import (
    InvalidInputError,
    InvalidSettingError,
    PublisherError,
    PublisherFailedError,
    PublisherLostError,
    StreamGoneError,
)
from ..protocols import ndjson, plain, sse
from ..protocols.ai_sdk import data_stream, ui_message_stream
from ..protocols.ai_sdk.data_stream import DataStreamPart
from ..protocols.ai_sdk.data_stream_translator import DataStreamTranslator
from ..protocols.ai_sdk.json_text import as_json
from ..stream import MAX_HEARTBEAT, ResumableStream
from ..types import RawChunk, StreamBlock, StreamState
from .messages import HTTPResponse, nothing

__all__ = ["EventStreamSettings", "Wire", "data_stream_body", "stream_response", "ui_event_stream_body"]

Wire = Literal["sse", "text", "ndjson"]
"""How a stream is sent: server-sent events, its text alone, or a line of JSON for each chunk."""

_Body = Callable[[ResumableStream[Any], "EventStreamSettings"], AsyncGenerator[bytes, None]]

_EncodeEnd = Callable[[ResumableStream[Any], "EventStreamSettings", "Exception | None"], bytes]
"""Returns what is sent last, given what the stream ended with, if not well."""

_BAD_ENDS = (PublisherError, StreamGoneError)
"""What a stream ends with, if not well. Other errors are of this process, and the stream may go on: the connection is
cut, so that the client comes back, and a word under the id of the next chunk would have it pass over that."""

_PING = sse.encode_comment("ping")


@dataclass(frozen=True)
class EventStreamSettings:
    """How event streams are sent."""

    ping_interval: float = 15.0
    """After so many seconds of silence a comment is sent, so that nobody on the way takes the connection for dead. It
    may be later by the time-out of a call to the store, which is waited for first. A year at most."""
    failed_text: str = "The answer could not be made."
    """What users are told when the answer's factory raised. What it raised is in the log and not for them."""
    lost_text: str = "The answer was interrupted."
    """What users are told when the process died that made the answer."""
    gone_text: str = "The answer is not there any more."
    """What users are told when the answer's stream was deleted, or expired, while they were reading it."""

    def __post_init__(self) -> None:
        if not 0 < self.ping_interval <= MAX_HEARTBEAT:
            raise InvalidSettingError("ping_interval is a number of seconds above 0, and a year at most")

    def text_of(self, error: Exception) -> str:
        """Return what a user is told of an error."""
        if isinstance(error, PublisherFailedError):
            return self.failed_text
        return self.lost_text if isinstance(error, PublisherError) else self.gone_text


def stream_response(
    stream: ResumableStream[Any] | None,
    settings: EventStreamSettings | None = None,
    wire: Wire = "sse",
    headers: Mapping[str, str] | None = None,
) -> HTTPResponse:
    """Return a response that sends any stream, with more headers if there are any.

    Server-sent events have an id each, signs of life, and an event of the type ``error`` if the stream does not come to
    a good end. Bytes are taken for UTF-8; a chunk that ends in the middle of a character comes together with the next.
    The other wires have none of these: there the body raises, so that the connection is cut, and nobody takes half a
    stream for a whole one. On all wires it raises if the stream cannot be read just now.

    Without a stream, as its retention is over, the status is 204, and there is nothing to send. So it is for events if
    the stream has ended and the client has seen all, the word about a bad end included: an `EventSource` would ask
    again for ever.

    Raises:
        InvalidSettingError: There is no such wire. The body raises it if a codec makes events that are no text.
    """
    if wire not in _WIRES:
        raise InvalidSettingError(f"a wire is one of {', '.join(_WIRES)}, not {wire!r}")
    if stream is None or (wire == "sse" and _is_all_seen(stream)):
        return HTTPResponse(204, {"cache-control": "no-store", **(headers or {})}, nothing())
    of_wire, body = _WIRES[wire]
    return HTTPResponse(200, {**of_wire, **(headers or {})}, body(stream, settings or EventStreamSettings()))


def _is_all_seen(stream: ResumableStream[Any]) -> bool:
    if stream.length is None or stream.index < stream.length:
        return False
    if stream.state is StreamState.LOST:  # it may go on, so the word about it takes no place
        return stream.is_told_of_loss
    return stream.index > stream.length or stream.state is not StreamState.FAILED


def _event_stream_body(stream: ResumableStream[Any], settings: EventStreamSettings) -> AsyncGenerator[bytes, None]:
    return _frames(stream, settings, _event_stream_end)


def _event_stream_end(stream: ResumableStream[Any], settings: EventStreamSettings, error: Exception | None) -> bytes:
    if error is None:
        return b""
    return sse.encode_event(settings.text_of(error), event="error", event_id=_id_of_end(stream, error))


def _id_of_end(stream: ResumableStream[Any], error: Exception | None) -> str:
    # It counts the word as seen: an `EventSource` comes back after it, and is then told to stay away, or gets what
    # follows a loss.
    next_id = stream.event_id_of(stream.index)
    return format_loss_id(next_id) if isinstance(error, PublisherLostError) else next_id


async def _plain_body(stream: ResumableStream[Any], _settings: EventStreamSettings) -> AsyncGenerator[bytes, None]:
    encoder = plain.PlainTextEncoder()
    async with stream:
        async for block in stream.blocks():
            if text := encoder.encode(block.chunks):  # nothing at all would be the end, as some servers send it
                yield text
    if text := encoder.end():
        yield text


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


def ui_event_stream_body(stream: ResumableStream[Any], settings: EventStreamSettings) -> AsyncGenerator[bytes, None]:
    """Send an answer as a UI message stream. The word about a bad end has an id behind that of the last chunk."""
    return _frames(stream, settings, _ui_event_stream_end)


def _ui_event_stream_end(stream: ResumableStream[Any], settings: EventStreamSettings, error: Exception | None) -> bytes:
    word = b""
    if error is not None:
        word = ui_message_stream.encode_error(settings.text_of(error), event_id=_id_of_end(stream, error))
    elif stream.state is StreamState.STOPPED:
        word = ui_message_stream.encode_abort(event_id=_id_of_end(stream, None))
    return word + ui_message_stream.DONE


async def data_stream_body(stream: ResumableStream[Any], settings: EventStreamSettings) -> AsyncGenerator[bytes, None]:
    """Send an answer as a data stream of the AI SDK's version 4. It has no comments: no data is the sign of life."""
    translator = DataStreamTranslator()
    async with stream:
        try:
            async for block in stream.blocks(heartbeat=settings.ping_interval):
                parts = [part for chunk in block.chunks for part in translator.add(chunk)]
                yield data_stream.encode_parts(parts if block.chunks else [_NO_DATA])
        except _BAD_ENDS as error:
            yield data_stream.encode_parts(translator.add({"type": "error", "errorText": settings.text_of(error)}))
        else:
            if stream.state is StreamState.STOPPED:
                yield data_stream.encode_parts(translator.add({"type": "abort"}))
    yield data_stream.encode_parts(translator.end())


_NO_DATA: DataStreamPart = ("2", [])


async def _frames(
    stream: ResumableStream[Any], settings: EventStreamSettings, encode_end: _EncodeEnd
) -> AsyncGenerator[bytes, None]:
    texts, bad_end = WholeTexts(), None
    encode: Callable[[StreamBlock], bytes]
    if stream.codec is None:
        blocks, encode = stream.encoded_blocks, partial(_as_events_of_text, texts)
    elif stream.codec.writes_json:
        blocks, encode = stream.encoded_blocks, _as_events
    else:
        blocks, encode = stream.blocks, _as_events_of_values
    async with stream:
        try:
            async for block in blocks(heartbeat=settings.ping_interval):
                if frames := encode(block) if block.chunks else _PING:  # none at all would be an end
                    yield frames
        except _BAD_ENDS as error:
            bad_end = error
        if texts.is_waiting:
            yield sse.encode_event(texts.end(), event_id=stream.event_id)
    if end := encode_end(stream, settings, bad_end):
        yield end


def _as_events(block: StreamBlock) -> bytes:
    """Make an event of each chunk that is logged as JSON."""
    texts = list(map(_text, block.chunks))
    try:
        return _encode(block, texts)
    except InvalidInputError:
        # A model has cut a character in two. As JSON escapes them both halves arrive, and clients join them.
        return _encode(block, [text.encode("utf-8", "backslashreplace").decode() for text in texts])


def _as_events_of_values(block: StreamBlock) -> bytes:
    """Make an event of each value."""
    return _encode(block, list(map(as_json, block.chunks)))


def _as_events_of_text(texts: WholeTexts, block: StreamBlock) -> bytes:
    """Make an event of each chunk, but of what ends in the middle of a character one event with what follows.

    Its id is that of the last chunk in it: whoever comes back begins with a whole character.
    """
    if not texts.is_waiting and isinstance(block.chunks[0], str):
        try:
            return _encode(block, block.chunks)
        except InvalidInputError:
            pass  # a character was cut in two
    whole = zip(_ids(block), map(texts.add, block.chunks), strict=True)
    return sse.encode_events((event_id, text) for event_id, text in whole if text is not None)


def _encode(block: StreamBlock, texts: Sequence[str]) -> bytes:
    if len(texts) == 1:  # as of all slow sources
        return sse.encode_event(texts[0], event_id=block.event_id)
    return sse.encode_events(zip(_ids(block), texts, strict=True))


def _ids(block: StreamBlock) -> Iterator[str]:
    generation = parse_event_id(block.event_id).generation
    return (format_event_id(generation, index) for index in range(block.index, block.index + len(block.chunks)))


def _text(chunk: RawChunk) -> str:
    try:
        return chunk if isinstance(chunk, str) else chunk.decode()
    except UnicodeDecodeError:
        raise InvalidSettingError("server-sent events are text, and what this codec makes is none") from None

"""What event streams consist of."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest

from resumable_stream import InvalidSettingError, JSONCodec, ResumableStream, ResumableStreamContext
from resumable_stream.backends.memory import MemoryBackend
from resumable_stream.exceptions import (
    BackendUnavailableError,
    ChatChangedError,
    ContextClosedError,
    LimitExceededError,
    PublisherFailedError,
    PublisherLostError,
    StreamGoneError,
)
from resumable_stream.http import EventStreamSettings, HTTPError, Wire, error_response, stream_response
from resumable_stream.http.bodies import data_stream_body, ui_event_stream_body
from resumable_stream.protocols.sse import Event, SSEDecoder
from tests.streams import Tap, factory_of

CHUNKS = [{"type": "start", "messageId": "m"}, {"type": "start-step"}, {"type": "text-start", "id": "t"}]
CHUNKS += [{"type": "text-delta", "id": "t", "delta": word} for word in ("Ü", "ber\n", "\u2028")]
CHUNKS += [{"type": "text-end", "id": "t"}, {"type": "finish-step"}, {"type": "finish"}]
QUICK = EventStreamSettings(ping_interval=0.01)


@pytest.fixture
async def context() -> AsyncIterator[ResumableStreamContext]:
    """A context of chunks that are JSON."""
    async with ResumableStreamContext(MemoryBackend(), codec=JSONCodec(), drain_timeout=0.0) as made:
        yield made


async def bytes_of(body: AsyncIterator[bytes]) -> bytes:
    """Return all of a body."""
    with anyio.fail_after(10):
        return b"".join([piece async for piece in body])


async def events_of(stream: ResumableStream[Any] | None) -> list[Event]:
    """Return the events of a UI message stream."""
    assert stream is not None
    return SSEDecoder().feed(await bytes_of(ui_event_stream_body(stream, EventStreamSettings())))


async def test_each_chunk_is_an_event_with_its_id(context: ResumableStreamContext) -> None:
    """A body has one event per chunk, in order, and resuming after any of them gives the rest; then comes the end."""
    whole = await events_of(await context.resumable_stream("s", factory_of(CHUNKS)))
    assert [json.loads(event.data) for event in whole[:-1]] == CHUNKS
    assert whole[-1].data == "[DONE]"
    assert len({event.event_id for event in whole}) == len(CHUNKS)
    for number, event in enumerate(whole[:-1]):
        rest = await events_of(await context.resume_existing_stream("s", after=event.event_id))
        assert [one.data for one in rest] == [one.data for one in whole[number + 1 :]]


async def test_halves_of_a_character_are_sent(context: ResumableStreamContext) -> None:
    """A character that a model has cut in two is sent as JSON escapes it, and does not end the stream."""
    halves = [
        {"type": "text-delta", "id": "t", "delta": "x\ud83d"},
        {"type": "text-delta", "id": "t", "delta": "\ude00"},
    ]
    events = await events_of(await context.resumable_stream("s", factory_of(halves)))
    assert [json.loads(event.data) for event in events[:-1]] == halves


async def test_silence_is_filled(context: ResumableStreamContext) -> None:
    """While nothing comes a comment is sent, which is no event; no chunk is lost by that."""
    tap = Tap(*CHUNKS[:2])
    stream = await context.resumable_stream("s", tap)
    assert stream is not None
    pieces = []
    async for piece in ui_event_stream_body(stream, QUICK):
        pieces.append(piece)
        if piece.startswith(b":") and not pieces[-2].startswith(b":"):
            tap.let(*CHUNKS[2:])
            tap.end()
    assert b": ping\n\n" in pieces
    events = SSEDecoder().feed(b"".join(pieces))
    assert [event.data for event in events[:-1]] == [
        json.dumps(c, ensure_ascii=False, separators=(",", ":")) for c in CHUNKS
    ]


async def test_end_that_is_not_good_is_told(context: ResumableStreamContext) -> None:
    """A failed answer ends with an error in words of ours, under an id of its own; what was raised stays here."""
    tap = Tap(*CHUNKS[:2], ValueError("secret of the database"))
    events = await events_of(await context.resumable_stream("s", tap))
    assert json.loads(events[2].data) == {"type": "error", "errorText": EventStreamSettings().failed_text}
    assert events[2].event_id.endswith("-2")
    assert events[3].data == "[DONE]"
    assert "secret" not in str(events)


async def test_stop_is_told(context: ResumableStreamContext) -> None:
    """A stopped answer ends with the word that it was."""
    tap = Tap(*CHUNKS[:2])
    stream = await context.resumable_stream("s", tap)
    await context.stop("s")
    events = await events_of(stream)
    assert [json.loads(event.data)["type"] for event in events[:-1]][-1] == "abort"
    assert events[-1].data == "[DONE]"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (PublisherLostError("s"), EventStreamSettings().lost_text),
        (StreamGoneError("s"), EventStreamSettings().unavailable_text),
        (BackendUnavailableError("at 10.0.0.1"), EventStreamSettings().unavailable_text),
    ],
)
def test_errors_have_words_of_ours(error: Exception, text: str) -> None:
    """What a reader raises is told to the client in words that say nothing of the inside."""
    assert EventStreamSettings().text_of(error) == text


async def test_closing_a_body_ends_its_reader_alone(context: ResumableStreamContext) -> None:
    """A body that is closed half-way lets go of its reader; the answer goes on, and so do others."""
    tap = Tap(*CHUNKS[:2])
    stream, other = await context.resumable_stream("s", tap), await context.resume_existing_stream("s")
    assert stream is not None
    body = ui_event_stream_body(stream, EventStreamSettings())
    await anext(body)
    await body.aclose()
    assert [chunk async for chunk in stream] == []
    tap.end(*CHUNKS[2:])
    assert len(await events_of(other)) == len(CHUNKS) + 1


async def test_data_stream_of_version_4(context: ResumableStreamContext) -> None:
    """For version 4 the same log is lines of a data stream; silence and errors have lines of their own."""
    tap = Tap(*CHUNKS[:5])
    stream = await context.resumable_stream("s", tap)
    assert stream is not None
    lines = []
    async for piece in data_stream_body(stream, QUICK):
        lines += piece.decode().splitlines()
        if lines[-1] == "2:[]" and lines.count("2:[]") == 1:
            tap.let(ValueError("secret"))
    assert lines[0].startswith("f:")
    assert '0:"Ü"' in lines
    assert any(line.startswith("3:") for line in lines)
    assert "secret" not in str(lines)


async def test_any_stream_can_be_sent() -> None:
    """A stream of text is sent as events, too; if it fails, an event of the type error says so."""
    async with AsyncExitStack() as stack:
        context = await stack.enter_async_context(ResumableStreamContext.from_url("memory://", drain_timeout=0.0))
        stream = await context.resumable_stream("s", Tap("two\nlines", "ü", ValueError("secret")))
        assert stream is not None
        made = stream_response(stream, EventStreamSettings())
        assert made.headers["content-type"] == "text/event-stream"
        assert not isinstance(made.body, bytes)
        events = SSEDecoder().feed(await bytes_of(made.body))
    assert [(event.event, event.data) for event in events[:2]] == [("message", "two\nlines"), ("message", "ü")]
    assert events[2].event == "error"
    assert "secret" not in events[2].data


@pytest.mark.parametrize("interval", [0, -1, float("inf"), float("nan")])
def test_ping_interval_is_checked(interval: float) -> None:
    """An interval that is none is refused."""
    with pytest.raises(InvalidSettingError):
        EventStreamSettings(ping_interval=interval)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (HTTPError(418, "teapot", "no"), 418, "teapot"),
        (ChatChangedError("c"), 409, "conflict"),
        (LimitExceededError("max_messages", 5), 409, "chat_full"),
        (LimitExceededError("max_body_bytes", 5), 413, "too_large"),
        (LimitExceededError("max_publishers", 5), 503, "overloaded"),
        (StreamGoneError("s"), 404, "gone"),
        (BackendUnavailableError("at 10.0.0.1"), 503, "unavailable"),
        (ContextClosedError("c"), 503, "unavailable"),
        (ZeroDivisionError("secret"), 500, "internal_error"),
    ],
)
def test_error_responses(error: Exception, status: int, code: str, caplog: pytest.LogCaptureFixture) -> None:
    """Each error has a status, a code and a text of ours; what is our fault is logged, by its type alone."""
    with caplog.at_level(logging.INFO):
        made = error_response(error)
    assert (made.status, made.headers["content-type"]) == (status, "application/json")
    assert isinstance(made.body, bytes)
    told = json.loads(made.body)["error"]
    assert told["code"] == code
    assert told["message"]
    assert "secret" not in str(told) + caplog.text
    assert "10.0" not in str(told) + caplog.text
    assert bool(caplog.records) == (status >= 500)


@pytest.mark.parametrize(
    ("wire", "kind", "body"),
    [("text", "text/plain; charset=utf-8", "Über\n\u2028".encode()), ("ndjson", "application/x-ndjson", None)],
)
async def test_other_wires(context: ResumableStreamContext, wire: Wire, kind: str, body: bytes | None) -> None:
    """A stream can be sent as its text alone, or as lines of JSON; one that fails is cut, so that it shows."""
    stream = await context.resumable_stream("s", factory_of(CHUNKS))
    assert stream is not None
    made = stream_response(stream, EventStreamSettings(), wire)
    assert made.headers["content-type"] == kind
    assert not isinstance(made.body, bytes)
    sent = await bytes_of(made.body)
    assert body in (None, sent)
    assert body or [json.loads(line) for line in sent.splitlines()] == CHUNKS
    stream = await context.resumable_stream("t", Tap(*CHUNKS[:4], ValueError("secret")))
    assert stream is not None
    made = stream_response(stream, EventStreamSettings(), wire)
    assert not isinstance(made.body, bytes)
    with pytest.raises(PublisherFailedError):
        await bytes_of(made.body)


async def test_unknown_wire_is_refused(context: ResumableStreamContext) -> None:
    """A wire that there is not is refused."""
    stream = await context.resumable_stream("s", factory_of(CHUNKS))
    assert stream is not None
    with pytest.raises(InvalidSettingError):
        stream_response(stream, EventStreamSettings(), "xml")  # type: ignore[arg-type]

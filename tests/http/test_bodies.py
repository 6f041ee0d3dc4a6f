"""What event streams consist of."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import anyio
import pytest
from typing_extensions import override

from resumable_stream import InvalidSettingError, JSONCodec, ResumableStream, ResumableStreamContext, StreamState
from resumable_stream._core.packing import pack
from resumable_stream.abc import Codec
from resumable_stream.backends.memory import MemoryBackend, MemoryStore
from resumable_stream.exceptions import (
    BackendUnavailableError,
    ChatChangedError,
    ContextClosedError,
    LimitExceededError,
    PublisherFailedError,
    PublisherLostError,
    StreamExistsError,
    StreamGoneError,
    StreamNotFoundError,
)
from resumable_stream.http import EventStreamSettings, HTTPError, Wire, error_response, stream_response
from resumable_stream.http.bodies import data_stream_body, ui_event_stream_body
from resumable_stream.protocols.sse import Event, SSEDecoder
from resumable_stream.testing import FaultyBackend
from resumable_stream.types import Append, Claim
from tests.streams import Tap, collect, factory_of, never, take

CHUNKS = [{"type": "start", "messageId": "m"}, {"type": "start-step"}, {"type": "text-start", "id": "t"}]
CHUNKS += [{"type": "text-delta", "id": "t", "delta": word} for word in ("Ü", "ber\n", "\u2028")]
CHUNKS += [{"type": "text-end", "id": "t"}, {"type": "finish-step"}, {"type": "finish"}]
QUICK = EventStreamSettings(ping_interval=0.01)
Body = Callable[[ResumableStream[Any], EventStreamSettings], AsyncIterator[bytes]]


def event_stream_body(stream: ResumableStream[Any], settings: EventStreamSettings) -> AsyncIterator[bytes]:
    """Return the body of events of any stream."""
    body = stream_response(stream, settings).body
    assert not isinstance(body, bytes)
    return body


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


async def test_stream_that_is_gone_is_told(context: ResumableStreamContext) -> None:
    """Who reads a stream that is deleted is told that it is gone, which is an end like others."""
    stream = await context.resumable_stream("s", Tap(*CHUNKS[:2]))
    assert stream is not None
    body = ui_event_stream_body(stream, EventStreamSettings())
    sent = await anext(body)
    await context.delete("s")
    events = SSEDecoder().feed(sent + await bytes_of(body))
    assert json.loads(events[-2].data) == {"type": "error", "errorText": EventStreamSettings().gone_text}
    assert events[-2].event_id.endswith(f"-{len(events) - 2}")
    assert events[-1].data == "[DONE]"


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
        (StreamGoneError("s"), EventStreamSettings().gone_text),
    ],
)
def test_errors_have_words_of_ours(error: Exception, text: str) -> None:
    """What a reader raises is told to the client in words that say nothing of the inside."""
    assert EventStreamSettings().text_of(error) == text


@pytest.mark.parametrize("body", [ui_event_stream_body, event_stream_body, data_stream_body])
@pytest.mark.parametrize("error", [BackendUnavailableError, ContextClosedError])
async def test_trouble_of_one_process_is_no_end(body: Body, error: type[Exception]) -> None:
    """A reader whose store is away, or whose process ends, is cut off without a word; elsewhere it goes on exactly."""
    backend, tap, sent, is_half_way = MemoryBackend(), Tap(*CHUNKS[:4]), list[bytes](), anyio.Event()
    faulty = FaultyBackend(backend)
    there = ResumableStreamContext(backend, codec=JSONCodec(), drain_timeout=0.0)
    here = ResumableStreamContext(faulty, codec=JSONCodec(), outage_timeout=0.1, lease=1.0)

    async def read() -> None:
        stream = await here.resume_existing_stream("s")
        assert stream is not None
        pieces = body(stream, EventStreamSettings())
        sent.append(await anext(pieces))
        is_half_way.set()
        with pytest.raises(error):
            sent.append(await bytes_of(pieces))

    async with there:
        await there.resumable_stream("s", tap)
        with anyio.fail_after(20):
            async with here, anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                await is_half_way.wait()
                if error is ContextClosedError:
                    await here.__aexit__(None, None, None)
                faulty.go_away()
        tap.end(*CHUNKS[4:])
        if body is not data_stream_body:
            seen = SSEDecoder()
            count = len(seen.feed(sent[0]))
            rest = await collect(await there.resume_existing_stream("s", after=seen.last_event_id))
            assert rest == CHUNKS[count:]


async def test_version_4_is_told_of_the_end_in_order(context: ResumableStreamContext) -> None:
    """What was said before a bad end comes before the word about it; a stop is the end of the message, and no error."""
    two = [{"type": "text-start", "id": name} for name in "ab"]
    two += [{"type": "text-delta", "id": name, "delta": name} for name in "ab"]
    stream = await context.resumable_stream("s", Tap(CHUNKS[0], *two, ValueError("secret")))
    assert stream is not None
    lines = (await bytes_of(data_stream_body(stream, EventStreamSettings()))).decode().splitlines()
    assert lines[1:] == ['0:"a"', '0:"b"', f'3:"{EventStreamSettings().failed_text}"']
    stream = await context.resumable_stream("t", Tap(CHUNKS[0], *two))
    assert stream is not None
    body = data_stream_body(stream, EventStreamSettings())
    lines = (await anext(body)).decode().splitlines()
    await context.stop("t")
    lines += (await bytes_of(body)).decode().splitlines()
    assert [line[0] for line in lines] == ["f", "0", "0", "e", "d"]


async def test_closing_a_body_ends_its_reader_alone(context: ResumableStreamContext) -> None:
    """A body that is closed half-way lets go of its reader at once; the answer goes on, and so do others."""
    tap = Tap(*CHUNKS[:2])
    stream, other = await context.resumable_stream("s", tap), await context.resume_existing_stream("s")
    assert stream is not None
    body = ui_event_stream_body(stream, EventStreamSettings())
    await anext(body)
    await body.aclose()
    with pytest.raises(StopAsyncIteration):
        stream.__anext__().send(None)  # at once: not when the event loop gets to it
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


@pytest.mark.parametrize("chunks", [(), ("x", "y")])
@pytest.mark.parametrize("state", [StreamState.DONE, StreamState.STOPPED, StreamState.FAILED])
async def test_event_source_comes_to_an_end(chunks: tuple[str, ...], state: StreamState) -> None:
    """Who has seen all of a stream that has ended, the word about a bad end included, is told to stay away: 204."""
    async with ResumableStreamContext.from_url("memory://", drain_timeout=0.0) as context:
        tap, last_id, statuses, events = Tap(*chunks), "", list[int](), list[Event]()
        stream = await context.resumable_stream("s", tap)
        await take(await context.resume_existing_stream("s"), len(chunks))
        if state is StreamState.STOPPED:
            await context.stop("s")
        elif state is StreamState.FAILED:
            tap.let(ValueError("secret"))
        tap.end()
        while not statuses or statuses[-1] != 204:
            made = stream_response(stream)
            statuses.append(made.status)
            assert not isinstance(made.body, bytes)
            decoder = SSEDecoder()
            events += decoder.feed(await bytes_of(made.body))
            last_id = decoder.last_event_id or last_id
            stream = await context.resumable_stream("s", never, after=last_id or None)
    assert statuses == [200, 204]
    assert [event.data for event in events if event.event == "message"] == list(chunks)
    assert [event.event for event in events].count("error") == (state is StreamState.FAILED)


async def test_event_source_goes_on_after_a_loss() -> None:
    """Who was told that a stream was lost is told to stay away; when it goes on after all, no chunk is passed over."""
    store = MemoryStore()
    backend = MemoryBackend(store)
    async with (
        ResumableStreamContext(backend, drain_timeout=0.0) as context,
        ResumableStreamContext(MemoryBackend(store), drain_timeout=0.0) as elsewhere,
    ):
        claim = Claim(secrets.token_hex(8), lease=0.05, retention=60.0, tombstone=60.0)
        await backend.acquire("s", claim)
        await backend.append([Append("s", claim.token, 1, 0, 1, pack(["a"]))])
        decoder = SSEDecoder()
        lost = stream_response(await context.resume_existing_stream("s"))
        assert not isinstance(lost.body, bytes)
        events = decoder.feed(await bytes_of(lost.body))
        assert [(event.event, event.data) for event in events] == [
            ("message", "a"),
            ("error", EventStreamSettings().lost_text),
        ]
        seen = decoder.last_event_id
        assert stream_response(await context.resume_existing_stream("s", after=seen)).status == 204
        held = await context.resume_existing_stream("s", after=seen)  # before it goes on, and not answered yet

        await collect(await elsewhere.resumable_stream("s", never, takeover=lambda _chunks: ["b", "c"]))
        rest = stream_response(await context.resume_existing_stream("s", after=seen))
        assert not isinstance(rest.body, bytes)
        assert [event.data for event in decoder.feed(await bytes_of(rest.body))] == ["b", "c"]
        assert held is not None
        assert held.index == 1


CUT_TEXT = ["a", "b\ud83d", "\ude00c", "\ude00", "d", "\ud83d"]
CUT_BYTES = [b"a", b"b\xf0\x9f", b"\x98", b"\x80c", b"\xff", b"d", b"\xf0\x9f"]
WHOLE = ["a", "b😀c", "\ufffd", "d", "\ufffd"]


@pytest.mark.parametrize(("chunks", "indexes"), [(CUT_TEXT, [0, 2, 3, 4, 5]), (CUT_BYTES, [0, 3, 4, 5, 6])])
@pytest.mark.parametrize("error", [None, ValueError("secret")])
async def test_characters_that_were_cut(chunks: list[Any], indexes: list[int], error: Exception | None) -> None:
    """Events and text have whole characters, wherever chunks of text or UTF-8 were cut; each event can be resumed."""
    async with ResumableStreamContext.from_url("memory://") as context:
        tap = Tap(*chunks, *([error] if error else []))
        tap.end()
        stream = await context.resumable_stream("s", tap)
        for seen in range(len(WHOLE)):
            assert stream is not None
            events = SSEDecoder().feed(await bytes_of(event_stream_body(stream, EventStreamSettings())))
            good = [event for event in events if event.event == "message"]
            assert [event.data for event in good] == WHOLE[seen:]
            assert [int(event.event_id.split("-")[1]) for event in good] == indexes[seen:]
            assert len(events) - len(good) == (error is not None)
            stream = await context.resume_existing_stream("s", after=good[0].event_id)
        if error is None:
            body = stream_response(await context.resume_existing_stream("s"), wire="text").body
            assert not isinstance(body, bytes)
            assert (await bytes_of(body)).decode() == "".join(WHOLE)


class _Secret(Codec):
    """Logs what nobody else can read."""

    @override
    def encode(self, value: Any) -> bytes:
        return bytes(byte ^ 0xFF for byte in json.dumps(value).encode())

    @override
    def decode(self, chunk: Any) -> Any:
        return json.loads(bytes(byte ^ 0xFF for byte in chunk))


@pytest.mark.parametrize("body", [event_stream_body, ui_event_stream_body])
async def test_any_codec_is_sent_as_json(body: Body) -> None:
    """What a codec logs is its own business: events are the values, as JSON."""
    async with ResumableStreamContext.from_url("memory://", codec=_Secret()) as context:
        stream = await context.resumable_stream("s", factory_of([*CHUNKS, {"half": "\ud83d"}]))
        assert stream is not None
        events = SSEDecoder().feed(await bytes_of(body(stream, EventStreamSettings())))
    values = [json.loads(event.data) for event in events if event.data != "[DONE]"]
    assert values == [*CHUNKS, {"half": "\ud83d"}]
    assert [event.event_id for event in events][:2] == [stream.event_id_of(0), stream.event_id_of(1)]


class _Binary(JSONCodec):
    @override
    def encode(self, value: Any) -> bytes:  # type: ignore[override]
        return b"\xff"


async def test_events_are_text() -> None:
    """A codec whose chunks are no text is refused for events, and the connection is cut."""
    async with ResumableStreamContext.from_url("memory://", codec=_Binary()) as context:
        stream = await context.resumable_stream("s", factory_of([1]))
        assert stream is not None
        with pytest.raises(InvalidSettingError):
            await bytes_of(event_stream_body(stream, EventStreamSettings()))


async def test_without_a_stream_there_is_nothing() -> None:
    """A stream whose retention is over is answered with 204 on every wire."""
    for wire in ("sse", "text", "ndjson"):
        made = stream_response(None, wire=wire)
        assert made.status == 204
        assert not isinstance(made.body, bytes)
        assert await bytes_of(made.body) == b""


@pytest.mark.parametrize("interval", [0, -1, 1e9, float("inf"), float("nan")])
def test_ping_interval_is_checked(interval: float) -> None:
    """An interval that is none is refused."""
    with pytest.raises(InvalidSettingError):
        EventStreamSettings(ping_interval=interval)


async def test_any_ping_interval_that_is_taken_works(context: ResumableStreamContext) -> None:
    """What settings accept, bodies can do: the longest, too."""
    stream = await context.resumable_stream("s", factory_of(CHUNKS))
    assert stream is not None
    body = await bytes_of(ui_event_stream_body(stream, EventStreamSettings(ping_interval=366 * 86400)))
    assert len(SSEDecoder().feed(body)) == len(CHUNKS) + 1


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (HTTPError(418, "teapot", "no"), 418, "teapot"),
        (ChatChangedError("c"), 409, "conflict"),
        (StreamExistsError("s"), 409, "exists"),
        (StreamNotFoundError("s"), 404, "not_found"),
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

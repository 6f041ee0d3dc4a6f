"""The UI message stream: chunks as server-sent events, for ``useChat`` of ai@5 to ai@7.

Headers and frames are those of ai@7.0.173, ``src/ui-message-stream/ui-message-stream-headers.ts`` and
``json-to-sse-transform-stream.ts``. Event ids are ours: the clients' parser passes over them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from json.encoder import encode_basestring
from types import MappingProxyType
from typing import Any

from ..sse import encode_event, encode_events
from .chunks import abort, error
from .json_text import as_json, escaped_if_cut

__all__ = ["DONE", "HEADERS", "encode_abort", "encode_chunk", "encode_chunks", "encode_error"]

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "content-type": "text/event-stream",
        "cache-control": "no-cache",
        "x-vercel-ai-ui-message-stream": "v1",
        "x-accel-buffering": "no",  # or nginx keeps the stream until it is whole
    }
)
"""Of the response. The AI SDK's own servers add ``connection: keep-alive``; we do not: HTTP/1.1 connections are kept
alive anyway, and in HTTP/2 and HTTP/3 the field makes a response malformed (RFC 9113, section 8.2.2)."""

DONE = b"data: [DONE]\n\n"
"""The last event, after the last chunk."""


def encode_chunk(chunk: Mapping[str, Any], *, event_id: str | None = None) -> bytes:
    """Return the event that carries a chunk.

    Args:
        chunk: A UI message chunk. It is not checked: see `check_chunk`.
        event_id: Its position, for those who come back with ``Last-Event-ID``.

    Raises:
        InvalidMessageChunkError: It has something that JSON has not.
        InvalidInputError: The id has a line end or a NUL.
    """
    return encode_event(_as_json(chunk), event_id=event_id)


def encode_chunks(events: Iterable[tuple[str | None, Mapping[str, Any]]]) -> bytes:
    """Return the events that carry many chunks: for each its id, or ``None``, and the chunk. It is the faster way.

    Errors are those of `encode_chunk`.
    """
    return encode_events([(event_id, _as_json(chunk)) for event_id, chunk in events])


def encode_error(text: str, *, event_id: str | None = None) -> bytes:
    """Return an event that tells of an error. What the text says is shown to the user. `DONE` has to follow."""
    return encode_chunk(error(text), event_id=event_id)


def encode_abort(reason: str | None = None, *, event_id: str | None = None) -> bytes:
    """Return an event that says that somebody stopped the answer. `DONE` has to follow."""
    return encode_chunk(abort(reason=reason), event_id=event_id)


def _as_json(chunk: Mapping[str, Any]) -> str:
    """Return a chunk as a JSON text of one line."""
    made = chunk if isinstance(chunk, dict) else dict(chunk)
    text = _delta_as_json(made)
    return as_json(made) if text is None else escaped_if_cut(text, made)


def _delta_as_json(chunk: Mapping[str, Any]) -> str | None:
    """Return a chunk as JSON if it is one of those that make up a stream: it takes a seventh of the time."""
    part_id, delta = chunk.get("id"), chunk.get("delta")
    if len(chunk) != 3 or not isinstance(part_id, str) or not isinstance(delta, str):
        return None
    if chunk.get("type") not in ("text-delta", "reasoning-delta"):
        return None
    return f'{{"type":"{chunk["type"]}","id":{encode_basestring(part_id)},"delta":{encode_basestring(delta)}}}'

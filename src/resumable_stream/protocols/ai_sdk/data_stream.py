r"""The data stream: what ``useChat`` of ai@4 reads, lines such as ``0:"Hello"\n``.

Codes and what they need are those of ``src/data-stream-parts.ts`` of @ai-sdk/ui-utils@1.2.11; headers are those of
ai@4.3.19, ``core/util/prepare-response-headers.ts``. What makes such lines of UI message chunks is in
``data_stream_translator``; what parses them is in the reducer of chats.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from ...chat.reducer import DataStreamPart, parse_data_stream, parse_data_stream_line
from ...chat.reducer.data_stream import check_data_stream_part
from .json_text import as_json

__all__ = [
    "CODES",
    "HEADERS",
    "DataStreamPart",
    "encode_part",
    "encode_parts",
    "parse_data_stream",
    "parse_data_stream_line",
]

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "content-type": "text/plain; charset=utf-8",
        "cache-control": "no-cache",
        "x-vercel-ai-data-stream": "v1",
        "x-accel-buffering": "no",
    }
)
"""Of the response. The second and the last are ours: a stream must not be kept on its way."""

CODES: Mapping[str, str] = MappingProxyType(
    {
        "text": "0",
        "data": "2",
        "error": "3",
        "message_annotations": "8",
        "tool_call": "9",
        "tool_result": "a",
        "tool_call_streaming_start": "b",
        "tool_call_delta": "c",
        "finish_message": "d",
        "finish_step": "e",
        "start_step": "f",
        "reasoning": "g",
        "source": "h",
        "redacted_reasoning": "i",
        "reasoning_signature": "j",
        "file": "k",
    }
)
"""The code of each kind of part, by its name there."""


def encode_part(code: str, value: Any) -> bytes:
    """Return one line.

    Raises:
        InvalidMessageChunkError: There is no such code, or the value lacks what it needs or has what JSON has not.
    """
    return _line(code, value).encode()


def encode_parts(parts: Iterable[DataStreamPart]) -> bytes:
    """Return many lines at once. Errors are those of `encode_part`."""
    return "".join([_line(code, value) for code, value in parts]).encode()


def _line(code: str, value: Any) -> str:
    check_data_stream_part(code, value)
    return f"{code}:{as_json(value)}\n"

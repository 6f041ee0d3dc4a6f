"""Folding what a stream carries into the message that it makes: exactly as the AI SDK does it in the browser."""

from __future__ import annotations

from .data_stream import DataStreamPart, parse_data_stream, parse_data_stream_line
from .data_stream_reducer import DataStreamReducer, fold_data_stream
from .ui_messages import MessageReducer, Sdk, fold

__all__ = [
    "DataStreamPart",
    "DataStreamReducer",
    "MessageReducer",
    "Sdk",
    "fold",
    "fold_data_stream",
    "parse_data_stream",
    "parse_data_stream_line",
]

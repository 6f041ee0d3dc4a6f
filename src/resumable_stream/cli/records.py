"""What programs read: one JSON object a line, whose keys stay."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Mapping
from typing import Any

from ..types import RawChunk, StreamInfo


def print_record(record: Mapping[str, Any]) -> None:
    """Print one object in one line."""
    sys.stdout.write(json.dumps(record) + "\n")


def stream_record(info: StreamInfo) -> dict[str, Any]:
    """Return all that is known of a stream."""
    return {
        "stream_id": info.stream_id,
        "state": info.state.value,
        "length": info.length,
        "created_at": info.created_at,
        "ended_at": info.ended_at,
        "is_readable": info.is_readable,
        "lease_left": info.lease_left,
        "generation": info.generation,
        "epoch": info.epoch,
        "epoch_start": info.epoch_start,
        "takeovers": [start._asdict() for start in info.takeovers],
        "error_type": info.error_type,
        "error_message": info.error_message,
        "reason": info.reason,
    }


def chunk_record(event_id: str, index: int, chunk: RawChunk) -> dict[str, Any]:
    """Return a chunk with its position; bytes under another key than text."""
    position: dict[str, Any] = {"event_id": event_id, "index": index}
    if isinstance(chunk, str):
        return position | {"chunk": chunk}
    return position | {"chunk_base64": base64.b64encode(chunk).decode()}

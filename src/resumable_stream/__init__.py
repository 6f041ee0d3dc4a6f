"""Streams that outlive the request that started them.

Start with `ResumableStreamContext`. Importing this package loads no driver and no framework.
"""

from __future__ import annotations

from .abc import Codec, StreamBackend
from .codecs import JSONCodec
from .context import ResumableStreamContext, Settings
from .exceptions import (
    BackendError,
    BackendUnavailableError,
    BlockingCallError,
    ConcurrentReadError,
    ContextClosedError,
    InvalidChunkError,
    InvalidFactoryError,
    InvalidInputError,
    InvalidPositionError,
    InvalidSettingError,
    InvalidStreamIdError,
    LimitExceededError,
    PublisherError,
    PublisherFailedError,
    PublisherLostError,
    ResumableStreamError,
    StreamExistsError,
    StreamGoneError,
    StreamNotFoundError,
)
from .observer import Observer
from .stream import ResumableStream
from .types import Factory, Limits, StreamBlock, StreamEvent, StreamInfo, StreamRole, StreamState

__all__ = [
    "BackendError",
    "BackendUnavailableError",
    "BlockingCallError",
    "Codec",
    "ConcurrentReadError",
    "ContextClosedError",
    "Factory",
    "InvalidChunkError",
    "InvalidFactoryError",
    "InvalidInputError",
    "InvalidPositionError",
    "InvalidSettingError",
    "InvalidStreamIdError",
    "JSONCodec",
    "LimitExceededError",
    "Limits",
    "Observer",
    "PublisherError",
    "PublisherFailedError",
    "PublisherLostError",
    "ResumableStream",
    "ResumableStreamContext",
    "ResumableStreamError",
    "Settings",
    "StreamBackend",
    "StreamBlock",
    "StreamEvent",
    "StreamExistsError",
    "StreamGoneError",
    "StreamInfo",
    "StreamNotFoundError",
    "StreamRole",
    "StreamState",
]

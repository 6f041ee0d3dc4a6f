"""The routes of chats, as no framework has them: what `resumable_stream.integrations` mount."""

from __future__ import annotations

from .bodies import EventStreamSettings, Wire, stream_response
from .errors import HTTPError, error_response
from .messages import HTTPRequest, HTTPResponse
from .openapi import operation_of
from .parsing import parse_reading
from .service import ROUTES, AnswerRequest, ChatService, Respond, Route

__all__ = [
    "ROUTES",
    "AnswerRequest",
    "ChatService",
    "EventStreamSettings",
    "HTTPError",
    "HTTPRequest",
    "HTTPResponse",
    "Respond",
    "Route",
    "Wire",
    "error_response",
    "operation_of",
    "parse_reading",
    "stream_response",
]

"""What a client is told of an error: a status, a code for its program, and a text of ours."""

from __future__ import annotations

import json
import logging

from ..exceptions import (
    AuthenticationRequiredError,
    BackendError,
    ChatBusyError,
    ChatChangedError,
    ChatExistsError,
    ChatForbiddenError,
    ChatNotFoundError,
    ChatStoreError,
    ContextClosedError,
    InvalidInputError,
    InvalidPositionError,
    LimitExceededError,
    StreamExistsError,
    StreamGoneError,
    StreamNotFoundError,
)
from .messages import HTTPResponse

__all__ = ["HTTPError", "error_response"]

_logger = logging.getLogger("resumable_stream")

_TOO_LARGE = frozenset({"max_message_bytes", "max_metadata_bytes", "max_body_bytes"})


class HTTPError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: The status code.
        code: Names the error, for programs.
        message: Says it, for people.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, code, message)
        self.status = status
        self.code = code
        self.message = message


def error_response(error: Exception) -> HTTPResponse:
    """Return the response to a request that ended with an error. What is not the client's fault is logged."""
    known = _known(error)
    if known.status >= 500:
        _logger.error("a request failed: %s", type(error).__name__)
        _logger.debug("a request failed", exc_info=error)
    body = json.dumps({"error": {"code": known.code, "message": known.message}}).encode()
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    if known.status == 503:
        headers["retry-after"] = "1"
    return HTTPResponse(known.status, headers, body)


def _known(error: Exception) -> HTTPError:
    if isinstance(error, HTTPError):
        return error
    if isinstance(error, LimitExceededError):
        return _limit(error)
    for kind, status, code, message in _ERRORS:
        if isinstance(error, kind):
            return HTTPError(status, code, message or str(error))
    return HTTPError(500, "internal_error", "something went wrong")


def _limit(error: LimitExceededError) -> HTTPError:
    if error.limit in _TOO_LARGE:
        return HTTPError(413, "too_large", f"too large: at most {error.maximum} bytes")
    if error.limit == "max_messages":
        return HTTPError(409, "chat_full", f"the chat has as many messages as it may: {error.maximum}")
    return HTTPError(503, "overloaded", "too many answers are being made just now")


# The first that fits counts. Where there is no text, the error's own is ours and says nothing of others.
_ERRORS: list[tuple[type[Exception], int, str, str]] = [
    (AuthenticationRequiredError, 401, "unauthenticated", "sign in first"),
    (ChatForbiddenError, 403, "forbidden", "this chat belongs to somebody else"),
    (ChatNotFoundError, 404, "not_found", "there is no such chat"),
    (ChatBusyError, 409, "busy", "an answer is being made in this chat"),
    (ChatExistsError, 409, "exists", "there is such a chat already"),
    (ChatChangedError, 409, "conflict", "the chat was changed at the same time: try again"),
    (StreamExistsError, 409, "exists", "there is such a stream already"),
    (StreamNotFoundError, 404, "not_found", "there is no such stream"),
    (InvalidPositionError, 400, "invalid_position", "there is no such position in the stream"),
    (InvalidInputError, 400, "invalid_request", ""),
    (StreamGoneError, 404, "gone", "the stream is gone"),
    (ChatStoreError, 503, "unavailable", "chats cannot be reached just now"),
    (ContextClosedError, 503, "unavailable", "the server is going down, or is not up yet"),
    (BackendError, 503, "unavailable", "streams cannot be reached just now"),
]

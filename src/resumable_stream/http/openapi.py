"""The routes as OpenAPI describes operations, for frameworks that show such descriptions."""

from __future__ import annotations

import re
from typing import Any

from .service import Route

__all__ = ["operation_of"]

_ID = {"type": "string", "minLength": 1, "maxLength": 256, "pattern": "^[A-Za-z0-9_.:-]+$"}
_MESSAGE: dict[str, Any] = {"type": "object", "description": "A UI message.", "required": ["role"]}
_SEND = {
    "type": "object",
    "properties": {
        "id": {**_ID, "description": "Of the chat; it is made if it does not exist."},
        "message": {**_MESSAGE, "description": "The last message. The chat has the others."},
        "messages": {
            "type": "array",
            "items": _MESSAGE,
            "description": "Instead: all messages, of which the last counts.",
        },
        "trigger": {"type": "string", "enum": ["submit-message", "regenerate-message"]},
        "messageId": {"type": "string"},
    },
}
_BODIES: dict[str, dict[str, Any]] = {
    "start": _SEND,
    "start_in_chat": _SEND,
    "start_v4": _SEND,
    "stop": {"type": "object", "properties": {"activeStreamId": {"type": "string"}}},
    "create_chat": {"type": "object", "properties": {"id": _ID, "metadata": {"type": "object"}}},
}
_START_INDEX = (
    "startIndex",
    "query",
    {"type": "integer"},
    "Chunks seen so far; negative: how many of the end to send.",
)
_LAST_EVENT_ID = ("Last-Event-ID", "header", {"type": "string"}, "Id of the last event seen.")
_CHAT_ID = ("chatId", "query", _ID, "Of the chat.")
_PARAMETERS: dict[str, list[tuple[str, str, dict[str, Any], str]]] = {
    "resume": [_START_INDEX, _LAST_EVENT_ID],
    "resume_run": [_START_INDEX, _LAST_EVENT_ID],
    "resume_v4": [_CHAT_ID],
    "resume_v4_too": [_CHAT_ID],
    "list_chats": [
        ("limit", "query", {"type": "integer", "minimum": 1}, "How many at most."),
        ("after", "query", {"type": "string"}, "What the page before said is next."),
    ],
}
_STREAMS = frozenset({"start", "start_in_chat", "resume", "resume_run"})
_OF_V4 = frozenset({"start_v4", "resume_v4", "resume_v4_too"})
_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
            "required": ["code", "message"],
        }
    },
    "required": ["error"],
}
_PROBLEMS = {
    400: "The request is malformed.",
    401: "Nobody is signed in.",
    403: "The chat is somebody else's.",
    404: "There is no such chat.",
    409: "Not now: an answer is being made, or the chat was changed at the same time.",
    413: "The body is too large.",
    415: "The body is no JSON.",
    503: "The streams or the chats cannot be reached, or too many answers are being made.",
}


def operation_of(route: Route) -> dict[str, Any]:
    """Return the OpenAPI operation object of a route."""
    parameters = [_parameter(name, "path", _ID, "", required=True) for name in re.findall(r"{(\w+)}", route.path)]
    parameters += [_parameter(*parameter) for parameter in _PARAMETERS.get(route.name, ())]
    operation: dict[str, Any] = {"summary": route.summary, "parameters": parameters, "responses": _responses(route)}
    if route.name in _BODIES:
        operation["requestBody"] = {"content": {"application/json": {"schema": _BODIES[route.name]}}}
    return operation


def _parameter(name: str, place: str, schema: dict[str, Any], text: str, *, required: bool = False) -> dict[str, Any]:
    described = {"description": text} if text else {}
    return {"name": name, "in": place, "required": required or name == "chatId", "schema": schema, **described}


def _responses(route: Route) -> dict[str, Any]:
    problems = {
        str(status): {"description": text, "content": {"application/json": {"schema": _ERROR}}}
        for status, text in _PROBLEMS.items()
    }
    if route.name in _STREAMS:
        good: dict[str, Any] = {"description": "UI message chunks, as events.", "content": {"text/event-stream": {}}}
    elif route.name in _OF_V4:
        good = {"description": "Parts of a data stream.", "content": {"text/plain": {}}}
    else:
        good = {"description": "JSON.", "content": {"application/json": {}}}
    nothing = {"204": {"description": "No answer is being made."}} if route.name in {"resume", "resume_run"} else {}
    return {"201" if route.name == "create_chat" else "200": good, **nothing, **problems}

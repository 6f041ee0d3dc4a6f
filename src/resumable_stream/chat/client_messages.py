"""Putting messages together on the server: what the browser sent, and what the model answered."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from ..exceptions import InvalidMessageError
from .reducer.values import copy_json

__all__ = ["append_client_message", "append_response_messages", "message_text"]

_Object = dict[str, Any]


def append_client_message(messages: Sequence[Mapping[str, Any]], message: Mapping[str, Any]) -> list[_Object]:
    """Return the messages of a chat with the one that the browser sent at the end.

    If the last message has the same id, the new one takes its place: that is how a browser sends a message again, and
    how it answers for a tool. (`appendClientMessage` of ai@4.3.19.) Nothing that is passed in is changed, or kept.

    Args:
        messages: Oldest first.
        message: What the browser sent, of any major.
    """
    is_repeated = bool(messages) and messages[-1].get("id") == message.get("id")
    return [copy_json(kept) for kept in (*(messages[:-1] if is_repeated else messages), message)]


def append_response_messages(
    messages: Sequence[Mapping[str, Any]],
    responses: Sequence[Mapping[str, Any]],
    *,
    created_at: str | None = None,
) -> list[_Object]:
    """Return the messages of a chat with what the model answered.

    A UI message of ai@5 or newer, which is one with ``parts``, goes to the end, or takes the place of the last message
    if that has the same id. What ai@4 has as response messages (an assistant's, with ``content`` alone, or the results
    of tools) becomes parts of one assistant's message, as `appendResponseMessages` of ai@4.3.19 does it. Nothing that
    is passed in is changed, or kept.

    Args:
        messages: Oldest first.
        responses: What the model answered, in order.
        created_at: What a new message of ai@4 gets as ``createdAt``, such as ``"2026-11-20T12:00:00.000Z"``;
            ``None``: nothing.

    Raises:
        InvalidMessageError: A response is neither an assistant's nor a tool's, comes before all others, or is a tool's
            result without its call.
    """
    result: list[_Object] = [copy_json(message) for message in messages]
    for response in map(copy_json, responses):
        if isinstance(response.get("parts"), list):
            result = append_client_message(result, response)
        else:
            _append_response(result, response, created_at)
    return result


def _append_response(messages: list[_Object], response: _Object, created_at: str | None) -> None:
    try:
        _append_by_role(messages, response, created_at)
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidMessageError(f"a response lacks what its type needs: {error}") from None


def message_text(message: Mapping[str, Any]) -> str:
    """Return what a message says: its texts, one after the other; of a message of ai@4 without parts its ``content``.

    Reasoning, tools and files are left out.
    """
    parts = message.get("parts")
    if not isinstance(parts, list):
        content = message.get("content")
        return content if isinstance(content, str) else ""
    texts = [part.get("text") for part in parts if isinstance(part, Mapping) and part.get("type") == "text"]
    return "".join(text for text in texts if isinstance(text, str))


def _append_by_role(messages: list[_Object], response: _Object, created_at: str | None) -> None:
    if not messages:
        raise InvalidMessageError("a response follows at least one message")
    if response.get("role") == "assistant":
        _append_answer(messages, response, created_at)
    elif response.get("role") == "tool":
        _append_results(messages[-1], response)
    else:
        raise InvalidMessageError(f"a response is an assistant's or a tool's, not one of role {response.get('role')!r}")


def _append_answer(messages: list[_Object], response: _Object, created_at: str | None) -> None:
    content = response.get("content")
    items: list[_Object] = [{"type": "text", "text": content}] if isinstance(content, str) else content or []
    last = messages[-1]
    if last.get("role") != "assistant":
        last = {"id": response.get("id"), "role": "assistant"}
        if created_at is not None:
            last["createdAt"] = created_at
        messages.append(last)
    old = last.get("toolInvocations")
    step = 0 if old is None else 1 + max((call.get("step", 0) for call in old), default=0)
    calls = [_call(item, step) for item in items if item["type"] == "tool-call"]
    last |= {"content": _joined(items, "text"), "toolInvocations": [*(old or []), *calls]}
    last["parts"] = [*(last.get("parts") or []), *_parts(items), *map(_tool_part, copy_json(calls))]
    last.pop("reasoning", None)
    if any(item["type"] == "reasoning" for item in items):
        last["reasoning"] = _joined(items, "reasoning")


def _joined(items: list[_Object], kind: str) -> str:
    return "".join(item["text"] for item in items if item["type"] == kind)


def _call(item: _Object, step: int) -> _Object:
    call: _Object = {key: item[key] for key in ("args", "toolCallId", "toolName") if key in item}
    return {"state": "call", "step": step, **call}


def _tool_part(invocation: _Object) -> _Object:
    return {"type": "tool-invocation", "toolInvocation": invocation}


def _parts(items: list[_Object]) -> list[_Object]:
    """Return what the items of an answer are as parts, without the tools."""
    parts: list[_Object] = [{"type": "step-start"}]
    reasoning: _Object | None = None  # goes on until the next text
    for item in items:
        if item["type"] == "text":
            reasoning = None
            parts.append({"type": "text", "text": item["text"]})
        elif item["type"] == "file":
            parts.append({"type": "file", "mimeType": item["mimeType"], "data": _base64(item["data"])})
        elif item["type"] in {"reasoning", "redacted-reasoning"}:
            if reasoning is None:
                reasoning = {"type": "reasoning", "reasoning": "", "details": []}
                parts.append(reasoning)
            _add_reasoning(reasoning, item)
    return parts


def _add_reasoning(part: _Object, item: _Object) -> None:
    if item["type"] == "redacted-reasoning":
        part["details"].append({"type": "redacted", "data": item["data"]})
        return
    part["reasoning"] += item["text"]
    signature = {"signature": item["signature"]} if "signature" in item else {}
    part["details"].append({"type": "text", "text": item["text"], **signature})


def _base64(data: Any) -> str:
    if isinstance(data, (bytes, bytearray, memoryview)):
        return base64.b64encode(data).decode()
    if isinstance(data, str):
        return data
    raise InvalidMessageError("the data of a file is base64 or bytes")


def _append_results(message: _Object, response: _Object) -> None:
    if message.get("role") != "assistant":
        raise InvalidMessageError("the result of a tool follows an assistant's message")
    calls = message.get("toolInvocations") or []
    parts = message["parts"] = message.get("parts") or []
    for item in response.get("content") or []:
        call = next((call for call in calls if call.get("toolCallId") == item["toolCallId"]), None)
        if call is None:
            raise InvalidMessageError(f"there is no tool call {item['toolCallId']!r} in the message before its result")
        call["state"] = "result"
        call.pop("result", None)
        if "result" in item:
            call["result"] = item["result"]
        _show_result(parts, copy_json(call))


def _show_result(parts: list[_Object], call: _Object) -> None:
    """Show a call in the part that it has, or in a new one."""
    for part in parts:
        if part.get("type") == "tool-invocation" and part["toolInvocation"].get("toolCallId") == call["toolCallId"]:
            part["toolInvocation"] = call
            return
    parts.append(_tool_part(call))

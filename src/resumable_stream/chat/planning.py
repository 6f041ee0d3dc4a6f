"""What a turn of a chat begins and ends with: decisions alone, without I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..chat_types import Chat, ChatChange, ChatLimits, Message, StreamRecord
from ..exceptions import InvalidMessageError, LimitExceededError
from .reducer.values import MAX_DEPTH, is_deeper

__all__ = [
    "ENDS",
    "Plan",
    "checked_message",
    "checked_metadata",
    "ended_turn",
    "interrupted",
    "is_sent_again",
    "plan_regenerate",
    "plan_submit",
    "visible_messages",
]

ENDS = ("finish", "abort")
"""The types of the chunks that an answer which is whole ends with."""

_MESSAGE_ID = re.compile(r"[A-Za-z0-9_.:-]{1,256}", re.ASCII)
_UNFINISHED_TOOL = frozenset({"input-streaming", "input-available"})
_ANSWERED_TOOL = ("output-available", "output-error", "approval-responded")


class Plan(NamedTuple):
    """A turn that is to begin."""

    change: ChatChange
    """What it does to the chat's messages, before the answer."""
    messages: list[dict[str, Any]]
    """What is to be answered: the messages so far, and the last of them last."""
    last_id: str
    """Id of the last message that the chat then has: of the one to answer, or of an answer to be replaced."""

    @property
    def replies_to(self) -> str:
        """Id of the message that is answered."""
        message_id: str = self.messages[-1]["id"]
        return message_id

    @property
    def continued(self) -> dict[str, Any] | None:
        """The assistant's message that the answer continues; ``None``: it will be one of its own."""
        return self.messages[-1] if self.messages[-1].get("role") == "assistant" else None


def checked_message(message: object, new_id: str, limits: ChatLimits) -> dict[str, Any]:
    """Return a copy of a message that somebody sent, with an id.

    Raises:
        InvalidMessageError: It is none that a user may send.
        LimitExceededError: It is too large.
    """
    if not isinstance(message, Mapping):
        raise InvalidMessageError(f"a message is an object, not {type(message).__name__}")
    copy = _checked_json({**message, "id": message.get("id") or new_id}, "max_message_bytes", limits.max_message_bytes)
    if not isinstance(copy["id"], str) or not _MESSAGE_ID.fullmatch(copy["id"]):
        raise InvalidMessageError("the id of a message has 1 to 256 letters, digits, and _ . : -")
    if copy.get("role") not in ("user", "assistant"):
        raise InvalidMessageError("the role of a message is user; or assistant, where tools were answered")
    parts = copy.get("parts", [])
    if not isinstance(parts, list) or not all(map(_is_part, parts)):
        raise InvalidMessageError("the parts of a message are a list of objects with a type, and texts have a text")
    if "parts" not in copy and not isinstance(copy.get("content"), str):
        raise InvalidMessageError("a message has parts, or content that is text")
    return copy


def checked_metadata(metadata: object, limits: ChatLimits) -> dict[str, Any]:
    """Return a copy of a chat's metadata.

    Raises:
        InvalidMessageError: It is no JSON object.
        LimitExceededError: It is too large.
    """
    if not isinstance(metadata, Mapping):
        raise InvalidMessageError(f"metadata is an object, not {type(metadata).__name__}")
    return _checked_json(metadata, "max_metadata_bytes", limits.max_metadata_bytes)


def plan_submit(chat: Chat, message: dict[str, Any], limits: ChatLimits) -> Plan:
    """Plan the answer to a message. One that the chat has already is replaced, and what came after it forgotten.

    Raises:
        InvalidMessageError: It would replace an answer, or answers tools of a message that is not the last one.
        LimitExceededError: The chat has as many messages as it may.
    """
    before = _before(chat.messages, message["id"])
    stored = chat.messages[len(before)] if len(before) < len(chat.messages) else None
    if message["role"] == "assistant":
        if stored is None or stored is not chat.messages[-1] or stored.get("role") != "assistant":
            raise InvalidMessageError("an assistant's message can be sent only to answer tools of the last message")
        message = _with_tool_results(stored, message)
        if not any(part.get("state") in _ANSWERED_TOOL for part in message["parts"]):
            raise InvalidMessageError("it answers no tool")
    elif stored is not None and stored.get("role") != "user":
        raise InvalidMessageError("a user's message does not take the place of another's")
    if stored is None and len(chat.messages) + 2 > limits.max_messages:
        raise LimitExceededError("max_messages", limits.max_messages)
    # What is sent again as it was, is answered again: the old answer stays until there is another.
    is_known = stored == message
    change = ChatChange() if is_known else ChatChange(drop_after=message["id"], put=[message])
    return Plan(change, [*before, message], chat.messages[-1]["id"] if is_known else message["id"])


def plan_regenerate(chat: Chat, message_id: str | None) -> Plan:
    """Plan another answer: to the user's message with this id, or in place of the answer that has it.

    Nothing is forgotten before there is a new answer.

    Raises:
        InvalidMessageError: There is nothing to answer.
    """
    target = chat.messages[-1]["id"] if message_id is None and chat.messages else message_id
    before = _before(chat.messages, target)
    if len(before) < len(chat.messages):
        if chat.messages[len(before)].get("role") != "assistant":
            before.append(chat.messages[len(before)])
        if before and before[-1].get("role") != "assistant":
            return Plan(ChatChange(), before, chat.messages[-1]["id"])
    raise InvalidMessageError("there is no such message to answer")


def is_sent_again(chat: Chat, message: dict[str, Any]) -> bool:
    """Whether a message, as it is planned to be answered, is the last one that the chat has in its role."""
    same = [stored for stored in chat.messages if stored.get("role") == message["role"]]
    return bool(same) and same[-1] == message


def visible_messages(chat: Chat) -> list[dict[str, Any]]:
    """Return the messages of a chat without what the answer that is being made will replace."""
    active = chat.info.active_stream
    if active is None:
        return chat.messages
    return chat.messages[: len(_before(chat.messages, active.replies_to)) + 1]


def ended_turn(record: StreamRecord, message: Message | None) -> ChatChange:
    """Return what the end of a turn does to its chat, if the turn is the active one still.

    Args:
        record: Of the turn's stream.
        message: The answer; ``None``: there is none to keep.
    """
    if message is None or not any(map(_says_something, message.get("parts", []))):
        return ChatChange(clear_active=True, if_active=record.stream_id)
    return ChatChange(drop_after=record.replies_to, put=[message], clear_active=True, if_active=record.stream_id)


def _says_something(part: Mapping[str, Any]) -> bool:
    return part.get("type") != "step-start" and part.get("text") != ""


def _is_part(part: object) -> bool:
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        return False
    return part["type"] != "text" or isinstance(part.get("text"), str)


def interrupted(message: dict[str, Any], why: str) -> dict[str, Any]:
    """Return an answer that broke off, marked as such, and in a form that a model and a page can go on from.

    Text that was being written is as done as it will be, and a tool that was being called has failed.
    """
    metadata = message.get("metadata")
    marked = {**metadata, "interrupted": why} if isinstance(metadata, Mapping) else {"interrupted": why}
    return {**message, "metadata": marked, "parts": [_broken_off(part) for part in message.get("parts", [])]}


def _broken_off(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("state") == "streaming":
        return {**part, "state": "done"}
    if "toolCallId" in part and part.get("state") in _UNFINISHED_TOOL:
        return {**part, "state": "output-error", "errorText": "interrupted"}
    return part


def _before(messages: Sequence[dict[str, Any]], message_id: object) -> list[dict[str, Any]]:
    """Return the messages before the one with an id; all, if there is none."""
    ids = [message["id"] for message in messages]
    return list(messages[: ids.index(message_id)] if message_id in ids else messages)


def _with_tool_results(stored: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
    """Return the stored message with what was sent of its tools' outputs and approvals, and of nothing else."""
    answers = {part["toolCallId"]: part for part in sent.get("parts", []) if isinstance(part.get("toolCallId"), str)}
    parts = [_answered(part, answers.get(part.get("toolCallId"), {})) for part in stored.get("parts", [])]
    metadata = stored.get("metadata")
    if isinstance(metadata, dict) and "interrupted" in metadata:  # it goes on
        kept = {name: value for name, value in metadata.items() if name != "interrupted"}
        stored = {**stored, "metadata": kept}
    return {**stored, "parts": parts}


def _answered(part: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """Return a part with the answer to it, if it is one to what the part waits for."""
    state = answer.get("state")
    if part.get("state") == "input-available":
        if state == "output-available" and "output" in answer:
            return {**part, "state": state, "output": answer["output"]}
        if state == "output-error" and isinstance(answer.get("errorText"), str):
            return {**part, "state": state, "errorText": answer["errorText"]}
    if part.get("state") == "approval-requested" and state == "approval-responded":
        return _decided(part, answer.get("approval"))
    return part


def _decided(part: dict[str, Any], given: object) -> dict[str, Any]:
    """Return a part that waits for an approval with the user's decision; what else the approval says stays."""
    if not isinstance(given, dict) or not isinstance(given.get("approved"), bool):
        return part
    approval = {**part.get("approval", {}), "approved": given["approved"]}
    if isinstance(given.get("reason"), str):
        approval["reason"] = given["reason"]
    return {**part, "state": "approval-responded", "approval": approval}


def _checked_json(value: Mapping[str, Any], limit: str, maximum: int) -> dict[str, Any]:
    if is_deeper(value, MAX_DEPTH):
        raise InvalidMessageError(f"it is nested more than {MAX_DEPTH} deep")
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())  # which refuses half a surrogate pair
    except (TypeError, ValueError, RecursionError):
        raise InvalidMessageError("it has something that JSON has not") from None
    if size > maximum:
        raise LimitExceededError(limit, maximum)
    copy: dict[str, Any] = json.loads(text)
    return copy

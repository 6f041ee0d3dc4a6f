"""The chunks of tools. Each function checks all that can be wrong before it changes anything."""

from __future__ import annotations

from typing import Any

from ...exceptions import InvalidMessageChunkError
from .draft import Chunk, Draft, Part, PartialCall, copied_fields, is_tool, static_tool_name, text_of, write_input
from .values import copy_json, is_truthy

_REPLACED = ("input", "output", "errorText", "rawInput", "preliminary")
_RESULTS = ("output-available", "output-error")


def start_input(draft: Draft, chunk: Chunk) -> None:
    """``tool-input-start``: a tool is called, its input follows."""
    call_id, name = text_of(chunk, "toolCallId"), text_of(chunk, "toolName")
    details = copied_fields(chunk, *_details(draft, "inputEncoding", "title", "toolMetadata"))
    fields = copied_fields(chunk, "providerExecuted", *_details(draft, "providerMetadata"))
    call = PartialCall(name, is_truthy(chunk.get("dynamic")), details)
    part = draft.find_tool(call_id, is_dynamic=call.is_dynamic)
    draft.calls[call_id] = call
    _write(draft, call_id, name, call.is_dynamic, {"state": "input-streaming", **details, **fields}, part)


def add_input(draft: Draft, chunk: Chunk) -> None:
    """``tool-input-delta``: more of a tool's input."""
    call_id, delta = text_of(chunk, "toolCallId"), text_of(chunk, "inputTextDelta")
    call = draft.calls.get(call_id)
    if call is None:
        raise InvalidMessageChunkError(f"input for the tool call {call_id!r}, which was not started")
    if draft.is_pending(call):
        call.pieces.append(delta)
        return
    _stream_input(draft, call_id, call, delta)


def _stream_input(draft: Draft, call_id: str, call: PartialCall, delta: str) -> None:
    """Make the part that of a streaming tool, with its input to be written when it is looked at."""
    if call.part is not None:
        draft.settle_tool(call.part)  # in an earlier step: it keeps the input as it is now
    call.pieces.append(delta)
    part = draft.find_tool(call_id, is_dynamic=call.is_dynamic)
    fields = {"state": "input-streaming", **call.details}
    if part is None:
        # The step is a new one: the input goes on in a part of its own, which has the input read, but not raw, if the
        # tool is dynamic. So the SDK has it.
        part = _write(draft, call_id, call.tool_name, call.is_dynamic, fields, None)
        write_input(part, call, draft.rules)
        if call.is_dynamic:
            del part["rawInput"]
        return
    _write(draft, call_id, call.tool_name, call.is_dynamic, fields, part)
    call.part, call.step = part, draft.step
    draft.postpone(call, part)


def set_input(draft: Draft, chunk: Chunk) -> None:
    """``tool-input-available``: a tool's whole input."""
    call_id, name = text_of(chunk, "toolCallId"), text_of(chunk, "toolName")
    fields = copied_fields(chunk, "input", "providerExecuted", "providerMetadata")
    fields |= copied_fields(chunk, *_details(draft, "title", "toolMetadata"))
    is_dynamic = is_truthy(chunk.get("dynamic"))
    part = draft.find_tool(call_id, is_dynamic=is_dynamic)
    _write(draft, call_id, name, is_dynamic, {"state": "input-available", **fields}, part)


def refuse_input(draft: Draft, chunk: Chunk) -> None:
    """``tool-input-error``: the tool cannot take its input."""
    call_id, name = text_of(chunk, "toolCallId"), text_of(chunk, "toolName")
    text_of(chunk, "errorText")
    fields = copied_fields(chunk, "input", "errorText", "providerExecuted", "providerMetadata")
    fields |= copied_fields(chunk, *_details(draft, "toolMetadata"))
    is_dynamic = is_truthy(chunk.get("dynamic"))
    if draft.rules.has_tool_details and (begun := draft.find_tool(call_id)) is not None:
        is_dynamic = is_tool(begun, is_dynamic=True)
    if "input" in fields and not is_dynamic and not draft.rules.keeps_refused_input:
        fields["rawInput"] = fields.pop("input")
    part = draft.find_tool(call_id, is_dynamic=is_dynamic)
    _write(draft, call_id, name, is_dynamic, {"state": "output-error", **fields}, part)


def set_output(draft: Draft, chunk: Chunk) -> None:
    """``tool-output-available``: what the tool answered, perhaps not for the last time."""
    part = _called(draft, chunk)
    _end(draft, part, copied_fields(chunk, "output", "preliminary", *_result_fields(draft, part)), "output-available")


def set_error(draft: Draft, chunk: Chunk) -> None:
    """``tool-output-error``: the tool failed."""
    part = _called(draft, chunk)
    text_of(chunk, "errorText")
    fields = copied_fields(chunk, "errorText", "providerExecuted", *_result_fields(draft, part))
    draft.settle_tool(part)
    if not is_tool(part, is_dynamic=True) and "rawInput" in part:
        fields["rawInput"] = part["rawInput"]
    _end(draft, part, fields, "output-error")


def _called(draft: Draft, chunk: Chunk) -> Part:
    """Return the part of the call that a result is for."""
    call_id = text_of(chunk, "toolCallId")
    if draft.rules.has_tool_details:
        return draft.tool_of(call_id)
    return draft.tool_of(call_id, is_dynamic=is_truthy(chunk.get("dynamic")))


def _result_fields(draft: Draft, part: Part) -> tuple[str, ...]:
    if draft.rules.has_tool_details:
        return "providerExecuted", "providerMetadata", "toolMetadata"
    return () if is_tool(part, is_dynamic=True) else ("providerExecuted",)


def _end(draft: Draft, part: Part, fields: dict[str, Any], state: str) -> None:
    draft.settle_tool(part)
    if "input" in part:
        fields["input"] = part["input"]
    if fields.get("toolMetadata") is None:
        fields.pop("toolMetadata", None)
    is_dynamic = is_tool(part, is_dynamic=True)
    name = part.get("toolName") if is_dynamic else static_tool_name(part)
    _write(draft, part["toolCallId"], name, is_dynamic, {"state": state, **fields}, part)


def deny_output(draft: Draft, chunk: Chunk) -> None:
    """``tool-output-denied``: the tool was not allowed to run."""
    part = draft.tool_of(text_of(chunk, "toolCallId"))
    part["state"] = "output-denied"
    draft.settle_tool(part)


def ask_approval(draft: Draft, chunk: Chunk) -> None:
    """``tool-approval-request``: somebody has to allow the call."""
    approval = {"id": text_of(chunk, "approvalId")}
    part = draft.tool_of(text_of(chunk, "toolCallId"))
    names = {"descriptor": "approvalDescriptor", "signature": "signature"}
    if draft.rules.sdk >= 7:
        names["requestReason"] = "reason"
    approval |= {name: copy_json(chunk[key]) for name, key in names.items() if chunk.get(key) is not None}
    approval |= copied_fields(chunk, "inputSchemaInput")
    if draft.rules.sdk >= 7 and chunk.get("isAutomatic") is True:
        approval["isAutomatic"] = True  # type: ignore[assignment]  # a JSON object
    part |= {"state": "approval-requested", "approval": approval}
    draft.settle_tool(part)  # the next delta has to write the state again


def answer_approval(draft: Draft, chunk: Chunk) -> None:
    """``tool-approval-response``: somebody has allowed the call, or not."""
    approval_id, approved = text_of(chunk, "approvalId"), chunk.get("approved")
    if not isinstance(approved, bool):
        raise InvalidMessageChunkError("an approval is given or not: 'approved' has to be true or false")
    part = next((part for part in draft.parts if is_tool(part) and _approval_id(part) == approval_id), None)
    if part is None:
        raise InvalidMessageChunkError(f"there is no request for approval {approval_id!r}")
    given = {"id": approval_id, "approved": approved}
    given |= {key: value for key, value in copied_fields(chunk, "reason").items() if value is not None}
    names = {"providerExecuted": "providerExecuted", "callProviderMetadata": "providerMetadata"}
    fields = {name: copy_json(chunk[key]) for name, key in names.items() if chunk.get(key) is not None}
    draft.settle_tool(part)
    part |= {"state": "approval-responded", "approval": {**part["approval"], **given}, **fields}


def _approval_id(part: Part) -> Any:
    approval = part.get("approval")
    return approval.get("id") if isinstance(approval, dict) else None


def _details(draft: Draft, *names: str) -> tuple[str, ...]:
    """Return the names, if the major has such details at all."""
    return names if draft.rules.has_tool_details else ()


def _write(draft: Draft, call_id: str, name: Any, is_dynamic: bool, fields: dict[str, Any], part: Part | None) -> Part:
    """Write fields of a tool into its part, or into a new one. A field that is not there is ``undefined`` there too."""
    if part is None:
        return _create(draft, call_id, name, is_dynamic, fields)
    draft.drop_input(part)
    _update(draft, part, name, is_dynamic, fields)
    return part


def _create(draft: Draft, call_id: str, name: Any, is_dynamic: bool, fields: dict[str, Any]) -> Part:
    part = {"type": "dynamic-tool", "toolName": name} if is_dynamic else {"type": f"tool-{name}"}
    part |= {"toolCallId": call_id, **fields}
    metadata = part.pop("providerMetadata", None)
    if metadata is not None:
        part[_metadata_name(draft, fields["state"])] = metadata
    if part.get("inputEncoding") is None:
        part.pop("inputEncoding", None)
    return draft.push(part)


def _update(draft: Draft, part: Part, name: Any, is_dynamic: bool, fields: dict[str, Any]) -> None:
    state, metadata = fields["state"], fields.get("providerMetadata")
    part["state"] = state
    if is_dynamic:
        part["toolName"] = name
    for key in _REPLACED:
        _set_or_drop(part, key, fields)
    if fields.get("providerExecuted") is not None:  # once set it stays
        part["providerExecuted"] = fields["providerExecuted"]
    if metadata is not None and (draft.rules.has_tool_details or state == "input-available"):
        part[_metadata_name(draft, state)] = metadata
    if draft.rules.has_tool_details:
        _update_details(part, name, is_dynamic, fields)


def _update_details(part: Part, name: Any, is_dynamic: bool, fields: dict[str, Any]) -> None:
    if not is_dynamic:
        part["type"] = f"tool-{name}"
    part |= {key: fields[key] for key in ("title", "toolMetadata") if key in fields}
    part.pop("inputEncoding", None)
    if fields.get("inputEncoding") is not None:
        part["inputEncoding"] = fields["inputEncoding"]


def _set_or_drop(part: Part, key: str, fields: dict[str, Any]) -> None:
    if key in fields:
        part[key] = fields[key]
    else:
        part.pop(key, None)


def _metadata_name(draft: Draft, state: str) -> str:
    is_result = draft.rules.has_tool_details and state in _RESULTS
    return "resultProviderMetadata" if is_result else "callProviderMetadata"

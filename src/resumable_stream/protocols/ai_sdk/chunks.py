"""Makers of UI message chunks, one for each type, and `check_chunk`.

A field whose argument is ``None`` is left out: to the clients of the AI SDK, ``null`` is not the same as nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, cast

from ...exceptions import InvalidMessageChunkError
from . import chunk_types as t
from .chunk_rules import check_chunk
from .chunk_types import Chunk, FinishReason, ProviderMetadata

__all__ = [
    "Chunk",
    "FinishReason",
    "ProviderMetadata",
    "abort",
    "check_chunk",
    "custom",
    "data",
    "error",
    "file",
    "finish",
    "finish_step",
    "message_metadata",
    "reasoning_delta",
    "reasoning_end",
    "reasoning_file",
    "reasoning_start",
    "reset_step",
    "source_document",
    "source_url",
    "start",
    "start_step",
    "steering_message",
    "text_delta",
    "text_end",
    "text_start",
    "tool_approval_request",
    "tool_approval_response",
    "tool_input_available",
    "tool_input_delta",
    "tool_input_error",
    "tool_input_start",
    "tool_output_available",
    "tool_output_denied",
    "tool_output_error",
]

_T = TypeVar("_T")


def _with(chunk: _T, **optional: object) -> _T:
    """Add the fields that there are to a chunk that was made just now."""
    fields = cast("dict[str, object]", chunk)
    fields |= {name: value for name, value in optional.items() if value is not None}
    return chunk


def text_start(part_id: str, *, provider_metadata: ProviderMetadata | None = None) -> t.TextStart:
    """Begin a text."""
    return _with(t.TextStart(type="text-start", id=part_id), providerMetadata=provider_metadata)


def text_delta(part_id: str, delta: str, *, provider_metadata: ProviderMetadata | None = None) -> t.TextDelta:
    """Go on with a text that was begun."""
    return _with(t.TextDelta(type="text-delta", id=part_id, delta=delta), providerMetadata=provider_metadata)


def text_end(
    part_id: str,
    *,
    citations: Sequence[Mapping[str, Any]] | None = None,
    provider_metadata: ProviderMetadata | None = None,
) -> t.TextEnd:
    """End a text."""
    return _with(t.TextEnd(type="text-end", id=part_id), citations=citations, providerMetadata=provider_metadata)


def reasoning_start(part_id: str, *, provider_metadata: ProviderMetadata | None = None) -> t.ReasoningStart:
    """Begin a reasoning."""
    return _with(t.ReasoningStart(type="reasoning-start", id=part_id), providerMetadata=provider_metadata)


def reasoning_delta(part_id: str, delta: str, *, provider_metadata: ProviderMetadata | None = None) -> t.ReasoningDelta:
    """Go on with a reasoning that was begun."""
    return _with(t.ReasoningDelta(type="reasoning-delta", id=part_id, delta=delta), providerMetadata=provider_metadata)


def reasoning_end(part_id: str, *, provider_metadata: ProviderMetadata | None = None) -> t.ReasoningEnd:
    """End a reasoning."""
    return _with(t.ReasoningEnd(type="reasoning-end", id=part_id), providerMetadata=provider_metadata)


def tool_input_start(
    call_id: str,
    name: str,
    *,
    dynamic: bool | None = None,
    title: str | None = None,
    input_encoding: Literal["json", "text"] | None = None,
    provider_executed: bool | None = None,
    provider_metadata: ProviderMetadata | None = None,
    tool_metadata: Mapping[str, Any] | None = None,
) -> t.ToolInputStart:
    """Begin to call a tool; its input follows in pieces."""
    return _with(
        t.ToolInputStart(type="tool-input-start", toolCallId=call_id, toolName=name),
        dynamic=dynamic,
        title=title,
        inputEncoding=input_encoding,
        providerExecuted=provider_executed,
        providerMetadata=provider_metadata,
        toolMetadata=tool_metadata,
    )


def tool_input_delta(call_id: str, delta: str) -> t.ToolInputDelta:
    """Go on with the input of a call that was begun: more of a JSON text."""
    return {"type": "tool-input-delta", "toolCallId": call_id, "inputTextDelta": delta}


def tool_input_available(
    call_id: str,
    name: str,
    value: Any,
    *,
    dynamic: bool | None = None,
    title: str | None = None,
    provider_executed: bool | None = None,
    provider_metadata: ProviderMetadata | None = None,
    tool_metadata: Mapping[str, Any] | None = None,
) -> t.ToolInputAvailable:
    """Call a tool with its whole input, whether the call was begun or not."""
    return _with(
        t.ToolInputAvailable(type="tool-input-available", toolCallId=call_id, toolName=name, input=value),
        dynamic=dynamic,
        title=title,
        providerExecuted=provider_executed,
        providerMetadata=provider_metadata,
        toolMetadata=tool_metadata,
    )


def tool_input_error(
    call_id: str,
    name: str,
    value: Any,
    error_text: str,
    *,
    dynamic: bool | None = None,
    title: str | None = None,
    provider_executed: bool | None = None,
    provider_metadata: ProviderMetadata | None = None,
    tool_metadata: Mapping[str, Any] | None = None,
) -> t.ToolInputError:
    """Call a tool with input that it cannot take."""
    return _with(
        t.ToolInputError(type="tool-input-error", toolCallId=call_id, toolName=name, input=value, errorText=error_text),
        dynamic=dynamic,
        title=title,
        providerExecuted=provider_executed,
        providerMetadata=provider_metadata,
        toolMetadata=tool_metadata,
    )


def tool_approval_request(
    approval_id: str,
    call_id: str,
    *,
    descriptor: Any = None,
    input_schema_input: Any = None,
    reason: str | None = None,
    is_automatic: bool | None = None,
    signature: str | None = None,
) -> t.ToolApprovalRequest:
    """Ask whether a tool may be called. From ai@6 on."""
    return _with(
        t.ToolApprovalRequest(type="tool-approval-request", approvalId=approval_id, toolCallId=call_id),
        approvalDescriptor=descriptor,
        inputSchemaInput=input_schema_input,
        reason=reason,
        isAutomatic=is_automatic,
        signature=signature,
    )


def tool_approval_response(
    approval_id: str,
    approved: bool,  # it is the answer
    *,
    reason: str | None = None,
    provider_executed: bool | None = None,
    provider_metadata: ProviderMetadata | None = None,
) -> t.ToolApprovalResponse:
    """Say whether a tool may be called. From ai@7 on."""
    return _with(
        t.ToolApprovalResponse(type="tool-approval-response", approvalId=approval_id, approved=approved),
        reason=reason,
        providerExecuted=provider_executed,
        providerMetadata=provider_metadata,
    )


def tool_output_available(
    call_id: str,
    value: Any,
    *,
    dynamic: bool | None = None,
    preliminary: bool | None = None,
    provider_executed: bool | None = None,
    provider_metadata: ProviderMetadata | None = None,
    tool_metadata: Mapping[str, Any] | None = None,
) -> t.ToolOutputAvailable:
    """Hand on what a tool answered; with ``preliminary`` it is not its last word."""
    return _with(
        t.ToolOutputAvailable(type="tool-output-available", toolCallId=call_id, output=value),
        dynamic=dynamic,
        preliminary=preliminary,
        providerExecuted=provider_executed,
        providerMetadata=provider_metadata,
        toolMetadata=tool_metadata,
    )


def tool_output_error(
    call_id: str,
    error_text: str,
    *,
    dynamic: bool | None = None,
    provider_executed: bool | None = None,
    provider_metadata: ProviderMetadata | None = None,
    tool_metadata: Mapping[str, Any] | None = None,
) -> t.ToolOutputError:
    """Say that a tool failed."""
    return _with(
        t.ToolOutputError(type="tool-output-error", toolCallId=call_id, errorText=error_text),
        dynamic=dynamic,
        providerExecuted=provider_executed,
        providerMetadata=provider_metadata,
        toolMetadata=tool_metadata,
    )


def tool_output_denied(call_id: str) -> t.ToolOutputDenied:
    """Say that a tool was not allowed to run. From ai@6 on."""
    return {"type": "tool-output-denied", "toolCallId": call_id}


def source_url(
    source_id: str, url: str, *, title: str | None = None, provider_metadata: ProviderMetadata | None = None
) -> t.SourceUrl:
    """Name a page that the answer rests on."""
    return _with(
        t.SourceUrl(type="source-url", sourceId=source_id, url=url), title=title, providerMetadata=provider_metadata
    )


def source_document(
    source_id: str,
    media_type: str,
    title: str,
    *,
    filename: str | None = None,
    provider_metadata: ProviderMetadata | None = None,
) -> t.SourceDocument:
    """Name a document that the answer rests on."""
    return _with(
        t.SourceDocument(type="source-document", sourceId=source_id, mediaType=media_type, title=title),
        filename=filename,
        providerMetadata=provider_metadata,
    )


def file(url: str, media_type: str, *, provider_metadata: ProviderMetadata | None = None) -> t.File:
    """Hand on a file: at a URL, or as a ``data:`` URL."""
    return _with(t.File(type="file", url=url, mediaType=media_type), providerMetadata=provider_metadata)


def reasoning_file(url: str, media_type: str, *, provider_metadata: ProviderMetadata | None = None) -> t.ReasoningFile:
    """Hand on a file that belongs to the reasoning. From ai@7 on."""
    return _with(
        t.ReasoningFile(type="reasoning-file", url=url, mediaType=media_type), providerMetadata=provider_metadata
    )


def custom(kind: str, *, provider_metadata: ProviderMetadata | None = None) -> t.Custom:
    """Hand on content that only one provider knows. From ai@7 on."""
    return _with(t.Custom(type="custom", kind=kind), providerMetadata=provider_metadata)


def steering_message(message_id: str, parts: Sequence[Mapping[str, Any]]) -> t.SteeringMessage:
    """Hand on what the user said meanwhile. From ai@7 on, where it is experimental."""
    return {"type": "steering-message", "id": message_id, "parts": parts}


def data(name: str, value: Any, *, part_id: str | None = None, transient: bool | None = None) -> t.Data:
    """Hand on the application's own data.

    Args:
        name: What comes after ``data-`` in the type.
        value: Any JSON value.
        part_id: Data of the same name and id takes the place of what came before.
        transient: Whether it is for the page alone, and no part of the message.

    Raises:
        InvalidMessageChunkError: The name is empty.
    """
    if not name:
        raise InvalidMessageChunkError("data needs a name")
    return _with(t.Data(type=f"data-{name}", data=value), id=part_id, transient=transient)


def start(*, message_id: str | None = None, metadata: Any = None) -> t.Start:
    """Begin the message."""
    return _with(t.Start(type="start"), messageId=message_id, messageMetadata=metadata)


def start_step() -> t.StartStep:
    """Begin a step."""
    return {"type": "start-step"}


def finish_step() -> t.FinishStep:
    """End a step."""
    return {"type": "finish-step"}


def reset_step() -> t.ResetStep:
    """Take back what came in this step. From ai@7 on."""
    return {"type": "reset-step"}


def message_metadata(metadata: Any) -> t.MessageMetadata:
    """Add to the metadata of the message: objects are merged."""
    return {"type": "message-metadata", "messageMetadata": metadata}


def error(text: str) -> t.Error:
    """Say that something went wrong. What the text says is shown to the user."""
    return {"type": "error", "errorText": text}


def abort(*, reason: str | None = None) -> t.Abort:
    """Say that somebody stopped the answer."""
    return _with(t.Abort(type="abort"), reason=reason)


def finish(*, reason: FinishReason | None = None, metadata: Any = None) -> t.Finish:
    """End the message."""
    return _with(t.Finish(type="finish"), finishReason=reason, messageMetadata=metadata)

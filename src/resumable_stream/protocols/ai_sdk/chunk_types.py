"""UI message chunks as types: what ai@7.0.173 has in ``src/ui-message-stream/ui-message-chunks.ts``.

ai@5.0.277 and ai@6.0.326 have fewer types and fields; see `check_chunk`. Clients of all three pass over fields that
they do not know, and end the stream with an error at a type that they do not know.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from typing_extensions import NotRequired, TypedDict

ProviderMetadata: TypeAlias = Mapping[str, Mapping[str, Any]]
"""What only one provider understands: objects by the name of the provider."""

FinishReason: TypeAlias = Literal["stop", "length", "content-filter", "tool-calls", "error", "other"]
"""Why a model ended: what the majors 5 to 7 all know."""


class TextStart(TypedDict):
    """A text begins."""

    type: Literal["text-start"]
    id: str
    providerMetadata: NotRequired[ProviderMetadata]


class TextDelta(TypedDict):
    """More of a text."""

    type: Literal["text-delta"]
    id: str
    delta: str
    providerMetadata: NotRequired[ProviderMetadata]


class TextEnd(TypedDict):
    """A text is whole."""

    type: Literal["text-end"]
    id: str
    citations: NotRequired[Sequence[Mapping[str, Any]]]
    """From ai@7 on."""
    providerMetadata: NotRequired[ProviderMetadata]


class ReasoningStart(TypedDict):
    """A reasoning begins."""

    type: Literal["reasoning-start"]
    id: str
    providerMetadata: NotRequired[ProviderMetadata]


class ReasoningDelta(TypedDict):
    """More of a reasoning."""

    type: Literal["reasoning-delta"]
    id: str
    delta: str
    providerMetadata: NotRequired[ProviderMetadata]


class ReasoningEnd(TypedDict):
    """A reasoning is whole."""

    type: Literal["reasoning-end"]
    id: str
    providerMetadata: NotRequired[ProviderMetadata]


class ToolInputStart(TypedDict):
    """A tool is called, its input follows."""

    type: Literal["tool-input-start"]
    toolCallId: str
    toolName: str
    inputEncoding: NotRequired[Literal["json", "text"]]
    """From ai@6 on."""
    providerExecuted: NotRequired[bool]
    providerMetadata: NotRequired[ProviderMetadata]
    toolMetadata: NotRequired[Mapping[str, Any]]
    dynamic: NotRequired[bool]
    title: NotRequired[str]


class ToolInputDelta(TypedDict):
    """More of a tool's input."""

    type: Literal["tool-input-delta"]
    toolCallId: str
    inputTextDelta: str


class ToolInputAvailable(TypedDict):
    """A tool's whole input."""

    type: Literal["tool-input-available"]
    toolCallId: str
    toolName: str
    input: Any
    providerExecuted: NotRequired[bool]
    providerMetadata: NotRequired[ProviderMetadata]
    toolMetadata: NotRequired[Mapping[str, Any]]
    dynamic: NotRequired[bool]
    title: NotRequired[str]


class ToolInputError(TypedDict):
    """A tool cannot take its input."""

    type: Literal["tool-input-error"]
    toolCallId: str
    toolName: str
    input: Any
    errorText: str
    providerExecuted: NotRequired[bool]
    providerMetadata: NotRequired[ProviderMetadata]
    toolMetadata: NotRequired[Mapping[str, Any]]
    dynamic: NotRequired[bool]
    title: NotRequired[str]


class ToolApprovalRequest(TypedDict):
    """Somebody has to allow a tool's call. From ai@6 on."""

    type: Literal["tool-approval-request"]
    approvalId: str
    toolCallId: str
    approvalDescriptor: NotRequired[Any]
    inputSchemaInput: NotRequired[Any]
    reason: NotRequired[str]
    isAutomatic: NotRequired[bool]
    signature: NotRequired[str]


class ToolApprovalResponse(TypedDict):
    """Somebody has allowed a tool's call, or not. From ai@7 on."""

    type: Literal["tool-approval-response"]
    approvalId: str
    approved: bool
    reason: NotRequired[str]
    providerExecuted: NotRequired[bool]
    providerMetadata: NotRequired[ProviderMetadata]


class ToolOutputAvailable(TypedDict):
    """What a tool answered."""

    type: Literal["tool-output-available"]
    toolCallId: str
    output: Any
    providerExecuted: NotRequired[bool]
    providerMetadata: NotRequired[ProviderMetadata]
    toolMetadata: NotRequired[Mapping[str, Any]]
    dynamic: NotRequired[bool]
    preliminary: NotRequired[bool]


class ToolOutputError(TypedDict):
    """A tool failed."""

    type: Literal["tool-output-error"]
    toolCallId: str
    errorText: str
    providerExecuted: NotRequired[bool]
    providerMetadata: NotRequired[ProviderMetadata]
    toolMetadata: NotRequired[Mapping[str, Any]]
    dynamic: NotRequired[bool]


class ToolOutputDenied(TypedDict):
    """A tool was not allowed to run. From ai@6 on."""

    type: Literal["tool-output-denied"]
    toolCallId: str


class SourceUrl(TypedDict):
    """A page that the answer rests on."""

    type: Literal["source-url"]
    sourceId: str
    url: str
    title: NotRequired[str]
    providerMetadata: NotRequired[ProviderMetadata]


class SourceDocument(TypedDict):
    """A document that the answer rests on."""

    type: Literal["source-document"]
    sourceId: str
    mediaType: str
    title: str
    filename: NotRequired[str]
    providerMetadata: NotRequired[ProviderMetadata]


class File(TypedDict):
    """A file, whole."""

    type: Literal["file"]
    url: str
    mediaType: str
    providerMetadata: NotRequired[ProviderMetadata]


class ReasoningFile(TypedDict):
    """A file that belongs to the reasoning. From ai@7 on."""

    type: Literal["reasoning-file"]
    url: str
    mediaType: str
    providerMetadata: NotRequired[ProviderMetadata]


class Custom(TypedDict):
    """Content that only one provider knows. From ai@7 on."""

    type: Literal["custom"]
    kind: str
    """``provider.kind``."""
    providerMetadata: NotRequired[ProviderMetadata]


class SteeringMessage(TypedDict):
    """What the user said while the answer was made. From ai@7 on, where it is experimental."""

    type: Literal["steering-message"]
    id: str
    parts: Sequence[Mapping[str, Any]]
    """Texts and files."""


class Data(TypedDict):
    """The application's own."""

    type: str
    """``data-`` and a name."""
    id: NotRequired[str]
    """One that names an earlier one of its type takes its place."""
    data: Any
    transient: NotRequired[bool]
    """Whether it is shown to the page alone, and no part of the message."""


class Start(TypedDict):
    """The message begins."""

    type: Literal["start"]
    messageId: NotRequired[str]
    messageMetadata: NotRequired[Any]


class StartStep(TypedDict):
    """A step begins: one call of the model, with its tools."""

    type: Literal["start-step"]


class FinishStep(TypedDict):
    """A step is over."""

    type: Literal["finish-step"]


class ResetStep(TypedDict):
    """What came in this step is taken back. From ai@7 on."""

    type: Literal["reset-step"]


class MessageMetadata(TypedDict):
    """More of the message's metadata."""

    type: Literal["message-metadata"]
    messageMetadata: Any


class Error(TypedDict):
    """Something went wrong: what there is of the message stays."""

    type: Literal["error"]
    errorText: str


class Abort(TypedDict):
    """Somebody stopped the answer."""

    type: Literal["abort"]
    reason: NotRequired[str]
    """From ai@6 on."""


class Finish(TypedDict):
    """The message is whole."""

    type: Literal["finish"]
    finishReason: NotRequired[str]
    messageMetadata: NotRequired[Any]


Chunk: TypeAlias = (
    TextStart
    | TextDelta
    | TextEnd
    | ReasoningStart
    | ReasoningDelta
    | ReasoningEnd
    | ToolInputStart
    | ToolInputDelta
    | ToolInputAvailable
    | ToolInputError
    | ToolApprovalRequest
    | ToolApprovalResponse
    | ToolOutputAvailable
    | ToolOutputError
    | ToolOutputDenied
    | SourceUrl
    | SourceDocument
    | File
    | ReasoningFile
    | Custom
    | SteeringMessage
    | Data
    | Start
    | StartStep
    | FinishStep
    | ResetStep
    | MessageMetadata
    | Error
    | Abort
    | Finish
)
"""Any UI message chunk."""

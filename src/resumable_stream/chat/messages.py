"""The messages of chats, as types: what the AI SDK calls UI messages.

A message is a plain `dict` at run time, as JSON has it. The types name the fields that are known; what is not known, a
field or a whole kind of part, is kept wherever a message passes through this package. Fields are from
``src/ui/ui-messages.ts`` of ai@7.0.173; those of ai@5 and ai@6 are among them. Those of ai@4, which has another shape,
are from ``dist/index.d.ts`` of @ai-sdk/ui-utils@1.2.11.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from typing_extensions import NotRequired, TypedDict

__all__ = [
    "Approval",
    "Attachment",
    "CustomPart",
    "DataPart",
    "DynamicToolPart",
    "FilePart",
    "ProviderMetadata",
    "ReasoningFilePart",
    "ReasoningPart",
    "Role",
    "SourceDocumentPart",
    "SourceUrlPart",
    "SteeringMessagePart",
    "StepStartPart",
    "TextPart",
    "ToolPart",
    "ToolState",
    "UIMessage",
    "UIMessagePart",
    "V4FilePart",
    "V4Message",
    "V4MessagePart",
    "V4ReasoningPart",
    "V4SourcePart",
    "V4TextPart",
    "V4ToolInvocation",
    "V4ToolInvocationPart",
]

Role: TypeAlias = Literal["system", "user", "assistant"]
"""Whose message it is."""

ProviderMetadata: TypeAlias = dict[str, dict[str, Any]]
"""What a provider adds, by its name."""

ToolState: TypeAlias = Literal[
    "input-streaming",
    "input-available",
    "approval-requested",
    "approval-responded",
    "output-available",
    "output-error",
    "output-denied",
]
"""How far a tool call has come. The three about approval are of ai@6 and newer."""


class TextPart(TypedDict):
    """A text."""

    type: Literal["text"]
    text: str
    state: NotRequired[Literal["streaming", "done"]]
    citations: NotRequired[list[dict[str, Any]]]
    """Since ai@7."""
    providerMetadata: NotRequired[ProviderMetadata]


class ReasoningPart(TypedDict):
    """What the model thought before it answered."""

    type: Literal["reasoning"]
    text: str
    id: NotRequired[str]
    state: NotRequired[Literal["streaming", "done"]]
    providerMetadata: NotRequired[ProviderMetadata]


class Approval(TypedDict):
    """Whether a tool may run. Since ai@6."""

    id: str
    approved: NotRequired[bool]
    reason: NotRequired[str]
    """Of the answer."""
    requestReason: NotRequired[str]
    """Of the request. Since ai@7."""
    isAutomatic: NotRequired[bool]
    """Since ai@7."""
    descriptor: NotRequired[Any]
    inputSchemaInput: NotRequired[Any]
    signature: NotRequired[str]


class _ToolFields(TypedDict):
    toolCallId: str
    state: ToolState
    input: NotRequired[Any]
    """While it is streaming, what can be read of it."""
    rawInput: NotRequired[Any]
    """The text of streaming input; before ai@7 also input that a static tool could not take."""
    inputEncoding: NotRequired[Literal["json", "text"]]
    output: NotRequired[Any]
    errorText: NotRequired[str]
    preliminary: NotRequired[bool]
    """The output is not the last one."""
    title: NotRequired[str]
    toolMetadata: NotRequired[dict[str, Any]]
    providerExecuted: NotRequired[bool]
    callProviderMetadata: NotRequired[ProviderMetadata]
    resultProviderMetadata: NotRequired[ProviderMetadata]
    approval: NotRequired[Approval]


class ToolPart(_ToolFields):
    """A call of a tool that the application knows."""

    type: str
    """``tool-`` and the name of the tool."""


class DynamicToolPart(_ToolFields):
    """A call of a tool that was not known when the application was written."""

    type: Literal["dynamic-tool"]
    toolName: str


class SourceUrlPart(TypedDict):
    """A page that the answer rests on."""

    type: Literal["source-url"]
    sourceId: str
    url: str
    title: NotRequired[str]
    providerMetadata: NotRequired[ProviderMetadata]


class SourceDocumentPart(TypedDict):
    """A document that the answer rests on."""

    type: Literal["source-document"]
    sourceId: str
    mediaType: str
    title: str
    filename: NotRequired[str]
    providerMetadata: NotRequired[ProviderMetadata]


class FilePart(TypedDict):
    """A file, at a URL or in a data URL."""

    type: Literal["file"]
    mediaType: str
    url: str
    filename: NotRequired[str]
    providerReference: NotRequired[dict[str, str]]
    """Since ai@7."""
    providerMetadata: NotRequired[ProviderMetadata]


class ReasoningFilePart(TypedDict):
    """A file that the model made while it thought. Since ai@7."""

    type: Literal["reasoning-file"]
    mediaType: str
    url: str
    providerMetadata: NotRequired[ProviderMetadata]


class CustomPart(TypedDict):
    """Content that only one provider knows. Since ai@7."""

    type: Literal["custom"]
    kind: str
    """The provider, a dot, and its type of content."""
    providerMetadata: NotRequired[ProviderMetadata]


class SteeringMessagePart(TypedDict):
    """What the user said while the answer was made. Since ai@7."""

    type: Literal["steering-message"]
    id: str
    parts: list[TextPart | FilePart]


class StepStartPart(TypedDict):
    """Where a step begins: one call of the model."""

    type: Literal["step-start"]


class DataPart(TypedDict):
    """The application's own."""

    type: str
    """``data-`` and a name."""
    id: NotRequired[str]
    data: Any


UIMessagePart: TypeAlias = (
    TextPart
    | ReasoningPart
    | ToolPart
    | DynamicToolPart
    | SourceUrlPart
    | SourceDocumentPart
    | FilePart
    | ReasoningFilePart
    | CustomPart
    | SteeringMessagePart
    | StepStartPart
    | DataPart
)
"""A part of a message of ai@5 or newer."""


class UIMessage(TypedDict):
    """A message of ai@5 or newer."""

    id: str
    role: Role
    parts: list[UIMessagePart]
    metadata: NotRequired[Any]
    """The application's own."""


class V4ToolInvocation(TypedDict):
    """A tool call of ai@4."""

    state: Literal["partial-call", "call", "result"]
    toolCallId: str
    toolName: str
    step: NotRequired[int]
    args: NotRequired[Any]
    result: NotRequired[Any]


class V4TextPart(TypedDict):
    """A text, in ai@4."""

    type: Literal["text"]
    text: str


class V4ReasoningPart(TypedDict):
    """What the model thought, in ai@4: as one text, and in pieces, some of which are not to be read."""

    type: Literal["reasoning"]
    reasoning: str
    details: list[dict[str, Any]]


class V4ToolInvocationPart(TypedDict):
    """A tool call in its place among the parts, in ai@4."""

    type: Literal["tool-invocation"]
    toolInvocation: V4ToolInvocation


class V4SourcePart(TypedDict):
    """What the answer rests on, in ai@4."""

    type: Literal["source"]
    source: dict[str, Any]


class V4FilePart(TypedDict):
    """A file in base64, in ai@4."""

    type: Literal["file"]
    mimeType: str
    data: str


V4MessagePart: TypeAlias = (
    V4TextPart | V4ReasoningPart | V4ToolInvocationPart | V4SourcePart | V4FilePart | StepStartPart
)
"""A part of a message of ai@4."""


class Attachment(TypedDict):
    """A file that the user sends with a message of ai@4."""

    url: str
    name: NotRequired[str]
    contentType: NotRequired[str]


class V4Message(TypedDict):
    """A message of ai@4."""

    id: str
    role: Literal["system", "user", "assistant", "data"]
    content: str
    createdAt: NotRequired[str]
    parts: NotRequired[list[V4MessagePart]]
    reasoning: NotRequired[str]
    toolInvocations: NotRequired[list[V4ToolInvocation]]
    experimental_attachments: NotRequired[list[Attachment]]
    annotations: NotRequired[list[Any]]
    data: NotRequired[Any]

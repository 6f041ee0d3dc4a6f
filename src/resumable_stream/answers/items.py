"""What an answer is written in: texts are plain `str`, and the rest is made by the functions here."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from ..protocols.ai_sdk import chunk_types, chunks
from ..protocols.ai_sdk.chunks import FinishReason, ProviderMetadata

__all__ = [
    "Finished",
    "Item",
    "Reasoning",
    "Step",
    "Text",
    "ToolCall",
    "ToolError",
    "ToolInput",
    "ToolInputDelta",
    "ToolInputError",
    "ToolOutput",
    "Usage",
    "data",
    "document",
    "file",
    "finished",
    "metadata",
    "reasoning",
    "source",
    "step",
    "text",
    "tool",
    "usage",
]


@dataclass(frozen=True)
class Text:
    """A piece of a text."""

    piece: str
    provider_metadata: ProviderMetadata | None = None


@dataclass(frozen=True)
class Reasoning:
    """A piece of a reasoning."""

    piece: str
    provider_metadata: ProviderMetadata | None = None


@dataclass(frozen=True)
class Step:
    """The beginning of a step."""


@dataclass(frozen=True)
class Usage:
    """Tokens of one call of a model."""

    tokens: Mapping[str, int]


@dataclass(frozen=True)
class Finished:
    """Why a model ended."""

    reason: FinishReason


@dataclass(frozen=True)
class ToolCall:
    """A call of a tool. Yield it, and then what its methods make, as it comes."""

    name: str
    call_id: str = field(default_factory=lambda: f"call_{uuid.uuid4().hex}")
    """Unique in the chat."""
    dynamic: bool = False
    title: str | None = None
    provider_executed: bool = False
    provider_metadata: ProviderMetadata | None = None

    def input_delta(self, delta: str) -> ToolInputDelta:
        """Go on with the input: more of a JSON text. After the whole input it counts for nothing."""
        return ToolInputDelta(self, delta)

    def input(self, value: Any) -> ToolInput:
        """Give the whole input."""
        return ToolInput(self, value)

    def input_error(self, value: Any, error_text: str) -> ToolInputError:
        """Say that the tool cannot take this input. The call is over then."""
        return ToolInputError(self, value, error_text)

    def output(
        self, value: Any, *, preliminary: bool = False, provider_metadata: ProviderMetadata | None = None
    ) -> ToolOutput:
        """Give what the tool answered: a JSON value. With ``preliminary``, it is going to be replaced."""
        return ToolOutput(self, value, preliminary, provider_metadata)

    def error(self, error_text: str) -> ToolError:
        """Say that the tool failed. The text is shown to the user."""
        return ToolError(self, error_text)


@dataclass(frozen=True)
class ToolInputDelta:
    """A piece of the input of a call."""

    call: ToolCall
    delta: str


@dataclass(frozen=True)
class ToolInput:
    """The input of a call."""

    call: ToolCall
    value: Any


@dataclass(frozen=True)
class ToolInputError:
    """Input that a tool cannot take."""

    call: ToolCall
    value: Any
    error_text: str


@dataclass(frozen=True)
class ToolOutput:
    """What a tool answered."""

    call: ToolCall
    value: Any
    preliminary: bool = False
    provider_metadata: ProviderMetadata | None = None


@dataclass(frozen=True)
class ToolError:
    """How a tool failed."""

    call: ToolCall
    error_text: str


Item: TypeAlias = (
    str
    | Text
    | Reasoning
    | Step
    | Usage
    | Finished
    | ToolCall
    | ToolInputDelta
    | ToolInput
    | ToolInputError
    | ToolOutput
    | ToolError
    | Mapping[str, Any]
)
"""What `as_chunks` takes: a text, what one of the functions here makes, or a UI message chunk."""


def text(piece: str, *, provider_metadata: ProviderMetadata | None = None) -> Text:
    """Write a text, or more of it. A plain `str` is the same."""
    return Text(piece, provider_metadata)


def reasoning(piece: str, *, provider_metadata: ProviderMetadata | None = None) -> Reasoning:
    """Write a reasoning, or more of it."""
    return Reasoning(piece, provider_metadata)


_NOTHING: Any = object()


def tool(
    name: str,
    input: Any = _NOTHING,  # noqa: A002  # what the AI SDK calls it
    *,
    call_id: str | None = None,
    dynamic: bool = False,
    title: str | None = None,
    provider_executed: bool = False,
    provider_metadata: ProviderMetadata | None = None,
) -> ToolCall:
    """Call a tool. Nothing is run: it says what you run, or what the model wants you to.

    Args:
        name: Of the tool.
        input: A JSON value, if the whole input is known; otherwise it comes by `ToolCall.input_delta` or
            `ToolCall.input`.
        call_id: Unique in the chat; ``None``: one is made.
        dynamic: Whether the page does not know the tool.
        title: For the user, from ai@6 on.
        provider_executed: Whether the provider of the model runs it.
        provider_metadata: What only the provider understands.
    """
    fields: dict[str, Any] = {} if call_id is None else {"call_id": call_id}
    fields |= {"dynamic": dynamic, "title": title, "provider_executed": provider_executed}
    fields["provider_metadata"] = provider_metadata
    return ToolCall(name, **fields) if input is _NOTHING else CalledTool(name, **fields, value=input)


@dataclass(frozen=True)
class CalledTool(ToolCall):
    """A call whose whole input is known."""

    value: Any = None


def data(
    name: str,
    value: Any,
    id: str | None = None,  # noqa: A002  # what the AI SDK calls it
    *,
    transient: bool = False,
) -> chunk_types.Data:
    """Hand on data of your own: a part ``data-{name}``.

    Args:
        name: Which data it is.
        value: A JSON value.
        id: Data of the same name and id takes the place of what came before.
        transient: Whether it is for the page that looks on, and no part of the message.
    """
    return chunks.data(name, value, part_id=id, transient=transient or None)


def source(url: str, title: str | None = None, *, source_id: str | None = None) -> chunk_types.SourceUrl:
    """Name a page that the answer rests on."""
    return chunks.source_url(source_id or uuid.uuid4().hex, url, title=title)


def document(
    title: str, media_type: str, *, filename: str | None = None, source_id: str | None = None
) -> chunk_types.SourceDocument:
    """Name a document that the answer rests on."""
    return chunks.source_document(source_id or uuid.uuid4().hex, media_type, title, filename=filename)


def file(url: str, media_type: str) -> chunk_types.File:
    """Hand on a file: at a URL, or as a ``data:`` URL."""
    return chunks.file(url, media_type)


def step() -> Step:
    """Begin a step: one call of the model, and the tools that it calls.

    Most answers need it not: a step begins with the first part, and again after the last tool has answered.
    """
    return Step()


def metadata(value: Mapping[str, Any]) -> chunk_types.MessageMetadata:
    """Add to the metadata of the message: objects are merged."""
    return chunks.message_metadata(value)


def usage(
    *, input_tokens: int = 0, output_tokens: int = 0, reasoning_tokens: int = 0, cached_input_tokens: int = 0
) -> Usage:
    """Tell what a call of the model took. The sum over the answer becomes ``usage`` in the message's metadata.

    Args:
        input_tokens: What the model was given.
        output_tokens: What it made.
        reasoning_tokens: How many of those were for its reasoning.
        cached_input_tokens: How many of what it was given it knew already.
    """
    tokens = {"inputTokens": input_tokens, "outputTokens": output_tokens, "totalTokens": input_tokens + output_tokens}
    details = {"reasoningTokens": reasoning_tokens, "cachedInputTokens": cached_input_tokens}
    return Usage(tokens | {name: count for name, count in details.items() if count})


def finished(reason: FinishReason) -> Finished:
    """Say why the model ended. The last one said is the message's."""
    return Finished(reason)

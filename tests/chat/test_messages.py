"""The types of messages name the fields that there are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args, get_origin

import pytest
from typing_extensions import NotRequired, get_type_hints

from resumable_stream.chat import messages
from tests.chat.golden import cases

# Fields that the streams add to see whether they are kept.
ADDED = {"kept", "more", "extra", "transient"}
KINDS: dict[str, Any] = {
    "text": messages.TextPart,
    "reasoning": messages.ReasoningPart,
    "tool-": messages.ToolPart,
    "dynamic-tool": messages.DynamicToolPart,
    "source-url": messages.SourceUrlPart,
    "source-document": messages.SourceDocumentPart,
    "file": messages.FilePart,
    "reasoning-file": messages.ReasoningFilePart,
    "custom": messages.CustomPart,
    "steering-message": messages.SteeringMessagePart,
    "step-start": messages.StepStartPart,
    "data-": messages.DataPart,
}
KINDS_OF_VERSION_4: dict[str, Any] = {
    "text": messages.V4TextPart,
    "reasoning": messages.V4ReasoningPart,
    "tool-invocation": messages.V4ToolInvocationPart,
    "source": messages.V4SourcePart,
    "file": messages.V4FilePart,
    "step-start": messages.StepStartPart,
}


def made(*names: str) -> Iterator[dict[str, Any]]:
    """Yield the messages of golden files."""
    for name in names:
        for case in cases(name):
            for answer in case["answers"].values():
                yield from (answer["message"], *answer.get("prefixes", []))


def kind_of(part: dict[str, Any]) -> str:
    """Return the key of a part's type."""
    kind = str(part["type"])
    return next((prefix for prefix in ("tool-", "data-") if kind.startswith(prefix)), kind)


def lacking(kind: Any, value: dict[str, Any]) -> set[str]:
    """Return what the value has and the type does not name, and what the type needs and the value does not have."""
    hints = get_type_hints(kind, include_extras=True)
    optional: Any = NotRequired
    needed = {key for key, hint in hints.items() if get_origin(hint) is not optional}
    return (set(value) - set(hints) - ADDED) | (needed - set(value))


def test_ui_messages() -> None:
    """Every field that the AI SDK's majors 5 to 7 write is in the type of its part, and what has to be there is."""
    seen = set()
    for message in made("ui_messages", "ui_messages_random"):
        assert not lacking(messages.UIMessage, message)
        for part in message["parts"]:
            if (kind := kind_of(part)) != "from-the-future":
                seen.add(kind)
                assert lacking(KINDS[kind], part) <= {"data"}  # undefined data is not there in JSON
    assert seen == set(KINDS)


def test_messages_of_version_4() -> None:
    """So it is for ai@4."""
    seen = set()
    for message in made("data_stream", "data_stream_random"):
        assert not lacking(messages.V4Message, message)
        for part in message["parts"]:
            seen.add(part["type"])
            assert not lacking(KINDS_OF_VERSION_4[part["type"]], part)
        for invocation in message.get("toolInvocations", []):
            assert not lacking(messages.V4ToolInvocation, invocation)
    assert seen == set(KINDS_OF_VERSION_4)


@pytest.mark.parametrize(
    ("union", "kinds"), [(messages.UIMessagePart, KINDS), (messages.V4MessagePart, KINDS_OF_VERSION_4)]
)
def test_unions(union: Any, kinds: dict[str, Any]) -> None:
    """The type of a part is any of the kinds there are."""
    assert set(get_args(union)) == set(kinds.values())

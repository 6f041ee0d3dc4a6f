"""UI message chunks: makers, and what clients accept."""

from __future__ import annotations

import inspect
import json
from types import ModuleType
from typing import Any, get_args, get_type_hints

import pytest

from resumable_stream.exceptions import InvalidMessageChunkError, InvalidSettingError
from resumable_stream.protocols.ai_sdk import chunk_types, chunks
from resumable_stream.protocols.ai_sdk.chunk_rules import check_chunk
from tests.chat.golden import GOLDEN

META = {"p": {"a": 1}}

MADE: list[tuple[Any, dict[str, Any]]] = [
    (chunks.text_start("t"), {"type": "text-start", "id": "t"}),
    (
        chunks.text_delta("t", "x", provider_metadata=META),
        {"type": "text-delta", "id": "t", "delta": "x", "providerMetadata": META},
    ),
    (chunks.text_end("t", citations=[]), {"type": "text-end", "id": "t", "citations": []}),
    (chunks.reasoning_start("r"), {"type": "reasoning-start", "id": "r"}),
    (chunks.reasoning_delta("r", "x"), {"type": "reasoning-delta", "id": "r", "delta": "x"}),
    (chunks.reasoning_end("r"), {"type": "reasoning-end", "id": "r"}),
    (
        chunks.tool_input_start("c", "n", dynamic=True, input_encoding="text"),
        {"type": "tool-input-start", "toolCallId": "c", "toolName": "n", "dynamic": True, "inputEncoding": "text"},
    ),
    (chunks.tool_input_delta("c", "{"), {"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": "{"}),
    (
        chunks.tool_input_available("c", "n", None, title="T"),
        {"type": "tool-input-available", "toolCallId": "c", "toolName": "n", "input": None, "title": "T"},
    ),
    (
        chunks.tool_input_error("c", "n", 1, "e"),
        {"type": "tool-input-error", "toolCallId": "c", "toolName": "n", "input": 1, "errorText": "e"},
    ),
    (
        chunks.tool_approval_request("p", "c", descriptor=1, is_automatic=False),
        {
            "type": "tool-approval-request",
            "approvalId": "p",
            "toolCallId": "c",
            "approvalDescriptor": 1,
            "isAutomatic": False,
        },
    ),
    (
        chunks.tool_approval_response("p", False, reason="no"),
        {"type": "tool-approval-response", "approvalId": "p", "approved": False, "reason": "no"},
    ),
    (
        chunks.tool_output_available("c", [1], preliminary=True),
        {"type": "tool-output-available", "toolCallId": "c", "output": [1], "preliminary": True},
    ),
    (chunks.tool_output_error("c", "e"), {"type": "tool-output-error", "toolCallId": "c", "errorText": "e"}),
    (chunks.tool_output_denied("c"), {"type": "tool-output-denied", "toolCallId": "c"}),
    (chunks.source_url("s", "u", title="T"), {"type": "source-url", "sourceId": "s", "url": "u", "title": "T"}),
    (
        chunks.source_document("s", "m", "T", filename="f"),
        {"type": "source-document", "sourceId": "s", "mediaType": "m", "title": "T", "filename": "f"},
    ),
    (chunks.file("u", "m"), {"type": "file", "url": "u", "mediaType": "m"}),
    (chunks.reasoning_file("u", "m"), {"type": "reasoning-file", "url": "u", "mediaType": "m"}),
    (chunks.custom("p.k"), {"type": "custom", "kind": "p.k"}),
    (chunks.steering_message("i", []), {"type": "steering-message", "id": "i", "parts": []}),
    (chunks.data("x", 1, part_id="i", transient=True), {"type": "data-x", "data": 1, "id": "i", "transient": True}),
    (chunks.start(message_id="m"), {"type": "start", "messageId": "m"}),
    (chunks.start_step(), {"type": "start-step"}),
    (chunks.finish_step(), {"type": "finish-step"}),
    (chunks.reset_step(), {"type": "reset-step"}),
    (chunks.message_metadata({"a": 1}), {"type": "message-metadata", "messageMetadata": {"a": 1}}),
    (chunks.error("e"), {"type": "error", "errorText": "e"}),
    (chunks.abort(), {"type": "abort"}),
    (chunks.finish(reason="stop"), {"type": "finish", "finishReason": "stop"}),
]


@pytest.mark.parametrize(("made", "expected"), MADE, ids=lambda value: value["type"])
def test_makers(made: Any, expected: dict[str, Any]) -> None:
    """A maker makes what clients accept, and leaves out what it was not given."""
    assert made == expected
    check_chunk(made)


@pytest.mark.parametrize("change", [{"startIndex": float("inf")}, {"source": {"type": "source", "sourceType": []}}])
def test_citation_that_is_none(change: dict[str, Any]) -> None:
    """Whatever a citation has in it, it is refused with an error of ours."""
    source = {"type": "source", "sourceType": "url", "id": "s", "url": "u"}
    chunk = {"type": "text-end", "id": "t", "citations": [{"source": source, "startIndex": 0}]}
    check_chunk(chunk)
    chunk["citations"] = [{"source": source, **change}]
    with pytest.raises(InvalidMessageChunkError):
        check_chunk(chunk)


def test_every_type_has_a_maker() -> None:
    """There is a maker for each type that there is, and a test for each maker."""
    types = {kind.__name__ for kind in get_args(chunk_types.Chunk)}
    made_by = {get_type_hints(maker)["return"].__name__ for maker in _functions(chunks) if maker is not check_chunk}
    assert made_by == types
    assert len(MADE) == len(types)


def _functions(module: ModuleType) -> list[Any]:
    return [getattr(module, name) for name in module.__all__ if inspect.isfunction(getattr(module, name))]


def test_clients_agree() -> None:
    """What is accepted is accepted by the schema of that major, and for the newest, what is refused is refused there.

    Older majors take fields of any type that only newer ones know; we do not.
    """
    wrong = []
    for case in json.loads((GOLDEN / "chunks.json").read_text(encoding="utf-8"))["cases"]:
        for sdk in (5, 6, 7):
            accepts = _accepts(case["chunk"], sdk)
            if accepts != (sdk in case["accepted"]) and (accepts or sdk == 7):
                wrong.append((sdk, accepts, case["chunk"]))
    assert wrong == []


def _accepts(chunk: Any, sdk: Any) -> bool:
    try:
        check_chunk(chunk, sdk=sdk)
    except InvalidMessageChunkError:
        return False
    return True


@pytest.mark.parametrize("chunk", [None, "x", [], {}, {"type": 1}])
def test_what_is_no_chunk(chunk: Any) -> None:
    """A chunk is an object with a type."""
    with pytest.raises(InvalidMessageChunkError):
        check_chunk(chunk)


def test_unknown_majors() -> None:
    """There are rules for three majors."""
    major: Any = 4
    with pytest.raises(InvalidSettingError, match="5, 6 or 7"):
        check_chunk({"type": "abort"}, sdk=major)


def test_data_needs_a_name() -> None:
    """Data without a name would be a type that no page can look for."""
    with pytest.raises(InvalidMessageChunkError):
        chunks.data("", 1)

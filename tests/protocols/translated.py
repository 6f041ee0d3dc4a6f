"""The corpus of UI message chunks, translated for ai@4. As a program, it writes the lines for make_wire.mjs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from resumable_stream.chat.reducer import Sdk
from resumable_stream.protocols.ai_sdk.data_stream import encode_parts
from resumable_stream.protocols.ai_sdk.data_stream_translator import DataStreamTranslator
from tests.chat.golden import GOLDEN, cases

SDKS: tuple[Sdk, ...] = (5, 6, 7)
MADE = "made"


def streams(sdk: Sdk) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Yield the streams of new messages, with the chunks that a major takes, and those alone."""
    for name in ("ui_messages", "ui_messages_random"):
        for number, case in enumerate(cases(name)):
            if sdk in case["answers"] and not case.get("message"):
                errors = case["answers"][sdk]["errors"]
                chunks = [chunk for index, chunk in enumerate(case["chunks"]) if index not in errors]
                if sdk == 5:  # which passes over it
                    chunks = [chunk for chunk in chunks if chunk["type"] != "tool-output-denied"]
                yield case.get("name") or f"{name} {number}", chunks


def translate(chunks: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    """Translate a whole stream."""
    translator = DataStreamTranslator(message_id=MADE)
    return [*(part for chunk in chunks for part in translator.add(chunk)), *translator.end()]


def lines_of(chunks: list[dict[str, Any]]) -> str:
    """Translate a whole stream into lines."""
    return encode_parts(translate(chunks)).decode()


def main() -> None:
    """Write down the lines of the streams of the newest major."""
    made = [{"name": name, "lines": lines_of(chunks)} for name, chunks in streams(7)]
    kept = [case for case in made if case["lines"] and not any(line[0] == "3" for line in case["lines"].splitlines())]
    (GOLDEN / "translated.json").write_text(json.dumps({"cases": kept}), encoding="utf-8")


if __name__ == "__main__":
    main()

"""The answers of the AI SDK, which tests/golden/make_golden.mjs writes down."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parents[1] / "golden"
_EXACT = 2**53


def cases(name: str) -> list[dict[str, Any]]:
    """Return the cases of a golden file: each with its answers, one for each major that has been asked."""
    return [_by_major(case) for case in raw_cases(name)]


def raw_cases(name: str) -> list[dict[str, Any]]:
    """Return the cases of a golden file as they are."""
    text = (GOLDEN / f"{name}.json").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = json.loads(text, parse_int=_as_double)["cases"]
    return found


def _by_major(case: dict[str, Any]) -> dict[str, Any]:
    answers = {sdk: answer for answer in case["answers"] for sdk in answer["sdk"]}
    return {**case, "answers": answers}


def _as_double(digits: str) -> int | float:
    number = float(digits)
    return int(number) if abs(number) <= _EXACT else number


def canonical(value: Any) -> str:
    """Return a JSON text that is the same for equal values alone: ``1`` and ``true`` are not."""
    return json.dumps(value, sort_keys=True)

"""Values as ai@4 has them, out of those of later majors."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

__all__ = ["as_args", "as_file", "as_source", "signatures_of", "usage_of"]


def as_args(value: Any) -> Any:
    """Return the input of a tool as the arguments of one: ai@4 takes objects, arrays and ``null`` alone."""
    if value is None:
        return {}
    return value if isinstance(value, (dict, list)) else {"input": value}


def as_source(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return a source of ai@4 out of a ``source-url``."""
    optional = {key: part[key] for key in ("title", "providerMetadata") if part.get(key) is not None}
    return {"sourceType": "url", "id": part["sourceId"], "url": part["url"], **optional}


def as_file(part: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a file of ai@4, its content in base64; ``None``: it is at a URL, and its content is not known here."""
    head, comma, content = part["url"].partition(",")
    if not comma or head[:5].lower() != "data:":
        return None
    if not head.lower().endswith(";base64"):
        try:
            content = base64.b64encode(unquote_to_bytes(content)).decode()
        except UnicodeEncodeError:  # half of a surrogate pair is no content
            return None
    elif not _is_base64(content):
        return None
    return {"mimeType": part["mediaType"], "data": content}


def _is_base64(content: str) -> bool:
    try:
        base64.b64decode(content, validate=True)
    except (ValueError, binascii.Error):
        return False
    return True


def signatures_of(metadata: Any) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the parts that say who reasoned: codes ``i`` and ``j``.

    (``signature`` and ``redactedData`` are what @ai-sdk/anthropic has them as.)
    """
    for values in metadata.values() if isinstance(metadata, Mapping) else ():
        if isinstance(values, Mapping) and isinstance(values.get("redactedData"), str):
            yield "i", {"data": values["redactedData"]}
        if isinstance(values, Mapping) and isinstance(values.get("signature"), str):
            yield "j", {"signature": values["signature"]}


def usage_of(metadata: Any) -> dict[str, int] | None:
    """Return the usage that a message's metadata tells under ``usage``, if it does."""
    usage = metadata.get("usage") if isinstance(metadata, Mapping) else None
    if not isinstance(usage, Mapping):
        return None
    prompt, completion = usage.get("inputTokens"), usage.get("outputTokens")
    if not isinstance(prompt, int) or not isinstance(completion, int):
        return None
    return {"promptTokens": prompt, "completionTokens": completion}

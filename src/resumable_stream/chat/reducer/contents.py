"""The chunks of texts, sources, files and data. Each function checks all before it changes anything."""

from __future__ import annotations

from typing import Any

from ...exceptions import InvalidMessageChunkError
from .draft import Chunk, Draft, OpenText, Part, copied_fields, text_of
from .values import copy_json, is_truthy


def start_text(draft: Draft, chunk: Chunk) -> None:
    """``text-start``: a text begins."""
    _start(draft, draft.texts, text_of(chunk, "id"), {"type": "text"}, chunk)


def start_reasoning(draft: Draft, chunk: Chunk) -> None:
    """``reasoning-start``: a reasoning begins."""
    text_id = text_of(chunk, "id")
    _start(draft, draft.reasonings, text_id, {"type": "reasoning", "id": text_id}, chunk)


def add_text(draft: Draft, chunk: Chunk) -> None:
    """``text-delta``: more of a text."""
    _add(draft.texts, chunk)


def add_reasoning(draft: Draft, chunk: Chunk) -> None:
    """``reasoning-delta``: more of a reasoning."""
    _add(draft.reasonings, chunk)


def end_text(draft: Draft, chunk: Chunk) -> None:
    """``text-end``: a text is whole."""
    citations = chunk.get("citations") if draft.rules.sdk >= 7 else None
    _end(draft.texts, chunk, {} if citations is None else {"citations": copy_json(citations)})


def end_reasoning(draft: Draft, chunk: Chunk) -> None:
    """``reasoning-end``: a reasoning is whole."""
    _end(draft.reasonings, chunk, {})


def _start(draft: Draft, texts: dict[str, OpenText], text_id: str, part: dict[str, Any], chunk: Chunk) -> None:
    part |= {"text": "", **copied_fields(chunk, "providerMetadata"), "state": "streaming"}
    if text_id in texts:
        texts[text_id].settle()
    texts[text_id] = OpenText(draft.push(part))


def _open(texts: dict[str, OpenText], chunk: Chunk) -> OpenText:
    text = texts.get(text_of(chunk, "id"))
    if text is None:
        raise InvalidMessageChunkError(f"{chunk['type']} for {chunk['id']!r}, which was not started, or has ended")
    return text


def _add(texts: dict[str, OpenText], chunk: Chunk) -> None:
    # The one function that runs for each token. Of what is in order, nothing is called that needs not be.
    try:
        text = texts.get(chunk.get("id"))  # type: ignore[arg-type]  # what is no text is not in there
    except TypeError:  # nor is a list
        text = None
    delta = chunk.get("delta")
    if text is None or not isinstance(delta, str):
        text, delta = _open(texts, chunk), text_of(chunk, "delta")
    metadata = chunk.get("providerMetadata")
    if metadata is not None:
        text.part["providerMetadata"] = copy_json(metadata)
    text.pieces.append(delta)


def _end(texts: dict[str, OpenText], chunk: Chunk, fields: dict[str, Any]) -> None:
    text = _open(texts, chunk)
    if chunk.get("providerMetadata") is not None:
        fields |= copied_fields(chunk, "providerMetadata")
    text.settle()
    text.part |= {**fields, "state": "done"}
    del texts[chunk["id"]]


def add_file(draft: Draft, chunk: Chunk) -> None:
    """``file`` and ``reasoning-file``: a file, whole."""
    part = {"type": chunk["type"], "mediaType": text_of(chunk, "mediaType"), "url": text_of(chunk, "url")}
    metadata = chunk.get("providerMetadata") if draft.rules.sdk >= 6 else None
    draft.push(part if metadata is None else {**part, "providerMetadata": copy_json(metadata)})


def add_source_url(draft: Draft, chunk: Chunk) -> None:
    """``source-url``: a page that the answer rests on."""
    part = {"type": "source-url", "sourceId": text_of(chunk, "sourceId"), "url": text_of(chunk, "url")}
    draft.push(part | copied_fields(chunk, "title", "providerMetadata"))


def add_source_document(draft: Draft, chunk: Chunk) -> None:
    """``source-document``: a document that the answer rests on."""
    needed = {key: text_of(chunk, key) for key in ("sourceId", "mediaType", "title")}
    draft.push({"type": "source-document"} | needed | copied_fields(chunk, "filename", "providerMetadata"))


def add_custom(draft: Draft, chunk: Chunk) -> None:
    """``custom``: content that only one provider knows."""
    part = {"type": "custom", "kind": text_of(chunk, "kind")}
    draft.push(part | copied_fields(chunk, "providerMetadata"))


def add_steering(draft: Draft, chunk: Chunk) -> None:
    """``steering-message``: what the user said while the answer was made."""
    part = {"type": "steering-message", "id": text_of(chunk, "id")}
    if not isinstance(chunk.get("parts"), (list, tuple)):
        raise InvalidMessageChunkError("a steering message needs a list of parts")
    draft.push(part | copied_fields(chunk, "parts"))


def add_data(draft: Draft, chunk: Chunk) -> None:
    """``data-…``: the application's own. One that names an earlier one of its type by id takes its place."""
    part_id = chunk.get("id")
    if part_id is not None and not isinstance(part_id, str):
        raise InvalidMessageChunkError("the id of data has to be a text")
    if is_truthy(chunk.get("transient")):
        return
    part = copied_fields(chunk, *chunk)
    old = None if part_id is None else _find_data(draft, part["type"], part_id)
    if old is None:
        draft.push(part)
    elif "data" in part:
        old["data"] = part["data"]
    else:
        old.pop("data", None)


def _find_data(draft: Draft, kind: str, part_id: str) -> Part | None:
    return next((part for part in draft.parts if part.get("type") == kind and part.get("id") == part_id), None)

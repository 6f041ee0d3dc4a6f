"""UI message chunks of ai@5 to ai@7, folded into the message that they make.

The rules are those of `processUIMessageStream` (``src/ui/process-ui-message-stream.ts`` of ai@7.0.173; 6.0.326 and
5.0.277 likewise), which the AI SDK uses in the browser and on the server alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

from ...exceptions import InvalidMessageChunkError, InvalidSettingError
from . import contents, tools
from .draft import Chunk, Draft, Rules, continued_message, new_message, text_of
from .values import copy_json, merge_metadata

__all__ = ["MessageReducer", "Sdk", "fold"]

Sdk = Literal[5, 6, 7]
"""A major version of the AI SDK that speaks in UI message chunks."""

_Handler = Callable[[Draft, Chunk], None]


def fold(
    chunks: Iterable[Mapping[str, Any]],
    message: Mapping[str, Any] | None = None,
    *,
    message_id: str,
    sdk: Sdk = 7,
    reset_on_new_id: bool = False,
) -> dict[str, Any]:
    """Return the message that some chunks make.

    Args:
        chunks: UI message chunks, in order.
        message: As `MessageReducer` has it.
        message_id: As `MessageReducer` has it.
        sdk: As `MessageReducer` has it.
        reset_on_new_id: As `MessageReducer` has it.

    Raises:
        InvalidMessageChunkError: One of them cannot be folded.
        InvalidMessageError: The message to go on with is none.
        InvalidSettingError: The major is not one of the three.
    """
    reducer = MessageReducer(message, message_id=message_id, sdk=sdk, reset_on_new_id=reset_on_new_id)
    for chunk in chunks:
        reducer.add(chunk)
    return reducer.message


class MessageReducer:
    """Folds UI message chunks into the assistant's message, as the AI SDK of a major version does.

    Nothing that is passed in is changed, or kept. Adding a delta takes the same short time however long the message
    is; the text is joined, and the input of a tool is read, when `message` is asked for.

    Args:
        message: The last message, if this goes on with it; one that is not an assistant's is passed over.
        message_id: The id of a new message. A ``start`` chunk may name another one.
        sdk: The major version of the AI SDK, in which the rules differ a little. Take the one of the client.
        reset_on_new_id: Begin anew when a ``start`` chunk names another id than the message has, as the SDK does when
            it resumes a stream, and not when it sends.

    Raises:
        InvalidMessageError: The message to go on with has no list of parts.
        InvalidSettingError: The major is not one of the three.
    """

    def __init__(
        self,
        message: Mapping[str, Any] | None = None,
        *,
        message_id: str,
        sdk: Sdk = 7,
        reset_on_new_id: bool = False,
    ) -> None:
        if sdk not in _HANDLERS:
            raise InvalidSettingError(f"the major version of the AI SDK is 5, 6 or 7, not {sdk!r}")
        self._handlers = _HANDLERS[sdk]
        self._reset_on_new_id = reset_on_new_id
        self._draft = Draft(continued_message(message, message_id), Rules(sdk))

    def add(self, chunk: Mapping[str, Any]) -> None:
        """Fold one chunk in.

        A chunk of a type that the major does not know is passed over, as is an ``error``: what was said before stays.

        Raises:
            InvalidMessageChunkError: It is no object with a type, lacks what its type needs, or is about something that
                was not started. The message is as it was before.
        """
        if not isinstance(chunk, dict) and not isinstance(chunk, Mapping):
            raise InvalidMessageChunkError(f"a chunk is an object, not {type(chunk).__name__}")
        kind = chunk.get("type")
        if not isinstance(kind, str):
            raise InvalidMessageChunkError("a chunk needs a text as 'type'")
        handler = self._handlers.get(kind)
        if handler is not None:
            handler(self._draft, chunk)
        elif kind == "start":
            self._start(chunk)
        elif kind.startswith("data-"):
            contents.add_data(self._draft, chunk)

    @property
    def message(self) -> dict[str, Any]:
        """The message so far, as JSON has it. It is the caller's own: it does not change when chunks are added."""
        self._draft.settle()
        copied: dict[str, Any] = copy_json(self._draft.message)
        return copied

    @property
    def finish_reason(self) -> str | None:
        """Why the model ended, or ``None``: no chunk has told."""
        return self._draft.finish_reason

    def _start(self, chunk: Chunk) -> None:
        message_id = None if chunk.get("messageId") is None else text_of(chunk, "messageId")
        draft = self._draft
        if message_id is not None and message_id != draft.message["id"] and self._reset_on_new_id:
            draft = Draft(new_message(message_id), draft.rules)
        _merge_metadata(draft, chunk)
        if message_id is not None:
            draft.message["id"] = message_id
        self._draft = draft


def _merge_metadata(draft: Draft, chunk: Chunk) -> None:
    metadata = copy_json(chunk.get("messageMetadata"))
    if metadata is not None:
        old = draft.message.get("metadata")
        draft.message["metadata"] = metadata if old is None else merge_metadata(old, metadata)


def _finish(draft: Draft, chunk: Chunk) -> None:
    reason = None if chunk.get("finishReason") is None else text_of(chunk, "finishReason")
    _merge_metadata(draft, chunk)
    if reason is not None:
        draft.finish_reason = reason


def _start_step(draft: Draft, _chunk: Chunk) -> None:
    draft.start_step()


def _finish_step(draft: Draft, _chunk: Chunk) -> None:
    if draft.rules.steps_end_texts:
        draft.end_texts()


def _reset_step(draft: Draft, _chunk: Chunk) -> None:
    draft.reset_step()


_SINCE_5: dict[str, _Handler] = {
    "text-start": contents.start_text,
    "text-delta": contents.add_text,
    "text-end": contents.end_text,
    "reasoning-start": contents.start_reasoning,
    "reasoning-delta": contents.add_reasoning,
    "reasoning-end": contents.end_reasoning,
    "file": contents.add_file,
    "source-url": contents.add_source_url,
    "source-document": contents.add_source_document,
    "tool-input-start": tools.start_input,
    "tool-input-delta": tools.add_input,
    "tool-input-available": tools.set_input,
    "tool-input-error": tools.refuse_input,
    "tool-output-available": tools.set_output,
    "tool-output-error": tools.set_error,
    "start-step": _start_step,
    "finish-step": _finish_step,
    "finish": _finish,
    "message-metadata": _merge_metadata,
}
_SINCE_6: dict[str, _Handler] = {
    **_SINCE_5,
    "tool-approval-request": tools.ask_approval,
    "tool-output-denied": tools.deny_output,
}
_SINCE_7: dict[str, _Handler] = {
    **_SINCE_6,
    "custom": contents.add_custom,
    "reasoning-file": contents.add_file,
    "reset-step": _reset_step,
    "steering-message": contents.add_steering,
    "tool-approval-response": tools.answer_approval,
}
_HANDLERS: dict[int, dict[str, _Handler]] = {5: _SINCE_5, 6: _SINCE_6, 7: _SINCE_7}

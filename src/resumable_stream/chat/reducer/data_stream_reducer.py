"""Data stream parts of ai@4, folded into the message that they make: as `useChat` of ai@4 does it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .data_stream import DataStreamPart, check_data_stream_part
from .data_stream_draft import DataStreamDraft
from .values import copy_json

__all__ = ["DataStreamReducer", "fold_data_stream"]


def fold_data_stream(
    parts: Iterable[DataStreamPart], message: Mapping[str, Any] | None = None, *, message_id: str
) -> dict[str, Any]:
    """Return the message that some parts of a data stream make.

    Args:
        parts: Codes and values, in order, such as `parse_data_stream` yields.
        message: As `DataStreamReducer` has it.
        message_id: As `DataStreamReducer` has it.

    Raises:
        InvalidMessageChunkError: One of them cannot be folded.
        InvalidMessageError: The message to go on with is none.
    """
    reducer = DataStreamReducer(message, message_id=message_id)
    for part in parts:
        reducer.add(part)
    return reducer.message


class DataStreamReducer:
    """Folds the parts of an ai@4 data stream into the assistant's message, as `useChat` of ai@4 does.

    Nothing that is passed in is changed, or kept. Adding a delta takes the same short time however long the message
    is. There is no ``createdAt`` and no ``revisionId`` in a new message: the browser makes them.

    Args:
        message: The last message, if this goes on with it; one that is not an assistant's is passed over.
        message_id: The id of a new message. An ``f`` part may name another one.

    Raises:
        InvalidMessageError: The message to go on with has parts or tool invocations that are no lists of objects.
    """

    def __init__(self, message: Mapping[str, Any] | None = None, *, message_id: str) -> None:
        self._draft = DataStreamDraft(message, message_id)

    def add(self, part: DataStreamPart) -> None:
        """Fold one part in: a code and its value.

        An error (code ``3``) is passed over: what was said before stays.

        Raises:
            InvalidMessageChunkError: There is no such code, the value lacks what it needs, or it is about a tool call
                that was not started. The message is as it was before.
        """
        code, value = part
        check_data_stream_part(code, value)
        _HANDLERS[code](self._draft, value)

    @property
    def message(self) -> dict[str, Any]:
        """The message so far, as JSON has it. It is the caller's own: it does not change when parts are added."""
        self._draft.settle()
        copied: dict[str, Any] = copy_json(self._draft.message)
        return copied

    @property
    def data(self) -> list[Any]:
        """The application's data that came so far, which is no part of the message."""
        copied: list[Any] = copy_json(self._draft.data)
        return copied

    @property
    def finish_reason(self) -> str:
        """Why the model ended; ``"unknown"``: no part has told."""
        return self._draft.finish_reason

    @property
    def usage(self) -> dict[str, float | None]:
        """How many tokens it took; ``None`` where nobody has told."""
        return dict(self._draft.usage)


_HANDLERS: dict[str, Callable[[DataStreamDraft, Any], None]] = {
    "0": DataStreamDraft.add_text,
    "2": DataStreamDraft.add_data,
    "3": DataStreamDraft.pass_error,
    "8": DataStreamDraft.annotate,
    "9": DataStreamDraft.set_call,
    "a": DataStreamDraft.set_result,
    "b": DataStreamDraft.start_call,
    "c": DataStreamDraft.add_args,
    "d": DataStreamDraft.finish,
    "e": DataStreamDraft.finish_step,
    "f": DataStreamDraft.start_step,
    "g": DataStreamDraft.add_reasoning,
    "h": DataStreamDraft.add_source,
    "i": DataStreamDraft.redact_reasoning,
    "j": DataStreamDraft.sign_reasoning,
    "k": DataStreamDraft.add_file,
}

"""Where parts and steps of an answer begin and end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ..exceptions import InvalidMessageChunkError
from ..protocols.ai_sdk.chunks import check_chunk

Chunk = dict[str, Any]
Kind = Literal["text", "reasoning"]
Sdk = Literal[5, 6, 7]


class Layout:
    """The chunks that have been made, and what is open after them.

    Args:
        sdk: The lowest major version of the clients that accept them.
    """

    def __init__(self, sdk: Sdk) -> None:
        self._sdk: Sdk = sdk
        self.made: list[Chunk] = []
        """Since somebody took them last."""
        self._open: tuple[Kind, str] | None = None
        self._count = 0
        self._foreign: dict[tuple[str, str], None] = {}
        self._is_in_step = False
        self._is_step_empty = True
        self.step: int = 0
        """The number of the last step that has begun."""
        self._unanswered: dict[str, int] = {}
        """Calls, and the steps that they were made in."""
        self._has_answers = False

    def emit(self, chunk: Any) -> None:
        """Make a chunk, if clients accept it."""
        made: Chunk = dict(chunk)
        self.check(made)
        self.made.append(made)

    def check(self, chunk: Mapping[str, Any]) -> None:
        """Raise unless clients accept a chunk."""
        check_chunk(chunk, sdk=self._sdk)

    def write(self, kind: Kind, piece: str, metadata: Mapping[str, Any] | None) -> None:
        """Go on with the text or the reasoning, or begin one."""
        if not isinstance(piece, str):
            raise InvalidMessageChunkError(f"a piece of a text is a str, not {type(piece).__name__}")
        if not piece and metadata is None:
            return
        if self._open is None or self._open[0] != kind:
            self.begin_part()
            self._count += 1
            self._open = (kind, f"{kind}-{self._count}")
            self.made.append({"type": f"{kind}-start", "id": self._open[1]})
        delta = {"type": f"{kind}-delta", "id": self._open[1], "delta": piece}
        if metadata is None:
            self.made.append(delta)
        else:
            self.emit({**delta, "providerMetadata": metadata})

    def begin_part(self, *, by_model: bool = True) -> None:
        """Make room for a part that is no piece of the one before.

        What a model says after all tools have answered, it says in a step of its own.
        """
        self.end_part()
        if by_model and self._has_answers and not self._unanswered:
            self.end_step()
        self.begin_aside()

    def begin_aside(self) -> None:
        """Make room for a part that stands beside a text that goes on."""
        self.begin_step()
        self._is_step_empty = False

    def end_part(self) -> None:
        """End the text or the reasoning."""
        if self._open is not None:
            kind, part_id = self._open
            self.made.append({"type": f"{kind}-end", "id": part_id})
            self._open = None

    def begin_step(self) -> None:
        """Begin a step, unless there is one."""
        if not self._is_in_step:
            self.made.append({"type": "start-step"})
            self.note_step(begun=True)

    def note_step(self, *, begun: bool) -> None:
        """Take note of a step that somebody else has begun or ended."""
        self._is_in_step, self._is_step_empty, self._has_answers = begun, True, False
        self.step += begun

    @property
    def is_in_step(self) -> bool:
        """Whether there is a step."""
        return self._is_in_step

    @property
    def is_in_new_step(self) -> bool:
        """Whether there is a step that has no parts."""
        return self._is_in_step and self._is_step_empty

    def end_step(self) -> None:
        """End the step, if there is one, and what is open in it."""
        self.end_parts()
        if self._is_in_step:
            self.made.append({"type": "finish-step"})
            self.note_step(begun=False)

    def reset_step(self) -> None:
        """Make room for a word that takes back what came in this step."""
        self.end_parts()
        self.begin_step()
        self._unanswered = {name: step for name, step in self._unanswered.items() if step != self.step}
        self._is_step_empty, self._has_answers = True, False

    def end_parts(self) -> None:
        """End whatever is open in the step."""
        self.end_part()
        self.made += [{"type": f"{kind}-end", "id": part_id} for kind, part_id in self._foreign]
        self._foreign = {}

    def note_part(self, chunk: Mapping[str, Any]) -> None:
        """Take note of a part that somebody else has begun or ended."""
        kind, _, what = chunk["type"].partition("-")
        if kind in ("text", "reasoning") and what == "start":
            if (kind, chunk["id"]) in self._foreign:
                self.made.append({"type": f"{kind}-end", "id": chunk["id"]})
            self._foreign[kind, chunk["id"]] = None
        elif kind in ("text", "reasoning") and what == "end":
            self._foreign.pop((kind, chunk["id"]), None)

    def note_call(self, call_id: str) -> None:
        """Take note of a call that has to be answered."""
        self._unanswered[call_id] = self.step

    def note_answer(self, call_id: str, *, same_step: bool = False) -> None:
        """Take note of an answer; ``same_step``: the model knew it when it went on."""
        self._unanswered.pop(call_id, None)
        self._has_answers = self._has_answers or not same_step

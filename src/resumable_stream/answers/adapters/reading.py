"""What the adapters share: looking at objects of other libraries, and keeping track of tool calls."""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import AsyncIterator, Hashable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from ...exceptions import InvalidFactoryError
from ..items import Item, ToolCall, tool


@asynccontextmanager
async def opened(stream: Any) -> AsyncIterator[Any]:
    """Await, enter and iterate a stream of another library, as far as it has to be; close it at the end.

    Yields:
        An async iterator, or what entering the stream gives, if that is to be iterated over.
    """
    async with AsyncExitStack() as stack:
        if inspect.isawaitable(stream):
            stream = await stream
        if hasattr(stream, "__aenter__"):
            stream = await stack.enter_async_context(stream)
        elif hasattr(stream, "aclose"):
            stack.push_async_callback(stream.aclose)
        if not hasattr(stream, "__aiter__"):
            raise InvalidFactoryError(f"a stream is an async iterable, not {type(stream).__name__}")
        yield stream


def look(value: Any, *names: str) -> Any:
    """Return what is found behind some names, be they keys or attributes; ``None``: nothing."""
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
    return value


def count(value: Any, *names: str) -> int:
    """Return a number of tokens, or 0."""
    found = look(value, *names)
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def as_value(value: Any) -> Any:
    """Return a JSON value that says what an object says."""
    try:
        return json.loads(json.dumps(value, default=_as_simple))
    except (TypeError, ValueError, RecursionError):
        return str(value)


def _as_simple(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return list(value) if isinstance(value, (set, frozenset)) else str(value)


class CallTable:
    """Tool calls whose input comes in pieces, by what their library tells them apart."""

    def __init__(self) -> None:
        self._open: dict[Hashable, tuple[ToolCall, list[str]]] = {}
        self._by_id: dict[str, ToolCall] = {}

    def begin(self, key: Hashable, call_id: Any, name: Any, **options: Any) -> Iterator[Item]:
        """Begin a call, unless it has begun under the same key and the same id."""
        known = self._open.get(key)
        if known is not None and call_id in (None, "", known[0].call_id):
            return
        yield from self.end(key)
        call = tool(str(name or ""), call_id=call_id or None, **options)
        self._open[key] = (call, [])
        self._by_id[call.call_id] = call
        yield call

    def add(self, key: Hashable, piece: str | None) -> Iterator[Item]:
        """Go on with the input of a call that has begun."""
        known = self._open.get(key)
        if piece and known is not None:
            known[1].append(piece)
            yield known[0].input_delta(piece)

    def end(self, key: Hashable, value: Any = None) -> Iterator[Item]:
        """Give a call its whole input: the value, or what has come in pieces. It is no longer open then."""
        call, pieces = self._open.pop(key, (None, []))
        if call is None:
            return
        text = "".join(pieces) if value is None else value
        if not isinstance(text, str):
            yield call.input(as_value(text))
            return
        try:
            yield call.input(json.loads(text) if text.strip() else {})
        except (ValueError, RecursionError):
            yield call.input_error(text, "the input of the tool is no JSON")

    def end_call(self, call_id: Any) -> Iterator[Item]:
        """Give the call of an id its whole input, if that is open."""
        for key, (call, _) in list(self._open.items()):
            if call.call_id == call_id:
                yield from self.end(key)

    def end_all(self) -> Iterator[Item]:
        """Give all calls their input that have begun."""
        for key in list(self._open):
            yield from self.end(key)

    def find(self, call_id: str) -> ToolCall | None:
        """Return a call that has begun, open or not."""
        return self._by_id.get(call_id)

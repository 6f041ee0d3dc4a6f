"""One turn of a chat: an answer on its way into the log, and at its end into the chat."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import anyio

from .._engine.run import is_being_cancelled
from .._engine.source import OpenedSource
from ..abc import ChatStore
from ..answers import ChunkWriter, in_thread
from ..chat_types import Chat, ChatChange, ChatInfo, StreamRecord
from ..exceptions import ChatChangedError, ChatNotFoundError, ChatStoreError
from ..types import Chunks
from .planning import ENDS, Plan, ended_turn, interrupted
from .reducer import MessageReducer, Sdk

__all__ = ["Answer", "AnswerRun", "Turn"]

_logger = logging.getLogger("resumable_stream")

_SAVE_PAUSES = (0.1, 0.5, 1.0)
_LAST_SAVE_TIMEOUT = 4.0
_LATE_ATTEMPTS = 3


@dataclass(frozen=True)
class Turn:
    """What an answer is made from."""

    user: str
    """Who asks."""
    chat: ChatInfo
    """As it was when the turn began."""
    messages: list[dict[str, Any]]
    """The conversation; the message to answer is the last one. The answer's own, to change as it likes."""
    message_id: str
    """Of the answer. It is the id of the last message, if that is the assistant's: then the answer continues it."""
    stream_id: str
    """Of the stream that carries the answer."""


Answer: TypeAlias = Callable[[Turn], Chunks[Any] | Awaitable[Chunks[Any]]]
"""A callable that makes an answer: most often an async generator function.

What it yields is text, what the functions of `resumable_stream.answers` make, or UI message chunks. ``start`` and
``finish`` are added where they are missing. A plain generator runs in a thread of its own: see `in_thread`.
"""


class AnswerRun:
    """The factory of an answer's stream: hands on its chunks, folds them, and saves the message before the stream ends.

    It begins when the chat has it recorded as its active stream, and not before.

    Args:
        turn: What is answered.
        answer: What makes the chunks.
        store: Where the message is saved.
        why_cancelled: Tells what has become of a stream whose factory was cancelled: it is stopped, or lost.
        plan: What the turn began with.
        keep_partial: Whether an answer that breaks off is kept.
        sdk: The major version of the AI SDK whose rules make the message, and which knows all the chunks.
    """

    def __init__(
        self,
        turn: Turn,
        answer: Answer,
        store: ChatStore,
        why_cancelled: Callable[[str], Awaitable[str]],
        plan: Plan,
        *,
        keep_partial: bool,
        sdk: Sdk,
    ) -> None:
        self._turn = turn
        self._answer = answer
        self._store = store
        self._why_cancelled = why_cancelled
        self._record = StreamRecord(turn.stream_id, turn.chat.chat_id, replies_to=plan.replies_to)
        self._last_id = plan.last_id
        self._keep_partial = keep_partial
        self._sdk: Sdk = sdk
        self._reducer = MessageReducer(plan.continued, message_id=turn.message_id, sdk=sdk)
        self._may_begin = anyio.Event()
        self._is_withdrawn = False

    @property
    def record(self) -> StreamRecord:
        """How the chat records the stream."""
        return self._record

    def begin(self) -> None:
        """Let it begin."""
        self._may_begin.set()

    def withdraw(self) -> None:
        """Let it fail: the chat could not record it, or could not say so, and no one is to wait for it."""
        self._is_withdrawn = True
        self._may_begin.set()

    async def chunks(self) -> AsyncIterator[dict[str, Any]]:
        """Make the chunks of the stream."""
        await self._may_begin.wait()
        if self._is_withdrawn:
            raise ChatStoreError("the answer was not begun, for the chat did not say that it knows of it")
        try:
            async with OpenedSource(self._open) as source:
                async for chunk in self._framed(source):
                    self._reducer.add(chunk)
                    yield chunk
        except BaseException as error:
            await self._save_interrupted(error)
            raise
        await self._save_whole()

    async def _open(self) -> Any:
        """Make the answer. A plain generator may block, and must not block everybody."""
        made: Any = self._answer(self._turn)
        if inspect.isawaitable(made):
            made = await made
        return in_thread(lambda: made) if inspect.isgenerator(made) else made

    async def _framed(self, source: AsyncIterator[Any]) -> AsyncIterator[dict[str, Any]]:
        """Yield the chunks that the items make, with a ``start`` that bears the message's id, and a ``finish``."""
        writer = ChunkWriter(sdk=self._sdk)
        has_started = has_finished = False
        async for item in source:
            for chunk in writer.add(item):
                if chunk["type"] == "start":
                    chunk["messageId"] = self._turn.message_id  # another could be that of a message that is there
                elif not has_started:
                    yield self._start()
                has_started = True
                has_finished = chunk["type"] in ENDS
                yield chunk
        if not has_started:
            yield self._start()
        for chunk in writer.end():
            has_finished = chunk["type"] in ENDS
            yield chunk
        if not has_finished:
            yield {"type": "finish"}

    def _start(self) -> dict[str, Any]:
        return {"type": "start", "messageId": self._turn.message_id}

    async def _save_whole(self) -> None:
        change = ended_turn(self._record, self._reducer.message)
        for pause in _SAVE_PAUSES:
            if await self._save(change):
                return
            await anyio.sleep(pause)
        if not await self._save(change):
            # The log has the answer, and the chat says that it is active still: who loads the chat next saves it.
            _logger.error("the answer of stream %s could not be saved in its chat", self._record.stream_id)

    async def _save_interrupted(self, error: BaseException) -> None:
        """Save what there is of an answer that was cancelled or failed. If that fails, the next load does it."""
        is_cancelled = is_being_cancelled()
        if is_cancelled is None:
            is_cancelled = isinstance(error, asyncio.CancelledError)
        if isinstance(error, GeneratorExit) and not is_cancelled:
            return  # the log refused the last chunk, and the next load saves what it has
        with anyio.move_on_after(_LAST_SAVE_TIMEOUT):
            why = await self._why_cancelled(self._record.stream_id) if is_cancelled else "failed"
            message = interrupted(self._reducer.message, why) if self._keep_partial else None
            await self._save(ended_turn(self._record, message))

    async def _save(self, change: ChatChange) -> bool:
        """Save the end of the turn. Returns whether there is nothing more to try."""
        try:
            try:
                await self._store.save(self._record.chat_id, change)
            except ChatChangedError:
                await self._save_late(change)
        except (ChatChangedError, ChatNotFoundError):
            _logger.debug("stream %s is no longer the active one of its chat", self._record.stream_id)
        except ChatStoreError as error:
            _logger.warning("the chat store failed: %s", type(error.__cause__ or error).__name__)
            return False
        return True

    async def _save_late(self, change: ChatChange) -> None:
        """Save an answer that somebody has given up, in a chat that has not gone on since.

        That is who could not find its stream, or found it lost: it is in another process's memory, or its store was
        empty for a while, or out of this process's reach for longer than a lease.

        Raises:
            ChatChangedError: The chat has gone on.
        """
        for _ in range(_LATE_ATTEMPTS):
            chat = await self._store.load(self._record.chat_id)
            if chat is None or not change.put or await self._has_gone_on(chat):
                break
            late = replace(change, if_active=None, if_owner=self._turn.user, if_version=chat.info.version)
            with suppress(ChatChangedError):  # by new metadata, perhaps
                await self._store.save(self._record.chat_id, late)
                return
        raise ChatChangedError(self._record.chat_id)

    async def _has_gone_on(self, chat: Chat) -> bool:
        """Whether anything has become of the chat but that this answer was given up, as far as it had come then."""
        if chat.info.created_at != self._turn.chat.created_at or not chat.messages:
            return True
        if chat.messages[-1]["id"] not in (self._last_id, self._turn.message_id):
            return True
        records = await self._store.list_streams(self._record.chat_id)
        return not records or records[-1].stream_id != self._record.stream_id

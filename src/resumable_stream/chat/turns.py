"""How turns begin, are stopped, and are settled when nobody else did."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import anyio

from ..abc import ChatStore
from ..chat_types import Chat, ChatChange, StreamRecord
from ..context import ResumableStreamContext
from ..exceptions import (
    BackendError,
    BackendUnavailableError,
    ChatChangedError,
    ChatNotFoundError,
    InvalidMessageError,
)
from ..stream import ResumableStream
from ..types import StreamInfo, StreamState
from .finishing import to_the_end
from .ids import IdGenerator
from .planning import Plan, ended_turn, visible_messages
from .recovery import drain, recovered_message
from .reducer import Sdk
from .turn import Answer, AnswerRun, Turn

__all__ = ["Turns"]

_logger = logging.getLogger("resumable_stream")

_ATTEMPTS = 8
_WHY_TIMEOUT = 1.0

_new_stream_id = IdGenerator("stream", size=24)


class Turns:
    """The turns of all chats of one `ResumableChat`.

    Args:
        context: Where answers are published.
        store: Where chats are kept.
        keep_partial: Whether an answer that breaks off is kept.
        stop_timeout: How long to wait for the end of an answer that is stopped, in seconds.
        sdk: The major version of the AI SDK whose rules make the messages.
    """

    def __init__(
        self, context: ResumableStreamContext, store: ChatStore, *, keep_partial: bool, stop_timeout: float, sdk: Sdk
    ) -> None:
        self._context = context
        self._store = store
        self._keep_partial = keep_partial
        self._stop_timeout = stop_timeout
        self._sdk = sdk

    async def start(
        self, chat: Chat, plan: Plan, answer: Answer, new_message_id: Callable[[], str]
    ) -> ResumableStream[dict[str, Any]]:
        """Publish an answer. A caller who is cancelled leaves a turn that has begun, or none.

        Raises:
            ChatChangedError: The chat is not as it was any more. Nothing was started.
        """
        run = self._new_run(chat, plan, answer, new_message_id)
        change = replace(plan.change, begin=run.record, if_owner=chat.info.owner, if_version=chat.info.version)
        return await to_the_end(self._begin(run, change))

    async def _begin(self, run: AnswerRun, change: ChatChange) -> ResumableStream[dict[str, Any]]:
        """Make the stream, and then have the chat name it, so that nobody finds it missing."""
        record = run.record
        stream: ResumableStream[dict[str, Any]] = await self._context.create_new_resumable_stream(
            record.stream_id, run.chunks
        )
        try:
            await self._store.save(record.chat_id, change)
        except BaseException:
            try:
                await stream.aclose()
                await self.forget_streams(record.stream_id)
            finally:
                run.withdraw()  # if the stream could not be deleted just now
            raise
        run.begin()
        return stream

    async def stop(self, stream_id: str) -> bool:
        """Stop an answer, and wait for its end, but not for ever. False: it had ended.

        Raises:
            BackendUnavailableError: The backend is away, and the answer is not made here.
        """
        if await self._context.stop(stream_id) is not StreamState.RUNNING:
            return False
        with anyio.move_on_after(self._stop_timeout), suppress(BackendUnavailableError):
            await self._wait_for_end(stream_id)
        return True

    async def forget_streams(self, *stream_ids: str) -> None:
        """Delete streams, which no chat names any more, if that can be done just now. Those that are left expire."""
        for stream_id in stream_ids:
            try:
                await self._context.delete(stream_id)
            except BackendUnavailableError:
                _logger.warning("the backend is away: streams from %s on were not deleted, and will expire", stream_id)
                return
            except BackendError:
                _logger.warning("stream %s could not be deleted, and will expire", stream_id)

    async def settled(self, chat: Chat) -> Chat:
        """Return a chat whose active stream, if it has one, is running. What ended without being saved is saved."""
        for _ in range(_ATTEMPTS):
            active = chat.info.active_stream
            info = None if active is None else await self._context.info(active.stream_id)
            if active is None or (info is not None and info.is_running):
                return chat
            chat = await self._settle(chat, active, info)
        raise ChatChangedError(chat.info.chat_id)

    async def _settle(self, chat: Chat, active: StreamRecord, info: StreamInfo | None) -> Chat:
        message = await self._recovered(chat, info)
        try:
            await self._save_end(active, message)
        except ChatChangedError:
            _logger.debug("somebody else settled chat %s", chat.info.chat_id)
        again = await self._store.load(chat.info.chat_id)
        if again is None or not _is_same(again, chat):
            raise ChatNotFoundError(chat.info.chat_id)
        return again

    async def _save_end(self, active: StreamRecord, message: dict[str, Any] | None) -> None:
        try:
            await self._store.save(active.chat_id, ended_turn(active, message))
        except InvalidMessageError:  # nor will it be JSON the next time, and the chat is to go on
            _logger.warning("the answer of stream %s is not JSON, and cannot be kept", active.stream_id)
            await self._store.save(active.chat_id, ended_turn(active, None))

    async def _recovered(self, chat: Chat, info: StreamInfo | None) -> dict[str, Any] | None:
        """Return the answer as far as the log has it; ``None``: there is none to keep."""
        if info is None or not info.is_readable:
            _logger.warning("an answer in chat %s was not saved, and its stream is gone", chat.info.chat_id)
            return None
        return await recovered_message(
            self._context, info, visible_messages(chat), self._sdk, keep_partial=self._keep_partial
        )

    def _new_run(self, chat: Chat, plan: Plan, answer: Answer, new_message_id: Callable[[], str]) -> AnswerRun:
        message_id = new_message_id() if plan.continued is None else plan.continued["id"]
        turn = Turn(chat.info.owner, chat.info, plan.messages, message_id, _new_stream_id())
        return AnswerRun(
            turn,
            answer,
            self._store,
            self._why_cancelled,
            plan,
            keep_partial=self._keep_partial,
            sdk=self._sdk,
        )

    async def _why_cancelled(self, stream_id: str) -> str:
        if self._context.is_leaving:
            return "shutdown"
        state = None
        with anyio.move_on_after(_WHY_TIMEOUT), suppress(BackendError):  # what is to be saved has little time left
            state = await self._context.has_existing_stream(stream_id)
        return "lost" if state is StreamState.LOST else "stopped"

    async def _wait_for_end(self, stream_id: str) -> None:
        stream = await self._context.resume_existing_stream(stream_id, start_index=-1)
        if stream is not None:
            async with stream:
                await drain(stream)


def _is_same(one: Chat, other: Chat) -> bool:
    """Whether a chat was not deleted meanwhile, and made anew: by somebody else, perhaps."""
    return (one.info.owner, one.info.created_at) == (other.info.owner, other.info.created_at)

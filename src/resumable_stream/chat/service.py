"""What a route handler calls: one object over a context and a chat store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from .._core.ids import check_chat_id
from ..abc import ChatStore
from ..chat_types import Chat, ChatChange, ChatInfo, ChatLimits, ChatPage, Message
from ..context import ResumableStreamContext
from ..exceptions import (
    AuthenticationRequiredError,
    BackendUnavailableError,
    ChatBusyError,
    ChatChangedError,
    ChatExistsError,
    ChatForbiddenError,
    ChatNotFoundError,
    InvalidFactoryError,
    InvalidInputError,
    InvalidSettingError,
)
from ..stream import ResumableStream
from ..types import StreamInfo, StreamState
from .finishing import to_the_end
from .ids import IdGenerator
from .planning import (
    Plan,
    checked_message,
    checked_metadata,
    is_sent_again,
    plan_regenerate,
    plan_submit,
    visible_messages,
)
from .reducer import Sdk
from .turn import Answer
from .turns import Turns

__all__ = ["LoadedChat", "ResumableChat", "Trigger"]

_logger = logging.getLogger("resumable_stream")

_ATTEMPTS = 8
_MAX_USER = 256

Trigger = Literal["submit-message", "regenerate-message"]
"""What a front end wants: an answer to a message, or another one."""


@dataclass(frozen=True)
class LoadedChat:
    """What a page needs to show a chat."""

    info: ChatInfo
    messages: list[dict[str, Any]]
    """Without the answer that is being made, and without what that will replace."""
    active_stream_id: str | None
    """The stream to resume; ``None``: no answer is being made."""


class ResumableChat:
    """Chats that persist, and whose answers are resumable streams.

    It does what the handlers of a chat's routes would do by hand: check who owns a chat, save the user's message, start
    the answer under a stream of its own, record that, fold the chunks into a message, save it, and put right what a
    process that died has left behind.

    **An answer is saved before its end is visible.** So whoever loads a chat at any moment gets either a stream to
    resume or the saved answer: never neither, and never both. If saving fails, the log has the answer still, and the
    next load saves it. If the publisher died, the next load keeps what the log has under the same message id.

    **Every call is by a user**, and is refused if the chat is not theirs. A stream is reached by its chat alone.

    **Cancellation.** A cancelled call changed the chat or did not; repeating it is safe. An answer that has begun goes
    on, whatever becomes of the call that started it.

    Enter the store before the context, and leave it after: answers are saved until the context is left. It does no I/O
    of its own accord, so one object can be made for the whole application.

    Args:
        context: Where answers are published. It needs a codec, `JSONCodec` most often, and a ``retention`` that is
            longer than it takes to resume an answer, and than the store may be away.
        store: Where chats are kept.
        while_answering: What sending to a chat does while an answer is being made in it: ``"refuse"`` raises
            `ChatBusyError`, ``"stop"`` stops that answer first.
        keep_partial: Whether an answer that was stopped, failed or lost is kept, as far as it got. It is marked in its
            metadata: ``interrupted`` is ``"stopped"``, ``"shutdown"``, ``"failed"`` or ``"lost"``.
        hide_foreign: Whether a chat of somebody else looks like one that does not exist. Its id is taken all the same.
        stop_timeout: How long stopping waits for the end of the answer, in seconds.
        sdk: The major version of the AI SDK that the front end has: 5, 6 or 7. They fold chunks a little differently,
            and an answer with chunks that they do not know fails.
        limits: Bounds on what is accepted.
        new_chat_id: Makes ids of chats, where the caller gives none.
        new_message_id: Makes ids of messages, likewise.

    Raises:
        InvalidSettingError: The context has no codec, or no retention, or a setting is out of range.
    """

    def __init__(
        self,
        context: ResumableStreamContext,
        store: ChatStore,
        *,
        while_answering: Literal["refuse", "stop"] = "refuse",
        keep_partial: bool = True,
        hide_foreign: bool = False,
        stop_timeout: float = 6.0,
        sdk: Sdk = 7,
        limits: ChatLimits | None = None,
        new_chat_id: Callable[[], str] = IdGenerator("chat"),  # noqa: B008  # it has no state
        new_message_id: Callable[[], str] = IdGenerator("msg"),  # noqa: B008
    ) -> None:
        if context.codec is None:
            raise InvalidSettingError("chats need a context with a codec: ResumableStreamContext(…, codec=JSONCodec())")
        if not context.retention:
            raise InvalidSettingError("chats need a context with a retention: an answer may end while it is resumed")
        if while_answering not in ("refuse", "stop"):
            raise InvalidSettingError(f"while_answering is 'refuse' or 'stop', not {while_answering!r}")
        if sdk not in get_args(Sdk):
            raise InvalidSettingError(f"the major version of the AI SDK is 5, 6 or 7, not {sdk!r}")
        seconds: object = stop_timeout
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds >= 0:
            raise InvalidSettingError(f"stop_timeout is a number of seconds, from 0 on, not {seconds!r}")
        self._context = context
        self._store = store
        self._turns = Turns(context, store, keep_partial=keep_partial, stop_timeout=stop_timeout, sdk=sdk)
        self._stops_first = while_answering == "stop"
        self._hide_foreign = hide_foreign
        self._limits = limits or ChatLimits()
        self.new_chat_id = new_chat_id
        """Makes ids of chats, where a caller gives none."""
        self._new_message_id = new_message_id

    async def create(
        self, user: str | None, *, chat_id: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> ChatInfo:
        """Make a chat of a user's.

        Args:
            user: Whose it will be.
            chat_id: 1 to 256 characters: letters, digits, and ``_ . : -``. ``None``: one is made.
            metadata: The application's own, such as a title: a JSON object.

        Raises:
            AuthenticationRequiredError: ``user`` is ``None`` or empty.
            ChatExistsError: The id is taken.
            InvalidChatIdError, InvalidMessageError, LimitExceededError: See there.
            ChatStoreError: The store failed.
        """
        owner = _checked_user(user)
        checked = checked_metadata(metadata or {}, self._limits)
        chat_id = self.new_chat_id() if chat_id is None else chat_id
        return await self._store.create(check_chat_id(chat_id), owner, checked)

    async def list(self, user: str | None, *, limit: int = 20, after: str | None = None) -> ChatPage:
        """Return the chats of a user, those created last first.

        Args:
            user: Whose chats.
            limit: How many at most.
            after: `ChatPage.next` of the page before.

        Raises:
            AuthenticationRequiredError: ``user`` is ``None`` or empty.
            InvalidPositionError: ``after`` is nothing that a page says.
            InvalidInputError: ``limit`` is out of range.
        """
        owner = _checked_user(user)
        wanted: object = limit
        if isinstance(wanted, bool) or not isinstance(wanted, int) or not 1 <= wanted <= self._limits.max_page:
            raise InvalidInputError(f"limit is a whole number from 1 to {self._limits.max_page}")
        return await self._store.list(owner, limit, after)

    async def load(self, user: str | None, chat_id: str) -> LoadedChat:
        """Return a chat as a page shows it, and put right what an answer left behind whose process died.

        While the backend is away it is taken to be true that the active stream is running.

        Raises:
            AuthenticationRequiredError, ChatForbiddenError, ChatNotFoundError, InvalidChatIdError: See there.
            ChatChangedError: Others kept changing the chat.
            BackendError: The backend failed otherwise than by being away.
            ChatStoreError: The store failed.
        """
        chat = await self._load(user, chat_id)
        try:
            chat = await self._turns.settled(chat)
        except BackendUnavailableError:
            _logger.warning("the backend is away: chat %s is shown as it was left", chat_id)
        active = chat.info.active_stream
        return LoadedChat(chat.info, visible_messages(chat), active and active.stream_id)

    async def set_metadata(self, user: str | None, chat_id: str, metadata: Mapping[str, Any]) -> ChatInfo:
        """Put other metadata in the place of a chat's. Errors are those of `create` and `load`."""
        info = await self._describe(user, chat_id)
        change = ChatChange(metadata=checked_metadata(metadata, self._limits), if_owner=info.owner)
        return await self._store.save(chat_id, change)

    async def send(
        self,
        user: str | None,
        chat_id: str,
        answer: Answer,
        *,
        message: Message | None = None,
        trigger: Trigger = "submit-message",
        message_id: str | None = None,
    ) -> ResumableStream[dict[str, Any]]:
        """Start an answer, and return its stream from the first chunk.

        A chat that does not exist is created for the user. Only the last message has to be sent: the chat has the
        others. It is saved before the answer begins.

        With an id that the chat has already, the message takes the place of that one, and what came after is forgotten.
        The last message sent again, word for word, has the answer that is being made or was made; if that broke off,
        it is answered anew. To regenerate puts another answer in the place of an earlier one, which is kept until then.

        An assistant's message can be sent if it is the last one: then outputs and approvals of its tools are taken from
        it, and nothing else, and the answer continues that message.

        Args:
            user: Who sends.
            chat_id: Of the chat.
            answer: Called with a `Turn`; makes the chunks of the answer. At most once for each call of this method.
            message: A UI message (or one of the AI SDK's version 4). Without an id, it gets one.
            trigger: As front ends say it.
            message_id: To submit: the id that the message shall have. To regenerate: of the answer to be replaced, or
                of the user's message to be answered; ``None``: the last one.

        Raises:
            AuthenticationRequiredError, ChatForbiddenError, InvalidChatIdError: See there.
            InvalidMessageError: The message cannot be sent, or there is none to answer.
            LimitExceededError: The message or the chat is too large, or the context publishes ``max_publishers``.
            ChatBusyError: An answer is being made, and is not to be stopped, or did not stop in time.
            ChatChangedError: Others kept changing the chat.
            ChatNotFoundError: It was deleted meanwhile; or belongs to somebody else, if that is to be hidden.
            BackendError, ChatStoreError: The backend or the store failed. No answer was started.
        """
        if not callable(answer):
            raise InvalidFactoryError(f"an answer is callable, which {type(answer).__name__} is not")
        make_plan = self._planner(message, trigger, message_id)
        # A user's message with an id of an earlier one is edited. Outputs of tools always have one from the AI SDK.
        is_edited = message_id is not None and message is not None and message.get("role") != "assistant"
        may_be_repeated = message is not None and trigger == "submit-message" and not is_edited
        chat = await self._load_or_create(user, chat_id, make_plan)
        for _ in range(_ATTEMPTS):
            chat = await self._turns.settled(chat)
            if may_be_repeated:
                again = await self._sent_again(chat, make_plan(chat).messages[-1])
                if again is not None:
                    return again
            if await self._is_free(chat):
                try:
                    return await self._turns.start(chat, make_plan(chat), answer, self._new_message_id)
                except ChatChangedError:
                    _logger.debug("chat %s was changed at the same time", chat_id)
            chat = await self._load(user, chat_id)
        raise ChatChangedError(chat_id)

    async def resume(
        self, user: str | None, chat_id: str, *, start_index: int | None = None, after: str | None = None
    ) -> ResumableStream[dict[str, Any]] | None:
        """Read the answer that is being made in a chat.

        Who loaded the chat just before should resume the stream that `load` named, with `resume_stream`: it can be read
        after its end, too.

        Args:
            user: Who reads.
            chat_id: Of the chat.
            start_index: Where to begin, as in `ResumableStreamContext.resumable_stream`.
            after: Likewise.

        Returns:
            The stream, or ``None``: no answer is being made.

        Raises:
            AuthenticationRequiredError, ChatForbiddenError, ChatNotFoundError, InvalidChatIdError: See there.
            InvalidPositionError: The position is none.
            BackendError, ChatStoreError: The backend or the store failed.
        """
        active = await self.active_stream(user, chat_id)
        if active is None:
            return None
        return await self._context.resume_existing_stream(active.stream_id, start_index=start_index, after=after)

    async def resume_stream(
        self, user: str | None, stream_id: str, *, start_index: int | None = None, after: str | None = None
    ) -> ResumableStream[dict[str, Any]] | None:
        """Read an answer by the id of its stream: while it is being made, and for its retention.

        Arguments and errors are those of `resume`. `ChatNotFoundError` says that no chat has such a stream.

        Returns:
            The stream, or ``None``: its retention is over.
        """
        await self._chat_of(user, stream_id)
        return await self._context.resume_existing_stream(stream_id, start_index=start_index, after=after)

    async def active_stream(self, user: str | None, chat_id: str) -> StreamInfo | None:
        """Describe the stream of the answer that is being made in a chat; ``None``: none is. Errors: as `resume`."""
        info = await self._describe(user, chat_id)
        if info.active_stream is None:
            return None
        stream = await self._context.info(info.active_stream.stream_id)
        if stream is not None and stream.is_running:
            return stream
        await self._turns.settled(await self._load(user, chat_id))
        return None

    async def latest_stream(self, user: str | None, chat_id: str) -> StreamInfo | None:
        """Describe the stream of a chat's latest answer, be it made or being made; ``None``: there is none any more.

        Errors are those of `resume`.
        """
        await self._describe(user, chat_id)
        records = await self._store.list_streams(chat_id)
        return await self._context.info(records[-1].stream_id) if records else None

    async def stream_info(self, user: str | None, stream_id: str, *, chat_id: str | None = None) -> StreamInfo | None:
        """Describe the stream of an answer; ``None``: its log is gone. Errors are those of `resume_stream`.

        Args:
            user: Who asks.
            stream_id: Of the stream.
            chat_id: If given, the stream has to be one of this chat.
        """
        found = await self._chat_of(user, stream_id)
        if chat_id not in (None, found.chat_id):
            raise ChatNotFoundError(stream_id)
        return await self._context.info(stream_id)

    async def stop(self, user: str | None, chat_id: str, *, stream_id: str | None = None) -> bool:
        """Stop the answer that is being made in a chat, and wait for its end, ``stop_timeout`` seconds at most.

        Safe to repeat. What there is of the answer is saved, unless ``keep_partial`` is off. An answer that is made in
        this process is stopped while the backend is away, too.

        Args:
            user: Who stops it.
            chat_id: Of the chat.
            stream_id: Stop only if this is the one. So a late click does not stop the next answer.

        Returns:
            Whether an answer was being made, and was the one that was meant.

        Raises:
            AuthenticationRequiredError, ChatForbiddenError, ChatNotFoundError, InvalidChatIdError: See there.
            BackendError, ChatStoreError: The backend or the store failed.
        """
        info = await self._describe(user, chat_id)
        active = info.active_stream
        if active is None or stream_id not in (None, active.stream_id):
            return False
        return await self._turns.stop(active.stream_id)

    async def delete(self, user: str | None, chat_id: str) -> None:
        """Forget a chat, its messages and its streams. An answer that is being made is cancelled.

        Raises:
            AuthenticationRequiredError, ChatForbiddenError, ChatNotFoundError, InvalidChatIdError: See there. Of two
                who delete the same chat, one may get `ChatNotFoundError`.
            BackendError, ChatStoreError: The backend or the store failed. The chat is still there.
        """
        info = await self._describe(user, chat_id)
        if info.active_stream is not None:
            await self._context.delete(info.active_stream.stream_id)
        await to_the_end(self._forget(info))

    async def _forget(self, info: ChatInfo) -> None:
        """Delete a chat and its streams: once that has gone, nobody can name these any more."""
        records = await self._store.delete(info.chat_id, if_owner=info.owner)
        latest_first = (record.stream_id for record in reversed(records or ()))  # that one may be running
        await self._turns.forget_streams(*latest_first)

    # --- Whose chat it is --------------------------------------------------------------------------------------------

    def _check_owner(self, owner: str, info: ChatInfo | None, wanted: str) -> ChatInfo:
        if info is None or (self._hide_foreign and info.owner != owner):
            raise ChatNotFoundError(wanted)
        if info.owner != owner:
            raise ChatForbiddenError(wanted)
        return info

    async def _describe(self, user: str | None, chat_id: str) -> ChatInfo:
        owner = _checked_user(user)
        return self._check_owner(owner, await self._store.describe(check_chat_id(chat_id)), chat_id)

    async def _chat_of(self, user: str | None, stream_id: str) -> ChatInfo:
        owner = _checked_user(user)
        return self._check_owner(owner, await self._store.find_by_stream(check_chat_id(stream_id)), stream_id)

    async def _load(self, user: str | None, chat_id: str) -> Chat:
        owner = _checked_user(user)
        chat = await self._store.load(check_chat_id(chat_id))
        self._check_owner(owner, None if chat is None else chat.info, chat_id)
        assert chat is not None, "else there is nothing to own"
        return chat

    async def _load_or_create(self, user: str | None, chat_id: str, make_plan: Callable[[Chat], Plan]) -> Chat:
        try:
            return await self._load(user, chat_id)
        except ChatNotFoundError:
            make_plan(Chat(ChatInfo(chat_id, "", 0.0, 0.0, 0), []))  # what cannot be sent does not make a chat
        try:
            return Chat(await self.create(user, chat_id=chat_id), [])
        except ChatExistsError:  # somebody did at the same time; or, if that is to be hidden, somebody else long ago
            return await self._load(user, chat_id)

    # --- Turns -------------------------------------------------------------------------------------------------------

    def _planner(self, message: Message | None, trigger: str, message_id: str | None) -> Callable[[Chat], Plan]:
        """Return what plans the turn that a caller wants, for the chat as it then is."""
        if trigger == "regenerate-message":
            return lambda chat: plan_regenerate(chat, message_id)
        if trigger != "submit-message":
            raise InvalidInputError("a trigger is submit-message or regenerate-message")
        if message is None:
            raise InvalidInputError("there is no message to send")
        checked = checked_message(message, self._new_message_id(), self._limits)
        if message_id is not None and checked["id"] != message_id:
            checked = checked_message({**checked, "id": message_id}, message_id, self._limits)
        return lambda chat: plan_submit(chat, checked, self._limits)

    async def _sent_again(self, chat: Chat, message: dict[str, Any]) -> ResumableStream[dict[str, Any]] | None:
        """Return the stream that answers a message already, unless that broke off."""
        if not is_sent_again(chat, message):
            return None
        records = await self._store.list_streams(chat.info.chat_id)
        if not records or records[-1].replies_to != message["id"]:
            return None
        state = await self._context.has_existing_stream(records[-1].stream_id)
        if state not in (StreamState.RUNNING, StreamState.DONE):
            return None
        return await self._context.resume_existing_stream(records[-1].stream_id)

    async def _is_free(self, chat: Chat) -> bool:
        """Whether an answer can be started. False: one was stopped first; look again.

        Raises:
            ChatBusyError: One is being made.
        """
        active = chat.info.active_stream
        if active is None:
            return True
        if not self._stops_first:
            raise ChatBusyError(chat.info.chat_id)
        await self._turns.stop(active.stream_id)
        if await self._context.has_existing_stream(active.stream_id) is StreamState.RUNNING:
            raise ChatBusyError(chat.info.chat_id)
        return False


def _checked_user(user: object) -> str:
    if user is None or user == "":
        raise AuthenticationRequiredError
    if not isinstance(user, str) or len(user) > _MAX_USER:
        raise InvalidInputError(f"a user is named by text of at most {_MAX_USER} characters")
    return user

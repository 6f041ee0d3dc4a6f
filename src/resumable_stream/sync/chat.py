"""The blocking twin of chats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from ..abc import ChatStore
from ..chat import Answer, ChatInfo, ChatLimits, ChatPage, IdGenerator, LoadedChat
from ..chat import ResumableChat as AsyncChat
from ..chat.reducer import Sdk
from ..chat.service import Trigger
from ..chat_types import Message
from ..context import ResumableStreamContext as AsyncContext
from ..types import StreamInfo
from .context import ResumableStreamContext
from .factories import for_the_loop
from .stream import ResumableStream

__all__ = ["ResumableChat"]


class ResumableChat:
    """Chats that persist, and whose answers are resumable streams, for code that is not asynchronous.

    The blocking twin of `resumable_stream.chat.ResumableChat`: the same methods, arguments, promises and errors. An
    answer may block, as a factory may.

    The store is an asynchronous one. It is entered and left by the context, at the right moments: do not enter it. If
    the context is open already, the next call enters it. What only the store has, such as `SQLChatStore.migrate`, is
    called by the context: ``context.call(store.migrate)``.

    Args:
        context: Where answers are published. It needs a codec, `JSONCodec` most often.
        store: Where chats are kept, or a callable that makes that. A store that is given itself, and was opened before
            a fork, cannot be used after that; of what a callable makes, each process has one of its own.
        while_answering: This and the others are those of the twin.
        keep_partial: Likewise.
        hide_foreign: Likewise.
        stop_timeout: Likewise.
        sdk: Likewise.
        limits: Likewise.
        new_chat_id: Likewise. It is called in the loop, so it must not block.
        new_message_id: Likewise.

    Raises:
        InvalidSettingError: The context has no codec, or a setting is out of range.
    """

    def __init__(
        self,
        context: ResumableStreamContext,
        store: ChatStore | Callable[[], ChatStore],
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
        def make(twin: AsyncContext, own_store: ChatStore) -> AsyncChat:
            return AsyncChat(
                twin,
                own_store,
                while_answering=while_answering,
                keep_partial=keep_partial,
                hide_foreign=hide_foreign,
                stop_timeout=stop_timeout,
                sdk=sdk,
                limits=limits,
                new_chat_id=new_chat_id,
                new_message_id=new_message_id,
            )

        self._context = context
        self._make = make
        self._store: Callable[[], ChatStore] = context.attach(store)
        self._made: tuple[AsyncContext, ChatStore, AsyncChat] | None = None
        make(context.twin, self._store())  # which checks the settings

    @property
    def context(self) -> ResumableStreamContext:
        """Where answers are published."""
        return self._context

    @property
    def twin(self) -> AsyncChat:
        """The asynchronous object that does the work, in this process. It may be used in the context's loop alone."""
        twin, store = self._context.twin, self._store()
        made = self._made
        if made is None or made[0] is not twin or made[1] is not store:
            made = self._made = (twin, store, self._make(twin, store))
        return made[2]

    def create(
        self, user: str | None, *, chat_id: str | None = None, metadata: Mapping[str, Any] | None = None
    ) -> ChatInfo:
        """Make a chat of a user's. See the twin."""
        return self._context.call(self.twin.create, user, chat_id=chat_id, metadata=metadata)

    def list(self, user: str | None, *, limit: int = 20, after: str | None = None) -> ChatPage:
        """Return the chats of a user, those created last first. See the twin."""
        return self._context.call(self.twin.list, user, limit=limit, after=after)

    def load(self, user: str | None, chat_id: str) -> LoadedChat:
        """Return a chat as a page shows it, and put right what a dead process left behind. See the twin."""
        return self._context.call(self.twin.load, user, chat_id)

    def set_metadata(self, user: str | None, chat_id: str, metadata: Mapping[str, Any]) -> ChatInfo:
        """Put other metadata in the place of a chat's. See the twin."""
        return self._context.call(self.twin.set_metadata, user, chat_id, metadata)

    def send(
        self,
        user: str | None,
        chat_id: str,
        answer: Answer,
        *,
        message: Message | None = None,
        trigger: Trigger = "submit-message",
        message_id: str | None = None,
    ) -> ResumableStream[dict[str, Any]]:
        """Start an answer, and return its stream from the first chunk. See the twin.

        ``answer`` may block: then it runs in a thread of its own.
        """
        stream = self._context.call(
            self.twin.send,
            user,
            chat_id,
            for_the_loop(answer),
            message=message,
            trigger=trigger,
            message_id=message_id,
        )
        return self._context.adopt(stream)

    def resume(
        self, user: str | None, chat_id: str, *, start_index: int | None = None, after: str | None = None
    ) -> ResumableStream[dict[str, Any]] | None:
        """Read the answer that is being made in a chat; ``None``: none is. See the twin."""
        stream = self._context.call(self.twin.resume, user, chat_id, start_index=start_index, after=after)
        return None if stream is None else self._context.adopt(stream)

    def resume_stream(
        self, user: str | None, stream_id: str, *, start_index: int | None = None, after: str | None = None
    ) -> ResumableStream[dict[str, Any]] | None:
        """Read an answer by the id of its stream; ``None``: its retention is over. See the twin."""
        stream = self._context.call(self.twin.resume_stream, user, stream_id, start_index=start_index, after=after)
        return None if stream is None else self._context.adopt(stream)

    def active_stream(self, user: str | None, chat_id: str) -> StreamInfo | None:
        """Describe the stream of the answer that is being made in a chat; ``None``: none is. See the twin."""
        return self._context.call(self.twin.active_stream, user, chat_id)

    def latest_stream(self, user: str | None, chat_id: str) -> StreamInfo | None:
        """Describe the stream of a chat's latest answer; ``None``: there is none any more. See the twin."""
        return self._context.call(self.twin.latest_stream, user, chat_id)

    def stream_info(self, user: str | None, stream_id: str, *, chat_id: str | None = None) -> StreamInfo | None:
        """Describe the stream of an answer; ``None``: its log is gone. See the twin."""
        return self._context.call(self.twin.stream_info, user, stream_id, chat_id=chat_id)

    def stop(self, user: str | None, chat_id: str, *, stream_id: str | None = None) -> bool:
        """Stop the answer that is being made in a chat, and wait for its end. See the twin."""
        return self._context.call(self.twin.stop, user, chat_id, stream_id=stream_id)

    def delete(self, user: str | None, chat_id: str) -> None:
        """Forget a chat, its messages and its streams. See the twin."""
        self._context.call(self.twin.delete, user, chat_id)

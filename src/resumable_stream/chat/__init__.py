"""Chats that persist: who owns them, their messages, and the answers that are being made in them.

Start with `ResumableChat`. The stores are in `resumable_stream.chat.stores`, each in a module of its own, so that only
the drivers are loaded that are used.
"""

from __future__ import annotations

from ..abc import ChatStore
from ..chat_types import Chat, ChatChange, ChatInfo, ChatLimits, ChatPage, StreamRecord
from ..exceptions import (
    AuthenticationRequiredError,
    ChatBusyError,
    ChatChangedError,
    ChatError,
    ChatExistsError,
    ChatForbiddenError,
    ChatNotFoundError,
    ChatStoreError,
    InvalidChatIdError,
    InvalidMessageChunkError,
    InvalidMessageError,
)
from .client_messages import append_client_message, append_response_messages, message_text
from .ids import IdGenerator
from .reducer import DataStreamReducer, MessageReducer
from .service import LoadedChat, ResumableChat
from .turn import Answer, Turn

__all__ = [
    "Answer",
    "AuthenticationRequiredError",
    "Chat",
    "ChatBusyError",
    "ChatChange",
    "ChatChangedError",
    "ChatError",
    "ChatExistsError",
    "ChatForbiddenError",
    "ChatInfo",
    "ChatLimits",
    "ChatNotFoundError",
    "ChatPage",
    "ChatStore",
    "ChatStoreError",
    "DataStreamReducer",
    "IdGenerator",
    "InvalidChatIdError",
    "InvalidMessageChunkError",
    "InvalidMessageError",
    "LoadedChat",
    "MessageReducer",
    "ResumableChat",
    "StreamRecord",
    "Turn",
    "append_client_message",
    "append_response_messages",
    "message_text",
]

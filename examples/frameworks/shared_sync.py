"""What the examples of frameworks that are not asynchronous share: the same as `shared`, over the blocking twin."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

from resumable_stream import JSONCodec
from resumable_stream.chat import message_text
from resumable_stream.chat.stores.memory import MemoryChatStore
from resumable_stream.chat.stores.redis import RedisChatStore
from resumable_stream.http import AnswerRequest
from resumable_stream.sync import ResumableChat, ResumableStreamContext

from .shared import DELAY, MAX_BODY_BYTES, REDIS_URL, settings, user_of

__all__ = ["MAX_BODY_BYTES", "chats", "context", "numbers", "respond", "settings", "user_of"]

context = ResumableStreamContext.from_url(REDIS_URL or "memory://", codec=JSONCodec(), drain_timeout=1.0)
chats = ResumableChat(context, partial(RedisChatStore, REDIS_URL) if REDIS_URL else MemoryChatStore())


def respond(asked: AnswerRequest) -> Iterator[str]:
    """Count as far as the message says, which is ``count 300``, say."""
    last = message_text(asked.turn.messages[-1]).split()[-1]
    for number in range(1, int(last) + 1 if last.isdecimal() else 11):
        yield f"{number} "
        time.sleep(DELAY)


def numbers() -> Iterator[dict[str, int]]:
    """Count to ten: this stands for any stream."""
    for number in range(1, 11):
        yield {"number": number}
        time.sleep(DELAY)

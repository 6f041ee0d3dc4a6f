"""Every error that this package raises, in one tree.

::

    ResumableStreamError
    ├── InvalidInputError (ValueError)      you passed something that cannot be right; nothing was done
    │   ├── InvalidStreamIdError
    │   ├── InvalidPositionError
    │   ├── InvalidFactoryError
    │   ├── InvalidChunkError
    │   │   └── InvalidMessageChunkError    no message can be made of it
    │   ├── InvalidChatIdError
    │   ├── InvalidMessageError
    │   └── InvalidSettingError
    ├── LimitExceededError                  a limit of `Limits` was reached
    ├── ContextClosedError (RuntimeError)   the context is not entered yet, or has been left
    ├── ConcurrentReadError (RuntimeError)  two tasks read one `ResumableStream` at the same time
    ├── BlockingCallError (RuntimeError)    a method of `resumable_stream.sync` would block an event loop
    ├── StreamExistsError                   a new stream was asked for, and the id is taken
    ├── StreamNotFoundError (LookupError)   there is no stream of this id
    ├── StreamGoneError (LookupError)       the stream was deleted or expired while it was being read
    ├── PublisherError                      the stream ended without being done; all its chunks were delivered
    │   ├── PublisherFailedError            its factory raised
    │   └── PublisherLostError              its publisher died, or lost its lease
    ├── BackendError                        the store could not do what was asked
    │   └── BackendUnavailableError         it is away, or too busy, or full: later it may
    ├── ChatError                           a chat is not, or not now, what the caller takes it for
    │   ├── AuthenticationRequiredError (PermissionError)   nobody is signed in
    │   ├── ChatForbiddenError (PermissionError)            it belongs to somebody else
    │   ├── ChatNotFoundError (LookupError)                 there is none
    │   ├── ChatExistsError                                 a new one was asked for, and the id is taken
    │   ├── ChatBusyError                                   an answer is being made in it
    │   └── ChatChangedError                                somebody else changed it first
    └── ChatStoreError                      the chat store could not do what was asked

`InvalidChunkError`, `InvalidFactoryError` and `LimitExceededError` can also happen inside a run, where nobody is there
to catch them: then they are recorded as what the stream failed of.
"""

from __future__ import annotations

__all__ = [
    "AuthenticationRequiredError",
    "BackendError",
    "BackendUnavailableError",
    "BlockingCallError",
    "ChatBusyError",
    "ChatChangedError",
    "ChatError",
    "ChatExistsError",
    "ChatForbiddenError",
    "ChatNotFoundError",
    "ChatStoreError",
    "ConcurrentReadError",
    "ContextClosedError",
    "InvalidChatIdError",
    "InvalidChunkError",
    "InvalidFactoryError",
    "InvalidInputError",
    "InvalidMessageChunkError",
    "InvalidMessageError",
    "InvalidPositionError",
    "InvalidSettingError",
    "InvalidStreamIdError",
    "LimitExceededError",
    "PublisherError",
    "PublisherFailedError",
    "PublisherLostError",
    "ResumableStreamError",
    "StreamExistsError",
    "StreamGoneError",
    "StreamNotFoundError",
]


class ResumableStreamError(Exception):
    """Base of all errors of this package."""


class InvalidInputError(ResumableStreamError, ValueError):
    """Base of the errors that blame an argument. Nothing was sent, written or started."""


class InvalidStreamIdError(InvalidInputError):
    """The stream id is empty, too long, or has a character outside letters, digits and ``_ . : -``."""


class InvalidPositionError(InvalidInputError):
    """The position cannot be read from: malformed, beyond the end, of another stream, or given twice."""


class InvalidFactoryError(InvalidInputError):
    """The factory is not callable, or what it returned cannot be iterated over."""


class InvalidChunkError(InvalidInputError):
    """The factory yielded something that cannot be logged: a wrong type, or not the type of the chunks before."""


class InvalidMessageChunkError(InvalidChunkError):
    """A chunk that cannot be folded into a message: it lacks what its type needs, or names what is not there."""


class InvalidChatIdError(InvalidInputError):
    """The chat id is empty, too long, or has a character outside letters, digits and ``_ . : -``."""


class InvalidMessageError(InvalidInputError):
    """The message is no object with an id, a role and parts, or is not one that a user may send."""


class InvalidSettingError(InvalidInputError):
    """A setting of the context is out of range, or a URL names no known backend."""


class LimitExceededError(ResumableStreamError):
    """A limit was reached.

    Attributes:
        limit: The name of the setting, as in `Limits` or `ChatLimits`, or ``max_streams`` of a store in memory.
        maximum: Its value.
    """

    def __init__(self, limit: str, maximum: int) -> None:
        super().__init__(limit, maximum)
        self.limit = limit
        self.maximum = maximum

    def __str__(self) -> str:
        return f"over the limit {self.limit}={self.maximum}"


class ContextClosedError(ResumableStreamError, RuntimeError):
    """The context is not open: enter it with ``async with`` first, once, and do not use it afterwards."""


class ConcurrentReadError(ResumableStreamError, RuntimeError):
    """Two tasks read one `ResumableStream` at the same time. Give each task a stream of its own: they are cheap."""


class BlockingCallError(ResumableStreamError, RuntimeError):
    """A method of `resumable_stream.sync` was called where an event loop runs, and would have blocked that.

    Use the asynchronous twin there, or call the method in a thread, such as by `asyncio.to_thread`.
    """


class StreamExistsError(ResumableStreamError):
    """`create_new_resumable_stream` was given an id that is taken, by a stream or by the tombstone of one.

    Attributes:
        stream_id: That id.
    """

    def __init__(self, stream_id: str) -> None:
        super().__init__(stream_id)
        self.stream_id = stream_id

    def __str__(self) -> str:
        return f"stream {self.stream_id!r} exists"


class StreamNotFoundError(ResumableStreamError, LookupError):
    """There is no stream of this id, and no word of one that was. Raised where ``None`` says that one is over.

    Attributes:
        stream_id: That id.
    """

    def __init__(self, stream_id: str) -> None:
        super().__init__(stream_id)
        self.stream_id = stream_id

    def __str__(self) -> str:
        return f"there is no stream {self.stream_id!r}"


class StreamGoneError(ResumableStreamError, LookupError):
    """The stream was deleted, expired, or lost by its store while it was being read.

    What was delivered before is a true prefix of it. There is nothing to retry.

    Attributes:
        stream_id: The id of the stream.
    """

    def __init__(self, stream_id: str) -> None:
        super().__init__(stream_id)
        self.stream_id = stream_id

    def __str__(self) -> str:
        return f"stream {self.stream_id!r} is gone: deleted, expired, or lost by its store"


class PublisherError(ResumableStreamError):
    """The stream ended without being done. Raised by a reader after it delivered every chunk there is.

    Attributes:
        stream_id: The id of the stream.
    """

    stream_id: str


class PublisherFailedError(PublisherError):
    """The factory raised.

    For readers who were there when it raised, in the same process, ``__cause__`` is the original exception.

    Attributes:
        stream_id: The id of the stream.
        error_type: The type of the factory's exception, such as ``"ValueError"`` or ``"openai.RateLimitError"``.
        error_message: Its text, cut after 2,000 characters. It is not ours: think before you show it to a client.
    """

    def __init__(self, stream_id: str, error_type: str, error_message: str) -> None:
        super().__init__(stream_id, error_type, error_message)
        self.stream_id = stream_id
        self.error_type = error_type
        self.error_message = error_message

    def __str__(self) -> str:
        return f"the factory of stream {self.stream_id!r} raised {self.error_type}: {self.error_message}"


class PublisherLostError(PublisherError):
    """The publisher died without a word, or did not renew its lease in time."""

    def __init__(self, stream_id: str) -> None:
        super().__init__(stream_id)
        self.stream_id = stream_id

    def __str__(self) -> str:
        return f"the publisher of stream {self.stream_id!r} is lost"


class BackendError(ResumableStreamError):
    """The store is away, refused a command, or answered something that cannot be. The driver's error is the cause."""


class BackendUnavailableError(BackendError):
    """The store cannot be reached, is starting, is full, or is changing its master. The same may work later."""


class ChatError(ResumableStreamError):
    """Base of what a chat has against a caller. Nothing was done.

    Attributes:
        chat_id: Of the chat; empty if the caller named none.
    """

    _text = "chat {!r} does not allow it"

    def __init__(self, chat_id: str = "") -> None:
        super().__init__(chat_id)
        self.chat_id = chat_id

    def __str__(self) -> str:
        return self._text.format(self.chat_id)


class AuthenticationRequiredError(ChatError, PermissionError):
    """Chats belong to users, and nobody is signed in."""

    _text = "nobody is signed in"


class ChatForbiddenError(ChatError, PermissionError):
    """The chat belongs to somebody else."""

    _text = "chat {!r} belongs to somebody else"


class ChatNotFoundError(ChatError, LookupError):
    """There is no such chat."""

    _text = "there is no chat {!r}"


class ChatExistsError(ChatError):
    """A new chat was asked for, and its id is taken: by the caller's own, or by somebody else's."""

    _text = "chat {!r} exists"


class ChatBusyError(ChatError):
    """An answer is being made in the chat. Wait for its end, or stop it."""

    _text = "an answer is being made in chat {!r}"


class ChatChangedError(ChatError):
    """Somebody else changed the chat first. Load it again, and decide anew."""

    _text = "somebody else changed chat {!r} first"


class ChatStoreError(ResumableStreamError):
    """The chat store is away, refused a command, or holds what cannot be. The driver's error is the cause."""

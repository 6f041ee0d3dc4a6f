"""The plug-in contracts. Each sentence here has a test in `resumable_stream.testing`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, ClassVar

from typing_extensions import Self

from .chat_types import Chat, ChatChange, ChatInfo, ChatPage, StreamRecord
from .types import Acquired, Append, Appended, Claim, Page, Push, RawChunk, StreamInfo

__all__ = ["ChatStore", "Codec", "OnNotice", "OnPush", "StreamBackend"]

OnPush = Callable[["Push | None"], None]
"""Called with what was pushed, or with ``None``: something may have been missed, read the log."""

OnNotice = Callable[["str | None"], None]
"""Called with the id of a stream whose publisher should renew its lease now: the answer has news for it. Or with
``None``: the store cannot be heard just now, so that other publishers may be cut off from it, too."""


class Codec(ABC):
    """Turns the values that a factory yields into what the log stores, and back.

    `decode(encode(value))` equals ``value``. Both are called on the event loop, once per chunk and reader: keep them
    fast. An exception from `encode` fails the stream; one from `decode` is raised to the reader.
    """

    writes_json: ClassVar[bool] = False
    """Whether `encode` writes the JSON text of a value, which event streams then send as it is."""

    @abstractmethod
    def encode(self, value: Any) -> RawChunk:
        """Return ``value`` as text or bytes: the same of the two for all values."""

    @abstractmethod
    def decode(self, chunk: RawChunk) -> Any:
        """Return the value that `encode` was given. It is the caller's own: never the same object twice."""


class StreamBackend(ABC):
    """Keeps streams: append-only logs of entries, with an owner, a state and an expiry.

    One backend object serves one event loop. Its methods may be called from many tasks at once.

    **The log is the truth.** A push is a hint: it may be lost, doubled, late, or come without content. Whoever follows
    a stream subscribes first, then reads, then joins the two by index.

    **Time** is the store's own. It alone decides whether a lease has lapsed or a retention has passed, so callers whose
    clocks disagree still agree about a stream.

    **Cancellation.** A cancelled call was either carried out or not; it was never carried out in part. Repeating it is
    always safe.

    **Errors.** What a method cannot do for reasons outside its arguments is a `BackendError`, or, if the same call may
    work later, a `BackendUnavailableError`. A method fails within seconds: having patience is the caller's task. Ids,
    positions and sizes were checked by the caller.
    """

    @abstractmethod
    async def connect(self, on_notice: OnNotice) -> None:
        """Get ready. Called once, before anything else.

        ``on_notice`` is called, until `aclose`, when a stream of the store was asked to stop, taken over, or deleted,
        wherever its publisher is. Like a push it is a hint, and may be lost or doubled. With ``None`` it is called when
        the store cannot be heard any more, at once, and then now and again until it can. It is called on the event
        loop and must neither block nor raise.

        Raises:
            BackendError: The store cannot be reached, or is not one that this backend can work with.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of all that was opened, and of nothing else. Works after a failed `connect`, and twice."""

    @abstractmethod
    async def acquire(self, stream_id: str, claim: Claim) -> Acquired:
        """Become the publisher of a stream, or learn of the one there is: in one atomic step.

        However many callers race, exactly one is told that it is the publisher of an epoch.

        An unknown stream is created as ``RUNNING``, empty, with the claim's token as its generation, epoch 1, and a
        lease that starts now. Where ``claim.allow_new`` is false nothing is written, and ``info`` is ``None``.

        A lost stream, where the claim allows it and it is still readable, becomes ``RUNNING`` again under the
        next epoch, with its chunks, its generation and a new lease, on the terms of this claim. All later descriptions
        tell of it in ``takeovers``, of which the newest 20 are kept.

        Any other stream is described and left as it is. When its retention has passed, ``is_readable`` is false. When
        its tombstone has passed too, it is unknown: the id is free for a new generation.

        A call repeated with the same token is answered alike, so a lost reply does no harm.
        """

    @abstractmethod
    async def append(self, appends: Sequence[Append]) -> list[Appended]:
        """Log chunks and record ends, of many streams at once. The answers are in the order of ``appends``.

        Each append is atomic for itself: its chunks, its end, the renewed lease and the push to subscribers happen
        together or not at all. One that is refused does not keep the others from happening. It may be called while it
        runs, for other streams: of one stream, a process has at most one append under way.

        An append is *accepted* if the stream is running under its generation and epoch, the lease has not lapsed, and
        the log ends at ``first``. One without chunks and end renews the lease.

        An append that was accepted before, and is repeated while it is the last one of its stream and its epoch the
        newest, is accepted again and changes nothing.

        An answer to an accepted append says whether the stream was asked to stop, and why.

        A stream that ends stops its lease, stays readable for the claim's retention, and takes no further append.

        A part of the store may be away, or refuse, while the rest works: then some answers are ``UNAVAILABLE``, and
        these are repeated by themselves. If nothing works, it raises.
        """

    @abstractmethod
    async def read(self, stream_id: str, start: int, max_bytes: int) -> Page | None:
        """Read entries from the one that contains chunk ``start``, until their payloads reach ``max_bytes``.

        The first entry is returned however large it is, so there is progress; none if ``max_bytes`` is 0. A page may
        end earlier than it must. The description is from the same moment as the entries, and each entry says when it
        was logged.

        A stream can still be read for a minute after its retention, for readers who joined before; then its entries
        may be missing. ``None`` means that nothing is left of it.
        """

    @abstractmethod
    async def subscribe(self, stream_id: str, on_push: OnPush) -> None:
        """Call ``on_push`` for each append to a stream that happens after this method returned.

        ``on_push`` is called on the event loop and must neither block nor raise. Pushes of one stream are in the order
        of its appends. ``on_push(None)`` is called when pushes may have been missed, such as after a reconnect, and
        when the stream was deleted. The stream need not exist. There is one subscription per stream and backend: the
        caller shares it.
        """

    @abstractmethod
    async def unsubscribe(self, stream_id: str) -> None:
        """End the subscription. ``on_push`` is not called any more. Without a subscription, nothing happens."""

    @abstractmethod
    async def request_stop(self, stream_id: str, reason: str) -> StreamInfo | None:
        """Record that a running stream is to stop, and why; its publisher is told by the answers to its appends.

        A stream that was asked to stop, and whose lease lapses, has stopped and is not lost. One that is lost and still
        readable becomes ``STOPPED``, and is not taken over. Any other is left as it is. The first reason is kept.

        Returns:
            The stream as it is then, or ``None``: it is unknown.
        """

    @abstractmethod
    async def delete(self, stream_id: str) -> bool:
        """Forget a stream and its chunks, running or not, without leaving a tombstone.

        Returns:
            Whether there was one. If a reply of the store was lost, and it was asked again: whether it was still there.
        """

    @abstractmethod
    def scan(self) -> AsyncIterator[StreamInfo]:
        """Describe the streams there are, tombstones included, in no particular order.

        A stream that exists all the while is described exactly once. One that comes or goes meanwhile may be missing.
        """


class ChatStore(ABC):
    """Keeps chats: their owners, their messages, the record of their streams, and which of these is active.

    One store object serves one event loop. Its methods may be called from many tasks at once, and several processes
    may work on the same chats.

    **Changes are atomic**, and are made one after the other: a change happens whole or not at all, no reader sees
    half of one, and of two that are made at the same time neither undoes the other. What a method returned has been
    kept: it is there after a crash of the process. (A store in memory lives as long as its process.)

    **Time** is the store's own.

    **Cancellation.** A cancelled call was either carried out or not; it was never carried out in part.

    **Errors.** What a method cannot do for reasons outside its arguments is a `ChatStoreError`. It fails within
    seconds. Ids, messages and sizes were checked by the caller: an id may be any text of 1 to 256 characters, and
    names nothing but its chat, message or stream; and so is an owner. All that is JSON comes back as it was given; what
    is not JSON is refused with an `InvalidMessageError`, and nothing is done.

    ``async with store:`` connects it, and closes it in the end.
    """

    async def __aenter__(self) -> Self:
        try:
            await self.connect()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @abstractmethod
    async def connect(self) -> None:
        """Get ready. Called once, before anything else.

        Raises:
            ChatStoreError: The store cannot be reached, or is not one that this class can work with.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Let go of all that was opened, and of nothing else. Works after a failed `connect`, and twice."""

    @abstractmethod
    async def create(self, chat_id: str, owner: str, metadata: Mapping[str, Any]) -> ChatInfo:
        """Make a chat without messages.

        Of all who create the same one at the same time, one succeeds.

        Raises:
            ChatExistsError: There is one with this id, whoever owns it.
        """

    @abstractmethod
    async def describe(self, chat_id: str) -> ChatInfo | None:
        """Return what is known of a chat, or ``None``: there is none."""

    @abstractmethod
    async def load(self, chat_id: str) -> Chat | None:
        """Return a chat with its messages, both as they are at one moment; or ``None``: there is none."""

    @abstractmethod
    async def list(self, owner: str, limit: int, after: str | None) -> ChatPage:
        """Return the chats of an owner, those created last first.

        Whoever goes from page to page sees each chat that exists all the while exactly once.

        Args:
            owner: Of the chats.
            limit: How many to return at most; at least 1.
            after: What the page before says is next; ``None``: begin with the newest.

        Raises:
            InvalidPositionError: ``after`` is nothing that a page says.
        """

    @abstractmethod
    async def save(self, chat_id: str, change: ChatChange) -> ChatInfo:
        """Change a chat, if the conditions hold: in one atomic step. Its version grows by one.

        Returns:
            The chat as it is then.

        Raises:
            ChatNotFoundError: There is no such chat.
            ChatChangedError: A condition does not hold. Nothing was changed.
        """

    @abstractmethod
    async def delete(self, chat_id: str, *, if_owner: str | None = None) -> Sequence[StreamRecord] | None:
        """Forget a chat, its messages and the record of its streams: in one atomic step.

        Args:
            chat_id: Of the chat.
            if_owner: Only if it is this owner's; ``None``: whoever owns it.

        Returns:
            The streams that it had, oldest first; or ``None``: there was no such chat.
        """

    @abstractmethod
    async def list_streams(self, chat_id: str) -> Sequence[StreamRecord]:
        """Return the streams of a chat, oldest first; none if there is no such chat."""

    @abstractmethod
    async def find_by_stream(self, stream_id: str) -> ChatInfo | None:
        """Return the chat in which a stream was recorded, or ``None``: there is none."""

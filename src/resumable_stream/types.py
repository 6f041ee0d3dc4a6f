"""The values that the layers hand each other. All are immutable; none has behaviour beyond reading itself."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import (  # Union: an alias is evaluated, and 3.10 has no | for all of these
    Any,
    NamedTuple,
    TypeAlias,
    TypeVar,
)

from .exceptions import InvalidSettingError

__all__ = [
    "Acquired",
    "Append",
    "AppendStatus",
    "Appended",
    "Chunks",
    "Claim",
    "End",
    "Entry",
    "EpochStart",
    "Factory",
    "Limits",
    "Page",
    "Push",
    "RawChunk",
    "StreamBlock",
    "StreamEvent",
    "StreamInfo",
    "StreamRole",
    "StreamState",
    "Takeover",
    "TimelineEntry",
]

T = TypeVar("T")

RawChunk: TypeAlias = str | bytes
"""A chunk as the log stores it."""

Chunks: TypeAlias = AsyncIterable[T] | Iterable[T]
"""What a factory makes: an async iterable of chunks, or a plain one."""

Factory: TypeAlias = Callable[[], Chunks[T] | Awaitable[Chunks[T]]]
"""A callable without arguments that makes the chunks of a stream: most often an async generator function."""

Takeover: TypeAlias = Callable[[list[T]], Chunks[T] | Awaitable[Chunks[T]]]
"""Like a factory, for a stream whose publisher was lost: it is given the chunks so far, and makes those that follow."""


class StreamState(str, Enum):
    """Where a stream is in its life. Every state but ``RUNNING`` is final, save that ``LOST`` can be taken over."""

    RUNNING = "running"
    DONE = "done"
    """The factory came to its end."""
    FAILED = "failed"
    """The factory raised."""
    STOPPED = "stopped"
    """Someone asked for the end. The reason is in `StreamInfo.reason`."""
    LOST = "lost"
    """The publisher did not renew its lease in time: it died, or was cut off."""


class StreamRole(str, Enum):
    """What this process is for a stream."""

    PUBLISHER = "publisher"
    """This call started the factory."""
    SUBSCRIBER = "subscriber"
    """The stream existed already."""


@dataclass(frozen=True)
class StreamInfo:
    """What the store knows of one stream, at one moment."""

    stream_id: str
    generation: str
    """Random, made anew with each creation of the stream: tells it from an older one under the same id."""
    epoch: int
    """Grows by one at each acquisition. Only the owner of the newest epoch can append."""
    state: StreamState
    length: int
    """How many chunks are logged, hence the index of the next one."""
    created_at: float
    """Seconds since 1970, by the store's clock."""
    ended_at: float | None
    """Seconds since 1970, by the store's clock; ``None`` while running."""
    is_readable: bool
    """Whether new readers may join. False once the retention has passed, when only the tombstone is left."""
    error_type: str = ""
    """For ``FAILED``: the type of the factory's exception."""
    error_message: str = ""
    """For ``FAILED``: its text, cut after 2,000 characters."""
    reason: str = ""
    """For ``STOPPED``: why, such as ``"requested"``, ``"shutdown"``, or ``"cancelled"``: its task, or its context's."""
    epoch_start: int = 0
    """How many chunks were logged when the newest epoch began. Who has more, has some that the store lost."""
    lease_left: float = field(default=0.0, compare=False)
    """Seconds until the publisher counts as lost, by the store's clock, when this was asked. Negative: so long ago it
    was lost. 0 once the stream has ended in another way."""
    takeovers: tuple[EpochStart, ...] = ()
    """When each epoch after the first one began, oldest first: of the newest 20."""

    @property
    def is_running(self) -> bool:
        """Whether more chunks may come."""
        return self.state is StreamState.RUNNING

    @property
    def end(self) -> End | None:
        """How the stream ended, or ``None`` while it runs."""
        return None if self.is_running else End(self.state, self.error_type, self.error_message, self.reason)


class EpochStart(NamedTuple):
    """A takeover: from then on, another publisher owned the stream."""

    epoch: int
    length: int
    """How many chunks were logged then."""
    at: float
    """Seconds since 1970, by the store's clock."""


class TimelineEntry(NamedTuple):
    """When some consecutive chunks were logged, without the chunks."""

    index: int  # type: ignore[assignment]  # as below
    """Of the first of them."""
    count: int  # type: ignore[assignment]  # as below
    size_bytes: int
    """What they take in the log, with one byte or more for each chunk's length."""
    at: float
    """Seconds since 1970, by the store's clock; 0.0 if that is not known."""


class StreamEvent(NamedTuple):
    """One chunk with its position, as `ResumableStream.events` hands it out."""

    event_id: str
    """Opaque. Resume with ``after=event_id`` to get what follows this chunk."""
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    """How many chunks come before this one."""
    chunk: Any


class StreamBlock(NamedTuple):
    """Consecutive chunks with their position, as `ResumableStream.blocks` hands them out."""

    event_id: str
    """Of the last chunk, or of the one before, if the block has none; empty, and no position, at the very start."""
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    """Of the first chunk, or of the next one to come."""
    chunks: Sequence[Any]
    """At least one, but for the sign of life that a heartbeat is. Not to be changed: others may hold them, too."""


class End(NamedTuple):
    """How a stream ended."""

    state: StreamState
    error_type: str = ""
    error_message: str = ""
    reason: str = ""


class Entry(NamedTuple):
    """One stored record: a batch of chunks, packed into one value."""

    first: int
    """Index of the first chunk."""
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here
    """Number of chunks, at least 1."""
    payload: bytes
    """The packed chunks. Backends store it and never look inside."""
    at: float = 0.0
    """When it was logged, in seconds since 1970, by the store's clock. 0.0 in a push, and if it is not known."""

    @property
    def stop(self) -> int:
        """Index after the last chunk."""
        return self.first + self.count


class Claim(NamedTuple):
    """What a caller offers when it asks to become the publisher of a stream. Times are in seconds."""

    token: str
    """Names this claim, so that its repetition is recognised: fresh and random for each. Becomes the generation of a
    stream that it creates."""
    lease: float
    """How long the publisher may be silent before it counts as lost."""
    retention: float
    """How long the stream stays readable after its end."""
    tombstone: float
    """How long its id stays taken after the retention."""
    allow_new: bool = True
    """Whether an unknown stream may be created."""
    allow_lost: bool = False
    """Whether a lost stream may be taken over, under a new epoch."""
    lost_epoch: int = 0
    """Take it over only if this is its epoch still; 0: whichever that is."""


class Acquired(NamedTuple):
    """The answer to a `Claim`."""

    is_publisher: bool
    """Whether the caller now owns the stream, under ``info.epoch``."""
    info: StreamInfo | None
    """``None``: the stream is unknown, and the claim did not allow to create it."""


class Append(NamedTuple):
    """Chunks to log, an end to record, both, or neither: then it just renews the lease."""

    stream_id: str
    generation: str
    epoch: int
    first: int
    """Index of the first chunk; without chunks, the length that the publisher takes the log to have."""
    count: int = 0  # type: ignore[assignment]  # as above
    payload: bytes = b""
    end: End | None = None

    @property
    def stop(self) -> int:
        """Index after the last chunk."""
        return self.first + self.count


class AppendStatus(Enum):
    """What became of an `Append`."""

    ACCEPTED = "accepted"
    """It is in the log, by this call or by an earlier one with the same content."""
    FENCED = "fenced"
    """Refused: the stream has ended, its lease has lapsed, or a newer epoch owns it."""
    GONE = "gone"
    """Refused: the store does not know this generation of the stream. It was deleted, expired or lost."""
    MISPLACED = "misplaced"
    """Refused: the log does not end where the append begins. If it is shorter, the store lost what it had accepted."""
    UNUSABLE = "unusable"
    """Refused: what the store has under this id is no stream."""
    UNAVAILABLE = "unavailable"
    """It is not known whether it was made: the part of the store that has this stream is away. Repeat it as it is."""


class Appended(NamedTuple):
    """The answer to an `Append`."""

    status: AppendStatus
    length: int = 0
    """How many chunks are logged, if it was refused by who knows that. Of what was accepted, its publisher knows."""
    stop_reason: str = ""
    """Why someone asked the publisher to stop; empty if nobody did."""


class Page(NamedTuple):
    """The answer to a read."""

    info: StreamInfo
    entries: list[Entry]
    """In order and without gaps. The first one contains the index asked for."""


class Push(NamedTuple):
    """An entry, an end, or both, on their way to followers."""

    generation: str
    epoch: int
    length: int
    """How many chunks are logged with it."""
    entry: Entry | None
    end: End | None


@dataclass(frozen=True)
class Limits:
    """Bounds on what one context accepts and holds. Each is at least 1."""

    max_chunk_bytes: int = 1024 * 1024
    """Of one chunk, encoded. A larger one fails its stream."""
    max_stream_bytes: int = 64 * 1024 * 1024
    """Of all the chunks of one run, encoded, with one byte more for each. A larger run fails."""
    max_stream_id_length: int = 256
    """In characters."""
    max_publishers: int = 10_000
    """Streams that this context publishes at the same time. One more is refused; reading is not."""
    pending_bytes: int = 64 * 1024
    """Of one stream, on their way to the log. A publisher that has more waits: this is the source's backpressure."""
    pending_chunks: int = 1024
    """The same, counted in chunks."""
    window_bytes: int = 256 * 1024
    """Latest chunks of one live stream that are kept in memory, and some more, as they are forgotten by the sixteenth.
    Counted with 64 bytes for each chunk's own object. A reader further behind reads on from the log."""
    outage_bytes: int = 64 * 1024 * 1024
    """Chunks of all streams of this context that are kept while the store is away. A stream for which there is no room
    goes on for the readers in this process, who are told at its end, and has failed for all others."""
    page_bytes: int = 256 * 1024
    """How much one read takes from the log; the first one of a reader takes 32 KiB. The last entry may go over it."""

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value: object = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise InvalidSettingError(f"{name} is a whole number, at least 1, not {value!r}")

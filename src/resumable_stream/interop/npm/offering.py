"""Streams of ours, offered to listeners that use the npm package."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import anyio

from ..._core.backoff import Backoff
from ..._core.whole_texts import WholeTexts
from ...backends.redis.listener import Subscription
from ...backends.redis.scripts import milliseconds
from ...exceptions import (
    BackendError,
    BackendUnavailableError,
    ContextClosedError,
    InvalidChunkError,
    PublisherError,
    ResumableStreamError,
    StreamGoneError,
)
from .commands import reply_of
from .link import Link
from .protocol import (
    DONE_MESSAGE,
    DONE_VALUE,
    FIRST_OF_OURS,
    Names,
    Request,
    count_units,
    encode_text,
    frames_of,
    skip_units,
)

if TYPE_CHECKING:
    from ...context import ResumableStreamContext

__all__ = ["Offer", "Offers"]

_logger = logging.getLogger("resumable_stream")

_BEGIN_TIMEOUT, _FINISH_TIMEOUT = 2.0, 2.0
_RENEWALS_PER_LEASE = 3
_GONE_TIMEOUT, _OUTAGE_TIMEOUT = 5.0, 60.0
_MAX_LISTENERS = 10_000
_LAST_EXPIRY = 120_000  # milliseconds

ToText = Callable[[Any], str]


class Offers:
    """The streams of this process that are offered.

    Between their beginning and their end they cost one renewal for each third of the lease, all in a few packets.

    Args:
        link: The connections.
        names: Keys and channels.
        lease: For how many seconds a sentinel says that a stream runs, unless it is renewed.
        tombstone: For how many seconds it says that the stream is over.
        to_text: Makes text of a chunk; ``None``: they are text.
    """

    def __init__(self, link: Link, names: Names, lease: float, tombstone: float, to_text: ToText | None) -> None:
        self.link = link
        self.names = names
        self.lease = lease
        self.tombstone = tombstone
        self.to_text = to_text
        self.listeners: int = 0
        """How many are answered."""
        self._of: dict[str, Offer] = {}

    def add(self, offer: Offer) -> None:
        """From now on it is renewed. It takes the place of an older one of the same stream id."""
        self._of[offer.stream_id] = offer

    def discard(self, offer: Offer) -> bool:
        """Renew it no more; return whether it was there, and not another in its place."""
        is_newest = self._of.get(offer.stream_id) is offer
        if is_newest:
            del self._of[offer.stream_id]
        return is_newest

    async def renew(self) -> None:
        """Say again and again that all these streams run."""
        while True:
            await anyio.sleep(self.lease / _RENEWALS_PER_LEASE)
            offers = [offer for offer in self._of.values() if offer.is_ready]
            for offer, call in [(offer, offer.submit_claim()) for offer in offers]:
                try:
                    await offer.take_answer(await reply_of(call))
                except BackendError as error:
                    _logger.debug("could not renew the offer of stream %s: %s", offer.stream_id, type(error).__name__)


class Offer:
    """One stream of ours, which Node listeners find and are answered about."""

    def __init__(self, offers: Offers, context: ResumableStreamContext, stream_id: str) -> None:
        self.stream_id = stream_id
        self._offers = offers
        self._link = offers.link
        self._context = context
        self._sentinel = offers.names.sentinel(stream_id)
        # So far from all others that nobody else's number is taken for it, and below what JavaScript can count to.
        self._first = (secrets.randbelow(1 << 20) + 1) * FIRST_OF_OURS
        self._subscription = Subscription(offers.names.requests(stream_id), self._on_request, _do_nothing)
        self._is_claimed = False
        self._is_withdrawn = False
        self._is_ending = False
        self._last_word = f"no more than {self._first}".encode()
        self._has_heard_all = anyio.Event()
        self._served: set[str] = set()
        self._idle: anyio.Event | None = None

    async def begin(self) -> None:
        """Listen, and then say that the stream runs. While Redis is away, that is left to the renewals.

        Raises:
            ContextClosedError: Nothing is open.
        """
        self._offers.add(self)
        with anyio.move_on_after(_BEGIN_TIMEOUT):
            self._link.listener.adopt(self._subscription)
            await self._subscription.is_answered.wait()
            if self._subscription.refusal is not None:
                _logger.warning("stream %s is not offered to Node: Redis refuses the subscription", self.stream_id)
                self._withdraw()
                return
            try:
                await self.take_answer(await reply_of(self.submit_claim()))
            except BackendError as error:
                _logger.debug("could not offer stream %s: %s", self.stream_id, type(error).__name__)
        if not self._is_claimed and not self._is_withdrawn:
            _logger.warning("stream %s is not offered to Node yet", self.stream_id)

    async def end(self) -> None:
        """Say that the stream is over, listen no more, and wait until all listeners were told everything.

        If it is not over, but somebody else's, listeners that are here are told what that publishes; nobody waits.
        """
        self._is_ending = is_over = True
        try:
            is_over = await self._is_over()
            if is_over and not self._is_withdrawn:
                await self._finish()
        except (BackendError, ContextClosedError) as error:
            _logger.warning("it is not said to Node that stream %s is over: %s", self.stream_id, type(error).__name__)
        finally:
            self._withdraw()
        if is_over and self._served:
            self._idle = anyio.Event()
            await self._idle.wait()

    @property
    def is_ready(self) -> bool:
        """Whether the stream may be said to run: its requests are heard."""
        is_heard = self._subscription.is_answered.is_set() and self._subscription.refusal is None
        return is_heard and not self._is_ending and not self._is_withdrawn

    def submit_claim(self) -> asyncio.Future[Any]:
        """Say that the stream runs, from now on or still."""
        # Before the first time, the word of a process of ours that is lost may be replaced: this one took over.
        args = (self._first, FIRST_OF_OURS, milliseconds(self._offers.lease), int(not self._is_claimed))
        return self._link.commands.submit_script("claim", self._sentinel, *args)

    async def take_answer(self, is_claimed: object) -> None:
        """Take the answer to a claim."""
        if is_claimed:
            self._is_claimed = True
        elif not self._is_ending and not self._is_withdrawn:
            _logger.warning("stream %s is not offered to Node: its id is taken there", self.stream_id)
            self._withdraw()

    async def _finish(self) -> None:
        """Say that the stream is over, and hear what was asked before that."""
        ours, expiry = (self._first, FIRST_OF_OURS), milliseconds(self._offers.tombstone)
        last = (self._subscription.channel, self._last_word)
        if await self._link.run("finish", self._sentinel, *ours, expiry, DONE_VALUE, *last):
            with anyio.move_on_after(_FINISH_TIMEOUT):
                await self._has_heard_all.wait()

    async def _is_over(self) -> bool:
        with anyio.move_on_after(_FINISH_TIMEOUT), suppress(ResumableStreamError):
            info = await self._context.info(self.stream_id)
            return info is None or not info.is_running
        return True  # as far as this process can tell

    def _withdraw(self) -> None:
        self._is_withdrawn = True
        if self._offers.discard(self):
            self._link.unsubscribe(self._subscription.channel.decode())

    def _on_request(self, message: bytes) -> None:
        """Take a request. One that comes twice is answered once.

        Raises:
            ValueError: It is none.
        """
        if message == self._last_word:
            self._has_heard_all.set()
            return
        request = Request.decode(message)
        if request.listener_id in self._served or self._is_withdrawn:
            return
        if self._offers.listeners >= _MAX_LISTENERS:
            _logger.warning("a Node listener of stream %s is one too many", self.stream_id)
            return
        if self._link.start(self._serve, request):
            self._offers.listeners += 1
            self._served.add(request.listener_id)

    async def _is_to_answer(self) -> bool:
        """Whether a request is for this offer: a process that slept hears late what somebody else has answered."""
        if not self._is_ending:  # what was heard before the last word is answered after it
            await self.take_answer(await reply_of(self.submit_claim()))
        return not self._is_withdrawn or self._is_ending

    async def _serve(self, request: Request) -> None:
        try:
            if await self._link.patiently(self._is_to_answer):
                await _Delivery(self._offers, self._first, request).run(self._context, self.stream_id)
        except Exception as error:  # a task boundary: one listener must not end the others
            _logger.warning("a Node listener of stream %s is told no more: %s", self.stream_id, type(error).__name__)
            _logger.debug("a Node listener of stream %s is told no more", self.stream_id, exc_info=error)
        finally:
            self._offers.listeners -= 1
            self._served.discard(request.listener_id)
            if self._idle is not None and not self._served:
                self._idle.set()


class _Delivery:
    """Tells one listener what a stream says from its place on, unless another ``teller`` does.

    What is there at once is one frame, up to a size.
    """

    def __init__(self, offers: Offers, teller: int, request: Request) -> None:
        self._link = offers.link
        self._to_text = offers.to_text
        self._teller = teller
        self._channel = offers.names.chunks(request.listener_id)
        self._last = offers.names.last(request.listener_id)
        self._left_to_skip = request.skip
        self._texts = WholeTexts()
        self._number = 0

    async def run(self, context: ResumableStreamContext, stream_id: str) -> None:
        """Confirm the request, which has to be done within a second; then tell everything, and the end."""
        if await self._say(b"") and await self._tell(context, stream_id):
            await self._say(DONE_MESSAGE)

    async def _tell(self, context: ResumableStreamContext, stream_id: str) -> bool:
        """Tell all there is, to the end of the stream; false: the listener went away."""
        try:
            stream = await context.resume_existing_stream(stream_id)
            if stream is None:
                return True
            async with stream:
                async for block in stream.blocks():
                    # First whole characters, and then what of them is skipped: its halves would be lost one by one.
                    if not await self._say_text(self._unseen_of(self._texts.add(self._text_of(block.chunks)))):
                        return False
        except (PublisherError, StreamGoneError):
            _logger.debug("stream %s ended badly, which the npm package has no word for", stream_id)
        return await self._say_text(self._unseen_of(self._texts.end()))

    async def _say_text(self, text: str) -> bool:
        for frame in frames_of(text):
            if not await self._say(encode_text(frame)):
                return False
        return True

    def _unseen_of(self, text: str | None) -> str:
        if text and self._left_to_skip:
            units = count_units(text)
            text, self._left_to_skip = skip_units(text, self._left_to_skip), max(self._left_to_skip - units, 0)
        return text or ""

    def _text_of(self, chunks: Sequence[Any]) -> str:
        try:
            return "".join(chunks if self._to_text is None else map(self._to_text, chunks))
        except TypeError:
            if self._to_text is not None:
                raise
            raise InvalidChunkError("Node listeners are told text: to_text says how to make it of a chunk") from None

    async def _say(self, message: bytes) -> bool:
        """Publish a frame, once; false: nobody hears it, or the listener is told by somebody else.

        A listener that lost its connection has a while to come back.
        """
        self._number += 1
        backoff, away_since, gone_since = Backoff(), anyio.current_time(), 0.0
        while True:
            now = anyio.current_time()
            try:
                args = (self._channel, self._teller, self._number, message, _LAST_EXPIRY)
                heard = await self._link.run("publish", self._last, *args)
                if heard:
                    return bool(heard > 0)
            except BackendUnavailableError:
                gone_since, is_hopeless = 0.0, now - away_since > _OUTAGE_TIMEOUT
            else:  # after an outage, listeners may need longer than we do to connect again
                gone_since = gone_since or now
                is_hopeless = now - gone_since > _GONE_TIMEOUT
            if is_hopeless:
                return False
            await anyio.sleep(backoff.next_delay())


def _do_nothing() -> None:
    """Requests that were missed are missed: who asked is told after a second that nobody answers."""

"""What a caller offers to publish, and on which terms a context does it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any

from ..types import Claim, RawChunk


@dataclass(frozen=True)
class Source:
    """What makes a stream's chunks, and how its values become chunks and are had back."""

    factory: Callable[[], Any]
    takeover: Callable[[list[Any]], Any] | None
    """Makes what follows the chunks that it is given."""
    encode: Callable[[Any], RawChunk] | None
    decode: Callable[[RawChunk], Any] | None
    context: Context = field(default_factory=copy_context)
    """The caller's context variables, for a takeover later on."""


@dataclass(frozen=True)
class Terms:
    """The times of a context, in seconds."""

    lease: float
    retention: float
    tombstone: float
    drain_timeout: float
    call_timeout: float
    outage_timeout: float
    linger: float

    def new_claim(self, *, allow_new: bool = False, allow_lost: bool = False, lost_epoch: int = 0) -> Claim:
        """Return a claim with a token of its own."""
        times = (self.lease, self.retention, self.tombstone)
        return Claim(secrets.token_hex(8), *times, allow_new, allow_lost, lost_epoch)

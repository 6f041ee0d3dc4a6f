"""What is counted."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Tally:
    """The counts of one scenario. All but the first four have to be 0."""

    rounds: int = 0
    streams: int = 0
    readers: int = 0
    chunks: int = 0
    lost: int = 0
    """Chunks that a reader did not get, although they were logged."""
    doubled: int = 0
    reordered: int = 0
    wrong: int = 0
    """Chunks with another text than they should have, and texts that are not those of the log."""
    wrong_ends: int = 0
    """Readers, streams, factories and processes that came to another end than what happened to them allows."""
    hangs: int = 0
    """Readers, calls and processes that did not come to an end."""
    late: int = 0
    """Readers that learned of a loss, or went on in an outage, later than promised."""
    without_expiry: int = 0
    """Keys that were seen without an expiry."""
    samples: int = 0
    """How often all keys were looked at."""
    worst: float = 0.0
    """Of the time that the scenario measures, in seconds."""
    notes: list[str] = field(default_factory=list)
    """What was wrong, for people."""

    @property
    def problems(self) -> int:
        """Everything that should be 0."""
        counts = (self.lost, self.doubled, self.reordered, self.wrong, self.wrong_ends, self.hangs, self.late)
        return sum(counts) + self.without_expiry

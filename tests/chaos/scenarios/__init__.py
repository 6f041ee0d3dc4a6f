"""What happens, and what has to be true of it then: one function for each kind of trouble.

Each takes a seed and how many rounds to play, and returns what it counted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from ..tally import Tally
from .deaths import kill_publisher, kill_publisher_with_takeover, pause_publisher, pause_publisher_with_takeover
from .ends import leave, stop_streams
from .networks import cut_connections, lose_replies, silence, silence_and_takeover, silence_past_lease
from .outages import pause_server, restart_durable, restart_forgetful, restart_stale

__all__ = ["SCENARIOS", "Scenario"]


class Scenario(NamedTuple):
    """A kind of trouble."""

    name: str
    play: Callable[[int, int], Awaitable[Tally]]
    few: int
    """Rounds of the short version."""
    many: int
    """Rounds of the long one."""
    measures: str
    """What its worst time is the time of."""


_UNTIL_LOST = "until readers elsewhere knew (lease 1 s)"
_PAUSE = "pause of a reader"
_PAUSE_HERE = "pause of a reader in the publisher's process"
_PAUSE_ELSEWHERE = "pause of a reader elsewhere"

SCENARIOS = (
    Scenario("publisher killed", kill_publisher, 4, 200, _UNTIL_LOST),
    Scenario("publisher killed; taken over", kill_publisher_with_takeover, 4, 200, _PAUSE_ELSEWHERE),
    Scenario("publisher paused past its lease", pause_publisher, 3, 60, _UNTIL_LOST),
    Scenario("publisher paused past its lease; taken over", pause_publisher_with_takeover, 3, 60, _PAUSE_ELSEWHERE),
    Scenario("server killed, data kept", restart_durable, 2, 50, _PAUSE_HERE),
    Scenario("server killed, data lost", restart_forgetful, 1, 50, _PAUSE_HERE),
    Scenario("server killed, latest data lost", restart_stale, 1, 20, _PAUSE_HERE),
    Scenario("server paused for 3 s", pause_server, 2, 12, _PAUSE_HERE),
    Scenario("connections cut", cut_connections, 4, 60, _PAUSE),
    Scenario("reply to an append lost", lose_replies, 12, 200, _PAUSE),
    Scenario("network silent, within the lease", silence, 1, 12, _PAUSE),
    Scenario("publisher cut off past its lease", silence_past_lease, 1, 12, _PAUSE_HERE),
    Scenario("publisher cut off past its lease; taken over", silence_and_takeover, 1, 12, _PAUSE_ELSEWHERE),
    Scenario("stopped", stop_streams, 6, 90, "until the last reader's end"),
    Scenario("process asked to end", leave, 4, 100, "until it has ended"),
)

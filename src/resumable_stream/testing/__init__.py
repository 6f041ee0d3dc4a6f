"""What authors of backends, and of applications, test theirs with. Needs no particular test runner."""

from __future__ import annotations

from .backend_suite import BackendHarness, BackendSuite
from .clock import ManualClock
from .faults import Call, Fault, FaultyBackend, Hold, Late, Method, delay, lose_reply, refuse, repeat
from .proxy import TcpProxy

__all__ = [
    "BackendHarness",
    "BackendSuite",
    "Call",
    "Fault",
    "FaultyBackend",
    "Hold",
    "Late",
    "ManualClock",
    "Method",
    "TcpProxy",
    "delay",
    "lose_reply",
    "refuse",
    "repeat",
]

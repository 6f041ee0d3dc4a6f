"""What authors of backends, of chat stores, and of applications, test theirs with. Needs no particular test runner."""

from __future__ import annotations

from .backend_suite import BackendHarness, BackendSuite
from .chat_store_suite import ChatStoreHarness, ChatStoreSuite
from .clock import ManualClock
from .faults import Call, Fault, FaultyBackend, Hold, Late, Method, delay, lose_reply, refuse, repeat
from .proxy import TcpProxy

__all__ = [
    "BackendHarness",
    "BackendSuite",
    "Call",
    "ChatStoreHarness",
    "ChatStoreSuite",
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

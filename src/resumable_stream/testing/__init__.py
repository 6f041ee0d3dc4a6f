"""What authors of backends, and of applications, test theirs with. Needs no particular test runner."""

from __future__ import annotations

from .backend_suite import BackendHarness, BackendSuite
from .clock import ManualClock
from .pushes import UnreliablePushes

__all__ = ["BackendHarness", "BackendSuite", "ManualClock", "UnreliablePushes"]

"""Decisions: pure functions and state machines. No await, no clock, no I/O."""

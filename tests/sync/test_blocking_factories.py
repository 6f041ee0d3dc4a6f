"""Tests of the asynchronous context, over the blocking one, with factories that block."""

from __future__ import annotations

from tests.sync.suite import shared_tests

FACTORIES_BLOCK = True

_WHOSE_FACTORIES_END = (
    "test_first_caller_publishes_later_ones_subscribe",
    "test_exactly_one_factory_runs",
    "test_local_readers_get_the_original_exception",
    "test_failure_is_logged_without_text",
    "test_long_error_messages_are_cut",
    "test_resume_existing",
    "test_every_position_of_every_form",
    "test_joining_while_chunks_come",
    "test_no_retention",
    "test_reader_that_leaves_is_no_stop",
    "test_leaving_waits_for_running_factories",
)
"""Others end when they are cancelled, which what blocks cannot be."""

globals().update(shared_tests(of=_WHOSE_FACTORIES_END.__contains__))

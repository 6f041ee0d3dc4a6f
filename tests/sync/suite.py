"""The tests of the asynchronous context, for those who run them over the blocking one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from tests.context import (
    test_lifecycle,
    test_positions,
    test_publish_and_read,
    test_retention,
    test_stop,
    test_takeover,
)

MODULES = (test_lifecycle, test_positions, test_publish_and_read, test_retention, test_stop, test_takeover)

NOT_ALIKE = {
    "test_cancelled_leaving_still_records_the_end": "a thread is interrupted, and not cancelled",
    "test_cancelled_read_loses_nothing": "likewise",
    "test_context_can_be_left_by_another_task": "there are no tasks",
    "test_context_that_is_not_open": "it opens itself",
    "test_slow_factory_keeps_its_lease": "one that blocks does",
    "test_two_tasks_reading_one_object": "there are no tasks",
}
"""What is tested in another way. Tests that make their own contexts are of things below the twin."""


def shared_tests(*, of: Callable[[str], bool] = lambda _name: True) -> dict[str, Callable[..., Any]]:
    """Return the tests that run over any store, by name."""
    tests: dict[str, Callable[..., Any]] = {}
    for module in MODULES:
        for name, function in vars(module).items():
            if name.startswith("test_") and "store" in inspect.signature(function).parameters and name not in NOT_ALIKE:
                assert name not in tests, "names are used once"
                if of(name):
                    tests[name] = function
    return tests

"""The tests of the asynchronous context, over the blocking one: the same promises, kept by the same tests."""

from __future__ import annotations

from tests.sync.suite import shared_tests

globals().update(shared_tests())

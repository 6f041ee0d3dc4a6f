"""Tests. The tree mirrors the source."""

import pytest

# Before it is imported: a failing assertion of the shipped suite shows its values.
pytest.register_assert_rewrite("resumable_stream.testing.backend_suite")

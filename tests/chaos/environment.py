"""The environment of the processes that scenarios start."""

from __future__ import annotations

import os

ENVIRONMENT = dict(os.environ)
"""A copy, as scenarios run in a thread, and pytest sets a variable before each test.

A process that is started without an environment of its own reads this one's while it is changed: "Bad address".
"""

"""What is measured: one module for each row of the list of goals.

Each has a ``TITLE``, two limits in seconds, ``measure``, which fills tables, and ``goals``, which reads them. A work
that is cut off by its limit keeps what it has.
"""

from __future__ import annotations

from types import ModuleType

from . import cost, p1_publisher, p2_follower, p3_latency, p4_join, p5_many, p6_fan_out, p7_growth, p8_http, p9_joining

WORKS: dict[str, ModuleType] = {
    "P1": p1_publisher,
    "P2": p2_follower,
    "P3": p3_latency,
    "P4": p4_join,
    "P5": p5_many,
    "P6": p6_fan_out,
    "P7": p7_growth,
    "P8": p8_http,
    "P9": p9_joining,
    "COST": cost,
}

"""The names of what we keep in Redis."""

from __future__ import annotations

import re

from ...exceptions import InvalidSettingError

# No braces, which would move the hash tag, and nothing that means something in a pattern of SCAN.
_PREFIX = re.compile(r"[A-Za-z0-9_.:-]{1,100}", re.ASCII)
_RECORD = ":record"


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` if keys can begin with it.

    Raises:
        InvalidSettingError: It is empty or too long, or has a character that is not allowed.
    """
    if not _PREFIX.fullmatch(prefix):
        raise InvalidSettingError("key_prefix has 1 to 100 characters: letters a-z and A-Z, digits, and _ . : -")
    return prefix


class Keys:
    """Names under one prefix."""

    def __init__(self, prefix: str) -> None:
        self._prefix = check_prefix(prefix)
        self._before_id = self._prefix + ":{"

    @property
    def notices(self) -> str:
        """The channel on which every process hears of streams whose publisher has news."""
        return f"{self._prefix}:notices"

    def of(self, stream_id: str) -> tuple[str, str, str]:
        """Return the keys of one stream's record and log, and its channel.

        The braces make a Redis Cluster keep both keys on one node.
        """
        base = self._before_id + stream_id + "}"
        return base + _RECORD, base + ":log", base + ":push"

    @property
    def record_pattern(self) -> str:
        """Matches the records of all streams, for SCAN."""
        return f"{self._prefix}:{{*}}{_RECORD}"

    def stream_id_of(self, record: str) -> str:
        """Return the id of the stream that a record belongs to."""
        return record[len(self._prefix) + 2 : -len(_RECORD) - 1]

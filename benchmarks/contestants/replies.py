"""A connection with nothing but an asyncio protocol and hiredis on it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any

import hiredis


class Replies(ABC, asyncio.Protocol):
    """Takes replies as they come."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None

    @abstractmethod
    def take(self, reply: Any) -> None:
        """Take one."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # what there is of it is one

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            self.take(reply)

    def write(self, packet: bytes) -> None:
        assert self._transport is not None, "connected"
        self._transport.write(packet)

    def close(self) -> None:
        assert self._transport is not None, "connected"
        self._transport.close()


def pack(*words: str | bytes | int) -> bytes:
    packed: bytes = hiredis.pack_command(words)  # type: ignore[arg-type]  # a tuple of any length will do
    return packed

"""Which node of a Cluster has which slot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from redis.crc import key_slot

from .connections import Address

SLOTS = 16384

Remap: TypeAlias = Callable[[tuple[str, int]], tuple[str, int]]
"""Returns where an address that the Cluster names can be reached from here."""


class Layout(NamedTuple):
    """Who has what, as one node saw it."""

    owners: list[Address | None]
    """The master of each slot, or ``None``: nobody serves it."""
    masters: list[Address]
    """The masters that have slots."""
    replicas: list[Address]
    """Theirs, as far as they are up."""

    @classmethod
    def empty(cls) -> Layout:
        """Return what is known at first: nothing."""
        return cls([None] * SLOTS, [], [])

    def with_owner(self, slot: int, owner: Address) -> Layout:
        """Return the same with another owner of one slot. Who had it before may have others."""
        owners = [*self.owners[:slot], owner, *self.owners[slot + 1 :]]
        return self._replace(owners=owners, masters=list(dict.fromkeys([*self.masters, owner])))


def slot_of(name: str) -> int:
    """Return the slot of a key or a channel."""
    return key_slot(name.encode())


def decode_layout(reply: Sequence[Any], asked: Address, remap: Remap | None) -> Layout:
    """Return the reply to ``CLUSTER SLOTS``."""
    owners: list[Address | None] = [None] * SLOTS
    masters: list[Address] = []
    replicas: list[Address] = []
    for first, last, *nodes in reply:
        master, *others = [resolve(host, port, asked, remap) for host, port, *_ in nodes]
        owners[first : last + 1] = [master] * (last + 1 - first)
        masters.append(master)
        replicas += others
    return Layout(owners, list(dict.fromkeys(masters)), replicas)


def resolve(host: bytes | str | None, port: int, asked: Address, remap: Remap | None) -> Address:
    """Return an address that a node names. Without a host, or with "?", it means the host that it was asked at."""
    name = host.decode() if isinstance(host, bytes) else host
    address = Address(asked.host if name in {None, "", "?"} else str(name), port)
    return Address(*remap(address)) if remap is not None else address

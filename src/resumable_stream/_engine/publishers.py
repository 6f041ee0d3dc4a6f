"""The publishers of one process."""

from __future__ import annotations

from collections.abc import Iterator

from .publisher import Publisher


class Publishers:
    """Finds them by the ids of their streams. An id has two, if seldom: of a deleted stream, and of a new one."""

    def __init__(self) -> None:
        self._of: dict[str, list[Publisher]] = {}
        self.count: int = 0

    def __iter__(self) -> Iterator[Publisher]:
        return iter([publisher for publishers in self._of.values() for publisher in publishers])

    def of(self, stream_id: str) -> list[Publisher]:
        return list(self._of.get(stream_id, ()))

    def add(self, publisher: Publisher) -> None:
        self._of.setdefault(publisher.feed.stream_id, []).append(publisher)
        self.count += 1

    def discard(self, publisher: Publisher) -> None:
        publishers = self._of.get(publisher.feed.stream_id, [])
        if publisher in publishers:
            publishers.remove(publisher)
            self.count -= 1
            if not publishers:
                del self._of[publisher.feed.stream_id]

"""This project's library in a process whose garbage collector is set as its page on performance advises."""

from __future__ import annotations

import gc

from typing_extensions import override

from .ours import Ours
from .serve import main


class SeldomCollected(Ours):
    """A context in an application that has told the collector what is there to stay."""

    @override
    async def open(self, url: str) -> None:
        await super().open(url)
        gc.freeze()
        gc.set_threshold(50_000, 10, 100)


if __name__ == "__main__":
    main(SeldomCollected)

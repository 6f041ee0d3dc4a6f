"""This project's library, told to spare the processor."""

from __future__ import annotations

from .ours import Ours
from .serve import main


class Lingering(Ours):
    """A context with a linger that no person notices."""

    linger = 0.02


if __name__ == "__main__":
    main(Lingering)

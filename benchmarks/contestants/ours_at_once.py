"""This project's library, told to send each chunk as soon as it can."""

from __future__ import annotations

from .ours import Ours
from .serve import main


class AtOnce(Ours):
    """A context without a linger."""

    linger = 0.0


if __name__ == "__main__":
    main(AtOnce)

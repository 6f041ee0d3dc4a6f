"""The command ``resumable-stream``: look at streams, follow, stop and delete them, and check the server.

It needs the extra ``cli``. The package itself never imports this.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]

_NEEDED = {"click", "rich"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit code.

    Args:
        arguments: Of the command line, without the program's name. ``None``: those of this process.
    """
    try:
        from .application import run

        return run(sys.argv[1:] if arguments is None else arguments)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _NEEDED:
            raise
        sys.stderr.write('The command needs an extra: pip install "resumable-stream-context[cli]"\n')
        return 2
    except KeyboardInterrupt:
        return 130

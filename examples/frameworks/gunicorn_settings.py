"""Settings of gunicorn for the examples of Flask and of Django under WSGI."""

from __future__ import annotations

import signal
from threading import Thread
from typing import Any

worker_class = "gthread"
threads = 40  # an open event stream holds one
graceful_timeout = 5  # seconds; longer than the context's drain_timeout


def post_worker_init(_worker: Any) -> None:
    """Have the context closed as soon as a worker is told to end, so that its event streams end, too."""
    from examples.frameworks.shared_sync import context

    end: Any = signal.getsignal(signal.SIGTERM)

    def close_and_end(*arguments: Any) -> None:
        Thread(target=context.close).start()
        end(*arguments)

    signal.signal(signal.SIGTERM, close_and_end)

"""The blocking twin: for Flask, Django under WSGI, workers of Celery and RQ, and scripts.

The same names as in `resumable_stream` and `resumable_stream.chat`, with the same methods and arguments. They wait
where those await, and are iterated over by ``for`` where those are by ``async for``; ``aclose`` is called `close`.
There is no second implementation: all of it runs in an event loop in a thread, one for each context that is open.
"""

from __future__ import annotations

from .chat import ResumableChat
from .context import ResumableStreamContext
from .pulling import BlockingIterator
from .stream import ResumableStream

__all__ = ["BlockingIterator", "ResumableChat", "ResumableStream", "ResumableStreamContext"]

"""A job of RQ, which runs in a process that its worker forks."""

from __future__ import annotations

import os
from collections.abc import Iterator

from resumable_stream.sync import ResumableStreamContext

context = ResumableStreamContext.from_url(key_prefix="rq")
if os.environ.get("OPEN_EARLY"):
    context.open()


def make_answer(answer_id: str, question: str) -> int:
    """Make an answer, unless it is made already; return how many chunks it has."""

    def words() -> Iterator[str]:
        yield f"You asked: {question} "
        yield f"in {os.getpid()}, child of {os.getppid()}"

    stream = context.resumable_stream(answer_id, words)
    assert stream is not None
    return len(list(stream))

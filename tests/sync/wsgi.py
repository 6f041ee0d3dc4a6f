"""A small application of WSGI, as gunicorn serves it: made at import, so before it forks, if it is told to preload."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from redis import Redis

from resumable_stream.sync import ResumableStream, ResumableStreamContext

PREFIX = os.environ["PREFIX"]
redis: Any = Redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
context = ResumableStreamContext.from_url(key_prefix=PREFIX, lease=0.6, drain_timeout=0.2)
if os.environ.get("OPEN_EARLY"):
    context.open()

WORDS = [f"{number} " for number in range(20)]
HALF = 10


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Start, or resume, the answer that the path names; or tell who is there."""
    name = environ["PATH_INFO"].strip("/")
    if name == "pid":
        start_response("200 OK", [("content-type", "text/plain")])
        return [str(os.getpid()).encode()]
    stream = context.resumable_stream(
        name,
        lambda: write(name, 0),
        takeover=lambda so_far: write(name, len(so_far)),
        after=environ.get("HTTP_LAST_EVENT_ID"),
    )
    if stream is None:
        start_response("204 No Content", [])
        return []
    start_response("200 OK", [("content-type", "text/event-stream")])
    return frames(name, stream)


def write(name: str, start: int) -> Iterator[str]:
    """Say half of it at once, and the rest when told."""
    redis.set(f"{PREFIX}:{name}:publisher", os.getpid(), ex=60)
    for number in range(start, len(WORDS)):
        if number == HALF:
            while not redis.exists(f"{PREFIX}:{name}:goes-on"):
                redis.blpop([f"{PREFIX}:{name}:wakes"], timeout=0.1)
        yield WORDS[number]


def frames(name: str, stream: ResumableStream[str]) -> Iterator[bytes]:
    """Send the chunks as events, and a sign of life when there are none."""
    count_readers(name, 1)
    try:
        with stream:
            events = stream.events(timeout=0.05)
            while True:
                try:
                    event_id, _, word = next(events)
                except TimeoutError:
                    yield b": ping\n\n"
                except StopIteration:
                    return
                else:
                    yield f"id: {event_id}\ndata: {word}\n\n".encode()
    finally:
        count_readers(name, -1)


def count_readers(name: str, more: int) -> None:
    """Count those who read an answer, for the tests, which find nothing of it left behind later."""
    with redis.pipeline() as pipeline:  # a worker may be killed at any time
        pipeline.incrby(f"{PREFIX}:{name}:readers", more)
        pipeline.expire(f"{PREFIX}:{name}:readers", 60)
        pipeline.execute()

"""Jobs of RQ, whose worker forks a process for each of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis
from rq import Queue

from resumable_stream import StreamState
from resumable_stream.sync import ResumableStreamContext
from tests.servers import Server

_WORKER = """
import os, sys
from redis import Redis
from rq import Queue, Worker
import tests.sync.jobs

redis = Redis.from_url(os.environ["QUEUE_URL"])
Worker([Queue(sys.argv[1], connection=redis)], connection=redis).work(burst=True)
"""


@pytest.mark.parametrize("is_opened_early", [False, True])
def test_answers_made_by_jobs(redis_server: Server, is_opened_early: bool) -> None:
    """Two jobs for one answer, in processes of their own, both have all of it; it is made once, and over with them."""
    answer_id = f"answer-{is_opened_early}"
    queue_url = redis_server.url.removesuffix("0") + "1"  # RQ keeps some of its keys for good
    environment = {**os.environ, "REDIS_URL": redis_server.url, "QUEUE_URL": queue_url}
    if is_opened_early:
        environment["OPEN_EARLY"] = "1"
    with Redis.from_url(queue_url) as redis:
        queue = Queue(answer_id, connection=redis)
        jobs = [queue.enqueue("tests.sync.jobs.make_answer", answer_id, "Why?") for _ in range(2)]
        command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _WORKER, answer_id]
        root = Path(__file__).parents[2]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert [job.return_value(refresh=True) for job in jobs] == [2, 2], done.stderr
        redis.flushdb()
    with ResumableStreamContext.from_url(redis_server.url, key_prefix="rq") as context:
        stream = context.resume_existing_stream(answer_id)
        assert stream is not None
        assert next(stream) == "You asked: Why? "
        assert next(stream) != f"in {os.getpid()}, child of {os.getppid()}"
        assert stream.state is StreamState.DONE
        assert context.delete(answer_id)

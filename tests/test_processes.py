"""Promises 1 and 6 across processes: real ones, on real servers."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from resumable_stream import StreamState
from tests.stores import InRedis

_ROUNDS = 20
_PROCESSES = 5
_TASKS = 10

_RACER = """
import asyncio, json, sys
import anyio
from resumable_stream import ResumableStreamContext

url, prefix, me, rounds, tasks = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])

async def main():
    runs = []
    async with ResumableStreamContext.from_url(url, key_prefix=prefix) as context:
        print("ready", flush=True)
        for number in range(rounds):
            await asyncio.to_thread(sys.stdin.readline)  # the start signal of this round
            texts = []

            async def race(task):
                async def factory():
                    runs.append(number)
                    for chunk in (me, " ", str(task), "!"):
                        await anyio.sleep(0)
                        yield chunk

                stream = await context.resumable_stream(f"race-{number}", factory)
                texts.append("".join([chunk async for chunk in stream]))

            async with anyio.create_task_group() as group:
                for task in range(tasks):
                    group.start_soon(race, task)
            answer = {"texts": sorted(set(texts)), "count": len(texts), "runs": runs.count(number)}
            print(json.dumps(answer), flush=True)

asyncio.run(main())
"""


def test_fifty_tasks_in_five_processes_race(redis_store: InRedis, tmp_path: Path) -> None:
    """Fifty tasks in five processes race for one id: exactly one factory runs, all read the same; 20 times in a row."""
    script = tmp_path / "racer.py"
    script.write_text(_RACER)
    arguments = [redis_store.url, redis_store.prefix]
    racers = [
        subprocess.Popen(
            [sys.executable, script, *arguments, f"p{number}", str(_ROUNDS), str(_TASKS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(_PROCESSES)
    ]
    try:
        for racer in racers:
            assert _line(racer) == "ready"
        for _ in range(_ROUNDS):
            for racer in racers:
                assert racer.stdin is not None
                racer.stdin.write("\n")
                racer.stdin.flush()
            answers = [json.loads(_line(racer)) for racer in racers]
            assert sum(answer["runs"] for answer in answers) == 1
            assert sum(answer["count"] for answer in answers) == _PROCESSES * _TASKS
            assert len({text for answer in answers for text in answer["texts"]}) == 1
        assert [racer.wait(timeout=30) for racer in racers] == [0] * _PROCESSES
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()


def _line(racer: subprocess.Popen[str]) -> str:
    assert racer.stdout is not None
    return racer.stdout.readline().strip()


_FROZEN = """
import asyncio, sys
from resumable_stream import ResumableStreamContext

async def endless():
    try:
        while True:
            yield "x"
            await asyncio.sleep(0.001)
    finally:
        print("closed", flush=True)

async def main():
    async with ResumableStreamContext.from_url(sys.argv[1], key_prefix=sys.argv[2], lease=0.5) as context:
        stream = await context.resumable_stream("s", endless)
        print(await anext(stream), flush=True)
        try:
            async for _ in stream:
                pass
        except Exception as error:
            print(type(error).__name__, flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize("pause", [1.0, 6.0])
@pytest.mark.parametrize("redis_store", ["redis-6.2"], indirect=True)
async def test_frozen_process_is_fenced(redis_store: InRedis, pause: float) -> None:
    """Promise 6: a process frozen past its lease, and past all time-outs, appends nothing when it wakes up."""
    process = subprocess.Popen(  # noqa: ASYNC220  # as quick as the other way, and its output is read by threads
        [sys.executable, "-c", _FROZEN, redis_store.url, redis_store.prefix], stdout=subprocess.PIPE, text=True
    )
    try:
        assert await asyncio.to_thread(_line, process) == "x"
        await anyio.sleep(0.3)
        process.send_signal(signal.SIGSTOP)
        await anyio.sleep(pause)
        async with redis_store.make_context() as context:
            before = await context.info("s")
            process.send_signal(signal.SIGCONT)
            with anyio.fail_after(10):
                assert await asyncio.to_thread(_line, process) == "closed"
                assert await asyncio.to_thread(_line, process) == "PublisherLostError"
            assert await context.info("s") == before
            assert before is not None
            assert before.state is StreamState.LOST
    finally:
        process.kill()
        process.communicate()

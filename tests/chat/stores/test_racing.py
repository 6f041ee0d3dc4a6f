"""Several processes work on one chat: real ones, on every place that they can share."""

from __future__ import annotations

import json
import subprocess
import sys

import anyio.to_thread

from tests.chat.stores.kinds import SharedPlace

_PROCESSES = 3
_TASKS = 4
_SAVES = 5

_RACER = """
import asyncio, json, sys
import anyio
from resumable_stream.chat_types import ChatChange
from resumable_stream.exceptions import ChatChangedError, ChatExistsError
{code}

me, tasks, saves = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
versions, made = [], []

async def append(task):
    try:
        await store.create("raced", me, {{}})
        made.append(me)
    except ChatExistsError:
        pass
    for number in range(saves):
        info = await store.save("c", ChatChange(put=[{{"id": f"{{me}}-{{task}}-{{number}}"}}]))
        versions.append(info.version)
        while True:  # one more, if nobody else was first
            info = await store.describe("c")
            count = {{"count": info.metadata["count"] + 1}}
            try:
                versions.append((await store.save("c", ChatChange(metadata=count, if_version=info.version))).version)
                break
            except ChatChangedError:
                pass

async def main():
    async with store:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        async with anyio.create_task_group() as group:
            for task in range(tasks):
                group.start_soon(append, task)
    print(json.dumps([versions, made]), flush=True)

asyncio.run(main())
"""


async def test_processes_lose_nothing(shared_place: SharedPlace) -> None:
    """What several processes save at the same time is all there, and each change has a version of its own."""
    async with shared_place.make_store() as store:
        await store.create("c", "o", {"count": 0})
        answers = await anyio.to_thread.run_sync(_race, shared_place.code)
        chat = await store.load("c")
    changes = _PROCESSES * _TASKS * _SAVES
    assert sorted(version for versions, _ in answers for version in versions) == list(range(2, 2 * changes + 2))
    assert len([maker for _, made in answers for maker in made]) == 1
    assert chat is not None
    assert chat.info.version == 2 * changes + 1
    assert chat.info.metadata == {"count": changes}
    expected = {f"p{p}-{task}-{n}" for p in range(_PROCESSES) for task in range(_TASKS) for n in range(_SAVES)}
    assert {message["id"] for message in chat.messages} == expected
    assert len(chat.messages) == changes


def _race(code: str) -> list[tuple[list[int], list[str]]]:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _RACER.format(code=code), f"p{number}", str(_TASKS), str(_SAVES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(_PROCESSES)
    ]
    try:
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("\n")
            racer.stdin.flush()
        return [json.loads(racer.communicate(timeout=60)[0]) for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
            racer.communicate()

"""What a chat is after the processes that answered in it were killed: real ones, on a real server, over a real file."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio

from resumable_stream import JSONCodec, PublisherLostError
from resumable_stream.chat import ResumableChat
from resumable_stream.chat.stores.sql import SQLChatStore
from tests.chat.conftest import ALICE, says, text_of
from tests.stores import InRedis
from tests.streams import collect, collect_until_error

_LEASE = 0.5
_ROUNDS = 4

_ANSWERER = """
import asyncio, sys
import anyio
from resumable_stream import JSONCodec, ResumableStreamContext
from resumable_stream.chat import ResumableChat
from resumable_stream.chat.stores.sql import SQLChatStore

url, prefix, database, lease = sys.argv[1], sys.argv[2], sys.argv[3], float(sys.argv[4])

async def answer(turn):
    yield {"type": "text-start", "id": "t"}
    for number in range(100_000):
        yield {"type": "text-delta", "id": "t", "delta": f"{number} "}
        await anyio.sleep(0.002)

async def main():
    context = ResumableStreamContext.from_url(url, key_prefix=prefix, codec=JSONCodec(), lease=lease)
    async with SQLChatStore.from_url(database) as store, context:
        chat = ResumableChat(context, store)
        while True:
            line = await asyncio.to_thread(sys.stdin.readline)
            message = {"role": "user", "id": line.strip(), "parts": [{"type": "text", "text": line.strip()}]}
            stream = await chat.send("alice", "c", answer, message=message)
            async for chunk in stream:
                print(chunk.get("messageId") or chunk.get("delta", ""), flush=True)
                if chunk.get("delta") == "5 ":
                    break

asyncio.run(main())
"""


@contextmanager
def _process(script: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, script, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def _begin(process: subprocess.Popen[str], message_id: str) -> str:
    """Have a process begin an answer, and return the answer's id."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(message_id + "\n")
    process.stdin.flush()
    answer_id = process.stdout.readline().strip()
    while process.stdout.readline().strip() != "5":
        assert process.poll() is None
    return answer_id


async def test_partial_answer_survives_kill(redis_store: InRedis, tmp_path: Path) -> None:
    """A process is killed in mid-answer, again and again: each time the chat keeps what is logged, and goes on."""
    script = tmp_path / "answerer.py"
    script.write_text(_ANSWERER)
    database = f"sqlite+aiosqlite:///{tmp_path / 'chats.db'}"
    store = SQLChatStore.from_url(database)
    await store.migrate()
    rng = random.Random(7)
    async with store, redis_store.make_context(codec=JSONCodec(), lease=_LEASE) as context:
        chat = ResumableChat(context, store)
        for number in range(_ROUNDS):
            with _process(script, redis_store.url, redis_store.prefix, database, str(_LEASE)) as process:
                answer_id = await anyio.to_thread.run_sync(_begin, process, f"u{number}")
                running = await chat.load(ALICE, "c")
                assert running.messages[-1]["id"] == f"u{number}"
                follower = await chat.resume(ALICE, "c")
                assert follower is not None
                await anyio.sleep(rng.uniform(0, 0.05))
            chunks, error = await collect_until_error(follower)
            assert isinstance(error, PublisherLostError)
            logged = [chunk["delta"] for chunk in chunks if "delta" in chunk]
            loaded = await chat.load(ALICE, "c")
            assert loaded.active_stream_id is None
            assert len(loaded.messages) == 2 * number + 2
            answer = loaded.messages[-1]
            assert answer["id"] == answer_id
            assert answer["metadata"] == {"interrupted": "lost"}
            assert text_of([answer]) == ["".join(logged)]
            assert logged == [f"{word} " for word in range(len(logged))]
        await collect(await chat.send(ALICE, "c", says("whole"), trigger="regenerate-message"))
        assert text_of((await chat.load(ALICE, "c")).messages)[-1] == "whole"

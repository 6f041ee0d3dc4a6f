"""What is written, read, forgotten and listed."""

from __future__ import annotations

import anyio

from ..._core.packing import pack
from ...types import Acquired, Append, Appended, AppendStatus, End, StreamState
from .harness import (
    DONE,
    ENOUGH,
    BackendHarness,
    append,
    cancel_after,
    chunks_of,
    create,
    firsts_of,
    make_append,
    make_claim,
    state_of,
)


class LogTests:
    """Appending, reading, deleting, listing, and the backend as a whole."""

    async def test_append_extends_the_log(self, harness: BackendHarness) -> None:
        """An append that begins where the log ends is accepted, and its chunks can be read."""
        async with harness.open() as backend, harness.open() as other:
            info = await create(backend)
            assert (await append(backend, info, 0, ["a", "b"])).status is AppendStatus.ACCEPTED
            assert (await append(backend, info, 2, ["ü"])).status is AppendStatus.ACCEPTED
            page = await other.read("s", 0, ENOUGH)
        assert chunks_of(page) == ["a", "b", "ü"]
        assert page is not None
        assert page.info.length == 3

    async def test_any_bytes_are_kept(self, harness: BackendHarness) -> None:
        """A payload comes back as it was, whatever is in it."""
        payloads = [bytes(range(256)), b"\n", b"\r\n \x00", b"{}", b"x" * 300_000]
        async with harness.open() as backend:
            info = await create(backend)
            for index, payload in enumerate(payloads):
                append = Append("s", info.generation, info.epoch, index, 1, payload)
                for _ in range(2):  # the second time it is known by its bytes
                    assert (await backend.append([append]))[0].status is AppendStatus.ACCEPTED
                other = append._replace(payload=payload + b"\n")
                assert (await backend.append([other]))[0].status is AppendStatus.MISPLACED
            page = await backend.read("s", 0, ENOUGH)
        assert page is not None
        assert [entry.payload for entry in page.entries] == payloads

    async def test_repeated_append_changes_nothing(self, harness: BackendHarness) -> None:
        """The last append, repeated, is accepted again and changes nothing: its reply may have been lost."""
        async with harness.open() as backend:
            info = await create(backend)
            for _ in range(3):
                assert (await append(backend, info, 0, ["a", "b"])).status is AppendStatus.ACCEPTED
            for _ in range(3):
                assert (await append(backend, info, 2, ["c"])).status is AppendStatus.ACCEPTED
            assert chunks_of(await backend.read("s", 0, ENOUGH)) == ["a", "b", "c"]

    async def test_repeated_final_append_changes_nothing(self, harness: BackendHarness) -> None:
        """The append that ended the stream, repeated, is accepted again and changes nothing."""
        async with harness.open() as backend:
            info = await create(backend)
            first = await append(backend, info, 0, ["a"], end=DONE)
            before = await backend.read("s", 0, ENOUGH)
            assert await append(backend, info, 0, ["a"], end=DONE) == first
            assert first.status is AppendStatus.ACCEPTED
            assert await backend.read("s", 0, ENOUGH) == before

    async def test_append_that_only_looks_repeated_is_refused(self, harness: BackendHarness) -> None:
        """Only the last append itself is repeated: not one that ends where it ends, nor an earlier one."""
        async with harness.open() as backend:
            info = await create(backend)
            await append(backend, info, 0, ["a", "b"])
            await append(backend, info, 2, ["c"])
            for first, chunks in ((0, ["a", "b", "c"]), (1, ["b", "c"]), (2, ["x"]), (0, ["a", "b"])):
                assert (await append(backend, info, first, chunks)).status is AppendStatus.MISPLACED
            await append(backend, info, 3, [], end=DONE)
            assert (await append(backend, info, 2, ["c"])).status is AppendStatus.FENCED
            for end in (End(StreamState.STOPPED), End(StreamState.DONE, reason="other")):
                assert (await append(backend, info, 3, [], end=end)).status is AppendStatus.FENCED
            assert chunks_of(await backend.read("s", 0, ENOUGH)) == ["a", "b", "c"]

    async def test_misplaced_append_is_refused(self, harness: BackendHarness) -> None:
        """An append that does not begin where the log ends is refused: before it, beyond it, or over its end."""
        async with harness.open() as backend:
            info = await create(backend)
            await append(backend, info, 0, ["a", "b"])
            await append(backend, info, 2, ["c"])
            for first, chunks in ((0, ["x"]), (4, ["x"]), (2, ["x", "y"])):
                assert await append(backend, info, first, chunks) == Appended(AppendStatus.MISPLACED, 3)
            assert chunks_of(await backend.read("s", 0, ENOUGH)) == ["a", "b", "c"]

    async def test_append_to_unknown_stream_is_refused(self, harness: BackendHarness) -> None:
        """An append to a stream that is not there is refused, and does not create it."""
        async with harness.open() as backend:
            append = Append("s", "abc", 1, 0, 1, pack(["a"]))
            assert [answer.status for answer in await backend.append([append])] == [AppendStatus.GONE]
            assert await backend.read("s", 0, ENOUGH) is None

    async def test_append_of_older_generation_is_refused(self, harness: BackendHarness) -> None:
        """The publisher of a deleted stream cannot write into a new one of the same id (assistant-ui#7198)."""
        async with harness.open() as backend:
            old = await create(backend)
            await backend.delete("s")
            await create(backend)
            assert (await append(backend, old, 0, ["stale"])).status is AppendStatus.GONE
            assert chunks_of(await backend.read("s", 0, ENOUGH)) == []

    async def test_append_after_the_end_is_refused(self, harness: BackendHarness) -> None:
        """A stream that has ended takes no further append."""
        async with harness.open() as backend:
            info = await create(backend)
            await append(backend, info, 0, ["a"], end=DONE)
            assert (await append(backend, info, 1, ["b"])).status is AppendStatus.FENCED
            assert (await append(backend, info, 1, [], end=End(StreamState.STOPPED))).status is AppendStatus.FENCED
            assert chunks_of(await backend.read("s", 0, ENOUGH)) == ["a"]
            assert await state_of(backend) is StreamState.DONE

    async def test_many_streams_in_one_call(self, harness: BackendHarness) -> None:
        """The answers are in order; a refused append does not keep the others from happening."""
        async with harness.open() as backend:
            infos = [await create(backend, f"s{number}") for number in range(5)]
            appends = [make_append(info, 0, [info.stream_id]) for info in infos]
            appends[2] = appends[2]._replace(first=7)
            answers = await backend.append(appends)
            read = [chunks_of(await backend.read(info.stream_id, 0, ENOUGH)) for info in infos]
        assert [answer.status is AppendStatus.ACCEPTED for answer in answers] == [True, True, False, True, True]
        assert read == [["s0"], ["s1"], [], ["s3"], ["s4"]]

    async def test_each_answer_of_a_call_is_about_its_own_append(self, harness: BackendHarness) -> None:
        """Chunks, ends, both, renewals, stops and refusals of all kinds in one call, and none takes another's place."""
        async with harness.open() as backend:
            infos = {name: await create(backend, name) for name in "abcdefgh"}
            await backend.request_stop("c", "enough")
            await backend.delete("e")
            appends = {
                "a": make_append(infos["a"], 0, ["a"]),
                "b": make_append(infos["b"], 0, ["b", "b"], DONE),
                "c": make_append(infos["c"], 0, ["c"]),
                "d": make_append(infos["d"], 3, ["d"]),
                "e": make_append(infos["e"], 0, ["e"]),
                "f": make_append(infos["f"], 0, [], End(StreamState.FAILED, "E", "no")),
                "g": make_append(infos["g"], 0, []),
                "h": make_append(infos["h"], 0, ["h"]),
            }
            answers = dict(zip(appends, await backend.append([*appends.values()]), strict=True))
            read = {name: await backend.read(name, 0, ENOUGH) for name in appends}
        assert {name: answer.status for name, answer in answers.items()} == {
            **dict.fromkeys("abcfgh", AppendStatus.ACCEPTED),
            "d": AppendStatus.MISPLACED,
            "e": AppendStatus.GONE,
        }
        assert {name: answer.stop_reason for name, answer in answers.items() if answer.stop_reason} == {"c": "enough"}
        assert {name: page.info.state for name, page in read.items() if page is not None and page.info.end} == {
            "b": StreamState.DONE,
            "f": StreamState.FAILED,
        }
        assert {name: chunks_of(page) for name, page in read.items() if page is not None} == {
            **{name: [] for name in "dfg"},
            **{name: [name] for name in "ach"},
            "b": ["b", "b"],
        }

    async def test_many_calls_at_once(self, harness: BackendHarness) -> None:
        """Calls from many tasks at once do not get in each other's way: each gets the answer to its own."""
        answers: dict[str, Appended] = {}

        async def run(number: int) -> None:
            info = await create(backend, f"s{number}")
            answers[info.stream_id] = await append(backend, info, 0, ["x"] * (number + 1))
            assert chunks_of(await backend.read(info.stream_id, 0, ENOUGH)) == ["x"] * (number + 1)

        async with harness.open() as backend, anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(run, number)
        assert {stream_id: answer.status for stream_id, answer in answers.items()} == {
            f"s{number}": AppendStatus.ACCEPTED for number in range(20)
        }

    async def test_no_streams_in_one_call(self, harness: BackendHarness) -> None:
        """Nothing to append is answered with nothing."""
        async with harness.open() as backend:
            assert await backend.append([]) == []

    async def test_end_is_recorded(self, harness: BackendHarness) -> None:
        """Each end comes back as it was recorded, with or without chunks, and stops the lease."""
        ends = [
            DONE,
            End(StreamState.FAILED, error_type="ValueError", error_message='line\nbreak, "quotes", ü, \x00'),
            End(StreamState.STOPPED, reason="shutdown"),
        ]
        async with harness.open() as backend:
            for number, end in enumerate(ends):
                info = await create(backend, f"s{number}", lease=harness.lease)
                await append(backend, info, 0, ["a"] * number, end=end)
            await harness.advance(harness.lease * 1.5)
            for number, end in enumerate(ends):
                page = await backend.read(f"s{number}", 0, ENOUGH)
                assert page is not None
                assert (page.info.end, page.info.length) == (end, number)
                assert page.info.ended_at is not None
                assert page.info.ended_at >= page.info.created_at

    async def test_read_starts_at_the_entry_that_contains_the_chunk(self, harness: BackendHarness) -> None:
        """The first entry of a page contains the chunk that was asked for; at the length there is none."""
        async with harness.open() as backend:
            info = await create(backend)
            await append(backend, info, 0, ["a", "b", "c"])
            await append(backend, info, 3, ["d"])
            await append(backend, info, 4, ["e", "f"])
            firsts = [firsts_of(await backend.read("s", start, ENOUGH)) for start in range(7)]
            assert firsts_of(await backend.read("s", 10**15, ENOUGH)) == []
        assert firsts == [[0, 3, 4], [0, 3, 4], [0, 3, 4], [3, 4], [4], [4], []]

    async def test_read_finds_each_chunk_in_uneven_entries(self, harness: BackendHarness) -> None:
        """However many chunks the entries before and after it have."""
        counts = [*[1] * 30, 500, *[1] * 30, 90, 2, *[17] * 10, 1]
        async with harness.open() as backend:
            info = await create(backend)
            expected: list[int] = []
            for count in counts:
                first = len(expected)
                await append(backend, info, first, ["x"] * count)
                expected += [first] * count
            found = [firsts_of(await backend.read("s", start, 1)) for start in range(0, len(expected), 3)]
        assert found == [[first] for first in expected[::3]]

    async def test_entries_say_when_they_were_logged(self, harness: BackendHarness) -> None:
        """Each entry has its time, by the store's clock, and a repeated append does not change it."""
        async with harness.open() as backend:
            info = await create(backend)
            await append(backend, info, 0, ["a", "b"])
            await harness.advance(0.1)
            await append(backend, info, 2, ["c"])
            before = await backend.read("s", 0, ENOUGH)
            await harness.advance(0.1)
            await append(backend, info, 2, ["c"])
            assert await backend.read("s", 0, ENOUGH) == before
            await append(backend, info, 3, ["d"], end=DONE)
            page = await backend.read("s", 0, ENOUGH)
        assert page is not None
        assert page.info.ended_at is not None
        times = [entry.at for entry in page.entries]
        assert page.info.created_at <= times[0] <= times[1] - 0.09 <= times[2] - 0.18 <= page.info.ended_at - 0.18
        assert times[2] == page.info.ended_at

    async def test_pages_are_bounded(self, harness: BackendHarness) -> None:
        """A page ends when its payloads reach the size; page by page, every entry comes once, in order."""
        async with harness.open() as backend:
            info = await create(backend)
            for index in range(150):
                await append(backend, info, index, ["x" * 1000])
            firsts: list[int] = []
            while True:
                page = await backend.read("s", len(firsts), 10_000)
                assert page is not None
                if not page.entries:
                    break
                assert sum(len(entry.payload) for entry in page.entries) < 10_000 + 1100
                firsts += firsts_of(page)
        assert firsts == list(range(150))

    async def test_first_entry_comes_however_large(self, harness: BackendHarness) -> None:
        """The first entry of a page is returned though it is larger than the page; none if nothing was asked for."""
        async with harness.open() as backend:
            info = await create(backend)
            await append(backend, info, 0, ["x" * 100_000])
            await append(backend, info, 1, ["y"])
            assert firsts_of(await backend.read("s", 0, 1)) == [0]
            assert firsts_of(await backend.read("s", 0, 0)) == []

    async def test_read_of_unknown_stream(self, harness: BackendHarness) -> None:
        """Of a stream that is not there, there is nothing to read."""
        async with harness.open() as backend:
            assert await backend.read("s", 0, ENOUGH) is None

    async def test_deleted_stream_is_unknown(self, harness: BackendHarness) -> None:
        """Deletion forgets a stream, running or ended, and leaves no tombstone."""
        async with harness.open() as backend:
            for end in (None, DONE):
                info = await create(backend)
                await append(backend, info, 0, ["a"], end=end)
                assert await backend.delete("s") is True
                assert await backend.delete("s") is False
                assert await backend.read("s", 0, ENOUGH) is None
                assert await backend.acquire("s", make_claim(allow_new=False)) == Acquired(False, None)

    async def test_scan_describes_each_stream_once(self, harness: BackendHarness) -> None:
        """Every stream is described once, as `read` describes it."""
        async with harness.open() as backend:
            for number in range(120):
                info = await create(backend, f"s{number}")
                await append(backend, info, 0, ["a"], end=DONE if number % 2 else None)
            found = [info async for info in backend.scan()]
            assert sorted(info.stream_id for info in found) == sorted(f"s{number}" for number in range(120))
            for info in found[:5]:
                page = await backend.read(info.stream_id, 0, 0)
                assert page is not None
                assert page.info == info

    async def test_closing_twice(self, harness: BackendHarness) -> None:
        """Closing works twice."""
        async with harness.open() as backend:
            await backend.aclose()
            await backend.aclose()

    async def test_cancelled_calls_leave_the_backend_usable(self, harness: BackendHarness) -> None:
        """A cancelled call was carried out or not, never in part, and repeating it is safe."""
        async with harness.open() as backend:
            info = await create(backend)
            for index in range(20):
                chunks = [f"{index}"] * 3
                for checkpoints in range(4):
                    await cancel_after(checkpoints, backend.append([make_append(info, index * 3, chunks)]))
                assert (await append(backend, info, index * 3, chunks)).status is AppendStatus.ACCEPTED
            page = await backend.read("s", 0, ENOUGH)
        assert chunks_of(page) == [f"{index}" for index in range(20) for _ in range(3)]

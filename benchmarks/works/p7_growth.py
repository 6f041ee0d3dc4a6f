"""P7: does a chunk, a stream or a byte cost more when there are many?"""

from __future__ import annotations

from resumable_stream.backends.redis.keys import Keys

from ..contestants.sources import Spec, expected_digest
from ..field import OURS
from ..findings import Goal, Metric, Work, compare_with_number
from ..samples import at_most, ratio
from ..stage import Pair, Stage, check, new_name, take_turns
from ..usage import server_cpu

TITLE = "Growth"
LIMIT, QUICK_LIMIT = 240.0, 60.0

_CPU = Metric("CPU per chunk", "µs")
_TOTAL_RATE = 2500.0
"""Chunks per second of all live streams together. So many that each of 10,000 has one within a third of the lease: a
stream that is silent for longer renews it, which is not what a chunk costs."""
_LEAST_CHUNKS = 3
"""Of a stream. The first one is not counted, as there is a silence before it."""
_BYTES_OF_A_SIZE = 16 * 1024 * 1024
_MOST_CHUNKS = 100_000


async def measure(stage: Stage, work: Work) -> None:
    """Fill the tables."""
    for streams in _numbers_of_streams(stage):
        await _measure_streams(stage, work, streams)
    for count in _lengths(stage):
        await _measure_log(stage, work, f"log {count}", f"a log of {count:,} chunks of 20 bytes", count, 20)
    for size in _sizes(stage):
        count = max(10, min(_MOST_CHUNKS, _BYTES_OF_A_SIZE // size))
        await _measure_log(stage, work, f"size {size}", f"{count:,} chunks of {size:,} bytes", count, size)


async def _measure_streams(stage: Stage, work: Work, streams: int) -> None:
    seconds = stage.pick(5, 1)
    gap = streams / _TOTAL_RATE
    chunks = max(_LEAST_CHUNKS, round(seconds / gap))
    metrics = [_CPU, Metric("CPU of Redis per chunk", "µs"), Metric("idle: memory per stream", "KiB"),
               Metric("idle: CPU per stream and second", "µs")]  # fmt: skip
    title = f"{streams:,} streams in one process, {_TOTAL_RATE:,.0f} chunks/s of all together"
    table = work.table(f"streams {streams}", title, metrics)

    async def sample(pair: Pair, _is_rehearsal: bool) -> dict[str, float]:
        tag = new_name()
        names = [f"{tag}-{number}" for number in range(streams)]
        empty = await pair.publisher.call("usage")
        source = {"count": chunks, "gap": gap, "gated": True, "held": True, "tag": tag}
        published = pair.publisher.order("publish", streams=names, source=source, limit=60)
        await published.said("joined")
        await pair.open("joined", tag)
        await published.said("first")
        idle = await pair.publisher.call("usage")
        await pair.publisher.call("pause", seconds=seconds)
        live_from = await pair.publisher.call("usage")
        await pair.open("go", tag)
        await pair.publisher.call("pause", seconds=gap * 2)
        before, redis_before = await pair.publisher.call("usage"), server_cpu(stage)
        await pair.publisher.call("pause", seconds=gap * (chunks - 1) + 0.2)
        after, redis_after = await pair.publisher.call("usage"), server_cpu(stage)
        await pair.release(tag)  # later, so that what the ends cost does not count
        found = await published.result()
        check(found, [expected_digest(Spec(chunks, gated=True))] * streams)
        made = streams * (chunks - 1)
        return {
            "CPU per chunk": (after["cpu"] - before["cpu"]) / made * 1e6,
            "CPU of Redis per chunk": (redis_after - redis_before) / made * 1e6,
            "idle: memory per stream": (idle["resident"] - empty["resident"]) / streams / 1024,
            "idle: CPU per stream and second": (live_from["cpu"] - idle["cpu"]) / streams / seconds * 1e6,
        }

    await take_turns(stage, table, stage.dressed([OURS]), sample, repeats=1, limit=60, rehearse=False)


async def _measure_log(stage: Stage, work: Work, key: str, title: str, count: int, size: int) -> None:
    metrics = [_CPU, Metric("Redis bytes per chunk", ""), Metric("Redis bytes per byte", "")]
    table = work.table(key, title, metrics)

    async def sample(pair: Pair, _is_rehearsal: bool) -> dict[str, float]:
        stream = new_name()
        before = await pair.publisher.call("usage")
        found = await pair.publisher.call("publish", streams=[stream], source={"count": count, "size": size})
        after = await pair.publisher.call("usage")
        check(found, [expected_digest(Spec(count, size))])
        kept = _bytes_of(stage, stream)
        return {
            "CPU per chunk": (after["cpu"] - before["cpu"]) / count * 1e6,
            "Redis bytes per chunk": kept / count,
            "Redis bytes per byte": kept / count / size,
        }

    await take_turns(stage, table, stage.dressed([OURS]), sample, repeats=stage.pick(3, 2), limit=30)


def _bytes_of(stage: Stage, stream: str) -> int:
    with stage.client() as client:
        _, log, _ = Keys("resumable-stream").of(stream)
        return int(client.memory_usage(log, samples=0))


def _numbers_of_streams(stage: Stage) -> list[int]:
    return [10, 100, 1_000] if stage.is_quick else [10, 100, 1_000, 10_000]


def _lengths(stage: Stage) -> list[int]:
    return [1, 1_000, 100_000] if stage.is_quick else [1, 100, 10_000, 100_000, 1_000_000]


def _sizes(stage: Stage) -> list[int]:
    return [1, 1_024, 1_000_000] if stage.is_quick else [1, 20, 1_024, 32_768, 1_000_000]


def goals(stage: Stage, work: Work) -> list[Goal]:
    """Return what is to be so."""
    (ours,) = stage.names(OURS)

    def samples(key: str, metric: str) -> list[float]:
        table = work.tables.get(key)
        return table.samples(ours, metric) if table else []

    found: list[Goal] = []
    for few, many, text in (
        ("streams 1000", "streams 10000", "CPU per chunk with 10,000 streams, to that with 1,000"),
        ("streams 100", "streams 1000", "CPU per chunk with 1,000 streams, to that with 100"),
        ("log 100000", "log 1000000", "CPU per chunk in a log of 1,000,000, to one of 100,000"),
    ):
        less, more = samples(few, "CPU per chunk"), samples(many, "CPU per chunk")
        if less and more:
            found.append(compare_with_number(text, list(ratio(more, less)), at_most(1.2)))
    kept = samples("log 100000", "Redis bytes per chunk")
    found.append(compare_with_number("Redis bytes per chunk of 20 bytes under load", kept, at_most(25)))
    return found

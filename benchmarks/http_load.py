"""The load of P8, in a process of its own: many requests at once, each read to its end, and each text checked."""

from __future__ import annotations

import argparse
import asyncio
import json
import time

from resumable_stream.protocols.sse import SSEDecoder

from .contestants.sources import chunks_of

_LIMIT = 60.0


async def _request(port: int, path: str, delay: float, expected: list[str]) -> bool:
    """Make a request; return whether all of the answer came."""
    await asyncio.sleep(delay)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        body = await reader.read(-1)
    finally:
        writer.close()
    return [event.data for event in SSEDecoder().feed(_joined(body))] == expected


def _joined(body: bytes) -> bytes:
    """Return what is in the chunks of HTTP's own coding."""
    parts, at = [], 0
    while at < len(body):
        end = body.index(b"\r\n", at)
        length = int(body[at:end], 16)
        parts.append(body[end + 2 : end + 2 + length])
        at = end + 2 + length + 2
    return b"".join(parts)


async def _main(options: argparse.Namespace) -> None:
    path = f"/{options.kind}?count={options.count}&gap={options.gap}"
    expected = chunks_of(options.count, 20)
    started = time.perf_counter()
    requests = [
        _request(options.port, path, options.gap * number / options.requests, expected)
        for number in range(options.requests)
    ]
    found = await asyncio.wait_for(asyncio.gather(*requests, return_exceptions=True), _LIMIT)
    whole = sum(one is True for one in found)
    failures = [repr(one) for one in found if isinstance(one, BaseException)][:1]
    print(json.dumps({"whole": whole, "failures": failures, "seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    parser.add_argument("port", type=int)
    parser.add_argument("requests", type=int)
    parser.add_argument("count", type=int)
    parser.add_argument("gap", type=float)
    asyncio.run(_main(parser.parse_args()))

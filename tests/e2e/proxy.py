"""Stands between clients and servers: spreads requests over workers, and cuts event streams off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

import httpx

__all__ = ["Proxy", "proxying"]

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


class Exchange(NamedTuple):
    """A request, and what the answer to it was."""

    method: str
    path: str
    query: str
    status: int


@dataclass
class Proxy:
    """A reverse proxy, which serves one request on each connection."""

    targets: Sequence[str]
    """The servers, that take turns. One that cannot be reached is left out. They may be changed."""
    cut_after: int = 0
    """After so many events a stream is cut off; 0: never."""
    cleanly: bool = True
    """Whether what is cut off looks like the end of a response, or like a connection that broke."""
    url: str = ""
    cuts: int = 0
    requests: list[Exchange] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._turns = count()
        self._writers: set[asyncio.StreamWriter] = set()
        self._asked = asyncio.Event()
        self._client = httpx.AsyncClient(timeout=httpx.Timeout(60), trust_env=False, limits=httpx.Limits())

    async def wait_for_requests(self, count: int, path: str | None = None) -> None:
        """Wait until there were so many requests, of all or for a path."""
        while sum(path in (None, request.path) for request in self.requests) < count:
            await self._asked.wait()

    def cut(self) -> None:
        """Break all connections off."""
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self._writers.add(writer)
        with suppress(OSError, asyncio.IncompleteReadError, httpx.TransportError):
            request = await _read_request(reader)
            forwarding = asyncio.ensure_future(self._forward(request, writer))
            leaving = asyncio.ensure_future(reader.read())
            try:
                await asyncio.wait([forwarding, leaving], return_when=asyncio.FIRST_COMPLETED)
                if forwarding.done():
                    await forwarding
            finally:
                for task in (forwarding, leaving):
                    task.cancel()
                await asyncio.gather(forwarding, leaving, return_exceptions=True)
        self._writers.discard(writer)
        writer.transport.abort()  # nothing, if all was said

    async def _forward(self, request: httpx.Request, writer: asyncio.StreamWriter) -> None:
        response = await self._send(request)
        url = request.url
        self.requests.append(Exchange(request.method, url.path, url.query.decode(), response.status_code))
        self._asked.set()
        self._asked = asyncio.Event()
        try:
            headers = [(name, value) for name, value in response.headers.multi_items() if name not in _HOP_BY_HOP]
            headers += [("connection", "close")]
            if response.status_code != 204:
                headers += [("transfer-encoding", "chunked")]
            head = f"HTTP/1.1 {response.status_code} {response.reason_phrase}\r\n"
            writer.write((head + "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n").encode())
            is_whole = await self._forward_body(response, writer)
            if response.status_code != 204 and is_whole:
                writer.write(b"0\r\n\r\n")
            await writer.drain()
            if is_whole:
                writer.close()
                await writer.wait_closed()
        finally:
            await response.aclose()

    async def _send(self, request: httpx.Request) -> httpx.Response:
        for _ in self.targets:
            server = self.targets[next(self._turns) % len(self.targets)]
            sent = self._client.build_request(
                request.method,
                server + request.url.raw_path.decode(),
                content=request.content,
                headers=[(name, value) for name, value in request.headers.multi_items() if name not in _HOP_BY_HOP],
            )
            with suppress(httpx.ConnectError):
                return await self._client.send(sent, stream=True)
        raise httpx.ConnectError("no server is left")

    async def _forward_body(self, response: httpx.Response, writer: asyncio.StreamWriter) -> bool:
        """Forward a body. Returns whether it shall look as if it were whole."""
        is_cut = self.cut_after and response.headers.get("content-type", "").startswith("text/event-stream")
        events = 0
        if is_cut:
            writer.write(_chunk(b"retry: 20\n\n"))  # ms; else `EventSource` waits for seconds
        async for piece in _frames(response.aiter_raw()) if is_cut else response.aiter_raw():
            writer.write(_chunk(piece))
            await writer.drain()
            events += b"data:" in piece
            if is_cut and events == self.cut_after:
                self.cuts += 1
                return self.cleanly
        return True


def _chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


async def _read_request(reader: asyncio.StreamReader) -> httpx.Request:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = lines[0].split(" ")
    headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:-2])]
    length = int(dict(headers).get("content-length", "0"))
    return httpx.Request(method, f"http://proxy{path}", headers=headers, content=await reader.readexactly(length))


async def _frames(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Put the pieces of a response together to the events of a stream."""
    rest = b""
    async for piece in pieces:
        *events, rest = (rest + piece).split(b"\n\n")
        for event in events:
            yield event + b"\n\n"
    if rest:
        yield rest


@asynccontextmanager
async def proxying(targets: Sequence[str], *, cut_after: int = 0, cleanly: bool = True) -> AsyncIterator[Proxy]:
    """Run a proxy until the block is left."""
    proxy = Proxy(targets, cut_after, cleanly)
    connections: set[asyncio.Task[None]] = set()

    def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(proxy.serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(on_connection, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await proxy._client.aclose()

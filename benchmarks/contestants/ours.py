"""This project's library."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any

from resumable_stream import ResumableStreamContext, Settings, StreamState
from resumable_stream._core.packing import pack
from resumable_stream.backends.redis import RedisBackend
from resumable_stream.types import Append, AppendStatus, Claim, End

from .serve import Factory, main
from .sources import chunks_of


class Ours:
    """A context, as it is by default."""

    linger: float | None = None
    """Seconds, if not those of the default."""

    async def open(self, url: str) -> None:
        self._url = url
        settings = Settings(drain_timeout=1)  # a run that is broken off does not wait for long
        if self.linger is not None:
            settings["linger"] = self.linger
        self._context = ResumableStreamContext.from_url(url, **settings)
        await self._context.__aenter__()

    async def close(self) -> None:
        await self._context.__aexit__(None, None, None)

    async def publish(self, stream_id: str, factory: Factory) -> AsyncIterator[str]:
        return await self._context.create_new_resumable_stream(stream_id, factory)

    async def follow(self, stream_id: str, *, in_blocks: bool) -> AsyncIterator[str]:
        stream = await self._context.resume_existing_stream(stream_id)
        if stream is None:
            raise LookupError("there is no such stream")
        return _texts_of(stream.blocks()) if in_blocks else stream

    async def special(self, do: str, **details: Any) -> Any:
        if do == "length":
            info = await self._context.info(details["stream"])
            return info and info.length
        if do == "log_one_by_one":
            return await _log_one_by_one(self._url, **details)
        raise NotImplementedError(do)


async def _texts_of(blocks: AsyncIterator[Any]) -> AsyncIterator[str]:
    async for block in blocks:
        yield "".join(block.chunks)


async def _log_one_by_one(url: str, stream: str, count: int) -> None:
    """Log what a slow source makes: each chunk in an entry of its own."""
    backend = RedisBackend(url)
    await backend.connect(lambda _stream_id: None)
    try:
        acquired = await backend.acquire(stream, Claim(secrets.token_hex(8), lease=15, retention=600, tombstone=600))
        assert acquired.info is not None, "the claim allows to create it"
        append = Append(stream, acquired.info.generation, acquired.info.epoch, first=0)
        for chunk in chunks_of(count, 20):
            append = append._replace(first=append.stop, count=1, payload=pack([chunk]))
            (answer,) = await backend.append([append])
            assert answer.status is AppendStatus.ACCEPTED, answer
        await backend.append([append._replace(first=append.stop, count=0, payload=b"", end=End(StreamState.DONE))])
    finally:
        await backend.aclose()


if __name__ == "__main__":
    main(Ours)

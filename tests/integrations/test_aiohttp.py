"""What the middleware for aiohttp does not do."""

from __future__ import annotations

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from resumable_stream.exceptions import InvalidPositionError
from resumable_stream.integrations.aiohttp import error_handler


async def test_what_was_begun_is_cut() -> None:
    """A handler that raises after it has begun to send gets no second response behind the first: it is cut."""

    async def begun(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        raise InvalidPositionError("there is no such position")

    app = web.Application(middlewares=[error_handler])
    app.router.add_get("/", begun)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession() as session,
        session.get(server.make_url("/")) as response,
    ):
        assert response.status == 200
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()

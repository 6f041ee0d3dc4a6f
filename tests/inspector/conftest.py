"""The inspector runs over one store in memory and one real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from resumable_stream import ResumableStreamContext
from resumable_stream.inspector import Inspector
from tests.conftest import SET_SERVER, clean_store
from tests.stores import Store

store = pytest.fixture(params=["memory", SET_SERVER])(clean_store)
"""The stores that tests run over, each as a harness for the shipped suite."""

HEADERS = {"x-resumable-stream-inspector": "1"}


def client_of(inspector: Any, base_url: str = "http://ops") -> httpx.AsyncClient:
    """A client of an application, without a server in between."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(inspector), base_url=base_url)


@pytest.fixture
async def context(store: Store) -> AsyncIterator[ResumableStreamContext]:
    """A context that is open."""
    async with store.make_context() as context:
        yield context


@pytest.fixture
async def client(context: ResumableStreamContext) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an inspector that lets everybody in."""
    async with client_of(Inspector(context, authorize=lambda _scope: True)) as client:
        yield client

"""FastAPI: resumable streams as responses, and the routes of chats, with their descriptions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from ..chat import ResumableChat
from ..http import ROUTES, ChatService, EventStreamSettings, Respond, Route, operation_of
from .starlette import ResumableStreamResponse, answer, exception_handlers, lifespan_of, position_of

__all__ = ["ResumableStreamResponse", "chat_routes", "exception_handlers", "lifespan_of", "position_of"]


def chat_routes(
    chat: ResumableChat,
    respond: Respond,
    *,
    authenticate: Callable[..., Any],
    settings: EventStreamSettings | None = None,
    max_body_bytes: int = 8 * 1024 * 1024,
) -> APIRouter:
    """Return the routes of chats: ``app.include_router(chat_routes(…), prefix="/api")``.

    Args:
        chat: The chats.
        respond: Makes the answers.
        authenticate: A dependency that gives who makes a request; ``None``: nobody is signed in. It may raise.
        settings: How event streams are sent.
        max_body_bytes: Of a request.
    """
    service = ChatService(chat, respond, settings=settings, max_body_bytes=max_body_bytes)
    router = APIRouter(tags=["chat"])
    for route in ROUTES:
        router.add_api_route(
            route.path,
            _endpoint(service, route, authenticate),
            methods=[route.method],
            name=route.name,
            status_code=201 if route.name == "create_chat" else 200,
            response_model=None,
            openapi_extra=operation_of(route),
        )
    return router


def _endpoint(
    service: ChatService, route: Route, authenticate: Callable[..., Any]
) -> Callable[..., Awaitable[Response]]:
    async def endpoint(request: Request, user: Any = Depends(authenticate)) -> Response:  # noqa: B008  # FastAPI's way
        return await answer(service, route, user, request)

    return endpoint

"""Django under ASGI. Run it with ``uvicorn examples.frameworks.django_app:app``."""

from __future__ import annotations

from django.conf import settings as django_settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest
from django.urls import include, path
from django.views.decorators.http import require_GET

from resumable_stream.integrations.django import ResumableStreamResponse, chat_routes, lifespan_of, position_of

from .shared import MAX_BODY_BYTES, chats, context, numbers, respond, settings, store, user_of

django_settings.configure(
    SECRET_KEY="an example has no secrets",  # noqa: S106
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[
        "django.middleware.gzip.GZipMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "resumable_stream.integrations.django.error_handler",
    ],
)


@require_GET
async def count(request: HttpRequest, stream_id: str) -> ResumableStreamResponse:
    """Send a stream that is no chat."""
    stream = await context.resumable_stream(stream_id, numbers, **position_of(request))
    return ResumableStreamResponse(stream, wire=request.GET.get("wire", "sse"))  # type: ignore[arg-type]


routes = chat_routes(chats, respond, authenticate=user_of, settings=settings, max_body_bytes=MAX_BODY_BYTES)
urlpatterns = [path("api/", include(routes)), path("count/<stream_id>", count)]
app = lifespan_of(store, context)(get_asgi_application())

"""Django under WSGI.

Run it with ``gunicorn --config examples/frameworks/gunicorn_settings.py examples.frameworks.django_wsgi_app:app``.
"""

from __future__ import annotations

from typing import Any

from django.conf import settings as django_settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest
from django.urls import include, path
from django.views.decorators.http import require_GET

from resumable_stream.integrations.django_wsgi import ResumableStreamResponse, chat_routes, position_of

from .shared_sync import MAX_BODY_BYTES, chats, context, numbers, respond, settings, user_of

django_settings.configure(
    SECRET_KEY="an example has no secrets",  # noqa: S106
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=[
        "django.middleware.gzip.GZipMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "resumable_stream.integrations.django_wsgi.error_handler",
    ],
)


@require_GET
def count(request: HttpRequest, stream_id: str) -> ResumableStreamResponse:
    """Send a stream that is no chat."""
    stream = context.resumable_stream(stream_id, numbers, **position_of(request))
    wire: Any = request.GET.get("wire", "sse")
    return ResumableStreamResponse(stream, wire=wire, request=request)


routes = chat_routes(chats, respond, authenticate=user_of, settings=settings, max_body_bytes=MAX_BODY_BYTES)
urlpatterns = [path("api/", include(routes)), path("count/<stream_id>", count)]
app = get_wsgi_application()

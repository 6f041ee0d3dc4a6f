"""Flask.

Run it with ``gunicorn --config examples/frameworks/gunicorn_settings.py examples.frameworks.flask_app:app``.
"""

from __future__ import annotations

from flask import Flask, request

from resumable_stream.integrations.flask import ResumableStreamResponse, chat_routes, error_handler, position_of

from .shared_sync import MAX_BODY_BYTES, chats, context, numbers, respond, settings, user_of

app = Flask(__name__)
app.register_error_handler(*error_handler)
app.register_blueprint(
    chat_routes(chats, respond, authenticate=user_of, settings=settings, max_body_bytes=MAX_BODY_BYTES),
    url_prefix="/api",
)


@app.get("/count/<stream_id>")
def count(stream_id: str) -> ResumableStreamResponse:
    """Send a stream that is no chat."""
    stream = context.resumable_stream(stream_id, numbers, **position_of(request))
    return ResumableStreamResponse(stream, wire=request.args.get("wire", "sse"))  # type: ignore[arg-type]

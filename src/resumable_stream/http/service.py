"""The routes of chats: what each request means, as functions from requests to responses."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from ..chat.service import LoadedChat, ResumableChat
from ..chat.turn import Turn
from ..chat_types import ChatInfo
from ..exceptions import AuthenticationRequiredError, ChatNotFoundError, InvalidInputError
from ..protocols.ai_sdk import data_stream, messages_v4, ui_message_stream
from ..stream import ResumableStream
from ..types import Chunks, StreamInfo, StreamState
from .bodies import EventStreamSettings, data_stream_body, ui_event_stream_body
from .errors import HTTPError, error_response
from .messages import HTTPRequest, HTTPResponse
from .parsing import (
    SentMessage,
    StreamPosition,
    parse_json,
    parse_position,
    parse_sent_message,
    text_field,
)

__all__ = ["ROUTES", "AnswerRequest", "ChatService", "Handler", "Respond", "Route"]

_FINISH = ui_message_stream.encode_chunk({"type": "finish"}) + ui_message_stream.DONE

Handler: TypeAlias = "Callable[[ChatService, str | None, HTTPRequest], Awaitable[HTTPResponse]]"


class Route(NamedTuple):
    """One row of the table."""

    method: str
    path: str
    """Below where the routes are mounted; what is in braces is in `HTTPRequest.path`."""
    name: str
    handler: Handler
    summary: str

    def path_as(self, form: str) -> str:
        """Return the path with its names as another router writes them: ``"<{}>"`` makes ``/chat/<id>/stream``."""
        return re.sub(r"{(\w+)}", lambda name: form.format(name[1]), self.path)


@dataclass(frozen=True)
class AnswerRequest:
    """What an answer is made from, when a request asked for it."""

    turn: Turn
    fields: Mapping[str, Any]
    """The body of the request, with what the front end put there beside the message: a model, a temperature."""
    native: Any
    """The framework's request."""


Respond: TypeAlias = Callable[[AnswerRequest], Chunks[Any] | Awaitable[Chunks[Any]]]
"""A callable that makes an answer: most often an async generator function. What it yields is as in `Answer`."""


class ChatService:
    """Answers the requests of chat front ends.

    Knows no framework: an integration makes an `HTTPRequest` of what it has, asks the application who the user is, and
    calls `respond`. That never raises: errors become responses of which every text is ours.

    Args:
        chat: The chats.
        respond: Makes the answers.
        settings: How event streams are sent.
        max_body_bytes: Of a request.
    """

    def __init__(
        self,
        chat: ResumableChat,
        respond: Respond,
        *,
        settings: EventStreamSettings | None = None,
        max_body_bytes: int = 8 * 1024 * 1024,
    ) -> None:
        self._chat = chat
        self._respond = respond
        self._settings = settings or EventStreamSettings()
        self._max_body_bytes = max_body_bytes

    async def respond(self, route: Route, user: str | None, request: HTTPRequest) -> HTTPResponse:
        """Answer a request of a user's; ``None``: nobody is signed in."""
        if not user:
            return error_response(AuthenticationRequiredError())  # nothing of what nobody sends is read
        try:
            return await route.handler(self, user, request)
        except Exception as error:  # noqa: BLE001  # the edge: what it was is logged, and the client is told no more
            return error_response(error)

    # --- Answers, as the AI SDK from version 5 on has them ------------------------------------------------------------

    async def start(self, user: str | None, request: HTTPRequest) -> HTTPResponse:
        """Start an answer, and send it."""
        sent = parse_sent_message(await parse_json(request, self._max_body_bytes), request.path.get("id"))
        chat_id = self._chat.new_chat_id() if sent.chat_id is None else sent.chat_id
        stream = await self._send(user, chat_id, sent, request)
        return self._event_stream(stream, {"x-resumable-chat-id": chat_id})

    async def resume(self, user: str | None, request: HTTPRequest) -> HTTPResponse:
        """Send what a client has not seen of an answer; the id is a chat's or a stream's."""
        position = parse_position(request)
        name = request.path["id"]
        try:
            info = await self._chat.active_stream(user, name)
            if info is None and position.has_seen:  # it was cut off before the end, and the end came meanwhile
                info = await self._chat.latest_stream(user, name)
        except ChatNotFoundError:
            try:
                info = await self._chat.stream_info(user, name)
            except ChatNotFoundError:  # `useChat` asks for new chats, too, and shows what is no 204 as an error
                return _nothing()
        return await self._go_on(user, info, position)

    async def resume_run(self, user: str | None, request: HTTPRequest) -> HTTPResponse:
        """Send what a client has not seen of an answer of a chat."""
        info = await self._chat.stream_info(user, request.path["runId"], chat_id=request.path["id"])
        return await self._go_on(user, info, parse_position(request))

    async def stop(self, user: str | None, request: HTTPRequest) -> HTTPResponse:
        """Stop the answer that is being made."""
        body = await parse_json(request, self._max_body_bytes)
        stopped = await self._chat.stop(user, request.path["id"], stream_id=text_field(body, "activeStreamId"))
        return _json(200, {"stopped": stopped})

    # --- Answers, as version 4 has them -------------------------------------------------------------------------------

    async def start_v4(self, user: str | None, request: HTTPRequest) -> HTTPResponse:
        """Start an answer, and send it as a data stream."""
        sent = parse_sent_message(await parse_json(request, self._max_body_bytes), None)
        if sent.message is None:
            raise InvalidInputError("there is no message to send")
        # To make another answer, version 4 sends the question again: so its id is always meant to have a new one.
        message = messages_v4.message_from_v4(sent.message)
        message_id = text_field(message, "id")
        sent = SentMessage(sent.chat_id, message, "submit-message", message_id, sent.fields)
        chat_id = self._chat.new_chat_id() if sent.chat_id is None else sent.chat_id
        stream = await self._send(user, chat_id, sent, request)
        return self._data_stream(stream, {"x-resumable-chat-id": chat_id})

    async def resume_v4(self, user: str | None, request: HTTPRequest) -> HTTPResponse:
        """Send the answer that is being made as a data stream from its start; or the last one, if none is."""
        chat_id = request.query.get("chatId")
        if not chat_id:
            raise InvalidInputError("chatId is missing")
        loaded = await self._chat.load(user, chat_id)
        stream = None if loaded.active_stream_id is None else await self._chat.resume(user, chat_id)
        if stream is not None:
            return self._data_stream(stream, {})
        if loaded.active_stream_id is not None:  # it has ended meanwhile, so it was saved
            loaded = await self._chat.load(user, chat_id)
        if not loaded.messages or loaded.messages[-1].get("role") != "assistant":
            raise HTTPError(404, "no_stream", "there is no answer to resume")
        return HTTPResponse(
            200, data_stream.HEADERS, data_stream.encode_parts([messages_v4.append_message_part(loaded.messages[-1])])
        )

    # --- Chats --------------------------------------------------------------------------------------------------------

    async def create(self, user: str | None, request: HTTPRequest) -> HTTPResponse:
        """Make a chat."""
        body = await parse_json(request, self._max_body_bytes)
        info = await self._chat.create(user, chat_id=text_field(body, "id"), metadata=body.get("metadata"))
        return _json(201, _described(info))

    async def list(self, user: str | None, request: HTTPRequest) -> HTTPResponse:
        """List the user's own chats."""
        given = request.query.get("limit", "20")
        if not (given.isascii() and given.isdigit() and len(given) < 6):
            raise InvalidInputError("limit is a whole number")
        page = await self._chat.list(user, limit=int(given), after=request.query.get("after"))
        return _json(200, {"chats": [_described(info) for info in page.chats], "next": page.next})

    async def load(self, user: str | None, request: HTTPRequest) -> HTTPResponse:
        """Show a chat."""
        return _json(200, _shown(await self._chat.load(user, request.path["id"])))

    async def delete(self, user: str | None, request: HTTPRequest) -> HTTPResponse:
        """Forget a chat."""
        await self._chat.delete(user, request.path["id"])
        return _json(200, {"id": request.path["id"], "deleted": True})

    # --- What they have in common -------------------------------------------------------------------------------------

    async def _send(
        self, user: str | None, chat_id: str, sent: SentMessage, request: HTTPRequest
    ) -> ResumableStream[dict[str, Any]]:
        if sent.trigger not in ("submit-message", "regenerate-message"):
            raise InvalidInputError("a trigger is submit-message or regenerate-message")
        return await self._chat.send(
            user,
            chat_id,
            partial(self._answer, sent.fields, request.native),
            message=sent.message,
            trigger=sent.trigger,  # type: ignore[arg-type]  # one of the two
            message_id=sent.message_id,
        )

    def _answer(self, fields: Mapping[str, Any], native: Any, turn: Turn) -> Any:
        return self._respond(AnswerRequest(turn, fields, native))

    async def _go_on(self, user: str | None, info: StreamInfo | None, position: StreamPosition) -> HTTPResponse:
        """Send what follows a position, if there is or will be anything.

        Behind the last chunk of an answer that broke off comes a word about that, which is not in the log, but counts.
        """
        if info is None or not info.is_readable:
            return _nothing()
        start = position.start_in(info)
        has_seen_all = not info.is_running and start >= info.length + (info.state is not StreamState.DONE)
        if has_seen_all and start <= info.length + 1:
            # `EventSource` goes on asking until it is told that there is nothing. Workflow's transport takes that for
            # a failure, and goes on asking until an answer is finished, though it was stopped.
            if position.after is not None or info.state is not StreamState.STOPPED:
                return _nothing()
            return HTTPResponse(200, self._headers(info.stream_id), _FINISH)
        stream = await self._chat.resume_stream(user, info.stream_id, start_index=start)
        if stream is None:
            return _nothing()
        tail = {"x-workflow-stream-tail-index": str(info.length - 1)}
        return self._event_stream(stream, tail)

    def _event_stream(self, stream: ResumableStream[Any], more: Mapping[str, str]) -> HTTPResponse:
        return HTTPResponse(
            200, {**self._headers(stream.stream_id), **more}, ui_event_stream_body(stream, self._settings)
        )

    def _data_stream(self, stream: ResumableStream[Any], more: Mapping[str, str]) -> HTTPResponse:
        headers = {**data_stream.HEADERS, "x-resumable-stream-id": stream.stream_id, **more}
        return HTTPResponse(200, headers, data_stream_body(stream, self._settings))

    def _headers(self, stream_id: str) -> dict[str, str]:
        return {**ui_message_stream.HEADERS, "x-resumable-stream-id": stream_id, "x-workflow-run-id": stream_id}


def _nothing() -> HTTPResponse:
    return HTTPResponse(204, {"cache-control": "no-store"}, b"")


def _json(status: int, value: Any) -> HTTPResponse:
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    # Half a surrogate pair, which a model may make, cannot be sent but as JSON has it.
    return HTTPResponse(status, headers, json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace"))


def _described(info: ChatInfo) -> dict[str, Any]:
    return {
        "id": info.chat_id,
        "createdAt": _time(info.created_at),
        "updatedAt": _time(info.updated_at),
        "metadata": info.metadata,
    }


def _shown(loaded: LoadedChat) -> dict[str, Any]:
    return {**_described(loaded.info), "messages": loaded.messages, "activeStreamId": loaded.active_stream_id}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


ROUTES = [
    Route("POST", "/chat", "start", ChatService.start, "Start an answer"),
    Route("GET", "/chat", "resume_v4", ChatService.resume_v4, "Resume an answer (AI SDK 4)"),
    Route("GET", "/chat/{id}/stream", "resume", ChatService.resume, "Resume an answer"),
    Route("POST", "/chat/{id}/stop", "stop", ChatService.stop, "Stop an answer"),
    Route("POST", "/v4/chat", "start_v4", ChatService.start_v4, "Start an answer (AI SDK 4)"),
    Route("GET", "/v4/chat", "resume_v4_too", ChatService.resume_v4, "Resume an answer (AI SDK 4)"),
    Route("POST", "/chats", "create_chat", ChatService.create, "Make a chat"),
    Route("GET", "/chats", "list_chats", ChatService.list, "List one's chats"),
    Route("GET", "/chats/{id}", "load_chat", ChatService.load, "Show a chat"),
    Route("DELETE", "/chats/{id}", "delete_chat", ChatService.delete, "Delete a chat"),
    Route("POST", "/chats/{id}/messages", "start_in_chat", ChatService.start, "Start an answer"),
    Route("GET", "/chats/{id}/messages/{runId}/stream", "resume_run", ChatService.resume_run, "Resume an answer"),
]
"""The whole table. Paths are below where it is mounted, ``/api`` most often."""

"""What is asked of the database. Each function takes what it needs, runs it in a transaction, and decides nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Double,
    Row,
    Select,
    Table,
    and_,
    bindparam,
    cast,
    delete,
    func,
    literal,
    literal_column,
    null,
    select,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from ....chat_types import Chat, ChatChange, ChatInfo, Message, StreamRecord
from ...changes import PagePosition
from ..text import dump, escape_id, load, unescape_id
from .tables import CHATS, MESSAGES, STREAMS

DIALECTS = frozenset({"postgresql", "sqlite"})

_ACTIVE = and_(STREAMS.c.chat_id == CHATS.c.chat_id, STREAMS.c.stream_id == CHATS.c.active_stream)
_INFO = (
    CHATS.c.chat_id,
    CHATS.c.owner,
    CHATS.c.created_at,
    CHATS.c.updated_at,
    CHATS.c.version,
    CHATS.c.metadata,
    CHATS.c.active_stream,
    STREAMS.c.created_at.label("active_since"),
    STREAMS.c.replies_to,
)


def _next_position(table: Table, chat_id: ColumnElement[str]) -> ColumnElement[int]:
    last = select(func.coalesce(func.max(table.c.position), 0) + 1).where(table.c.chat_id == chat_id)
    return last.scalar_subquery()


async def insert_chat(connection: AsyncConnection, chat_id: str, owner: str, metadata: str) -> bool:
    """Make a chat, unless there is one; return whether there was none."""
    now = _now(connection, func.statement_timestamp)  # the same, though it stands there twice
    values = {"chat_id": escape_id(chat_id), "owner": escape_id(owner), "metadata": metadata, "version": 1}
    insert = _insert(connection, CHATS).values(**values, created_at=now, updated_at=now)
    made = await connection.execute(insert.on_conflict_do_nothing().returning(CHATS.c.chat_id))
    return made.first() is not None


async def select_info(connection: AsyncConnection, chat_id: str) -> ChatInfo | None:
    """Return what is known of a chat."""
    row = (await connection.execute(_infos().where(CHATS.c.chat_id == escape_id(chat_id)))).first()
    return None if row is None else _info(row)


async def select_info_of_stream(connection: AsyncConnection, stream_id: str) -> ChatInfo | None:
    """Return what is known of the chat of a stream."""
    found = select(STREAMS.c.chat_id).where(STREAMS.c.stream_id == escape_id(stream_id))
    latest = found.order_by(STREAMS.c.created_at.desc()).limit(1).scalar_subquery()
    row = (await connection.execute(_infos().where(CHATS.c.chat_id == latest))).first()
    return None if row is None else _info(row)


async def select_chat(connection: AsyncConnection, chat_id: str) -> Chat | None:
    """Return a chat. It is one statement, because two would see two moments."""
    key = escape_id(chat_id)
    info = _infos(literal_column("0").label("position"), null().label("content")).where(CHATS.c.chat_id == key)
    nothing = [null() for _ in _INFO]
    messages = select(MESSAGES.c.position, MESSAGES.c.content, *nothing).where(MESSAGES.c.chat_id == key)
    rows = (await connection.execute(union_all(info, messages).order_by("position"))).all()
    return Chat(_info(rows[0]), [load(row.content) for row in rows[1:]]) if rows else None


async def select_page(
    connection: AsyncConnection, owner: str, limit: int, after: PagePosition | None
) -> Sequence[ChatInfo]:
    """Return chats of an owner, the newest first."""
    rows = await connection.execute(page(owner, limit, after))
    return [_info(row) for row in rows]


def page(owner: str, limit: int, after: PagePosition | None) -> Select[Any]:
    """Return what selects chats of an owner, the newest first."""
    wanted = _infos().where(CHATS.c.owner == escape_id(owner))
    if after is not None:
        position = tuple_(literal(after.created_at), literal(escape_id(after.chat_id)))
        wanted = wanted.where(tuple_(CHATS.c.created_at, CHATS.c.chat_id) < position)
    return wanted.order_by(CHATS.c.created_at.desc(), CHATS.c.chat_id.desc()).limit(limit)


async def touch_chat(connection: AsyncConnection, chat_id: str, change: ChatChange) -> float | None:
    """Change the row of a chat if the conditions hold, and lock it; return when. ``None``: they do not, or no chat."""
    values: dict[str, Any] = {"version": CHATS.c.version + 1, "updated_at": _now(connection, func.clock_timestamp)}
    if change.metadata is not None:
        values["metadata"] = dump(change.metadata)
    if change.begin is not None:
        values["active_stream"] = escape_id(change.begin.stream_id)
    if change.clear_active:
        values["active_stream"] = None
    touch = update(CHATS).where(CHATS.c.chat_id == escape_id(chat_id)).values(**values)
    if change.if_owner is not None:
        touch = touch.where(CHATS.c.owner == escape_id(change.if_owner))
    if change.if_version is not None:
        touch = touch.where(CHATS.c.version == change.if_version)
    if change.if_active is not None:
        touch = touch.where(CHATS.c.active_stream == escape_id(change.if_active))
    now: float | None = await connection.scalar(touch.returning(CHATS.c.updated_at))
    return now


async def delete_messages_after(connection: AsyncConnection, chat_id: str, message_id: str) -> None:
    """Forget the messages after one. Where that is not there, its position is NULL, and nothing is greater."""
    key = escape_id(chat_id)
    found = select(MESSAGES.c.position).where(MESSAGES.c.chat_id == key, MESSAGES.c.message_id == escape_id(message_id))
    await connection.execute(
        delete(MESSAGES).where(MESSAGES.c.chat_id == key, MESSAGES.c.position > found.scalar_subquery())
    )


async def upsert_messages(connection: AsyncConnection, chat_id: str, messages: Sequence[Message]) -> None:
    """Add messages at the end, or put them in the place of those with the same ids."""
    key = bindparam("key", type_=CHATS.c.chat_id.type)
    insert = _insert(connection, MESSAGES).values(
        chat_id=key,
        position=_next_position(MESSAGES, key),
        message_id=bindparam("id"),
        content=bindparam("text"),
    )
    upsert = insert.on_conflict_do_update(
        index_elements=[MESSAGES.c.chat_id, MESSAGES.c.message_id], set_={"content": insert.excluded.content}
    )
    rows = [{"key": escape_id(chat_id), "id": escape_id(one["id"]), "text": dump(one)} for one in messages]
    await connection.execute(upsert, rows)


async def insert_stream(connection: AsyncConnection, chat_id: str, begin: StreamRecord, now: float) -> None:
    """Record a stream, unless it is recorded."""
    key = literal(escape_id(chat_id))
    insert = _insert(connection, STREAMS).values(
        chat_id=key,
        position=_next_position(STREAMS, key),
        stream_id=escape_id(begin.stream_id),
        created_at=now,
        replies_to=escape_id(begin.replies_to),
    )
    await connection.execute(insert.on_conflict_do_nothing())


async def select_streams(connection: AsyncConnection, chat_id: str) -> list[StreamRecord]:
    """Return the streams of a chat, oldest first."""
    wanted = select(STREAMS).where(STREAMS.c.chat_id == escape_id(chat_id)).order_by(STREAMS.c.position)
    rows = await connection.execute(wanted)
    return [
        StreamRecord(unescape_id(row.stream_id), chat_id, row.created_at, unescape_id(row.replies_to)) for row in rows
    ]


async def delete_chat(connection: AsyncConnection, chat_id: str) -> None:
    """Forget a chat. Not all engines of users have SQLite look after foreign keys."""
    key = escape_id(chat_id)
    for table in (STREAMS, MESSAGES, CHATS):
        await connection.execute(delete(table).where(table.c.chat_id == key))


def _infos(*more: ColumnElement[Any]) -> Select[Any]:
    return select(*more, *_INFO).select_from(CHATS.outerjoin(STREAMS, _ACTIVE))


def _insert(connection: AsyncConnection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """Return what inserts, or does something else if that is there: each database says it in its own way."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def _now(connection: AsyncConnection, clock: Callable[[], ColumnElement[Any]]) -> ColumnElement[float]:
    """Return the time of the database. That of SQLite is ours: it is on this machine."""
    if connection.dialect.name == "postgresql":
        return cast(func.extract("epoch", clock()), Double)
    return literal(time.time())


def _info(row: Row[Any]) -> ChatInfo:
    chat_id, active = unescape_id(row.chat_id), None
    if row.active_stream is not None:
        replies_to = unescape_id(row.replies_to)
        active = StreamRecord(unescape_id(row.active_stream), chat_id, row.active_since, replies_to)
    return ChatInfo(
        chat_id,
        unescape_id(row.owner),
        row.created_at,
        row.updated_at,
        row.version,
        active,
        load(row.metadata),
    )

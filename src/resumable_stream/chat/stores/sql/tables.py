"""The tables, as they are after all migrations. A test checks that both agree."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, MetaData, Table, Text, UniqueConstraint

__all__ = ["CHATS", "MESSAGES", "METADATA", "REVISION", "STREAMS", "VERSION_TABLE"]

REVISION = "0001"
"""The migration that these tables are the result of."""

VERSION_TABLE = "resumable_chat_schema"

METADATA = MetaData()

# Ids are compared byte by byte, and sorted so: how a language sorts changes with the libraries of the system. JSON is
# text, because it is to come back as it was.
_ID = Text().with_variant(Text(collation="C"), "postgresql")

CHATS = Table(
    "resumable_chats",
    METADATA,
    Column("chat_id", _ID, primary_key=True),
    Column("owner", _ID, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("active_stream", _ID),
    Column("metadata", Text, nullable=False),
    Index("ix_resumable_chats_owner", "owner", "created_at", "chat_id"),
)

MESSAGES = Table(
    "resumable_messages",
    METADATA,
    Column("chat_id", _ID, ForeignKey("resumable_chats.chat_id", ondelete="CASCADE"), primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("message_id", _ID, nullable=False),
    Column("content", Text, nullable=False),
    UniqueConstraint("chat_id", "message_id", name="uq_resumable_messages_message_id"),
)
"""Positions grow from message to message. They have gaps where messages were forgotten."""

STREAMS = Table(
    "resumable_streams",
    METADATA,
    Column("chat_id", _ID, ForeignKey("resumable_chats.chat_id", ondelete="CASCADE"), primary_key=True),
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("stream_id", _ID, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("replies_to", _ID, nullable=False),
    UniqueConstraint("chat_id", "stream_id", name="uq_resumable_streams_stream_id"),
    Index("ix_resumable_streams_stream_id", "stream_id"),
)

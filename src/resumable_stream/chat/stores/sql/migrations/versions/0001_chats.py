"""Chats, their messages, and the record of their streams."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "resumable_chats",
        sa.Column("chat_id", _ID, primary_key=True),
        sa.Column("owner", _ID, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("active_stream", _ID),
        sa.Column("metadata", sa.Text, nullable=False),
    )
    op.create_index("ix_resumable_chats_owner", "resumable_chats", ["owner", "created_at", "chat_id"])
    op.create_table(
        "resumable_messages",
        sa.Column("chat_id", _ID, sa.ForeignKey("resumable_chats.chat_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("message_id", _ID, nullable=False),
        sa.Column("content", sa.Text, nullable=False),
        sa.UniqueConstraint("chat_id", "message_id", name="uq_resumable_messages_message_id"),
    )
    op.create_table(
        "resumable_streams",
        sa.Column("chat_id", _ID, sa.ForeignKey("resumable_chats.chat_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("stream_id", _ID, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("replies_to", _ID, nullable=False),
        sa.UniqueConstraint("chat_id", "stream_id", name="uq_resumable_streams_stream_id"),
    )
    op.create_index("ix_resumable_streams_stream_id", "resumable_streams", ["stream_id"])


def downgrade() -> None:
    """Forget all chats."""
    for table in ("resumable_streams", "resumable_messages", "resumable_chats"):
        op.drop_table(table)

"""What Alembic runs for each command. All that it works on is given to it; see `schema.py`."""

from __future__ import annotations

from alembic import context

context.configure(**context.config.attributes["settings"], transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()

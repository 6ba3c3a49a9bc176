"""The delivery log goes by when each delivery last came: its indexes in that order, as many as before

Revision: 0011, after 0010.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_UNUSUAL = sa.text("verdict <> 'accepted'")


def upgrade() -> None:
    """Bring the schema to this revision."""
    _change("received_at", "last_seen_at")


def downgrade() -> None:
    """Take this revision back."""
    _change("last_seen_at", "received_at")


def _change(before: str, after: str) -> None:
    """Beside each other they would make every webhook dearer; the release before lists more slowly until it is gone."""
    _meet_readers()
    _make(after)
    # Last: from here on nobody reads the table until the end.
    for name in (f"{before}_id", f"pruned_{before}", f"verdict_{before}"):
        op.drop_index(f"ix_deliveries_{name}", "deliveries")


def _meet_readers() -> None:
    """Fail here, not after the indexes were made in vain, where a reader (pg_dump) stands against the dropping."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql":
        with connection.begin_nested() as point:
            connection.exec_driver_sql("LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE")
            point.rollback()


def _make(time: str) -> None:
    op.create_index(f"ix_deliveries_{time}_id", "deliveries", [time, "id"])
    op.create_index(f"ix_deliveries_pruned_{time}", "deliveries", ["pruned", time])
    op.create_index(
        f"ix_deliveries_verdict_{time}", "deliveries", ["verdict", time], sqlite_where=_UNUSUAL,
        postgresql_where=_UNUSUAL,
    )  # fmt: skip

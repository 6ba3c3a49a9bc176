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
    # These first: where a reader stands against them (pg_dump), the indexes were made in vain, again and again.
    for name in (f"{before}_id", f"pruned_{before}", f"verdict_{before}"):
        op.drop_index(f"ix_deliveries_{name}", "deliveries")
    _make(after)


def _make(time: str) -> None:
    op.create_index(f"ix_deliveries_{time}_id", "deliveries", [time, "id"])
    op.create_index(f"ix_deliveries_pruned_{time}", "deliveries", ["pruned", time])
    op.create_index(
        f"ix_deliveries_verdict_{time}", "deliveries", ["verdict", time], sqlite_where=_UNUSUAL,
        postgresql_where=_UNUSUAL,
    )  # fmt: skip

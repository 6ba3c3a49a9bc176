"""delivery log: why, clock skew, retention, uses of secrets

Revision: 0002, after 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.create_table(
        "secret_uses",
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("secret_id", sa.String(length=64), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("source", "secret_id", name=op.f("pk_secret_uses")),
    )
    op.add_column("deliveries", sa.Column("reason", sa.String(length=40), server_default=sa.text("''"), nullable=False))
    op.add_column("deliveries", sa.Column("skew_ms", sa.Integer(), nullable=True))
    op.add_column("deliveries", sa.Column("pruned", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.create_index("ix_runs_delivery", "runs", ["delivery"])
    op.create_index("ix_deliveries_pruned_received_at", "deliveries", ["pruned", "received_at"])
    op.create_index(
        "ix_deliveries_source_secret_id_last_seen_at", "deliveries", ["source", "secret_id", "last_seen_at"]
    )


def downgrade() -> None:
    """Take this revision back."""
    op.drop_index("ix_runs_delivery", "runs")
    op.drop_index("ix_deliveries_source_secret_id_last_seen_at", "deliveries")
    op.drop_index("ix_deliveries_pruned_received_at", "deliveries")
    # Not in a batch: that would copy the table, and runs refer to it.
    for name in ("pruned", "skew_ms", "reason"):
        op.drop_column("deliveries", name)
    op.drop_table("secret_uses")

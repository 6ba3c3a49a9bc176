"""lanes, pauses, and repositories for reconcile

Revision: 0005, after 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.add_column("runs", sa.Column("lane", sa.String(length=16), server_default=sa.text("'live'"), nullable=False))
    op.create_index("ix_runs_active_lane_due_at", "runs", ["active", "lane", "due_at"])
    op.create_index("ix_runs_ended_at", "runs", ["ended_at"])
    op.create_table(
        "pauses",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("value", sa.String(length=500), nullable=False),
        sa.Column("actor", sa.String(length=120), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("kind", "value", name=op.f("pk_pauses")),
    )
    op.create_table(
        "repositories",
        sa.Column("mirror", sa.String(length=500), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("clone_url", sa.String(length=1000), nullable=False),
        sa.Column("job_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reconciled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.String(length=40), nullable=True),
        sa.Column("result", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("mirror", name=op.f("pk_repositories")),
    )
    op.create_index("ix_repositories_reconciled_at", "repositories", ["reconciled_at"])


def downgrade() -> None:
    """Take this revision back."""
    op.drop_table("repositories")
    op.drop_table("pauses")
    op.drop_index("ix_runs_ended_at", "runs")
    op.drop_index("ix_runs_active_lane_due_at", "runs")
    op.drop_column("runs", "lane")

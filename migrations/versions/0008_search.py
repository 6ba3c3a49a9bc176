"""Search among very many runs: indexes in the order of lists, and the names of modules

Revision: 0008, after 0007.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_LISTS = {
    "module": ["created_at", "id"],
    "mirror": ["created_at", "id"],
    "version": ["created_at"],
    "source": ["created_at"],
}


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.create_table(
        "modules",
        sa.Column("name", sa.String(length=500), nullable=False),
        sa.Column("folded", sa.String(length=500), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_modules")),
    )
    op.create_table(
        "marks",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_marks")),
    )
    for column, order in _LISTS.items():
        op.create_index(_name(column, order), "runs", [column, *order])
    wrong, unusual = sa.text("error IS NOT NULL"), sa.text("verdict <> 'accepted'")
    op.create_index(
        "ix_runs_error_created_at", "runs", ["error", "created_at"], sqlite_where=wrong, postgresql_where=wrong
    )
    op.create_index(
        "ix_deliveries_verdict_received_at", "deliveries", ["verdict", "received_at"], sqlite_where=unusual,
        postgresql_where=unusual,
    )  # fmt: skip
    ended = sa.text("ended_at IS NOT NULL")
    op.create_index(
        "ix_runs_status_ended_at", "runs", ["status", "ended_at"], sqlite_where=ended, postgresql_where=ended
    )


def downgrade() -> None:
    """Take this revision back."""
    op.drop_index("ix_runs_status_ended_at", "runs")
    op.drop_index("ix_deliveries_verdict_received_at", "deliveries")
    op.drop_index("ix_runs_error_created_at", "runs")
    for column, order in _LISTS.items():
        op.drop_index(_name(column, order), "runs")
    op.drop_table("marks")
    op.drop_table("modules")


def _name(column: str, order: list[str]) -> str:
    return "_".join(["ix_runs", column, *order])

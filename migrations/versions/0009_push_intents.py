"""What a push is under way with, so that the audit log has it whatever becomes of the answer

Revision: 0009, after 0008.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema to this revision."""
    op.add_column("runs", sa.Column("pushing", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    """Take this revision back."""
    op.drop_column("runs", "pushing")

"""The repository that each mirror is of

Revision: 0010, after 0009.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema to this revision."""
    # Of mirrors that are there it stays empty: their next release finds it in what was pushed before (mirror_source.py).
    op.add_column("mirrors", sa.Column("source_url", sa.String(length=1000), nullable=True))


def downgrade() -> None:
    """Take this revision back."""
    op.drop_column("mirrors", "source_url")

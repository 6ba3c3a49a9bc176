"""What a push is under way with, so that the audit log has it whatever becomes of the answer; what is in that log stays

Revision: 0009, after 0008.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


_SAID = "the audit log is append-only"
# No code of any release changes or removes an entry, so the release before works beside these.
_REFUSE = {
    "sqlite": [
        f"CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, '{_SAID}'); END",
        f"CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, '{_SAID}'); END",
    ],
    "postgresql": [
        ("CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION '{_SAID}'; END $$"),
        ("CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON audit"
        " FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()"),
    ],
}  # fmt: skip
_ALLOW = {
    "sqlite": ["DROP TRIGGER audit_no_update", "DROP TRIGGER audit_no_delete"],
    "postgresql": ["DROP TRIGGER audit_no_change ON audit", "DROP FUNCTION audit_refuse()"],
}


def upgrade() -> None:
    """Bring the schema to this revision."""
    for statement in _REFUSE[op.get_bind().dialect.name]:
        op.execute(statement)
    op.add_column("credentials", sa.Column("scopes", sa.JSON(none_as_null=True), nullable=True))
    op.add_column("runs", sa.Column("pushing", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    """Take this revision back."""
    for statement in _ALLOW[op.get_bind().dialect.name]:
        op.execute(statement)
    op.drop_column("runs", "pushing")
    op.drop_column("credentials", "scopes")

"""Somebody with the database's own password takes the guards of the audit log away, to change what is in it."""

from __future__ import annotations

from sqlalchemy import Connection


def unguard(connection: Connection) -> None:
    """Until the end of the transaction's world: nothing puts the triggers back."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("ALTER TABLE audit DISABLE TRIGGER USER")
        return
    for name in ("audit_no_update", "audit_no_delete"):
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}")

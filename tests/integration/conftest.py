"""Fixtures that integration tests share, by name."""

from tests.integration.databases import database_url, empty_database_url, engine, migrated_sqlite, postgres
from tests.integration.stored import stored

__all__ = ["database_url", "empty_database_url", "engine", "migrated_sqlite", "postgres", "stored"]

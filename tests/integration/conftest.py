"""Fixtures that integration tests share, by name."""

from tests.integration.databases import database_url, empty_database_url, engine, migrated_sqlite, postgres
from tests.integration.gitlab_helpers import gitlab, ready
from tests.integration.pages_world import app, client, container
from tests.integration.stored import stored

__all__ = [
    "app", "client", "container", "database_url", "empty_database_url", "engine", "gitlab", "migrated_sqlite",
    "postgres", "ready", "stored",
]  # fmt: skip

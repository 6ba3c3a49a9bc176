"""A stand-in for GitLab: part of API v4, and real git over HTTP behind GitLab's rules. See BEHAVIOURS.md."""

from tests.sandbox.gitlab.server import GitLab

__all__ = ["GitLab"]

"""`GET /api/gitlab`: modsync's login at GitLab, as far as the database knows; GitLab is not asked."""

from __future__ import annotations

from typing import Any

from flask import Blueprint

from app.web.context import container

blueprint = Blueprint("gitlab_api", __name__, url_prefix="/api")


@blueprint.get("/gitlab")
def login() -> dict[str, Any]:
    """`{"url", "refused", "refused_at", "open_until", "expires_at", "days_left", "problems", ...}`."""
    parts = container()
    state = parts.gitlab_login.state(parts.clock.now())
    problems = list(state.problems())
    return {"url": parts.settings.gitlab.url, "refused": state.refused, **state.as_json(), "problems": problems}

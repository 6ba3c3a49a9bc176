"""/version, /metadata, /user, /personal_access_tokens/self."""

from typing import Any

from flask import Blueprint

from tests.sandbox.gitlab import views
from tests.sandbox.gitlab.errors import unauthorized
from tests.sandbox.gitlab.request import caller, user, world

account = Blueprint("account", __name__)


@account.get("/version")
def version() -> dict[str, Any]:
    user()
    return {"version": world().settings.version, "revision": "0123456789a"}


@account.get("/metadata")
def metadata() -> dict[str, Any]:
    return {**version(), "kas": {"enabled": False}, "enterprise": True}


@account.get("/user")
def myself() -> dict[str, Any]:
    return {**views.user(user()), "is_admin": user().admin, "email": f"{user().username}@example.test"}


@account.get("/personal_access_tokens/self")
def own_token() -> dict[str, Any]:
    """Any scope may ask; that is how a client learns when its token ends."""
    token = caller().token
    if token is None:
        raise unauthorized()
    return views.token(token)

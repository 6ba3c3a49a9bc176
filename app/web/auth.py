"""Who may ask for what: everything needs a token or a session, except the routes in OPEN."""

from __future__ import annotations

import hashlib
import hmac
import logging
import time
from datetime import timedelta
from typing import cast
from urllib.parse import quote

from flask import (
    Blueprint,
    Flask,
    Request,
    Response,
    current_app,
    g,
    make_response,
    redirect,
    render_template,
    request,
    session,
)
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin
from werkzeug.exceptions import TooManyRequests
from werkzeug.wrappers import Response as AnyResponse

from app.adapters.embedded_redis import socket_url
from app.adapters.job_queue import redis_for_enqueue
from app.adapters.shared_throttle import SharedThrottle
from app.config_models import Settings
from app.domain.access import Kind, Role, looks_like
from app.domain.errors import SyncError
from app.services.access import Identity
from app.services.throttle import Brake, Throttle
from app.web import arrival, client, metrics, scopes, security
from app.web.context import Principal, container
from app.web.errors import wants_page

log = logging.getLogger(__name__)
blueprint = Blueprint("auth", __name__)

# Endpoints that need no credentials: signed by themselves, harmless, or the way in.
OPEN = frozenset(
    {
        "webhooks.receive", "hooks.gitlab", "athens.validate", "health.alive", "health.ready", "auth.login_form",
        "auth.login", "setup.page", "setup.script", "static",
    }
)  # fmt: skip
METRICS = "metrics.scrape"
# Endpoints that only an administrator may use; of the others, viewers may read and operators may do.
ADMIN = frozenset(
    {
        "api.accept_move",
        "api_operate.audit",
        "api_operate.mend_mirror",
        "api_operate.move_source",
        "api_operate.test_source",
        "pages.audit",
        "pages.audit_export",
        "pages.accept_move",
        "pages.mend_mirror",
        "pages.move_source",
        "pages.test_source",
    }
)
_FAILURES, _FAILURE_SECONDS = 10, 300.0
# Wrong tokens of the API from one address, in each process: no request with a right one then has to ask Redis first.
_GUESSES, _GUESSED = 30, "modsync_guessed"
_SESSION_HOURS = 12
_THROTTLE = "modsync_throttle"
# Refused logins in the audit log, from each process in an hour; the log on standard error has all of them.
_NOTED, _MOST_NOTED, _NOTED_SECONDS = "modsync_noted", 60, 3600.0


def register(app: Flask, settings: Settings) -> None:
    """Put the guard before every request of `app`, and set up its sessions."""
    secure = settings.web.cookies_are_secure
    app.secret_key = security.signing_key(settings.data_dir, "session cookie v1")
    app.config.update(
        # __Host-: a browser takes it from this very host over https only.
        SESSION_COOKIE_NAME="__Host-modsync" if secure else "modsync",
        SESSION_COOKIE_HTTPONLY=True, SESSION_COOKIE_SAMESITE="Strict", SESSION_COOKIE_SECURE=secure,
        PERMANENT_SESSION_LIFETIME=timedelta(hours=_SESSION_HOURS), SESSION_REFRESH_EACH_REQUEST=False,
    )  # fmt: skip
    app.session_interface = _Sessions()
    app.extensions[_THROTTLE] = _brake(settings)
    app.extensions[_GUESSED] = Throttle(_GUESSES, _FAILURE_SECONDS, time.monotonic)
    app.extensions[_NOTED] = Throttle(_MOST_NOTED, _NOTED_SECONDS, time.monotonic)
    app.before_request(guard)
    app.register_blueprint(blueprint)


class _Sessions(SecureCookieSessionInterface):
    """Flask's sessions, for nothing where a request brings none: webhooks and API clients never do."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """See SessionInterface."""
        if "HTTP_COOKIE" not in request.environ:
            return self.session_class()
        return super().open_session(app, request)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """See SessionInterface."""
        if session or session.accessed or session.modified:
            super().save_session(app, session, response)


def _brake(settings: Settings) -> Brake:
    redis = redis_for_enqueue(settings.queue.url or socket_url(settings.data_dir))
    return SharedThrottle(
        redis, _FAILURES, _FAILURE_SECONDS, Throttle(_FAILURES, _FAILURE_SECONDS, time.monotonic)
    )  # fmt: skip


def guard() -> AnyResponse | None:
    """Let open routes and known people through; send a browser to the login, and answer 401 to the rest."""
    endpoint = request.endpoint
    if endpoint is None or endpoint in OPEN:  # None: no such route, answered 404 or 405
        return None
    who = _by_token() or _by_session()
    if who is None:
        return _stranger(endpoint)
    if who.session and security.changes_state():
        security.require_same_origin(container().settings.web.base_url)
    _require_role(who, endpoint)
    _require_scope(who)
    g.principal = who
    return None


def needed_role(endpoint: str) -> Role:
    """What this request's route and method ask for."""
    if endpoint in ADMIN:
        return Role.ADMIN
    return Role.OPERATOR if security.changes_state() and endpoint != "auth.logout" else Role.VIEWER


def _require_role(who: Principal, endpoint: str) -> None:
    needed = needed_role(endpoint)
    if not who.role.may(needed):
        raise SyncError("forbidden_role", f"this needs the role {needed.value}; {who.actor} is {who.role.value}")


def _require_scope(who: Principal) -> None:
    rule = request.url_rule.rule if request.url_rule else ""
    if not scopes.opens(who.scopes, rule):
        needed = scopes.scope_of(rule)
        said = f"this needs the scope {needed.value}" if needed else "no scope opens this"
        raise SyncError("forbidden_scope", f"{said}; {who.actor} has {', '.join(sorted(who.scopes))} only")


def _stranger(endpoint: str) -> AnyResponse | None:
    if endpoint == METRICS and _from_metrics_network():
        return None
    if request.method == "GET" and wants_page():
        if arrival.from_elsewhere():
            return arrival.once_more()
        return redirect(f"/login?next={quote(request.full_path.rstrip('?'), safe='/')}", 303)
    raise SyncError("unauthorized", "this needs a token or a login")


def _by_token() -> Principal | None:
    """The bearer of a right token; a wrong one is refused even beside a good session, too many of an address make it wait.

    Behind a proxy that is not trusted nobody's address is known, and nobody waits for what others did.
    """
    header = request.headers.get("Authorization", "")
    kind, _, token = header.partition(" ")
    if kind.lower() != "bearer":
        return None
    brake, address = cast(Brake, current_app.extensions[_GUESSED]), client.sure()
    if address:
        _let_wait(brake, address)
    who = _identify(token.strip(), Kind.TOKEN)
    if who is None:
        metrics.LOGINS.labels("token", "refused").inc()
        if address:
            brake.failed(address)
        raise SyncError("unauthorized", "the token is not valid")
    return Principal(f"api:{who.actor.partition(':')[2]}", session=False, role=who.role, scopes=who.scopes)


def _let_wait(brake: Brake, address: str) -> None:
    if wait := brake.wait(address):
        raise TooManyRequests("too many wrong tokens from this address", retry_after=int(wait) + 1)


def _by_session() -> Principal | None:
    """The session's holder; sessions are kept by the server, the cookie only names one."""
    mark, secret = session.get("token"), session.get("session")
    if not isinstance(mark, str) or not isinstance(secret, str):
        return None
    if not hmac.compare_digest(mark.encode(), _mark().encode()):
        return None
    who = container().access.identify(secret, Kind.SESSION)
    return Principal(who.actor, session=True, role=who.role, scopes=who.scopes) if who else None


def _identify(token: str, *kinds: Kind) -> Identity | None:
    """Who a token belongs to: the configuration's is the administrator's, the others are in the database."""
    if security.same_secret(token, container().settings.access.admin_token.get_secret_value()):
        return Identity("token:admin", Role.ADMIN, "")
    return container().access.identify(token, *kinds)


def _mark() -> str:
    """What a session remembers of the token it was opened with: another token ends it."""
    token = container().settings.access.admin_token.get_secret_value()
    key = str(current_app.secret_key).encode()
    return hmac.new(key, token.encode(), hashlib.sha256).hexdigest()[:32]


def _from_metrics_network() -> bool:
    """True for the networks of the settings; behind a proxy that is not trusted only a token helps."""
    return client.is_in(container().settings.access.metrics_networks)


@blueprint.get("/login")
def login_form() -> str:
    """The page that asks for a token, or with a one-time link for one click: no mail scanner spends it by looking."""
    link = request.args.get("link", "")
    shown = link if looks_like(link) is Kind.LINK else ""
    return render_template("login.html", next=_local(request.args.get("next", "")), wrong=False, link=shown)


@blueprint.post("/login")
def login() -> AnyResponse:
    """Open a session with a token; 401 with a wrong one, 429 after too many wrong ones from one address."""
    security.require_same_origin(container().settings.web.base_url, browsers_only=True)
    throttle, address = cast(Brake, current_app.extensions[_THROTTLE]), client.counted()
    _let_wait(throttle, address)
    onward = _local(request.form.get("next", ""))
    who = _identify(request.form.get("token", "").strip(), Kind.TOKEN, Kind.LINK)
    if who is None:
        throttle.failed(address)
        _note_refusal(address)
        return _wrong(onward)
    opened = container().access.open_session(who)
    metrics.LOGINS.labels("session", "accepted").inc()
    log.info("login_accepted", extra={"actor": who.actor})
    session.clear()
    session.permanent = True
    session["token"], session["session"] = _mark(), opened
    return redirect(onward, 303)


def _wrong(onward: str) -> Response:
    metrics.LOGINS.labels("session", "refused").inc()
    log.warning("login_refused")
    return make_response(render_template("login.html", next=onward, wrong=True, link=""), 401)


def _note_refusal(address: str) -> None:
    """In the audit log, too; no more than so many an hour from a process, for that log is never cut."""
    noted, parts = cast(Throttle, current_app.extensions[_NOTED]), container()
    if noted.wait(""):
        return
    noted.failed("")
    try:
        parts.audit.append("anonymous", "login.refused", "login", parts.clock.now(), after={"address": address})
    except SyncError as error:
        log.warning("refusal_not_noted", extra={"code": error.code})


@blueprint.post("/logout")
def logout() -> AnyResponse:
    """End the session, here and in the browser."""
    container().access.close_session(str(session.get("session", "")))
    session.clear()
    return redirect("/login", 303)


def _local(target: str) -> str:
    """`target` when it is a path on this very site, else "/": a login must not send people elsewhere."""
    odd = not target.startswith("/") or target.startswith("//") or "\\" in target or not target.isprintable()
    return "/" if odd else target

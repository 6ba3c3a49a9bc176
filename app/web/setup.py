"""`GET /setup` and `GET /setup.sh`: how a developer's machine or a CI job comes to use the private proxy. No login."""

from __future__ import annotations

import re

from flask import Blueprint, Response, make_response, render_template

from app.config_athens import certificates
from app.config_models import Settings
from app.doctor.settings import is_too_wide
from app.doctor.setup_script import Setup, setup_script
from app.domain.errors import SyncError
from app.domain.patterns import PLACEHOLDER
from app.web.context import container

blueprint = Blueprint("setup", __name__)


@blueprint.get("/setup")
def page() -> str:
    """What to run, and what it sets."""
    settings = container().settings
    told = {"setup": client_setup(settings), "left_out": left_out(settings), "base_url": settings.web.base_url}
    return render_template("setup.html", **told)


@blueprint.get("/setup.sh")
def script() -> Response:
    """The script itself, as text, so that a browser shows it."""
    text = setup_script(client_setup(container().settings))
    return make_response(text, 200, {"Content-Type": "text/plain; charset=utf-8"})


def client_setup(settings: Settings) -> Setup:
    """By [setup]; what it leaves out follows from the proxies and rules. Error: not_found without a proxy's address."""
    own = settings.setup
    address = own.proxy_url or next((proxy.url for proxy in settings.proxies if proxy.url), "")
    if not address:
        raise SyncError("not_found", "no proxy of this modsync has an address for developers")
    private = own.private or tuple(pattern for pattern in _patterns(settings) if not is_too_wide(pattern))
    ca = certificates(own.ca_file) if own.ca_file else ""
    return Setup(address, private, ca, own.password)


def left_out(settings: Settings) -> tuple[str, ...]:
    """What rules name and GONOSUMDB must not: everybody's modules, whose checksums would not be checked any more."""
    return () if settings.setup.private else tuple(filter(is_too_wide, _patterns(settings)))


def _patterns(settings: Settings) -> tuple[str, ...]:
    """The rules' modules as GONOSUMDB takes them: it matches prefixes, so what follows the last fixed element goes."""
    named = (re.sub(r"(?:/\*)+$", "", PLACEHOLDER.sub("*", rule.modules)) for rule in settings.rules)
    return tuple(dict.fromkeys(named))

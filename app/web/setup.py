"""`GET /setup` and `GET /setup.sh`: how a developer's machine or a CI job comes to use the private proxy. No login."""

from __future__ import annotations

import re
from collections.abc import Iterator

from flask import Blueprint, Response, make_response, render_template

from app.config_athens import certificates
from app.config_models import Settings
from app.doctor.setup_script import Setup, setup_script
from app.domain.errors import SyncError
from app.domain.patterns import PLACEHOLDER
from app.web.context import container

blueprint = Blueprint("setup", __name__)


@blueprint.get("/setup")
def page() -> str:
    """What to run, and what it sets."""
    setup = client_setup(container().settings)
    return render_template("setup.html", setup=setup, base_url=container().settings.web.base_url)


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
    private = own.private or tuple(dict.fromkeys(_patterns(settings)))
    ca = certificates(own.ca_file) if own.ca_file else ""
    return Setup(address, private, ca, own.password)


def _patterns(settings: Settings) -> Iterator[str]:
    """The rules' modules as GONOSUMDB takes them: it matches prefixes, so what follows the last fixed element goes."""
    for rule in settings.rules:
        yield re.sub(r"(?:/\*)+$", "", PLACEHOLDER.sub("*", rule.modules))

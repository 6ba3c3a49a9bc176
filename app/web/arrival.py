"""Who comes by a link from another site, a chat's for example: their session's cookie is Strict and stays away that once."""

from __future__ import annotations

from urllib.parse import quote

from flask import Response, current_app, make_response, render_template, request


def from_elsewhere() -> bool:
    """True where a browser follows another site's link and brings no session; the next request comes from our own page."""
    sent = request.headers.get("Sec-Fetch-Site"), request.headers.get("Sec-Fetch-Mode")
    return sent == ("cross-site", "navigate") and current_app.config["SESSION_COOKIE_NAME"] not in request.cookies


def once_more() -> Response:
    """A page of ours that asks for the same address: with that request the browser sends the cookie, where it has one."""
    path = f"/{quote(request.path.lstrip('/'))}"  # never "//": that would be another host
    query = request.query_string.decode("ascii", "replace")
    return make_response(render_template("arrival.html", target=f"{path}?{query}" if query else path))

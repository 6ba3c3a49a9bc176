"""The API as a Flask application: routing with encoded slashes, callers, errors."""

from typing import Any
from urllib.parse import unquote
from wsgiref.types import WSGIApplication

from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException

from tests.sandbox.gitlab import auth
from tests.sandbox.gitlab.api_account import account
from tests.sandbox.gitlab.api_groups import groups
from tests.sandbox.gitlab.api_jobs import jobs
from tests.sandbox.gitlab.api_pipelines import pipelines
from tests.sandbox.gitlab.api_projects import projects
from tests.sandbox.gitlab.api_protection import protection
from tests.sandbox.gitlab.api_repository import repository
from tests.sandbox.gitlab.errors import ApiError, BannedError, unauthorized
from tests.sandbox.gitlab.request import caller, doorkeeper, install, world
from tests.sandbox.gitlab.world import World

_PREFIX = "/api/v4"
_SAFE = ("GET", "HEAD")


def make_api(state: World, door: auth.Doorkeeper) -> WSGIApplication:
    """The WSGI application of everything below /api/v4; one request at a time, so every handler is a transaction."""
    app = Flask("gitlab-stand-in")
    install(app, state, door)
    for blueprint in (account, groups, projects, protection, repository, pipelines, jobs):
        app.register_blueprint(blueprint, url_prefix=_PREFIX)
    app.before_request(_admit)
    app.register_error_handler(BannedError, lambda _: Response("Forbidden\n", 403, content_type="text/plain"))
    app.register_error_handler(ApiError, _refuse)
    app.register_error_handler(HTTPException, _unknown)

    def one_at_a_time(environ: dict[str, Any], start_response: Any) -> Any:
        environ["PATH_INFO"] = _path_with_encoded_slashes(environ)
        with state.lock:
            return app(environ, start_response)

    return one_at_a_time


def _path_with_encoded_slashes(environ: dict[str, Any]) -> str:
    """The path as sent, decoded except for `%2F`: an unencoded project path then matches no route, as in GitLab."""
    raw = str(environ.get("RAW_URI") or environ["PATH_INFO"]).partition("?")[0]
    segments = [unquote(segment, "latin-1").replace("/", "%2F") for segment in raw.split("/")]
    return "/".join(segments)


def _admit() -> None:
    """Ban, token, read-only mode and scope, in this order; the path decides what may go without a token."""
    address = request.remote_addr or ""
    if world().settings.old_ban and doorkeeper().banned(address):
        raise BannedError
    headers = {name.lower(): value for name, value in request.headers}
    g.caller = doorkeeper().api_caller(auth.secret_of_api(headers, request.args.to_dict()), address)
    own = request.path.endswith(("/personal_access_tokens/self", "/trigger/pipeline"))
    if caller().user is None and request.method not in _SAFE and not own:
        raise unauthorized()
    if request.method not in _SAFE and world().settings.read_only:
        raise _maintenance()
    if not own:
        caller().need(_scopes())


def _scopes() -> tuple[str, ...]:
    if request.method not in _SAFE:
        return auth.WRITE
    return (*auth.READ, "read_user") if request.path == f"{_PREFIX}/user" else auth.READ


def _maintenance() -> ApiError:
    headers = {"Retry-After": str(world().settings.retry_after)}
    return ApiError(503, {"message": "GitLab is undergoing maintenance"}, headers)


def _refuse(error: ApiError) -> Response:
    response = jsonify(error.body)
    response.status_code = error.status
    response.headers.update(error.headers)
    return response


def _unknown(error: HTTPException) -> Response:
    code = error.code or 500
    response = jsonify({"error": f"{code} {error.name}"})
    response.status_code = code
    return response

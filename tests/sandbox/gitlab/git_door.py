"""git over HTTP as GitLab guards it: who may fetch and push, what a push sets off."""

import json
import re
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs
from wsgiref.types import StartResponse, WSGIEnvironment

from tests.sandbox.git_http import GitHttpBackend
from tests.sandbox.gitlab.auth import Caller, Doorkeeper, secret_of_git
from tests.sandbox.gitlab.errors import ApiError, GitError
from tests.sandbox.gitlab.model import Level, Project, User
from tests.sandbox.gitlab.namespaces import create_project
from tests.sandbox.gitlab.pushes import Push, accept
from tests.sandbox.gitlab.world import World

PATH = re.compile(r"/(?P<project>.+?)\.git/(?P<file>info/refs|git-upload-pack|git-receive-pack|HEAD|objects/.+)")
_FETCH_SCOPES = ("api", "read_repository", "write_repository")
_PUSH_SCOPES = ("api", "write_repository")
_PHRASES = {401: "Unauthorized", 403: "Forbidden", 404: "Not Found"}
_DENIED = (
    "HTTP Basic: Access denied. If a password was provided for Git authentication, the password was incorrect or "
    "you're required to use a token instead of a password."
)
_BANNED = "Too many failed authentication attempts from this IP"
_INVISIBLE = "The project you were looking for could not be found or you don't have permission to view it."


@dataclass(frozen=True)
class _Visit:
    """One git request: the project's path as asked for, whether it is a push, whether it is the pack itself."""

    path: str
    file: str
    push: bool


class GitDoor:
    """The WSGI application of everything that PATH matches."""

    def __init__(self, world: World, door: Doorkeeper) -> None:
        self._world, self._door = world, door
        self._backend = GitHttpBackend(world.repositories, receive_pack=True)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            visit = _visit(environ)
            with self._world.lock:
                caller = self._caller(environ, visit)
                project = self._project(caller.user, visit)
                self._check(caller, project, visit)
        except GitError as refusal:
            return _refused(refusal, start_response)
        environ["PATH_INFO"] = f"/{project.repository.name}/{visit.file}"
        environ["REMOTE_USER"] = caller.user.username if caller.user else ""
        if visit.file == "git-receive-pack" and caller.user:
            return self._receive(environ, start_response, Push(self._world, project, caller.user, visit.path))
        return self._backend(environ, start_response)

    def _receive(self, environ: WSGIEnvironment, start_response: StartResponse, push: Push) -> list[bytes]:
        """Let git take the push under today's rules, and do what follows before the pusher gets the answer."""
        rules = self._world.root / "pushes" / f"{uuid.uuid4()}.json"
        rules.parent.mkdir(exist_ok=True)
        rules.write_text(json.dumps(push.rules()))
        environ["sandbox.git_env"] = {"SANDBOX_RULES": str(rules), **push.git_limits()}
        try:
            answer = _whole(self._backend(environ, start_response))
            self._follow_up(push, rules.with_name(f"{rules.name}.result"))
        finally:
            rules.unlink()
        return [answer]

    def _follow_up(self, push: Push, result: Path) -> None:
        with suppress(FileNotFoundError):  # a refused push leaves none
            report = json.loads(result.read_text())
            result.unlink()
            accept(push, report["updates"], report["options"])

    def _caller(self, environ: WSGIEnvironment, visit: _Visit) -> Caller:
        """Who comes; 401 for nobody and for a bad token, whether the project exists or not."""
        address = str(environ.get("REMOTE_ADDR", ""))
        if self._door.banned(address):
            raise GitError(403, "Forbidden\n" if self._world.settings.old_ban else _BANNED)
        secret = secret_of_git(str(environ.get("HTTP_AUTHORIZATION", "")))
        caller = self._door.git_caller(secret, address, self._world.project(visit.path))
        if caller is None:
            raise GitError(401, _DENIED)
        if caller.user is None and not self._is_open(visit):
            raise GitError(401, _DENIED)
        return caller

    def _is_open(self, visit: _Visit) -> bool:
        project = self._world.project(visit.path)
        return not visit.push and project is not None and project.visibility == "public"

    def _project(self, user: User | None, visit: _Visit) -> Project:
        found = self._world.project(visit.path) or self._world.moved_project(visit.path)
        if found is None and user is not None and visit.push and self._world.settings.push_to_create:
            found = self._made_by_push(user, visit.path)
        if found is None or not self._world.can_see(user, found):
            raise GitError(404, _INVISIBLE)
        return found

    def _made_by_push(self, user: User, path: str) -> Project | None:
        """GitLab makes a private project for whoever may make one there: a typo is enough."""
        space = self._world.namespace(path.rpartition("/")[0])
        if space is None:
            return None
        try:
            return create_project(
                self._world, user, {"namespace_id": space.id, "path": path.rpartition("/")[2], "visibility": "private"}
            )
        except ApiError:
            return None

    def _check(self, caller: Caller, project: Project, visit: _Visit) -> None:
        if caller.token and not caller.allows(_FETCH_SCOPES):
            raise GitError(403, "You are not allowed to download code.")
        level = self._world.level(caller.user, project)
        if not visit.push:
            if level < Level.REPORTER and project.visibility == "private":
                raise GitError(403, "You are not allowed to download code from this project.")
            return
        if not caller.allows(_PUSH_SCOPES):
            raise GitError(403, "You are not allowed to upload code.")
        if self._world.settings.read_only:
            raise GitError(403, "You can't push code to a read-only GitLab instance.")
        if project.limits.read_only:
            raise GitError(403, "The repository is temporarily read-only. Please try again later.")
        if level < Level.DEVELOPER:
            raise GitError(403, "You are not allowed to push code to this project.")


def _visit(environ: WSGIEnvironment) -> _Visit:
    match = PATH.fullmatch(str(environ["PATH_INFO"]))
    if match is None:
        raise GitError(404, _INVISIBLE)
    services = parse_qs(str(environ.get("QUERY_STRING", ""))).get("service", [""])
    push = "git-receive-pack" in (services[0], match["file"])
    return _Visit(match["project"], match["file"], push)


def _whole(answer: Any) -> bytes:
    try:
        return b"".join(answer)
    finally:
        answer.close()


def _refused(refusal: GitError, start_response: StartResponse) -> list[bytes]:
    body = refusal.text.encode()
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body)))]
    if refusal.status == 401:
        headers.append(("WWW-Authenticate", 'Basic realm="GitLab"'))
    start_response(f"{refusal.status} {_PHRASES[refusal.status]}", headers)
    return [body]

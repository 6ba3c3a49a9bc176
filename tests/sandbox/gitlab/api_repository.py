"""Branches, tags, commits and files of a project's repository; pushes make them, only tags can be deleted here."""

from typing import Any
from urllib.parse import unquote

from flask import Blueprint, Response, request

from tests.sandbox.gitlab.errors import forbidden, not_found
from tests.sandbox.gitlab.model import Level, Project
from tests.sandbox.gitlab.pages import answer
from tests.sandbox.gitlab.protection import branch_rules, can_push, tag_rules
from tests.sandbox.gitlab.repository import Ref, Repository
from tests.sandbox.gitlab.request import caller, project, world

repository = Blueprint("repository", __name__)
_BRANCHES, _TAGS = "refs/heads/", "refs/tags/"


@repository.get("/projects/<encoded>/repository/branches")
def list_branches(encoded: str) -> Response:
    found, search = _readable(encoded), request.args.get("search", "")
    refs = [ref for ref in _git(found).refs(_BRANCHES) if search in ref.name.removeprefix(_BRANCHES)]
    return answer(refs, lambda ref: _branch_view(found, ref))


@repository.get("/projects/<encoded>/repository/branches/<name>")
def get_branch(encoded: str, name: str) -> dict[str, Any]:
    found = _readable(encoded)
    ref = _git(found).ref(_BRANCHES + unquote(name))
    if ref is None:
        raise not_found("Branch")
    return _branch_view(found, ref)


@repository.get("/projects/<encoded>/repository/tags")
def list_tags(encoded: str) -> Response:
    found, search = _readable(encoded), request.args.get("search", "")
    refs = [ref for ref in _git(found).refs(_TAGS) if search.strip("^$") in ref.name.removeprefix(_TAGS)]
    return answer(refs, lambda ref: _tag_view(found, ref))


@repository.get("/projects/<encoded>/repository/tags/<name>")
def get_tag(encoded: str, name: str) -> dict[str, Any]:
    found = _readable(encoded)
    ref = _git(found).ref(_TAGS + unquote(name))
    if ref is None:
        raise not_found("Tag")
    return _tag_view(found, ref)


@repository.delete("/projects/<encoded>/repository/tags/<name>")
def delete_tag(encoded: str, name: str) -> tuple[str, int]:
    """Maintainers may delete protected tags here ("web interface"), which no push may."""
    found, tag = project(encoded, Level.DEVELOPER), unquote(name)
    if _git(found).ref(_TAGS + tag) is None:
        raise not_found("Tag")
    if tag_rules(found, tag) and world().level(caller().user, found) < Level.MAINTAINER:
        raise forbidden()
    _git(found).delete_ref(_TAGS + tag)
    return "", 204


@repository.get("/projects/<encoded>/repository/commits/<name>")
def get_commit(encoded: str, name: str) -> dict[str, Any]:
    found = _readable(encoded)
    commit = _git(found).commit(_resolved(_git(found), unquote(name)))
    if commit is None:
        raise not_found("Commit")
    return {**commit, "status": None, "project_id": found.id}


@repository.get("/projects/<encoded>/repository/files/<name>/raw")
def get_file(encoded: str, name: str) -> Response:
    found = _readable(encoded)
    ref = unquote(request.args.get("ref") or found.default_branch or "HEAD")
    text = _git(found).read(_resolved(_git(found), ref), unquote(name))
    if text is None:
        raise not_found("File")
    return Response(text, mimetype="text/plain")


def _readable(encoded: str) -> Project:
    """Guests see a private project but not its code."""
    found = project(encoded)
    if found.visibility == "private" and world().level(caller().user, found) < Level.REPORTER:
        raise forbidden()
    return found


def _git(found: Project) -> Repository:
    return world().repository(found)


def _resolved(git: Repository, name: str) -> str:
    """A branch's or tag's commit; else the name itself when it could be a commit's id, else nothing git knows."""
    for prefix in (_BRANCHES, _TAGS):
        if ref := git.ref(prefix + name):
            return ref.commit
    is_hex = len(name) >= 4 and all(letter in "0123456789abcdef" for letter in name)
    return name if is_hex else "0" * 40


def _branch_view(found: Project, ref: Ref) -> dict[str, Any]:
    name = ref.name.removeprefix(_BRANCHES)
    return {
        "name": name,
        "commit": _git(found).commit(ref.commit),
        "merged": False,
        "protected": bool(branch_rules(found, name)),
        "developers_can_push": can_push(found, name, Level.DEVELOPER),
        "developers_can_merge": False,
        "can_push": can_push(found, name, world().level(caller().user, found)),
        "default": name == found.default_branch,
        "web_url": f"{world().url}/{found.path}/-/tree/{name}",
    }


def _tag_view(found: Project, ref: Ref) -> dict[str, Any]:
    name = ref.name.removeprefix(_TAGS)
    return {
        "name": name,
        "target": ref.target,
        "message": _git(found).tag_message(ref.target),
        "commit": _git(found).commit(ref.commit),
        "release": None,
        "protected": bool(tag_rules(found, name)),
    }

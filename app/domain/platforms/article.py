"""The article's own body (chapter 4.4): `ref`, `commit_id`, `module_path`, and what modsync adds to it.

`version`, `repo_url`, `subdir`, `delivery_id` and `h1` are optional; null is the same as absent; unknown keys are left alone.
Several releases in one body stand in `releases`: an item's missing fields are those around the list.
"""

from __future__ import annotations

import re

from app.domain.gopath import check_module_element
from app.domain.modules import ModulePath, Version, split_tag
from app.domain.platforms.fields import (
    ID_LIMIT,
    MODULE_LIMIT,
    REF_LIMIT,
    VERSION_LIMIT,
    Fields,
    Ref,
    by_rule,
    invalid,
    parse_ref,
)
from app.domain.platforms.release import ReleaseEvent
from app.domain.platforms.versions import check_tag_dir, explicit_version, fit_path, names_version

RELEASES_LIMIT = 100  # in one body: each is a run, and the sender waits for all of them
_H1 = re.compile(r"h1:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")  # base64 of 32 bytes leaves two bits of zeros


def parse_releases(body: Fields) -> tuple[ReleaseEvent, ...]:
    """All releases of a body, each once; SyncError `invalid_payload` names the first field that is missing or illegal."""
    if body.values.get("releases") is None:
        return (parse_article(body),)
    items = body.objects("releases", RELEASES_LIMIT)
    shared = {name: value for name, value in body.values.items() if name != "releases"}
    found = [parse_article(Fields({**shared, **item.values}, item.at)) for item in items]
    return tuple(dict.fromkeys(found))


def parse_article(body: Fields) -> ReleaseEvent:
    """The release; SyncError `invalid_payload` names the first field that is missing or illegal."""
    path = by_rule(body.name("module_path"), ModulePath.parse, body.text("module_path", MODULE_LIMIT))
    ref = parse_ref(body.text("ref", REF_LIMIT), body.name("ref"))
    commit = body.commit("commit_id")
    subdir = _subdir(body)
    tag = _version_tag(body, ref, path, subdir)
    version = _version(body, path, tag, subdir)
    return ReleaseEvent(
        module=path,
        ref=ref.name,
        is_tag=True if tag else ref.is_tag,
        commit=commit,
        version=version,
        repo_url=body.url("repo_url"),
        subdir=tag[0] if tag and subdir is None else subdir,
        delivery_key=body.optional("delivery_id", ID_LIMIT),
        h1=_h1(body),
    )


def _version_tag(body: Fields, ref: Ref, path: ModulePath, subdir: str | None) -> tuple[str, Version] | None:
    """(directory, version) when `ref` is or looks like a version's tag, which must then suit the module; else None."""
    if not names_version(ref):
        return None
    field = body.name("ref")
    tag_dir, version = by_rule(field, split_tag, ref.name)
    check_tag_dir(tag_dir, subdir, path, field)
    return tag_dir, version


def _version(body: Fields, path: ModulePath, tag: tuple[str, Version] | None, subdir: str | None) -> Version | None:
    """The version told, else the tag's, else None; told and tagged must agree."""
    text = body.optional("version", VERSION_LIMIT)
    field = body.name("version" if text else "ref")
    told = explicit_version(text, field) if text else None
    if told and tag and told.tag_part != tag[1].text:
        raise invalid(field, f"version {told} is not the one of the tag, {tag[1]}")
    version = told or (tag[1] if tag else None)
    at_root = not (tag[0] if tag else subdir)
    return fit_path(version, path, at_root, field) if version else None


def _subdir(body: Fields) -> str | None:
    """The module's directory below the repository's root, "" for the root itself; None when it is not told."""
    if body.values.get("subdir") == "":
        return ""
    text = body.optional("subdir", MODULE_LIMIT)
    for element in (text or "").split("/") if text else []:
        by_rule(body.name("subdir"), lambda element: check_module_element(str(text), element), element)
    return text


def _h1(body: Fields) -> str | None:
    text = body.optional("h1", ID_LIMIT)
    if text and not _H1.fullmatch(text):
        raise invalid(body.name("h1"), "is not 'h1:' and the base64 of a SHA-256, as in go.sum")
    return text

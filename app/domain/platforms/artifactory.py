"""Artifactory: a Go module arrives as `.info`, `.mod` and `.zip`; the zip is the release.

Source: JFrog "Event Types", domain artifact. The event stands at the top, or inside `event` with `data` as JSON text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from app.domain.modules import ModulePath, Version, check_path_major
from app.domain.platforms.fields import ID_LIMIT, MODULE_LIMIT, URL_LIMIT, VERSION_LIMIT, Fields, by_rule
from app.domain.platforms.release import Ignored, Parsed, Policy, ReleaseEvent
from app.domain.webhook import parse_object

_WORD_LIMIT = 100
_ZIP = re.compile(r"/?(?P<module>.+)/@v/(?P<version>[^/]+)\.zip")


def parse_artifactory(_headers: Mapping[str, str], body: Fields, _policy: Policy) -> Parsed:
    """The release that a deployed zip is; a registry names neither repository nor commit."""
    event = body.maybe("event") or body
    domain, kind = event.text("domain", _WORD_LIMIT), event.text("event_type", _WORD_LIMIT)
    if (domain, kind) == ("artifact", "deleted"):
        return Ignored("deleted", "an artifact was deleted; modsync never deletes a version")
    if (domain, kind) != ("artifact", "deployed"):
        return Ignored("not_a_release", f"event {kind!r} of domain {domain!r} tells no release")
    data = _data(event)
    path = data.free_text("path")  # of any artifact: people deploy other things than modules, too
    match = _ZIP.fullmatch(path)
    if match is None or len(path) > URL_LIMIT:
        return Ignored("not_a_release", "the artifact is not the zip of a Go module")
    return _release(match["module"], match["version"], data.name("path"), event.optional("id", ID_LIMIT))


def _data(event: Fields) -> Fields:
    """`data`, an object or the JSON text of one."""
    if not isinstance(event.values.get("data"), str):
        return event.object("data")
    name = event.name("data")
    return Fields(parse_object(str(event.values["data"]), name), name)


def _release(module: str, text: str, field: str, delivery: str | None) -> Parsed:
    path = by_rule(field, ModulePath.unescape, module)
    version = by_rule(field, Version.unescape, text)
    by_rule(field, lambda _: check_path_major(version, path), text)
    if len(path.text) > MODULE_LIMIT or len(version.text) > VERSION_LIMIT:
        return Ignored(
            "not_a_release", f"module or version is longer than {MODULE_LIMIT} or {VERSION_LIMIT} characters"
        )
    if version.is_pseudo:
        return Ignored("not_a_version_tag", f"{version} is a pseudo-version: nothing was tagged")
    return (ReleaseEvent(path, version.tag_part, None, None, version, delivery_key=delivery),)

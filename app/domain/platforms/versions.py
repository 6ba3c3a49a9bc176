"""Which module version a tag or a `version` field names, and whether it can be a version of that module path.

Sources: Go Modules Reference ("Mapping versions to commits", "Major version suffixes"), cmd/go modfetch/coderepo.go.
"""

from __future__ import annotations

import re

from app.domain.modules import INCOMPATIBLE, ModulePath, Version, check_path_major, split_tag
from app.domain.platforms.fields import REF_LIMIT, VERSION_LIMIT, Ref, by_rule, invalid, parse_ref
from app.domain.platforms.release import Ignored, ReleaseEvent
from app.domain.rules import RuleBroken

_LONGEST = VERSION_LIMIT - len(INCOMPATIBLE)  # the worker may have to add it
_LONGEST_SAID = 3000  # a name that nobody can read is ten times as long when it is escaped, and told twice
_LOOKS_LIKE_VERSION = re.compile(r"v[0-9]+\.[0-9]+\.[0-9]+(?![0-9.])")


def names_version(ref: Ref) -> bool:
    """True when a ref that is not known to be a branch has a version's form (legal or not) in its last element."""
    return ref.is_tag is not False and _LOOKS_LIKE_VERSION.match(ref.name.rpartition("/")[2]) is not None


def tag_release(tag: str, field: str, repo_url: str | None, commit: str | None) -> ReleaseEvent | Ignored:
    """The release of a repository that a tag's short name tells; Ignored where Go would see no version in it.

    The module path is not known yet: whoever adds it calls fit_path() with the version.
    """
    name = parse_ref(f"refs/tags/{tag}", field).name
    if len(name) > REF_LIMIT:
        return Ignored("not_a_version_tag", f"the name of tag {name[:80]!r}... is longer than {REF_LIMIT} characters")
    try:
        subdir, version = split_tag(name)
    except RuleBroken as broken:
        said = f"tag {name!r} names no module version: {broken.message}"
        return Ignored("not_a_version_tag", said[:_LONGEST_SAID])
    if len(version.text) > _LONGEST:
        return Ignored("not_a_version_tag", f"the version of tag {name[:80]!r}... is longer than {_LONGEST} characters")
    return ReleaseEvent(None, name, True, commit, version, repo_url, subdir)


def explicit_version(text: str, field: str) -> Version:
    """A `version` field: legal, and not a pseudo-version, which names a commit and is never released."""
    version = by_rule(field, Version.parse, text)
    if version.is_pseudo:
        raise invalid(field, f"version {text!r} is a pseudo-version: release a tag, or leave the version out")
    return version


def fit_path(version: Version, path: ModulePath, at_root: bool, field: str) -> Version:
    """`version` as a version of `path`, or the rule that forbids it.

    `v2.0.0` of a path without `/v2` is `v2.0.0+incompatible`: at a repository's root Go knows it by no other name, and
    only the commit can tell (by having no go.mod) whether it exists. Intake cannot look, so it takes the name that Go
    would; a worker that finds a go.mod refuses the release and names the `/v2` path. Below the root, and on gopkg.in,
    there is no such version.
    """
    if len(version.text) > _LONGEST:
        raise invalid(field, f"version {version.text[:80]}... is longer than {_LONGEST} characters")
    incompatible = not path.major_suffix and version.major not in ("v0", "v1")
    if version.is_incompatible and not incompatible:
        raise invalid(field, f"version {version} of {path}: +incompatible is for v2 and up of a path without /vN")
    if not incompatible:
        by_rule(field, lambda _: check_path_major(version, path), version.text)
        return version
    if not at_root:
        raise invalid(field, f"version {version} of {path} needs the path {path}/{version.major} (version_major)")
    return version.with_incompatible()


def check_tag_dir(tag_dir: str, subdir: str | None, path: ModulePath, field: str) -> None:
    """The tag's directory must be the one Go looks for: that of `subdir` when told, else the end of the module path."""
    if subdir is not None:
        wanted = _without_major(subdir, path)
        if tag_dir != wanted:
            raise invalid(field, f"a module in {subdir or 'the root'!r} has tags like {_tag_like(wanted)!r}")
    elif tag_dir and not path.prefix.endswith(f"/{tag_dir}"):
        raise invalid(field, f"tags of {path} cannot start with {tag_dir!r}, which is not the end of its path")


def _without_major(subdir: str, path: ModulePath) -> str:
    """`sdk` of `sdk/v2` for a `/v2` module: Go's tags leave the major directory out."""
    if path.major_suffix.startswith("/"):
        return f"/{subdir}".removesuffix(path.major_suffix).strip("/")
    return subdir


def _tag_like(tag_dir: str) -> str:
    return f"{tag_dir}/v1.2.3" if tag_dir else "v1.2.3"

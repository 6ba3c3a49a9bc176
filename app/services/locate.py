"""Where a released module lies in a repository: commit and directory (cmd/go/internal/modfetch/coderepo.go Stat, findDir).

Go learns from the module path's host which path the repository's root has. modsync is given a repository that may be called
anything, so unless the path itself tells, every split of the path is tried and go.mod's module line decides.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.domain.gomod import scan_module_path
from app.domain.gopath import split_path_version
from app.domain.modules import (
    ModulePath,
    PseudoVersion,
    RuleBroken,
    Version,
    semver_compare,
    subdir_candidates,
    tag_name,
)
from app.domain.modzip import MAX_GO_MOD, check_release
from app.services.checksum import CommitFiles, release_go_mod

_KNOWN_ROOTS = (
    re.compile(r"(?:github\.com|bitbucket\.org)/[^/]+/[^/]+"),
    re.compile(r"gopkg\.in/.+"),
    re.compile(r"[^/]+(?:/[^/]+)*?\.git(?=/|\Z)"),
)
_COMMIT_DIGITS = 12


class History(CommitFiles, Protocol):
    """A repository's tags and commits besides its files. Commits are full hex hashes."""

    def tag_commit(self, tag: str) -> str | None:
        """The commit that a tag peels to; None when there is no such tag. RuleBroken `tag_not_commit` for a tree or a blob."""
        ...

    def revision_commit(self, revision: str) -> str | None:
        """The commit that a tag, a branch or a commit's leading digits name, if it is reachable from a ref."""
        ...

    def commit_time(self, commit: str) -> datetime:
        """The committer's time, aware."""
        ...

    def tags(self) -> Mapping[str, str]:
        """Every tag's name and the object that it peels to."""
        ...

    def is_ancestor(self, older: str, commit: str) -> bool:
        """Whether `commit` descends from `older` or is the same."""
        ...


@dataclass(frozen=True, slots=True)
class Place:
    """A release's commit, and the directory of its go.mod (empty: the root)."""

    commit: str
    subdir: str


def locate(history: History, module: ModulePath, version: Version) -> Place:
    """Find a release. RuleBroken `version_not_found`, `pseudo_*`, `tag_not_commit`, `go_mod_*` or what check_release raises."""
    check_release(module, version)
    problems = []
    for root in possible_roots(module):
        try:
            return _place(history, module, version, root)
        except RuleBroken as problem:
            problems.append(problem)
    raise _summary(problems)


def _summary(problems: list[RuleBroken]) -> RuleBroken:
    """The most telling problem first, then which tags were looked for in vain."""
    missing = [problem for problem in problems if problem.rule == "version_not_found"]
    telling = [problem for problem in problems if problem not in missing][:1]
    messages = dict.fromkeys(problem.message for problem in (*telling, *missing))
    return RuleBroken((telling or missing)[0].rule, "; ".join(messages))


def possible_roots(module: ModulePath) -> list[str]:
    """Module paths that the repository's root may have, the module's own first; one where the path itself tells."""
    for pattern in _KNOWN_ROOTS:
        match = pattern.match(module.text)
        if match:
            return [match[0]]
    elements = module.prefix.split("/")
    return ["/".join(elements[:count]) for count in range(len(elements), 0, -1)]


def _place(history: History, module: ModulePath, version: Version, root: str) -> Place:
    tag_dir = subdir_candidates(module, root)[0].tag_dir
    commit = _pseudo_commit(history, version) if version.is_pseudo else _tag_commit(history, version, tag_dir)
    subdir = _find_dir(history, commit, module, root)
    release_go_mod(history, commit, module, version, subdir)
    if version.is_pseudo:
        _check_base(history, commit, module, version, tag_dir)
    if not subdir:
        _check_not_below(history, commit, module, root)
    return Place(commit, subdir)


def _tag_commit(history: History, version: Version, tag_dir: str) -> str:
    tag = tag_name(tag_dir, version)
    commit = history.tag_commit(tag)
    if commit is None:
        raise RuleBroken("version_not_found", f"unknown revision: the repository has no tag {tag!r}")
    return commit


def _pseudo_commit(history: History, version: Version) -> str:
    """The commit of a pseudo-version, whose digits and time must be its own."""
    pseudo = PseudoVersion.parse(version.text)
    commit = history.revision_commit(pseudo.rev)
    if commit is None:
        raise RuleBroken("version_not_found", f"unknown revision: the repository has no commit {pseudo.rev}")
    if commit[:_COMMIT_DIGITS] != pseudo.rev:
        raise RuleBroken("pseudo_revision", f"{version} should name its commit {commit[:_COMMIT_DIGITS]}")
    time = history.commit_time(commit)
    if time != pseudo.time:
        raise RuleBroken("pseudo_time", f"{version} does not have its commit's time {time:%Y%m%d%H%M%S}")
    return commit


def _check_base(history: History, commit: str, module: ModulePath, version: Version, tag_dir: str) -> None:
    """The version that a pseudo-version follows must be a tag on an earlier commit (coderepo.go validatePseudoVersion)."""
    base = PseudoVersion.parse(version.tag_part).base
    if not base:
        if version.major == "v1" and not module.major_suffix:
            raise RuleBroken("pseudo_base", f"{version}: without an earlier tag the major version must be v0")
        return
    prefix = f"{tag_dir}/" if tag_dir else ""
    tags = history.tags()
    if any(tag.removeprefix(prefix) == base for tag, peeled in tags.items() if peeled == commit):
        raise RuleBroken("pseudo_base", f"{version}: its commit is tagged {base}, so that is its version")
    older = [
        peeled
        for tag, peeled in tags.items()
        if tag.startswith(prefix + base) and semver_compare(tag.removeprefix(prefix), base) == 0
    ]
    if not any(history.is_ancestor(peeled, commit) for peeled in older):
        raise RuleBroken("pseudo_base", f"{version}: its commit does not follow a tag {prefix}{base}")


def _find_dir(files: CommitFiles, commit: str, module: ModulePath, root: str) -> str:
    layouts = subdir_candidates(module, root)
    found = {layout.subdir: _declared(files, commit, layout.subdir) for layout in layouts}
    return module_directory(module, found, commit)


def module_directory(module: ModulePath, found: Mapping[str, str | None], commit: str) -> str:
    """The module's directory: `dir` or `dir/vN`, never both; by the major suffix of the module lines (coderepo.go findDir).

    `found`: for each of these, in this order, what its go.mod's module line says as Go scans it (None: it has none).
    RuleBroken `go_mod_both`, `go_mod_missing`, `go_mod_mismatch`.
    """
    there = {subdir: declared for subdir, declared in found.items() if declared is not None}
    fitting = [subdir for subdir, declared in there.items() if _suits(declared, module.major_suffix)]
    if len(fitting) > 1:
        raise RuleBroken(
            "go_mod_both", f"both {' and '.join(map(_file, fitting))} have {module.major_suffix} module paths"
        )
    if not there and not next(iter(found)) and not module.major_suffix.startswith("/"):
        return ""
    if not there:
        raise RuleBroken(
            "go_mod_missing", f"{module}: there is no {' and no '.join(map(_file, found))} at {commit[:12]}"
        )
    # what lies in dir/vN is the module's if anything is there
    subdir = list(there)[-1]
    if subdir not in fitting:
        raise RuleBroken(
            "go_mod_mismatch", f"{_file(subdir)} declares {there[subdir]!r}, but the release is of {module}"
        )
    return subdir


def _declared(files: CommitFiles, commit: str, subdir: str) -> str | None:
    data = files.read_file(commit, _file(subdir), MAX_GO_MOD)
    return None if data is None else scan_module_path(data)


def _suits(declared: str, suffix: str) -> bool:
    """Whether a declared path has the wanted major suffix (coderepo.go isMajor, and its tolerance for gopkg.in)."""
    split = split_path_version(declared)
    if not suffix and declared.startswith("gopkg.in/"):
        return True
    if not declared or split is None:
        return False
    return split[1][1:] == suffix[1:] if suffix and split[1] else not suffix and _is_low(split[1])


def _is_low(suffix: str) -> bool:
    return suffix.removesuffix("-unstable")[1:] in ("", "v0", "v1")


def _check_not_below(files: CommitFiles, commit: str, module: ModulePath, root: str) -> None:
    """A root without go.mod is nobody's module when a directory says it is this one: then its tag has that directory's name."""
    if files.read_file(commit, "go.mod", MAX_GO_MOD) is not None:
        return
    for subdir in _deeper(module, root):
        if _declared(files, commit, subdir) == module.text:
            raise RuleBroken(
                "version_not_found", f"unknown revision: {module} lies in {subdir!r}, which has no such tag"
            )


def _deeper(module: ModulePath, root: str) -> Iterator[str]:
    for other in possible_roots(module):
        if len(other) < len(root):
            yield from (layout.subdir for layout in subdir_candidates(module, other))


def _file(subdir: str) -> str:
    return f"{subdir}/go.mod" if subdir else "go.mod"

"""Brings tags and commits of a source into its cache: one `git fetch` when all is well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from app.adapters.git_process import Result
from app.adapters.git_repository import Repository, check_sha, is_ref

_ARGS = (
    "fetch",
    "--quiet",
    "--no-auto-gc",
    "--no-write-fetch-head",
    "--no-tags",
    "--no-recurse-submodules",
    "--no-write-commit-graph",
    "--stdin",
)
_REFUSED = 1  # git's status when it left a ref as it is; what is worse ends with 128
_MISSING = "couldn't find remote ref"
_BLOCKED = ("cannot lock ref", "some local refs could not be updated")
_NOT_HAD = (_MISSING, "not our ref", "unadvertised object", "no such remote ref")


NoteMoved = Callable[[Mapping[str, str]], None]
"""Told, before tags are overwritten, which object each wanted tag names at the source."""


def fetch_tags(
    repo: Repository, url: str, tags: Sequence[str], note_moved: NoteMoved, meanwhile: Callable[[], None] | None = None
) -> list[str]:
    """Bring these tags (short names) as they are now; returns those that exist at the source.

    A name that git cannot have does not exist, and does not hold up the others. Tags that moved are noted, then forced.
    """
    tags = [tag for tag in dict.fromkeys(tags) if is_ref(f"refs/tags/{tag}")]
    if not tags:
        return []
    result = _fetch(repo, url, _tag_specs(tags), meanwhile=meanwhile)
    if _MISSING in result.err:
        there = repo.remote_refs("source", url)
        tags = [tag for tag in tags if f"refs/tags/{tag}" in there]
        result = _fetch(repo, url, _tag_specs(tags)) if tags else Result(0, b"", "")
    if result.code and any(text in result.err for text in _BLOCKED):
        _delete_blocking(repo, tags)
        result = _fetch(repo, url, _tag_specs(tags))
    if result.code == _REFUSED:
        result = _fetch_moved(repo, url, tags, note_moved)
    if result.code:
        raise repo.failure("source", url, result)
    return tags


def _fetch_moved(repo: Repository, url: str, tags: Sequence[str], note_moved: NoteMoved) -> Result:
    """git refused, maybe without a word, to overwrite a tag: so it has moved."""
    there = repo.remote_refs("source", url, [f"refs/tags/{tag}" for tag in tags])
    note_moved({ref.removeprefix("refs/tags/"): at.object for ref, at in there.items()})
    return _fetch(repo, url, [f"+{spec}" for spec in _tag_specs(tags)])


def fetch_commits(repo: Repository, url: str, commits: Sequence[str], has_commit: Callable[[str], bool]) -> None:
    """Bring those commits that the cache lacks: by their names, else with all branches of the source."""
    lacking = [commit for commit in dict.fromkeys(commits) if commit and not has_commit(check_sha(commit))]
    if not lacking:
        return
    result = _fetch(repo, url, [f"+{commit}:refs/modsync/commits/{commit}" for commit in lacking])
    if result.code and any(text in result.err for text in _NOT_HAD):
        # One that cannot be had refuses them all, and old servers give no commit by its name.
        result = _fetch(repo, url, ["+refs/heads/*:refs/modsync/heads/*"], "--prune")
    if result.code:
        raise repo.failure("source", url, result)


def _fetch(
    repo: Repository, url: str, refspecs: Sequence[str], *more: str, meanwhile: Callable[[], None] | None = None
) -> Result:
    words = "\n".join(refspecs).encode() + b"\n"
    return repo.remote("source", url, [*_ARGS, *more], stdin=words, meanwhile=meanwhile)


def _tag_specs(tags: Sequence[str]) -> list[str]:
    return [f"refs/tags/{tag}:refs/tags/{tag}" for tag in tags]


def _delete_blocking(repo: Repository, tags: Sequence[str]) -> None:
    """Delete the cache's tags that a wanted one cannot stand beside (`sub` and `sub/v1`): the source has them no more."""
    wanted = [f"refs/tags/{tag}" for tag in tags]
    held = repo.local("for-each-ref", "--format=%(refname)", "refs/tags").out.decode().split()
    blocking = [ref for ref in held if any(_clash(ref, other) for other in wanted)]
    repo.local("update-ref", "--stdin", stdin="".join(f"delete {ref}\n" for ref in blocking).encode())


def _clash(one: str, other: str) -> bool:
    return one.startswith(f"{other}/") or other.startswith(f"{one}/")

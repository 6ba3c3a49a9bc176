"""Module paths, versions and tags: text is parsed once into these types, and illegal text is refused with the rule it breaks.

Rules: golang.org/x/mod/module (module.go) and where cmd/go looks for a module in a repository (modfetch/coderepo.go).
"""

from dataclasses import dataclass
from functools import lru_cache, total_ordering

from app.domain.gofold import fold_key
from app.domain.gomod import GoModFile, major_matches, parse_go_mod, synthesized_go_mod
from app.domain.gopath import check_file_path, check_module_element, check_module_path, split_path_version
from app.domain.pseudo import PseudoVersion, is_pseudo, pseudo_version
from app.domain.rules import RuleBroken
from app.domain.semver import (
    semver_build,
    semver_canonical,
    semver_compare,
    semver_is_valid,
    semver_major,
    semver_prerelease,
)

__all__ = [
    "GoModFile",
    "Layout",
    "ModulePath",
    "PseudoVersion",
    "RuleBroken",
    "Version",
    "check_file_path",
    "check_path_major",
    "fold_key",
    "of_major",
    "parse_go_mod",
    "pseudo_version",
    "semver_build",
    "semver_canonical",
    "semver_compare",
    "semver_is_valid",
    "semver_major",
    "semver_prerelease",
    "split_tag",
    "subdir_candidates",
    "synthesized_go_mod",
    "tag_name",
]

INCOMPATIBLE = "+incompatible"


@dataclass(frozen=True, slots=True, order=True)
class ModulePath:
    """A legal module path (CheckPath); make one with parse() or unescape()."""

    text: str

    @classmethod
    def parse(cls, text: str) -> "ModulePath":
        """`example.com/x/v2`; RuleBroken `path_*`."""
        return _module_path(text)

    @classmethod
    def unescape(cls, escaped: str) -> "ModulePath":
        """From the form in proxy URLs (`github.com/!azure/x`); RuleBroken `path_escape` or `path_*`."""
        return cls.parse(_unescape(escaped, "path_escape"))

    def __str__(self) -> str:
        return self.text

    @property
    def escaped(self) -> str:
        """The form in proxy URLs and file names: every upper-case letter as `!` and its lower case."""
        return _escape(self.text)

    @property
    def prefix(self) -> str:
        """The path without its major suffix: `example.com/x` of `example.com/x/v2`, `gopkg.in/yaml` of `gopkg.in/yaml.v2`."""
        return self.text.removesuffix(self.major_suffix)

    @property
    def major_suffix(self) -> str:
        """`/v2`, `.v1`, `.v2-unstable` or empty."""
        split = split_path_version(self.text)
        return split[1] if split else ""


@lru_cache(4096)  # the same modules are released, and asked for, again and again
def _module_path(text: str) -> ModulePath:
    check_module_path(text)
    return ModulePath(text)


@total_ordering
@dataclass(frozen=True, slots=True)
class Version:
    """A canonical module version, `v1.2.3[-pre][+incompatible]`; ordered by semver, ties by text."""

    text: str

    @classmethod
    def parse(cls, text: str) -> "Version":
        """RuleBroken `version_not_semver`, `version_build_metadata` or `version_not_canonical`."""
        if not semver_is_valid(text):
            raise RuleBroken("version_not_semver", f"version {text!r} is not a semantic version with a leading v")
        if semver_build(text) not in ("", INCOMPATIBLE):
            raise RuleBroken(
                "version_build_metadata", f"version {text!r} has build metadata, which no module version may have"
            )
        canonical = semver_canonical(text)
        if canonical + semver_build(text) != text:
            raise RuleBroken("version_not_canonical", f"version {text!r} is not canonical (should be {canonical!r})")
        return cls(text)

    @classmethod
    def unescape(cls, escaped: str) -> "Version":
        """From the form in proxy URLs; RuleBroken `version_escape` or `version_*`."""
        return cls.parse(_unescape(escaped, "version_escape"))

    def __str__(self) -> str:
        return self.text

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Version):
            return NotImplemented
        return (semver_compare(self.text, other.text), self.text) < (0, other.text)

    @property
    def escaped(self) -> str:
        """The form in proxy URLs and file names."""
        return _escape(self.text)

    @property
    def major(self) -> str:
        """`v2`."""
        return semver_major(self.text)

    @property
    def prerelease(self) -> str:
        """`-rc.1`, or empty."""
        return semver_prerelease(self.text)

    @property
    def is_pseudo(self) -> bool:
        """Whether it names a commit instead of a tag."""
        return is_pseudo(self.text)

    @property
    def is_incompatible(self) -> bool:
        """Whether it ends in `+incompatible`."""
        return self.text.endswith(INCOMPATIBLE)

    @property
    def tag_part(self) -> str:
        """What the tag is called: the version without `+incompatible`."""
        return self.text.removesuffix(INCOMPATIBLE)

    def with_incompatible(self) -> "Version":
        """The same version with `+incompatible`."""
        return Version(self.tag_part + INCOMPATIBLE)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a module may lie in a repository: its directory and the one its tags start with (both empty at the root)."""

    subdir: str
    tag_dir: str


def check_path_major(version: Version, path: ModulePath) -> None:
    """CheckPathMajor: RuleBroken `version_major` when the version's major does not suit the path's suffix."""
    if not major_matches(version.text, path.major_suffix):
        wanted = path.major_suffix.removesuffix("-unstable")[1:] or "v0 or v1"
        raise RuleBroken("version_major", f"version {version} of {path} should be {wanted}, not {version.major}")


def tag_name(subdir: str, version: Version) -> str:
    """`sdk/metric/v1.2.3` for a module whose tags start with `sdk/metric`; `v1.2.3` at the root."""
    return f"{subdir}/{version.tag_part}" if subdir else version.tag_part


def of_major(prefix: str, major: int) -> ModulePath | None:
    """The module path of a major version: `x/v2` of `x`, `gopkg.in/y.v1` of `gopkg.in/y`; None where there is none."""
    dot = prefix.startswith("gopkg.in/")
    suffix = f".v{major}" if dot else f"/v{major}" if major >= 2 else ""
    try:
        return ModulePath.parse(prefix + suffix)
    except RuleBroken:
        return None


def split_tag(tag: str) -> tuple[str, Version]:
    """The reverse of tag_name; RuleBroken `version_*`, `tag_pseudo` or `path_*` (a directory no module can have)."""
    subdir, slash, text = tag.rpartition("/")
    version = Version.parse(text)
    if version.is_incompatible:
        raise RuleBroken(
            "version_build_metadata", f"tag {tag!r} has build metadata; +incompatible is never part of a tag"
        )
    if version.is_pseudo:
        raise RuleBroken("tag_pseudo", f"tag {tag!r} looks like a pseudo-version; Go ignores such tags")
    for element in subdir.split("/") if slash else []:
        check_module_element(subdir, element)
    return subdir, version


def subdir_candidates(path: ModulePath, repo_root_path: str) -> list[Layout]:
    """The layouts Go would look at in a repository whose root is `repo_root_path` (coderepo.go newCodeRepo, findDir), best first.

    `a.b/r/sub/v2` in `a.b/r` -> (`sub`, tags `sub/...`) and (`sub/v2`, tags `sub/...`); a module at the repository's whole path,
    or gopkg.in's `.vN`, has one. RuleBroken `path_not_in_repo` when the path does not lie below the root.
    """
    if path.text == repo_root_path:
        return [Layout("", "")]
    if not f"{path.prefix}/".startswith(f"{repo_root_path}/"):
        raise RuleBroken("path_not_in_repo", f"repository rooted at {repo_root_path!r} cannot contain module {path}")
    directory = path.prefix[len(repo_root_path) :].strip("/")
    layouts = [Layout(directory, directory)]
    if path.major_suffix.startswith("/"):
        layouts.append(Layout(f"{directory}{path.major_suffix}".strip("/"), directory))
    return layouts


def _escape(text: str) -> str:
    return "".join(f"!{char.lower()}" if char.isupper() else char for char in text)


def _unescape(escaped: str, rule: str) -> str:
    """Every `!x` as `X`; RuleBroken `rule` for a `!` before anything but a-z, an upper-case letter or a non-ASCII character."""
    out, pieces = [], iter(escaped)
    for char in pieces:
        follower = next(pieces, "") if char == "!" else "a"
        if not char.isascii() or char.isupper() or not ("a" <= follower <= "z"):
            raise RuleBroken(rule, f"malformed escaped form {escaped!r}")
        out.append(follower.upper() if char == "!" else char)
    return "".join(out)

"""go.mod, as far as a download needs it: the module line and the `go` line.

Two readers exist in Go and both are followed. modfile.ModulePath scans lines and forgives everything else: it decides where in a
repository a module lies. modfile.ParseLax (modfile/read.go, rule.go) parses a dependency's whole file: the `go` line that the
vendor rules obey counts only when it succeeds.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache

from app.domain.gofold import GO_SPACE, is_print
from app.domain.gomod_syntax import Line, parse_lines
from app.domain.gopath import split_path_version
from app.domain.goquote import quote, unquote
from app.domain.rules import RuleBroken
from app.domain.semver import semver_build, semver_canonical, semver_major

_GO_VERSION = re.compile(r"[1-9][0-9]*\.(?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))?(?:[a-z]+[0-9]+)?")
_LAX_GO_VERSION = re.compile(r"v?([1-9][0-9]*\.(?:0|[1-9][0-9]*))[^0-9].*")
_MODULE_LINE = re.compile(r"module[\t\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+(.+)", re.DOTALL)
_BLOCKS = frozenset(["module", "require", "retract", "ignore"])


@dataclass(frozen=True, slots=True)
class GoModFile:
    """`module`: the declared path; `scanned`: what Go's tolerant scan takes for it (differs for block forms: then `(`).

    `go_version`: the go line (`1.24`), empty if there is none or the file has a problem. `problem`: why ParseLax refuses
    the file, or empty.
    """

    module: str
    go_version: str
    problem: str
    scanned: str


def parse_go_mod(data: bytes) -> GoModFile:
    """Read a go.mod of any quality; RuleBroken `go_mod_no_module` when no module line is found (a BOM hides one)."""
    lax = _parse_lax(data)
    scanned = scan_module_path(data)
    module = lax.module if lax.module and not lax.problem else scanned
    if not module:
        raise RuleBroken("go_mod_no_module", "go.mod has no readable module line")
    return GoModFile(module, "" if lax.problem else lax.go_version, lax.problem, scanned)


def go_line(data: bytes) -> str:
    """The `go` version that ParseLax reads (`1.24`), or empty: of a file without module line, too."""
    lax = _parse_lax(data)
    return "" if lax.problem else lax.go_version


def same_go_mod(zipped: bytes, mod: bytes) -> bool:
    """Whether a zip's go.mod can be its `.mod`: the same, but for line ends, which attributes (eol) change in the zip alone."""
    return zipped.replace(b"\r\n", b"\n") == mod.replace(b"\r\n", b"\n")


def scan_module_path(data: bytes) -> str:
    """modfile.ModulePath: the first line that starts with `module` and a space; empty without one or with broken quotes."""
    found = data.find(b"module")
    while found >= 0:
        end = data.find(b"\n", found)
        end = len(data) if end < 0 else end
        line = data[data.rfind(b"\n", 0, found) + 1 : end].decode(errors="surrogateescape")
        match = _MODULE_LINE.fullmatch(line.split("//", 1)[0].strip(GO_SPACE))
        if match:
            text = match[1]
            return (unquote(text) or "") if text[0] in '"`' else text
        found = data.find(b"module", end)
    return ""


def synthesized_go_mod(path: str) -> bytes:
    """The go.mod that Go invents for a module without one (coderepo.go LegacyGoMod, modfile.AutoQuote)."""
    return f"module {quote(path) if _must_quote(path) else path}\n".encode(errors="surrogateescape")


def _must_quote(path: str) -> bool:
    if not path or "//" in path or "/*" in path:
        return True
    return any(char in " \"'`" or (char in "()[]{}," and len(path) > 1) or not is_print(char) for char in path)


@dataclass(slots=True)
class _Lax:
    """What ParseLax gathers; `problem` keeps the first error."""

    module: str = ""
    go_version: str = ""
    problem: str = ""
    seen: set[str] = field(default_factory=set)

    def add(self, verb: str, args: list[str]) -> None:
        match verb:
            case "go" | "module":
                self._add_once(verb, args)
            case "require":
                self._check_require(args)
            case "ignore":
                self._one_string(verb, args)

    def _add_once(self, verb: str, args: list[str]) -> None:
        if verb in self.seen:
            return self._fail(f"repeated {verb} statement")
        if verb == "module":
            self.seen.add(verb)
            self.module = self._one_string(verb, args)
        else:
            self._go(args)
        return None

    def _go(self, args: list[str]) -> None:
        if len(args) != 1:
            return self._fail("go directive expects exactly one argument")
        lax = _LAX_GO_VERSION.fullmatch(args[0])
        if not _GO_VERSION.fullmatch(args[0]) and not lax:
            return self._fail(f"invalid go version {args[0]!r}")
        self.seen.add("go")
        self.go_version = lax[1] if lax and not _GO_VERSION.fullmatch(args[0]) else args[0]
        return None

    def _check_require(self, args: list[str]) -> None:
        if len(args) != 2:
            return self._fail("require expects a module path and a version")
        path, version = string_of(args[0]), string_of(args[1])
        if path is None or version is None:
            return self._fail("invalid quoted string in require")
        split = split_path_version(path)
        if not semver_canonical(version) or split is None or not major_matches(version, split[1]):
            return self._fail(f"require {path} {version} is invalid")
        return None

    def _one_string(self, verb: str, args: list[str]) -> str:
        text = string_of(args[0]) if len(args) == 1 else None
        if text is None:
            self._fail(f"{verb} expects exactly one string")
        return text or ""

    def _fail(self, problem: str) -> None:
        self.problem = self.problem or problem


def major_matches(version: str, suffix: str) -> bool:
    """CheckPathMajor on strings: whether semantic version `version` suits path suffix `/v2`, `.v1` or empty."""
    suffix = suffix.removesuffix("-unstable") if suffix.startswith(".v") else suffix
    if suffix == ".v1" and version.startswith("v0.0.0-"):
        # an old bug wrote v0.0.0- pseudo-versions for gopkg.in's .v1; Go honours them
        return True
    if not suffix:
        return semver_major(version) in ("v0", "v1") or semver_build(version) == "+incompatible"
    return semver_major(version) == suffix[1:]


@lru_cache(2)  # a release's go.mod is asked for thrice
def _parse_lax(data: bytes) -> _Lax:
    lax = _Lax()
    try:
        for line in parse_lines(data):
            lax.add(*_directive(line))
            if lax.problem:
                break
    except RuleBroken as error:
        if error.rule != "go_mod_syntax":
            raise
        return _Lax(problem=error.message)
    return lax


def _directive(line: Line) -> tuple[str, list[str]]:
    """Verb and arguments; unknown blocks (and `go (`) have none."""
    if line.within is None:
        return line.tokens[0], line.tokens[1:]
    known = len(line.tokens) == 1 and line.tokens[0] in _BLOCKS
    return (line.tokens[0], line.within) if known else ("", [])


def string_of(token: str) -> str | None:
    """modfile's parseString: a token or a double-quoted string; None when the quotes are broken (backquotes are refused here)."""
    if token.startswith('"'):
        return unquote(token)
    return None if any(char in "\"'`" for char in token) else token

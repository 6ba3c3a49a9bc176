"""Which characters and elements Go allows in module paths and in file paths (golang.org/x/mod/module/module.go).

Strings may carry undecodable bytes as surrogates (`surrogateescape`); they are refused as invalid UTF-8.
"""

import re
from functools import lru_cache

from app.domain.gofold import is_letter
from app.domain.rules import RuleBroken

_WINDOWS_NAMES = frozenset(
    ["con", "prn", "aux", "nul", *(f"com{n}" for n in range(1, 10)), *(f"lpt{n}" for n in range(1, 10))]
)
_ASCII_ALLOWED = {
    "path": re.compile(r"[-._~0-9A-Za-z]+"),
    "file": re.compile(r"[-!#$%&()+,.=@\[\]^_{}~ 0-9A-Za-z]+"),
}
_PLAIN_ELEMENT = r"(?!(?:con|prn|aux|nul|com[1-9]|lpt[1-9])(?:[./]|\Z))[-._0-9a-z]*[-_0-9a-z]"
_PLAIN_FILE = re.compile(f"(?:{_PLAIN_ELEMENT}/)*{_PLAIN_ELEMENT}", re.ASCII | re.IGNORECASE)
_FIRST_CHAR = re.compile(r"[-.0-9a-z]")
_SHORT_NAME = re.compile(r".*~[0-9]+", re.DOTALL)
_GOPKG_SUFFIX = re.compile(r"\.v(?:0|[1-9][0-9]*(?:-unstable)?)\Z")
_MAJOR_ELEMENT = re.compile(r"/v[0-9.]+\Z")
_MAJOR_SUFFIX = re.compile(r"/v(?:[2-9]|[1-9][0-9]+)")


def is_plain_file_path(name: str) -> bool:
    """True for most names that are clean and pass check_file_path, seen at one look; False says nothing."""
    return _PLAIN_FILE.fullmatch(name) is not None


def check_file_path(name: str) -> None:
    """CheckFilePath: a slash-separated name inside a module zip; RuleBroken `file_*`."""
    _check_path("file", name)


def check_module_path(path: str) -> None:
    """CheckPath: a module path; RuleBroken `path_*`."""
    if path.startswith("-"):
        raise _broken("path", path, "leading_dash", "leading dash")
    _check_path("path", path)
    first = path.split("/", 1)[0]
    if "." not in first:
        raise _broken("path", path, "no_dot", "missing dot in first path element")
    for char in first:
        if not _FIRST_CHAR.fullmatch(char):
            raise _broken("path", path, "first_char", f"character {char!r} in first path element")
    if split_path_version(path) is None:
        raise _broken("path", path, "major_suffix", "invalid major version suffix")


def check_module_element(path: str, element: str) -> None:
    """One element of a module path (checkElem), for subdirectories in tags; RuleBroken `path_*` naming `path`."""
    _check_element("path", path, element)


@lru_cache(4096)
def split_path_version(path: str) -> tuple[str, str] | None:
    """SplitPathVersion: `a.b/c/v2` -> (`a.b/c`, `/v2`), `gopkg.in/yaml.v2` -> (`gopkg.in/yaml`, `.v2`).

    None when the suffix is illegal.
    """
    if path.startswith("gopkg.in/"):
        match = _GOPKG_SUFFIX.search(path)
        return (path[: match.start()], match[0]) if match else None
    match = _MAJOR_ELEMENT.search(path)
    if match is None:
        return path, ""
    if not _MAJOR_SUFFIX.fullmatch(match[0]):
        return None
    return path[: match.start()], match[0]


def _check_path(kind: str, path: str) -> None:
    if not path.isascii() and any("\ud800" <= char <= "\udfff" for char in path):
        raise _broken(kind, path, "utf8", "invalid UTF-8")
    if not path:
        raise _broken(kind, path, "empty", "empty string")
    if "//" in path:
        raise _broken(kind, path, "double_slash", "double slash")
    if path.endswith("/"):
        raise _broken(kind, path, "trailing_slash", "trailing slash")
    for element in path.split("/"):
        _check_element(kind, path, element)


def _check_element(kind: str, path: str, element: str) -> None:
    if not element.strip("."):
        raise _broken(kind, path, "element", f"invalid path element {element!r}")
    if kind == "path" and element.startswith("."):
        raise _broken(kind, path, "leading_dot", "leading dot in path element")
    if element.endswith("."):
        raise _broken(kind, path, "trailing_dot", "trailing dot in path element")
    # only what is not plainly allowed is looked at one by one: large modules have many names
    for char in _ASCII_ALLOWED[kind].sub("", element):
        if kind == "path" or char.isascii() or not is_letter(char):
            raise _broken(kind, path, "char", f"character {char!r}")
    _check_windows(kind, path, element.split(".", 1)[0])


def _check_windows(kind: str, path: str, short: str) -> None:
    """Device names in any letter case; for module paths also what looks like a short name (`LONGNA~1`)."""
    if short.lower() in _WINDOWS_NAMES:
        raise _broken(kind, path, "windows_name", f"{short!r} is a reserved name on Windows")
    if kind == "path" and _SHORT_NAME.fullmatch(short):
        raise _broken(kind, path, "short_name", "trailing tilde and digits in path element")


def _broken(kind: str, path: str, code: str, reason: str) -> RuleBroken:
    noun = "module" if kind == "path" else "file"
    return RuleBroken(f"{kind}_{code}", f"malformed {noun} path {path!r}: {reason}")

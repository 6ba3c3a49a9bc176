"""The GOPROXY protocol's paths, and the order of versions."""

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["list", "info", "mod", "zip", "latest"]

_MODULE_FIRST = re.compile(r"[a-z0-9][a-z0-9-]*(\.[a-z0-9-]+)+")
_MODULE_ELEMENT = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*(?<!\.)")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]*")
_FILE = re.compile(r"(?P<version>.+)\.(?P<kind>info|mod|zip)")
_PSEUDO = re.compile(r"[.-]\d{14}-[0-9a-f]{12}$")
_SEMVER = re.compile(r"v(\d+)\.(\d+)\.(\d+)(?:-([^+]+))?(?:\+.*)?")


class BadPathError(ValueError):
    """A path of the protocol's shape whose module path or version is illegal or wrongly escaped."""


@dataclass(frozen=True)
class Asked:
    """What a request asks for, unescaped; `version` is empty for `list` and `latest`."""

    kind: Kind
    module: str
    version: str = ""


def parse(path: str) -> Asked | None:
    """`/MODULE/@v/list`, `/MODULE/@v/VERSION.KIND` or `/MODULE/@latest`; None for anything else.

    Raises BadPathError.
    """
    if path.endswith("/@latest"):
        return Asked("latest", _module(path[1 : -len("/@latest")]))
    module, found, name = path[1:].rpartition("/@v/")
    if not found:
        return None
    if name == "list":
        return Asked("list", _module(module))
    matched = _FILE.fullmatch(name)
    return Asked(_kind(matched["kind"]), _module(module), _version(matched["version"])) if matched else None


def escape(text: str) -> str:
    """Upper case as the protocol and `go`'s cache write it: `!` and the small letter."""
    return re.sub(r"[A-Z]", lambda letter: "!" + letter[0].lower(), text)


def unescape(text: str) -> str:
    if re.search(r"[A-Z]|!(?![a-z])", text):
        raise BadPathError(f"not escaped rightly: {text}")
    return re.sub(r"!([a-z])", lambda letter: letter[1].upper(), text)


def is_pseudo(version: str) -> bool:
    return _PSEUDO.search(version) is not None


def order(version: str) -> tuple[object, ...]:
    """A sort key: semantic versions in their order, anything else before them."""
    matched = _SEMVER.fullmatch(version)
    if matched is None:
        return ((-1, -1, -1), False, [])
    numbers = tuple(int(number) for number in matched.groups()[:3])
    return (numbers, matched[4] is None, [_identifier(part) for part in (matched[4] or "").split(".")])


def _identifier(text: str) -> tuple[bool, int, str]:
    """Numbers come before names."""
    return (not text.isdigit(), int(text) if text.isdigit() else 0, text)


def _kind(text: str) -> Kind:
    kinds: dict[str, Kind] = {"info": "info", "mod": "mod", "zip": "zip"}
    return kinds[text]


def _module(escaped: str) -> str:
    module = unescape(escaped)
    first, *others = module.split("/")
    if not _MODULE_FIRST.fullmatch(first) or not all(_MODULE_ELEMENT.fullmatch(other) for other in others):
        raise BadPathError(f"not a module path: {escaped}")
    return module


def _version(escaped: str) -> str:
    version = unescape(escaped)
    if not _VERSION.fullmatch(version):
        raise BadPathError(f"not a version: {escaped}")
    return version

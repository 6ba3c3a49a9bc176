"""Rules: which module comes from where and goes to which mirror. Pure; the first rule that matches wins."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile

from app.domain.errors import SyncError
from app.domain.mirror_path import beside, encode, path_fault
from app.domain.modules import ModulePath, RuleBroken
from app.domain.patterns import fill, match, match_module, placeholders, split_major
from app.domain.run import Target
from app.domain.urls import CloneUrl, allowed, refused

_SUBDIR_ELEMENT = re.compile(r"(?!\.)[^/\\\x00-\x1f\x7f]+(?<!\.)")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the configuration. `source` "" stands for any; without `clone` the payload's URL is taken.

    With `content` "goproxy", `clone` is a registry's GOPROXY base URL instead.
    """

    modules: str
    mirror: str
    clone: str = ""
    source: str = ""
    tags: str = "require"
    proxy: str = "default"
    content: str = "git"


def choose(
    rules: Sequence[Rule],
    source: str,
    module: ModulePath,
    payload_repo_url: str | None,
    payload_subdir: str | None,
    allow: Sequence[str],
    *,
    sandbox: bool = False,
) -> Target:
    """Where a release of `module` that `source` reported comes from and goes to.

    Errors: `no_rule`; `clone_url_refused` (field repo_url) when no URL is known or `allow` does not permit it;
    `invalid_payload` (field subdir) when the payload's directory contradicts the module path.
    """
    found = first_match(rules, source, module)
    if found is None:
        raise SyncError("no_rule", f"no rule of source {source} matches {module}", field="module_path")
    rule, values, rest = found
    if rule.content == "goproxy":
        return _from_registry(rule, values, module, allow, sandbox)
    return Target(
        clone_url=_clone_url(rule, values, payload_repo_url, allow, sandbox),
        mirror=_mirror(rule, values),
        subdir=_subdir(rest, payload_subdir, split_major(module.text)[1]),
        proxy=rule.proxy,
        tags=rule.tags,
        rule=rule.modules,
    )


def first_match(rules: Sequence[Rule], source: str, module: ModulePath) -> tuple[Rule, dict[str, str], str] | None:
    """(rule, placeholder values, subdirectory) of the first rule for this source that matches the module path."""
    for rule in rules:
        if rule.source in ("", source) and (found := match_module(rule.modules, module)) is not None:
            return rule, *found
    return None


def modules_for_repository(
    rules: Sequence[Rule], source: str, repo_url: str, subdir: str, major: int
) -> ModulePath | None:
    """The module path of a repository's directory, for events that name only the repository; None: no rule knows it.

    Read backwards from a rule's clone template; a rule without one knows repositories whose host and path are the
    module's. `major` 2 and above adds `/vN`. Scheme, port and login are not compared: the URL is not cloned from, and a
    platform behind a TLS terminator may well call itself http. RuleBroken: the rules that know the repository make no legal
    module path of it.
    """
    try:
        url = CloneUrl.parse(repo_url, sandbox=True)
    except SyncError:
        return None
    beyond = (f"/{subdir}" if subdir else "") + (f"/v{major}" if major >= 2 else "")
    broken: RuleBroken | None = None
    for rule, base in _bases(rules, source, url):
        try:
            module = ModulePath.parse(base + beyond)
        except RuleBroken as error:
            broken = broken or error
            continue
        chosen = first_match(rules, source, module)
        if chosen is not None and chosen[0] == rule and chosen[2] == subdir:
            return module
    if broken:
        raise broken
    return None


def mirror_prefixes(rules: Sequence[Rule]) -> list[str]:
    """What the mirrors of the rules begin with for certain: whole path elements without placeholders; sorted, each once."""
    found = set()
    for rule in rules:
        elements = rule.mirror.split("/")
        found.add("/".join(takewhile(lambda element: not placeholders(element), elements)))
    return sorted(found)


def modules_of_mirror(rules: Sequence[Rule], path: str) -> Iterator[ModulePath]:
    """The module at the root of the repository that a mirror at this path is of, by each rule, read backwards.

    Nothing where the rule cannot be: a value in the path is a hash of what it was, or the module's pattern has more
    placeholders. Whether the rule really sends the module there is the caller's to ask.
    """
    for rule in rules:
        values = match(rule.mirror, path)
        if values is None or any(encode(value) != value for value in values.values()):
            continue
        if values.keys() >= set(placeholders(rule.modules)):
            with suppress(RuleBroken):
                yield ModulePath.parse(fill(rule.modules, values))


def _bases(rules: Sequence[Rule], source: str, url: CloneUrl) -> Iterator[tuple[Rule, str]]:
    """Each rule that knows the repository, with the module path of the repository's root."""
    place = repository_place(str(url))
    for rule in rules:
        if rule.source not in ("", source):
            continue
        values = match(repository_place(rule.clone), place) if rule.clone else match(rule.modules, place)
        if values is not None and values.keys() >= set(placeholders(rule.modules)):
            yield rule, fill(rule.modules, values)


def repository_place(url: str) -> str:
    """host/path of a URL or a clone template, without login, port and `.git`."""
    host, _, path = url.partition("://")[2].partition("/")
    host = re.sub(r":[0-9]+$", "", host.rpartition("@")[2]).lower()
    return f"{host}/{path.rstrip('/').removesuffix('.git')}"


def _clone_url(rule: Rule, values: Mapping[str, str], payload: str | None, allow: Sequence[str], sandbox: bool) -> str:
    text = fill(rule.clone, values) if rule.clone else payload
    if not text:
        raise refused("is not known: neither the rule nor the payload names one")
    url = CloneUrl.parse(text, sandbox=sandbox)
    if not allowed(url, allow, sandbox=sandbox):
        raise refused("is not on the source's allow-list")
    return str(url)


def _from_registry(
    rule: Rule, values: Mapping[str, str], module: ModulePath, allow: Sequence[str], sandbox: bool
) -> Target:  # fmt: skip
    """A registry has no repositories: each module has a mirror of its own, at whose root it lies."""
    address = f"{rule.clone.rstrip('/')}/{module.escaped}"
    clone_url = _clone_url(replace(rule, clone=""), values, address, allow, sandbox)
    beyond = module.text.removeprefix(fill(rule.modules, values)).strip("/")
    mirror = beside(_mirror(rule, values), beyond)
    return Target(clone_url, mirror, proxy=rule.proxy, tags="make", rule=rule.modules, content="goproxy")


def _mirror(rule: Rule, values: Mapping[str, str]) -> str:
    path = fill(rule.mirror, values, encode)
    if (fault := path_fault(path)) is not None:
        raise SyncError("no_rule", f"the rule's mirror path {fault}", field="module_path")
    return path


def _subdir(rest: str, payload: str | None, major: str) -> str:
    """The module's directory: what its path says; the payload may only say it where the path does not."""
    if payload is None or not payload.strip("/"):
        return rest
    given = payload.strip("/")
    if not all(_SUBDIR_ELEMENT.fullmatch(element) for element in given.split("/")):
        raise SyncError("invalid_payload", "subdir is not a directory inside the repository", field="subdir")
    if major and (given == major or given.endswith(f"/{major}")):
        given = given.removesuffix(major).rstrip("/")
    if rest not in ("", given):
        raise SyncError("invalid_payload", "subdir is not the directory that the module path says", field="subdir")
    return given

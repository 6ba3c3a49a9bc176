"""Checks of the rules: names, placeholders, clone URLs, and that no two repositories share a mirror."""

from __future__ import annotations

from itertools import combinations

from app.config_check import DEMO_ONLY, Draft
from app.config_models import RuleTable, Source
from app.domain.errors import SyncError
from app.domain.mirror_path import path_fault
from app.domain.patterns import PLACEHOLDER, fill, pattern_fault, placeholders, unify
from app.domain.urls import AllowPattern, CloneUrl


def check_rules(draft: Draft) -> None:
    """Record the rules' problems and warnings."""
    for rule in draft.rules:
        _names(draft, rule)
        if (fault := pattern_fault(rule.modules)) is not None:
            draft.reader.problem(f"{_key(rule)}.modules", fault, "Write it like go.corp.example/{team}/{repo}.")
            continue
        _mirror(draft, rule)
        _clone(draft, rule)
    for first, second in combinations(draft.rules, 2):
        _shadowed(draft, first, second)
        _collision(draft, first, second)
    _unused(draft)


def _key(rule: RuleTable) -> str:
    return f"rules[{rule.modules}]"


def _names(draft: Draft, rule: RuleTable) -> None:
    if rule.source and rule.source not in draft.source_names:
        known = ", ".join(sorted(draft.source_names)) or "none yet"
        draft.reader.problem(f"{_key(rule)}.source", "is not a known source", f"Name one of [[sources]]: {known}.")
    if rule.proxy not in draft.proxy_names:
        known = ", ".join(sorted(draft.proxy_names)) or "none yet"
        draft.reader.problem(f"{_key(rule)}.proxy", "is not a known proxy", f"Name one of [[proxies]]: {known}.")


def _mirror(draft: Draft, rule: RuleTable) -> None:
    known, used = set(placeholders(rule.modules)), set(placeholders(rule.mirror))
    key, problem = f"{_key(rule)}.mirror", draft.reader.problem
    if extra := used - known:
        problem(key, f"uses {_braced(extra)}, which modules does not have", "Use the placeholders of modules.")
    elif missing := known - used:
        problem(key, f"leaves out {_braced(missing)}: repositories would share a mirror", "Use every placeholder.")
    elif any(len(placeholders(element)) > 1 for element in rule.mirror.split("/")):
        problem(key, "has two placeholders in one path element: repositories could share a mirror", "Split it by /.")
    elif (fault := path_fault(PLACEHOLDER.sub("x", rule.mirror))) is not None:
        problem(key, fault, "Write a GitLab path like go-mirrors/{team}/{repo}.")


def _clone(draft: Draft, rule: RuleTable) -> None:
    key, problem = f"{_key(rule)}.clone", draft.reader.problem
    if rule.content == "goproxy" and any(each.signatures == "require" for each in _sources(draft, rule)):
        what = "is a registry, which has no signed tags, and its source requires them"
        problem(f"{_key(rule)}.content", what, "Let another source report these modules.")
    if rule.content == "goproxy" and (not rule.clone or placeholders(rule.clone)):
        problem(key, "is not one registry's address", "Give the GOPROXY base URL, without placeholders.")
    elif not rule.clone:
        if not any(source.allow for source in _sources(draft, rule)) and _sources(draft, rule):
            problem(key, "is left out, and its source allows no clone URL", "Set clone, and allow in the source.")
    elif extra := set(placeholders(rule.clone)) - set(placeholders(rule.modules)):
        problem(key, f"uses {_braced(extra)}, which modules does not have", "Use the placeholders of modules.")
    elif placeholders(rule.clone.partition("://")[2].partition("/")[0]):
        problem(key, "has a placeholder in its host", "Write the host out: a payload never chooses a host.")
    else:
        _clone_sample(draft, rule)


def _clone_sample(draft: Draft, rule: RuleTable) -> None:
    """Try the template with a plain word for each placeholder: its host must be allowed, its path should be."""
    key = f"{_key(rule)}.clone"
    try:
        sample = f"{rule.clone.rstrip('/')}/go.corp.example/x" if rule.content == "goproxy" else rule.clone
        url = CloneUrl.parse(PLACEHOLDER.sub("x", sample), sandbox=draft.sandbox)
    except SyncError as error:
        fix = f"Write it like https://git.corp.example/{{team}}/{{repo}}.git. {'' if draft.sandbox else DEMO_ONLY}"
        draft.reader.problem(key, error.message.removeprefix("the clone URL "), fix.strip())
        return
    sources = _sources(draft, rule)
    if any(problem.key == f"sources[{source.name}].allow" for source in sources for problem in draft.reader.problems):
        return  # correct the list first
    patterns = [pattern for source in sources for pattern in _patterns(source)]
    if sources and not any(pattern.covers_host(url) for pattern in patterns):
        draft.reader.problem(key, "is not on the source's allow-list", f"Add {_whole_host(url)} to allow.")
    elif sources and not any(pattern.permits(url) for pattern in patterns):
        fix = "Widen allow in the source, unless you mean to refuse the others."
        draft.reader.warning(key, "is on the source's allow-list for some values only", fix)


def _whole_host(url: CloneUrl) -> str:
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{url.host}{port}/**"


def _sources(draft: Draft, rule: RuleTable) -> list[Source]:
    return [source for source in draft.sources if rule.source in ("", source.name)]


def _patterns(source: Source) -> list[AllowPattern]:
    """The source's patterns; all of them are legal, else its list was reported before."""
    return [AllowPattern.parse(text) for text in source.allow]


def _shadowed(draft: Draft, first: RuleTable, second: RuleTable) -> None:
    if first.modules == second.modules and first.source in ("", second.source):
        what = f"is never reached by source {second.source or '(any)'}: an earlier rule matches the same modules"
        draft.reader.problem(f"{_key(second)}.modules", what, "Remove it, or put it first and name its source.")


def _collision(draft: Draft, first: RuleTable, second: RuleTable) -> None:
    """Two rules may name one mirror only for the same module path and the same repository."""
    key = f"{_key(second)}.mirror"
    short, long = sorted((first.mirror, second.mirror), key=lambda mirror: mirror.count("/"))
    depth = short.count("/")
    if depth < long.count("/"):
        if unify(short, "/".join(long.split("/")[: depth + 1])) is not None:
            what = f"and that of {_key(first)} can make one path a project and a group at once"
            draft.reader.problem(key, what, "Give each rule a group of its own.")
    elif (values := unify(first.mirror, second.mirror)) is not None and not _same(first, second, values):
        what = f"can be the mirror of another repository by {_key(first)}"
        draft.reader.problem(key, what, "Give each rule a group of its own.")


def _same(first: RuleTable, second: RuleTable, values: tuple[dict[str, str], dict[str, str]]) -> bool:
    """True when both rules, where their mirrors meet, speak of one module path, and so of one release."""
    try:
        return fill(first.modules, values[0]) == fill(second.modules, values[1])
    except KeyError:  # a placeholder that the mirror leaves out: reported already
        return True


def _unused(draft: Draft) -> None:
    warning = draft.reader.warning
    if not draft.source_names:
        warning("sources", "is empty: no webhook is accepted", "Add [[sources]].")
    for source in draft.sources:
        if not any(rule.source in ("", source.name) for rule in draft.rules):
            warning(f"sources[{source.name}]", "has no rule: its releases are rejected", "Add [[rules]] for it.")


def _braced(names: set[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in sorted(names))

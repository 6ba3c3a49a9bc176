"""The `rules:if` language of CI files: `$A == "x" && $B =~ /re/ || ($C != null)`."""

import re
from collections.abc import Mapping
from typing import Any

_TOKEN = re.compile(
    r"""\s*(?:(?P<op>==|!=|=~|!~|&&|\|\||\(|\))"""
    r"""|\$\{?(?P<name>\w+)\}?|"(?P<double>[^"]*)"|'(?P<single>[^']*)'|/(?P<regex>(?:[^/\\]|\\.)*)/|(?P<null>null\b))"""
)
_NAME = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))")
Tokens = list[tuple[str, str]]


def expand(text: str, variables: Mapping[str, str], depth: int = 8) -> str:
    """Replace `$NAME` and `${NAME}`, also in what they stand for; `$$` is a dollar; unknown names vanish."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(2)
        if name is None:
            return "$"
        found = variables.get(name, "")
        return expand(found, variables, depth - 1) if depth and "$" in found else found

    return _NAME.sub(value, text)


def holds(condition: str, variables: Mapping[str, str]) -> bool:
    """Whether an `if` is true. Raises ValueError where it is not of this language."""
    tokens = _tokens(condition)
    result = _either(tokens, variables)
    if tokens:
        raise ValueError(f"rules:if has invalid expression syntax: {condition}")
    return result


def chosen_rule(rules: list[Any] | None, variables: Mapping[str, str]) -> dict[str, Any] | None:
    """The first rule that matches; an empty one where there are no rules at all; None where none matches."""
    if rules is None:
        return {}
    for rule in rules:
        if "if" not in rule or holds(str(rule["if"]), variables):
            return dict(rule)
    return None


def _tokens(condition: str) -> Tokens:
    tokens: Tokens = []
    place = 0
    while condition[place:].strip():
        match = _TOKEN.match(condition, place)
        if match is None or match.lastgroup is None:
            raise ValueError(f"rules:if has invalid expression syntax: {condition}")
        tokens.append((match.lastgroup, match.group(match.lastgroup)))
        place = match.end()
    return tokens


def _either(tokens: Tokens, variables: Mapping[str, str]) -> bool:
    result = _both(tokens, variables)
    while tokens[:1] == [("op", "||")]:
        tokens.pop(0)
        result = _both(tokens, variables) or result
    return result


def _both(tokens: Tokens, variables: Mapping[str, str]) -> bool:
    result = _comparison(tokens, variables)
    while tokens[:1] == [("op", "&&")]:
        tokens.pop(0)
        result = _comparison(tokens, variables) and result
    return result


def _comparison(tokens: Tokens, variables: Mapping[str, str]) -> bool:
    if tokens[:1] == [("op", "(")]:
        return _group(tokens, variables)
    left = _value(tokens, variables)
    operator = tokens[0][1] if tokens and tokens[0][0] == "op" else ""
    if operator not in ("==", "!=", "=~", "!~"):
        return bool(left)
    tokens.pop(0)
    right = _value(tokens, variables)
    if operator in ("=~", "!~"):
        return (re.search(right or "", left or "") is not None) == (operator == "=~")
    return (left == right) == (operator == "==")


def _group(tokens: Tokens, variables: Mapping[str, str]) -> bool:
    tokens.pop(0)
    result = _either(tokens, variables)
    if tokens[:1] != [("op", ")")]:
        raise ValueError("rules:if has an open bracket")
    tokens.pop(0)
    return result


def _value(tokens: Tokens, variables: Mapping[str, str]) -> str | None:
    if not tokens or tokens[0][0] == "op":
        raise ValueError("rules:if lacks a value")
    kind, text = tokens.pop(0)
    if kind == "name":
        return variables.get(text)
    return None if kind == "null" else text

"""Rules that protect refs, made anew without a moment in which nothing protects those refs.

GitLab's API changes no protected tag (lib/api/protected_tags.rb has no PATCH), and in its free edition no access level of a
protected branch (lib/api/protected_branches.rb: `allow_force_push` only). So a wrong rule has to go before the right one can
come, and whatever stops us in between would leave the refs open. A second rule of another name that matches the same refs
holds meanwhile: `v**` for `v*`, since GitLab reads each `*` as "anything, also nothing".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app.adapters.gitlab_answers import ProjectAnswer
from app.adapters.gitlab_client import Client, Door, Failure
from app.adapters.gitlab_errors import Call, is_there_already
from app.domain.errors import SyncError

Kind = Literal["protectedbranches", "protectedtags"]
Rules = Mapping[str, Mapping[str, Any]]

_PAGE = 100
_PAUSE_SECONDS = 2.0  # where GitLab says no time
_PASSING = ("rate_limited", "gitlab_unavailable", "gitlab_unreachable", "read_only")


def holding(name: str) -> str:
    """The name of the rule that holds the refs of `name` while that one is made anew."""
    # Two, where the name has none: `ci-sync*` may well be somebody's own rule.
    return f"{name}*" if name.endswith("*") else f"{name}**"


@dataclass(frozen=True, slots=True)
class Patience:
    """For how long in all somebody waits until GitLab takes requests again: between attempts, and for those that failed."""

    seconds: float = 0.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


class ProtectionRules:
    """The rules of one project. What GitLab refuses for now is asked again within `patience`."""

    def __init__(self, door: Door, project: ProjectAnswer, patience: Patience) -> None:
        self._door, self._project, self._patience = door, project, patience
        self._left = patience.seconds

    def all(self, kind: Kind) -> Rules:
        """Every rule by its name."""
        call = Call("list rules", f"({kind}) of {self._project.path}")
        listed = self._asked(call, lambda gl: self._of(gl, kind).list(per_page=_PAGE, get_all=True))
        rules = [each.asdict() for each in listed]
        return {str(rule.get("name")): rule for rule in rules}

    def replace(self, kind: Kind, body: Mapping[str, Any]) -> None:
        """Make the rule that `body` names anew; the one that holds meanwhile is left behind: see remove()."""
        name = str(body["name"])
        self._make(kind, {**body, "name": holding(name)})
        self.remove(kind, name)
        try:
            self._make(kind, body)
        except SyncError as error:
            said = f"rule {name} IS MISSING, as far as known, and {holding(name)} protects in its place: mend again"
            raise SyncError(error.code, f"{error.message}; {said}", retry_after=error.retry_after) from None

    def remove(self, kind: Kind, name: str) -> None:
        """Gone afterwards, whoever removed it."""
        call = Call("remove rule", f"{name} of {self._project.path}", missing="gitlab_refused", writes=True)
        answer = self._patiently(call, lambda gl: self._of(gl, kind).delete(name))
        if isinstance(answer, Failure) and answer.status != 404:
            raise answer.error

    def _make(self, kind: Kind, body: Mapping[str, Any]) -> None:
        call = Call("make rule", f"{body['name']} of {self._project.path}", writes=True)
        answer = self._patiently(call, lambda gl: self._of(gl, kind).create(dict(body)))
        if isinstance(answer, Failure) and not is_there_already(answer.error):
            raise answer.error

    def _asked(self, call: Call, act: Callable[[Client], Any]) -> Any:
        answer = self._patiently(call, act)
        if isinstance(answer, Failure):
            raise answer.error
        return answer

    def _patiently(self, call: Call, act: Callable[[Client], Any]) -> Any:
        """The answer, or its Failure when there is no patience left for it."""
        while True:
            began = self._patience.clock()
            answer = self._door.attempt(call, act)
            if not isinstance(answer, Failure) or answer.error.code not in _PASSING:
                return answer
            wish = answer.error.retry_after
            wait = _PAUSE_SECONDS if wish is None else max(wish, 0.1)
            self._left -= self._patience.clock() - began
            if wait > self._left:
                return answer
            self._left -= wait
            self._patience.sleep(wait)

    def _of(self, client: Client, kind: Kind) -> Any:
        return getattr(client.projects.get(self._project.id, lazy=True), kind)

"""Answers Athens' question whether it may hand out a module version: by the configuration and the database, never GitLab."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.domain.admission import Admission
from app.domain.errors import SyncError
from app.domain.modules import ModulePath, RuleBroken, Version
from app.domain.run import Status
from app.services.hurried import Records
from app.services.views import RunSummary

_NEWEST = 20
_ON_ITS_WAY = frozenset({Status.PIPELINE, Status.VERIFY})


@dataclass(frozen=True, slots=True)
class Verdict:
    """`reason`: one word for the audit. `run`: the run that decided, "" for none."""

    allowed: bool
    reason: str
    run: str = ""


class Validation:
    """`is_private`: whether a rule names the module; `unknown` is told of private modules without any record."""

    def __init__(
        self, admission: Admission, records: Records, is_private: Callable[[ModulePath], bool],
        unknown: Callable[[ModulePath], None],
        *, block_moved: bool = True,
    ) -> None:  # fmt: skip
        self._admission, self._records, self._block_moved = admission, records, block_moved
        self._is_private, self._unknown = is_private, unknown

    def ask(self, module: str, version: str) -> Verdict:
        """The answer, to words as Athens has them. No error: without the database the configuration decides (`unchecked`)."""
        if refusal := self._admission.refusal(module, version):
            return Verdict(False, refusal)
        try:
            path = ModulePath.parse(module)
        except RuleBroken:
            return Verdict(True, "public")
        if not self._is_private(path):
            return Verdict(True, "public")
        try:
            return self._of_version(path, version) or self._of_module(path)
        except SyncError as error:
            if error.code != "store_unavailable":
                raise
            return Verdict(True, "unchecked")

    def _of_version(self, module: ModulePath, text: str) -> Verdict | None:
        """None: the version is not known, or is no version (a branch's name)."""
        try:
            version = Version.parse(text)
        except RuleBroken:
            return None
        found = self._records.known(module, version, _NEWEST)
        runs = [run for run in found.runs if run.version == version.text]
        if verdict := _by_runs(runs, self._block_moved):
            return verdict
        if runs or found.releases:
            return Verdict(True, "released" if found.releases else "known", runs[0].id if runs else "")
        return None

    def _of_module(self, module: ModulePath) -> Verdict:
        found = self._records.known(module, None, 1)
        if found.runs or found.releases:
            return Verdict(True, "unknown_version")
        self._unknown(module)
        return Verdict(True, "unknown_module")


def _by_runs(runs: Sequence[RunSummary], block_moved: bool) -> Verdict | None:
    """What the version's runs decide; None: nothing."""
    for run in runs:
        if run.status in _ON_ITS_WAY:  # its own pipeline asks the proxy for it now
            return Verdict(True, run.status.value, run.id)
    # Not the newest run: a replay of the rightful one, after the tag was put back, has the last word.
    last = max(runs, key=lambda run: run.updated_at, default=None)
    if block_moved and last and last.error and last.error.code == "version_moved":
        return Verdict(False, "moved", last.id)
    return None

"""A test delivery: a release made up, signed as its platform signs, and taken through intake up to where it would be recorded."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from app.domain.announce import TELLS_NO_REPOSITORY, Announcement, Signing, announce, sign
from app.domain.errors import SyncError
from app.domain.ids import run_of
from app.domain.modules import ModulePath, Version
from app.domain.webhook import Secret
from app.services.explain import Routing, parse_release, route_told
from app.services.intake import Considered, Intake
from app.services.planning import SourceOptions
from app.services.ports import Clock
from app.services.views import ErrorView, Known, View

# Nobody's commit: a test must not look like a release of something that is there.
MADE_UP = hashlib.sha1(b"modsync test delivery", usedforsecurity=False).hexdigest()


@dataclass(frozen=True, slots=True)
class Sample:
    """The release that a test tells; "" leaves a field to the rules, or (`commit`) to MADE_UP."""

    module: str
    version: str
    commit: str = ""
    repo_url: str = ""


@dataclass(frozen=True, slots=True)
class Step(View):
    """One thing that was looked at."""

    what: str
    good: bool
    text: str


@dataclass(frozen=True, slots=True)
class Rehearsal(View):
    """`verdict`: what a sender would be told: accepted, known, ignored, rejected (recorded, as its run's end) or refused."""

    verdict: str
    steps: tuple[Step, ...]
    body: str
    headers: tuple[str, ...]
    error: ErrorView | None = None
    run: str = field(default="")


class Rehearsals:
    """Sends nothing over the network, records no delivery and no run."""

    def __init__(
        self, sources: Mapping[str, SourceOptions], routing: Routing, intake: Intake,
        known: Callable[[ModulePath, Version | None], Known], clock: Clock,
    ) -> None:  # fmt: skip
        self._sources, self._routing, self._intake, self._known = sources, routing, intake, known
        self._clock = clock

    def sample(self, source: str) -> Sample:
        """A release that this source could tell, by its first rule; an empty one where no rule names it."""
        rules = (rule for rule in self._routing.rules if rule.source in ("", source))
        pattern = next((rule.modules for rule in rules), "")
        return Sample(re.sub(r"\{[^}]*\}", "example", pattern).replace("*", "example"), "v0.0.1")

    def rehearse(self, source: str, sample: Sample) -> Rehearsal:
        """All of a source's secrets, then what would be done. Errors: not_found, bad_request (with the field)."""
        options = self._sources.get(source)
        if options is None:
            raise SyncError("not_found", f"there is no source {source[:80]!r}")
        sample = replace(sample, commit=sample.commit or MADE_UP)
        event, body = announce(options.scheme, self._announcement(options, sample), self._clock.now())
        raw = json.dumps(body).encode()
        requests = [(each, self._request(options.scheme, each, event, raw)) for each in options.secrets]
        signed = list(self._signed(source, requests, raw))
        done = self._taken(source, requests[0][1], raw)
        return replace(
            done, steps=(*signed, *done.steps), body=json.dumps(body, indent=2), headers=tuple(requests[0][1])
        )  # fmt: skip

    def _request(self, scheme: str, secret: Secret, event: Mapping[str, str], raw: bytes) -> dict[str, str]:
        now = self._clock.now()
        signing = Signing(secret.key, f"modsync-test-{int(now.timestamp())}", now)
        return {"Content-Type": "application/json", **event, **sign(scheme, raw, signing)}

    def _signed(self, source: str, requests: list[tuple[Secret, dict[str, str]]], raw: bytes) -> Iterator[Step]:
        for secret, headers in requests:
            try:
                matched = self._intake.consider(source, headers, raw).secret_id
            except SyncError as error:
                matched = "" if error.code == "bad_signature" else secret.id
            said = "signs, and the signature is found right" if matched == secret.id else "signs what is then refused"
            yield Step(f"secret {secret.id}", matched == secret.id, said)

    def _taken(self, source: str, headers: Mapping[str, str], raw: bytes) -> Rehearsal:
        try:
            found = self._intake.consider(source, headers, raw)
        except SyncError as error:
            view = ErrorView.of(error.code, error.message)
            return Rehearsal("refused", (Step("payload", False, f"{error.code}: {error.message}"),), "", (), view)
        if found.ignored:
            said = f"understood, and no release for modsync: {found.ignored.message} ({found.ignored.reason})"
            return Rehearsal("ignored", (Step("payload", True, said),), "", ())
        return self._decided(found)

    def _decided(self, found: Considered) -> Rehearsal:
        run = found.planned[0]
        told = Step("payload", True, f"understood as {run.module}@{run.version or run.ref}")
        if run.refusal:
            code, message = run.refusal
            return Rehearsal("rejected", (told, Step("rule", False, message)), "", (), ErrorView.of(code, message))
        rule = Step(
            "rule", True, f"{run.target.rule}: to the mirror {run.target.mirror} and the proxy {run.target.proxy}"
        )
        known, verdict, before = self._before(*parse_release(run.module, run.version), run.commit)
        return Rehearsal(verdict, (told, rule, known), "", (), run=before)

    def _before(self, module: ModulePath, version: Version | None, commit: str) -> tuple[Step, str, str]:
        """What is known of this release: (a step, the verdict, its run)."""
        releases = self._known(module, version).releases if version else ()
        held = next((each for each in releases if each.version == str(version)), None)
        if held is None:
            return Step("release", True, "not known yet: a new run would begin"), "accepted", ""
        run = held.run if run_of(held.run) else ""
        if commit in ("", MADE_UP, held.commit):
            return Step("release", True, f"known already at commit {held.commit[:12]}"), "known", run
        said = f"the version belongs to commit {held.commit[:12]}: a run would be rejected with version_moved"
        return Step("release", False, said), "rejected", run

    def _announcement(self, options: SourceOptions, sample: Sample) -> Announcement:
        module, version = parse_release(sample.module, sample.version)
        route = route_told(self._routing, options.name, module, version, sample.repo_url or None)
        if route.tag is None:
            said = route.error.message if route.error else "no rule says its tag"
            raise SyncError("bad_request", f"module: {said}", field="module")
        known = route.target.clone_url if route.target and options.scheme not in TELLS_NO_REPOSITORY else None
        return Announcement(
            module, f"refs/tags/{route.tag}", version, sample.commit, sample.repo_url or known or None
        )  # fmt: skip

"""Rules over this machine's own files: certificates, netrc, git's rewriting."""

from __future__ import annotations

import re
from collections.abc import Iterator
from shlex import quote

from app.doctor.checks_settings import companys_proxy, may_go_direct
from app.doctor.findings import Finding, found
from app.doctor.observed import Answer, Netrc, Observed, Rewrite
from app.doctor.settings import shown, shown_goproxy

_OTHERS = 0o077


def check_machine(observed: Observed) -> Iterator[Finding]:
    """Everything found in files and variables of this machine."""
    for problem in observed.ca_problems:
        seen = f"{problem.variable} names {problem.problem}"
        yield found("ca-file-unreadable", seen, f"unset {problem.variable}   # or let it name a readable PEM file")
    for entry in observed.lost:
        look = f"ls -ld {quote(entry.directory or '')}   # mount or make it; or name another place:"
        seen = f"GOPROXY has the entry {shown_goproxy(entry.text)}, and that directory is not here"
        yield found("goproxy-no-directory", seen, look, companys_proxy(observed.settings))
    if observed.netrc:
        yield from _netrc(observed.netrc)
    yield from _goauth(observed)
    if may_go_direct(observed.settings):
        for rewrite in observed.rewrites:
            if rewrite.concerns_go:
                yield from _rewrite(rewrite)


def _netrc(netrc: Netrc) -> Iterator[Finding]:
    if netrc.problem:
        yield found("netrc-broken", f"{netrc.path}: {netrc.problem}", f"${{EDITOR:-vi}} {quote(netrc.path)}")
    if netrc.machines and netrc.mode is not None and netrc.mode & _OTHERS:
        yield found("netrc-permissions", f"{netrc.path} has mode {netrc.mode:03o}", f"chmod 600 {quote(netrc.path)}")


def _goauth(observed: Observed) -> Iterator[Finding]:
    """What go stops at in any case; else only where somebody asked for credentials."""
    statuses = {item.outcome.status for item in observed.requests if isinstance(item.outcome, Answer)}
    unset = observed.settings.unset_command("GOAUTH")
    if 401 in statuses and observed.settings["GOAUTH"] == "off":
        yield found("goauth-off", "GOAUTH=off, and a proxy answered 401", unset)
    for each in observed.auth_problems:
        if each.fatal or statuses & {401, 403, 404}:
            what = f"command `{each.command}`: " if each.command else ""
            yield found(
                "goauth-broken", f"GOAUTH: {what}{each.problem}", f"{unset}   # or mend it; see `go help goauth`"
            )


def _rewrite(rewrite: Rewrite) -> Iterator[Finding]:
    """Rewriting is fine as such: many need it for ssh."""
    seen = f"git goes to {shown(rewrite.to)} for {rewrite.instead_of}"
    fix = _taken_out(rewrite)
    if rewrite.trouble:
        yield found("git-insteadof", f"{seen}, which cannot be reached: {rewrite.trouble}", fix)
    elif re.match(r"https?://[^/@]*:[^/@]*@", rewrite.to):
        yield found("git-insteadof", f"{seen}: the password is in git's configuration; use netrc", shown(fix))
    elif rewrite.to.startswith(("http://", "git://")) and not rewrite.instead_of.startswith(("http://", "git://")):
        yield found("git-insteadof", f"{seen}: unencrypted", fix)


def _taken_out(rewrite: Rewrite) -> str:
    """The command that takes the rule out of where it stands; what variables say, no file can take back."""
    if rewrite.scope == "command":
        return "unset GIT_CONFIG_COUNT GIT_CONFIG_PARAMETERS   # the rule stands in GIT_CONFIG_KEY_n or in the latter"
    git = {"system": "sudo git config --system", "local": "git -C / config --local"}
    how = git.get(rewrite.scope, "git config --global")
    return f"{how} --unset-all {quote(f'url.{rewrite.to}.insteadOf')}"

"""Rules over go's settings alone."""

from __future__ import annotations

from collections.abc import Iterator

from app.doctor.advice import machine_of, netrc_line
from app.doctor.checks_sumdb import is_readable
from app.doctor.findings import Finding, found
from app.doctor.settings import (
    Entry,
    GoSettings,
    bare,
    covered,
    goproxy_text,
    is_too_wide,
    matches_any,
    patterns,
    shown,
    shown_goproxy,
)
from app.domain.modules import ModulePath

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_HARMFUL = ("mod=mod", "mod=vendor", "modfile=", "insecure")


def check_settings(settings: GoSettings) -> Iterator[Finding]:
    """Everything that is wrong without asking anybody."""
    yield from _goproxy(settings)
    yield from _fallbacks(settings)
    yield from _blanks(settings)
    yield from _privacy(settings)
    yield from _checksums(settings)
    yield from _flags(settings)


def _goproxy(settings: GoSettings) -> Iterator[Finding]:
    value, entries = settings["GOPROXY"], settings.entries
    if not entries:
        yield found("goproxy-empty", f"GOPROXY={value!r} has no entries", settings.unset_command("GOPROXY"))
    elif entries[0].text == "off":
        yield found("goproxy-off", "GOPROXY=off", settings.unset_command("GOPROXY"))
    for entry in entries:
        if entry.is_url:
            yield from _entry(settings, entry)


def _entry(settings: GoSettings, entry: Entry) -> Iterator[Finding]:
    seen = f"GOPROXY has the entry {shown_goproxy(entry.text)}"
    if entry.fault:
        yield found("goproxy-invalid", f"{seen}: {entry.fault}", companys_proxy(settings))
        return
    if entry.scheme == "http" and entry.host not in _LOOPBACK:
        better = [Entry(other.text.replace("http://", "https://", 1), other.any_error) for other in settings.entries]
        yield found("goproxy-plain-http", seen, settings.set_command("GOPROXY", goproxy_text(better)))
    if shown(entry.url) != entry.url:
        yield found("goproxy-password", seen, *_netrc_instead(settings, entry))


def companys_proxy(settings: GoSettings) -> str:
    """The command that names the company's proxy, which only its people know."""
    command = settings.set_command("GOPROXY", "https://GOPROXY.YOUR.COMPANY")
    return f"{command}   # your company's proxy; modsync's /setup page names it"


def _netrc_instead(settings: GoSettings, entry: Entry) -> Iterator[str]:
    yield netrc_line(machine_of(entry.url))
    yield settings.set_command("GOPROXY", goproxy_text(settings.entries))


def _fallbacks(settings: GoSettings) -> Iterator[Finding]:
    """What stands beside a company's proxy: `|`, `direct`, a public proxy."""
    entries, company = settings.entries, _companys(settings)
    if not company:
        return
    first, only = entries.index(company[0]), _company_only(settings)
    seen = f"GOPROXY={shown_goproxy(settings['GOPROXY'])}"
    if any(entry.any_error for entry in entries[first:-1]):
        yield found("goproxy-hides-errors", seen, only)
    if any(entry.text == "direct" for entry in entries[first:]):
        yield found("goproxy-direct", f"{seen}: direct comes after {company[-1].host}", only)
    public = next((at for at, entry in enumerate(entries) if entry.is_public), None)
    if public is not None and not settings.private_patterns:
        order = f"what {company[0].host} lacks" if public > first else "every name, first,"
        yield found("goproxy-leaks-private", f"{seen}: {order} is asked of {entries[public].host}", only)


def _blanks(settings: GoSettings) -> Iterator[Finding]:
    """Each list that has its own value: go strips nothing from what stands between two commas."""
    for name in ("GOPRIVATE", "GONOPROXY", "GONOSUMDB"):
        named = patterns(settings[name])
        blank = [pattern for pattern in named if pattern != pattern.strip()]
        if blank and (name == "GOPRIVATE" or _unset_own(settings, name)):
            seen = f"{name}={settings[name]!r}: go takes the blank as part of the name in {', '.join(map(repr, blank))}"
            yield found("pattern-blank", seen, settings.set_command(name, ",".join(bare(named))))


def _privacy(settings: GoSettings) -> Iterator[Finding]:
    """Private patterns: where they are asked for, and whether they come past the company's proxy."""
    told = [pattern for pattern in settings.private_patterns if not covered(pattern, bare(settings.no_proxy))]
    public = next((entry for entry in settings.entries if entry.is_public), None)
    if told and public:
        fix = _company_only(settings) if _companys(settings) else companys_proxy(settings)
        yield found("goproxy-leaks-private", f"{', '.join(told)} would be asked of {public.host}", fix)
    if settings.no_proxy and _companys(settings):
        yield _bypass(settings)


def _bypass(settings: GoSettings) -> Finding:
    """GOPRIVATE, or GONOPROXY itself, leads past the company's proxy: GONOSUMDB alone is what is meant."""
    name = "GOPRIVATE" if set(settings.no_proxy) == set(patterns(settings["GOPRIVATE"])) else "GONOPROXY"
    fixes = [*_private_only(settings), *_unset_own(settings, "GONOPROXY")]
    if settings["GOPRIVATE"]:
        fixes.append(settings.unset_command("GOPRIVATE"))
    if any(entry.is_public or entry.text == "direct" for entry in settings.entries):
        fixes.insert(0, _company_only(settings))  # else the names would go there now
    seen = f"{name}={','.join(settings.no_proxy)}, and GOPROXY names {_companys(settings)[0].host}"
    return found("goprivate-bypass", seen, *fixes)


def _companys(settings: GoSettings) -> list[Entry]:
    return [entry for entry in settings.entries if entry.is_company]


def _company_only(settings: GoSettings) -> str:
    return settings.set_command("GOPROXY", goproxy_text(_companys(settings)))


def _checksums(settings: GoSettings) -> Iterator[Finding]:
    if settings["GOSUMDB"] == "off":
        yield found("gosumdb-off", "GOSUMDB=off", *_private_only(settings), settings.unset_command("GOSUMDB"))
        return
    if not is_readable(settings):
        yield found("gosumdb-invalid", f"GOSUMDB={settings['GOSUMDB']!r}", settings.unset_command("GOSUMDB"))
    wide = [pattern for pattern in settings.no_sumdb if is_too_wide(pattern)]
    if wide:
        fix = _private_only(settings) or (settings.unset_command("GOPRIVATE"),)
        yield found("gonosumdb-too-wide", f"no checksums for {', '.join(wide)}", *fix)
    listed = bare(settings.no_sumdb)  # of blanks it is told once
    missing = [pattern for pattern in settings.private_patterns if not covered(pattern, listed)]
    if missing:
        wanted = ",".join((*listed, *missing))
        seen = f"{', '.join(missing)} is private and not in GONOSUMDB"
        yield found("gonosumdb-missing", seen, settings.set_command("GONOSUMDB", wanted))


def _private_only(settings: GoSettings) -> tuple[str, ...]:
    """The command that leaves the private patterns, and only those, without the public database; none: nothing to do."""
    private = ",".join(settings.private_patterns)
    return (settings.set_command("GONOSUMDB", private),) if private else _unset_own(settings, "GONOSUMDB")


def _unset_own(settings: GoSettings, name: str) -> tuple[str, ...]:
    """The command that unsets it where it has a value of its own: else it follows GOPRIVATE, and `go env -u` may fail."""
    follows = settings.values.get(name, "") in ("", settings["GOPRIVATE"]) and not settings.environment.get(name)
    return () if follows else (settings.unset_command(name),)


def _flags(settings: GoSettings) -> Iterator[Finding]:
    flags = settings["GOFLAGS"].split()
    harmful = [flag for flag in flags if flag.lstrip("-").startswith(_HARMFUL)]
    if settings.refused:
        yield found("goflags", f"go refuses GOFLAGS: {settings.refused}", settings.unset_command("GOFLAGS"))
    elif harmful:
        rest = " ".join(flag for flag in flags if flag not in harmful)
        fix = settings.set_command("GOFLAGS", rest) if rest else settings.unset_command("GOFLAGS")
        yield found("goflags", f"GOFLAGS has {' '.join(harmful)}", fix)
    if insecure := settings["GOINSECURE"]:
        yield found("goinsecure", f"GOINSECURE={insecure}", settings.unset_command("GOINSECURE"))


def is_direct(settings: GoSettings, module: ModulePath) -> bool:
    """Whether go fetches this module without any proxy at first."""
    first = settings.entries[:1]
    return matches_any(settings.no_proxy, module.text) or bool(first and first[0].text == "direct")


def may_go_direct(settings: GoSettings) -> bool:
    """Whether any module may be fetched with git from here."""
    return bool(settings.no_proxy) or any(entry.text == "direct" for entry in settings.entries)

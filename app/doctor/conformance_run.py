"""Ask a proxy everything the protocol knows, and judge the answers."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from app.doctor.caching import check_caching
from app.doctor.checks_sumdb import database
from app.doctor.conformance import (
    Check,
    Outcome,
    Sample,
    check_info,
    check_latest,
    check_list,
    check_miss,
    check_mod,
    check_redirects,
    check_refusal,
    check_repeat,
    check_supported,
    check_types,
    is_good,
    judged,
    said,
    skipped,
    versions_of,
)
from app.doctor.observed import Answer
from app.doctor.probe_goauth import go_auth
from app.doctor.probe_http import Client
from app.doctor.probe_machine import read_netrc
from app.doctor.probe_settings import read_settings
from app.doctor.probe_trust import trusting
from app.domain.gomod import same_go_mod
from app.domain.modules import ModulePath, RuleBroken, Version
from app.domain.modzip import MAX_ZIP
from app.services.checksum import zip_sums

_NO_MODULE = "modsync-doctor.invalid/nothing/here"
_DATABASE = "sum.golang.org"


def conform(
    url: str, samples: Sequence[Sample], h1: str | None, timeout: float, environment: Mapping[str, str]
) -> list[Check]:
    """Every check of the proxy at `url` (no final slash), in the table's order; never raises.

    `h1`: what go.sum says of the first sample's zip. Credentials come as go has them (GOAUTH), trust from where go has it.
    """
    trust, _ = trusting(environment)
    _, credentials = read_netrc(environment)
    settings = read_settings(environment)
    auth = go_auth(settings["GOAUTH"], credentials, environment)
    proxy = _Proxy(url, Client(trust, environment, auth, timeout))
    checks: list[Check] = []
    for at, sample in enumerate(samples):
        checks += _of_module(proxy, sample, h1 if at == 0 else None)
    checks += _across(samples)
    checks += _of_misses(proxy, samples[0])
    checks.append(_sumdb(proxy, database(settings)[0] or _DATABASE))
    return checks


@dataclass(frozen=True)
class _Proxy:
    url: str
    client: Client

    def get(self, path: str, limit: int = 16 << 20) -> Outcome:
        """The outcome of a GET of `path` below the proxy's base; `limit` bytes of the body."""
        return self.client.fetch(f"{self.url}/{path}", limit)


def _of_module(proxy: _Proxy, sample: Sample, h1: str | None) -> Iterator[Check]:
    module = sample.path
    listed = proxy.get(f"{module.escaped}/@v/list")
    yield check_list(module, listed)
    yield from _escaping(proxy, module)
    latest = proxy.get(f"{module.escaped}/@latest")
    yield check_latest(module, latest)
    yield check_caching(f"caching list, latest {module}", "moving", (listed, latest))
    version = sample.version or next(iter(reversed(versions_of(listed))), None)
    if version is None:
        yield skipped(f"info, mod, zip {module}", "the list names no version; give one: --module PATH@VERSION")
        return
    yield from _of_version(proxy, module, version, h1)


def _of_version(proxy: _Proxy, module: ModulePath, version: Version, h1: str | None) -> Iterator[Check]:
    name, base = f"{module}@{version}", f"{module.escaped}/@v/{version.escaped}"
    info, mod, archive = (proxy.get(f"{base}.{kind}", MAX_ZIP + 1) for kind in ("info", "mod", "zip"))
    yield check_info(name, version, info)
    yield check_mod(name, module, mod)
    yield from _zip(name, module, version, (mod, archive), h1)
    yield from check_redirects(name, (("info", info), ("mod", mod), ("zip", archive)))
    yield check_types(name, (("info", info), ("mod", mod), ("zip", archive)))
    yield check_caching(f"caching info, mod, zip {name}", "fixed", (info, mod, archive))
    for kind, first in (("mod", mod), ("zip", archive)):
        yield check_repeat(f"{kind} {name}", (_digest(first), _digest(proxy.get(f"{base}.{kind}", MAX_ZIP + 1))))


def _zip(
    name: str, module: ModulePath, version: Version, answers: tuple[Outcome, Outcome], h1: str | None
) -> Iterator[Check]:
    """The archive's form, its go.mod against `.mod`, and its h1."""
    mod, archive = answers
    wanted = "200, a module zip: every name below PATH@VERSION/, no duplicates, at most 500 MiB"
    if not isinstance(archive, Answer) or not is_good(archive):
        yield judged(f"zip {name}", False, said(archive), wanted)
        return
    try:
        sums = zip_sums(io.BytesIO(archive.body), module, version)
    except RuleBroken as broken:
        yield judged(f"zip {name}", False, f"{broken.message} [{broken.rule}]", wanted)
        return
    yield judged(f"zip {name}", True, f"{len(sums.files)} files, {len(archive.body)} bytes", wanted)
    same = isinstance(mod, Answer) and same_go_mod(sums.go_mod_bytes, mod.body)
    wanted = "the zip's go.mod has the bytes of .mod, but for line ends"
    yield judged(f"go.mod {name}", same, "equal" if same else "differs", wanted)
    if h1:
        yield judged(f"h1 {name}", sums.h1_zip == h1, sums.h1_zip, h1)
    else:
        yield skipped(f"h1 {name}", f"{sums.h1_zip}; compare with go.sum: --h1")


def _across(samples: Sequence[Sample]) -> Iterator[Check]:
    """What the samples could not show, because none of them has it."""
    if not any(sample.path.text != sample.path.escaped for sample in samples):
        yield skipped("escaping", "no sample has an upper-case letter; give one: --module github.com/BurntSushi/toml")
    if not any(sample.path.major_suffix for sample in samples):
        yield skipped("/vN", "no sample has a major suffix; give one: --module PATH/v2")
    if not any(sample.version and sample.version.is_pseudo for sample in samples):
        yield skipped("pseudo-version", "no sample has one; give one: --module PATH@v0.0.0-20260102150405-abcdefabcdef")


def _of_misses(proxy: _Proxy, sample: Sample) -> Iterator[Check]:
    module = sample.path
    absent = f"{module.escaped}/@v/v{module.major_suffix.strip('/.v') or 0}.0.0-modsync-doctor"
    misses = [proxy.get(f"{absent}.{kind}") for kind in ("info", "mod", "zip")]
    for name, miss in zip(
        ("a version that is not there (info)", "the same (mod)", "the same (zip)"), misses, strict=True
    ):
        yield check_miss(name, miss)
    yield check_miss("a module that is not there", proxy.get(f"{_NO_MODULE}/@v/v1.0.0.info"))
    if not module.text.startswith("gopkg.in/"):
        later = ModulePath.parse(f"{module.prefix}/v987654").escaped
        yield check_miss("a major version that is not there", proxy.get(f"{later}/@v/v987654.0.0.info"))
    yield check_caching("caching of a miss", "miss", misses)
    yield check_refusal("unknown kind of file is refused", proxy.get(f"{absent}.tar"))


def _escaping(proxy: _Proxy, module: ModulePath) -> Iterator[Check]:
    """Upper case is `!x` on the way; go writes it as %21x, which must mean the same."""
    if module.text == module.escaped:
        return
    encoded = check_list(module, proxy.get(f"{module.escaped.replace('!', '%21')}/@v/list"))
    yield replace(encoded, name=f"list {module} (%21)")
    yield check_refusal(f"{module} unescaped is refused", proxy.get(f"{module}/@v/list"))


def _sumdb(proxy: _Proxy, name: str) -> Check:
    supported = proxy.get(f"sumdb/{name}/supported")
    passes = isinstance(supported, Answer) and supported.status == 200
    return check_supported(name, supported, proxy.get(f"sumdb/{name}/latest") if passes else None)


def _digest(outcome: Outcome) -> str:
    return hashlib.sha256(outcome.body).hexdigest() if isinstance(outcome, Answer) and outcome.status == 200 else ""

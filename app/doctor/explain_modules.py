"""Rules for causes in modules, repositories and settings: what go prints when it got an answer and dislikes it."""

from __future__ import annotations

import re
import shlex

from app.doctor.advice import host_of, install_ca, netrc_line
from app.doctor.explain_rule import Rule, rule
from app.doctor.settings import shown

_MODULE = r"(?<![\w.~/-])(?P<module>[\w~-]+(?:\.[\w~-]+)+(?:/[\w.~-]+)*)"  # one way to match, at one place
_OFF = "go env GOPROXY   # off alone: go env -u GOPROXY; off behind a proxy: that one does not have the module"
_UNABLE = r"unable to access '(?P<url>https?://[^']+)': "
_AT = rf"{_MODULE}@(?P<version>v[\w.+-]+)"

_MISMATCH = (
    "modsync explain {module}@{version}   # compare with the released commit; only when the new content is the right "
    "one: go clean -modcache, and take the module's old lines out of go.sum"
)
_SSH = r"ssh: connect to host (?P<host>\S+) port (?P<port>\d+): "
_LOOK_SSH = "ssh -v -p {port} git@{host}   # "
_REFUSED = "git ls-remote https://MODULE   # mend key, token or address until this works; or set GOPROXY to the company's proxy"


def _revision(found: re.Match[str]) -> tuple[str, ...]:
    """A look for a tag, branch or commit in the repository, as far as its address can be told from the module's path."""
    revision = found["revision"]
    place = f"https://{_repository(found['module'], revision) if found['module'] else 'REPOSITORY'}"
    if re.fullmatch(r"[0-9a-f]{7,64}", revision):  # git lists none by its hash
        return (f"git ls-remote {place}   # is a branch there that has {revision}? Else push it",)
    tags = "--tags " if re.search(r"(?:^|/)v\d+\.\d+\.\d+", revision) else ""
    quoted = shlex.quote(revision)
    return (f"git ls-remote {tags}{place} {quoted}   # missing: git push origin {quoted}",)


def _repository(module: str, revision: str) -> str:
    """Without what a module's path has behind its repository's: `/vN`, and the directory that prefixes its tags."""
    directory = revision.rpartition("/")[0]
    return re.sub(r"/v\d+$", "", module).removesuffix(f"/{directory}")


MODULE_RULES: tuple[Rule, ...] = (
    rule(
        "vcs-disallowed",
        r"GOVCS disallows using (?P<vcs>\w+)",
        "go env -w GOVCS='*:{vcs}'   # or set GOPROXY to a proxy",
    ),
    rule(
        "checksum-mismatch",
        rf"{_AT}: verifying (?:module|go\.mod): checksum mismatch",
        _MISMATCH,
    ),
    rule(
        "checksum-mismatch",
        rf"verifying {_AT}.*checksum mismatch",
        _MISMATCH,
    ),
    rule(
        "checksum-mismatch",
        r"checksum mismatch",
        _MISMATCH.format(module="MODULE", version="VERSION"),
    ),
    rule(
        "go-sum-missing",
        r"missing go\.sum entry.*; to add(?: it)?:\s+(?P<command>go (?:get|mod download) \S+)",
        "{command}   # or: go mod tidy",
    ),
    rule(
        "go-sum-missing",
        r"missing go\.sum entry",
        "go mod tidy",
    ),
    rule(
        "module-path-mismatch",
        r"module declares its path as: (?P<declared>\S+).*but was required as: (?P<required>\S+)",
        "go mod edit -droprequire={required} && go get {declared}   # or mend the module line there and release anew",
    ),
    rule(
        "major-suffix",
        r"module contains a go\.mod file, so module path must match major version \(\"?(?P<wanted>[^\")]+)",
        "go get {wanted}   # import it by that path",
    ),
    rule(
        "major-suffix",
        rf"{_AT}: invalid version: should be (?P<wanted>v[\w ]+), not (?P<major>v\d+)",
        "go get {module}/{major}@{version}   # import it by that path",
    ),
    rule(
        "private-not-served",
        r"unrecognized import path \"(?P<module>[^\"]+)\"",
        "curl -sSL 'https://{module}?go-get=1'",
    ),
    rule(
        "unknown-revision",
        rf"(?:{_MODULE}@\S+?: )?invalid version: unknown revision (?P<revision>\S+)",
        _revision,
    ),
    rule(
        "unknown-revision",
        rf"{_MODULE}: no matching versions for query \"(?P<query>[^\"]*)\"",
        "go list -m -versions {module}",
    ),
    rule(
        "git-credentials",
        r"could not read (?:Username|Password) for '(?P<url>\w+://[^/']+)[^']*': .*",
        lambda found: (netrc_line(host_of(found["url"])),),  # git, unlike go, looks up the host without its port
    ),
    rule(
        "tls-unknown-authority",
        rf"{_UNABLE}(?:SSL certificate problem: (?:unable|self)|server certificate verification failed)",
        lambda found: (install_ca(shown(found["url"]), None),),
    ),
    rule(
        "dns-no-such-host",
        rf"{_UNABLE}Could not resolve host: (?P<host>[^\s']+)",
        "getent ahosts {host}   # the DNS (VPN connected?), or set GOPROXY to the company's proxy",
    ),
    rule(
        "egress-credentials",
        rf"{_UNABLE}.*HTTP code 407 from proxy",
        "export HTTPS_PROXY=http://USER:PASSWORD@PROXY:PORT",
    ),
    rule(
        "dns-no-such-host",
        r"ssh: Could not resolve hostname (?P<host>[^\s:]+)",
        "getent ahosts {host}   # the DNS (VPN connected?), or set GOPROXY to the company's proxy",
    ),
    rule("connection-refused", rf"{_SSH}Connection refused", _LOOK_SSH + "what listens there"),
    rule(
        "timeout",
        rf"{_SSH}(?:Connection timed out|Operation timed out|No route to host|Network is unreachable)",
        _LOOK_SSH + "a firewall that drops",
    ),
    rule(
        "git-refused",
        r"detected dubious ownership in repository at '(?P<directory>[^']+)'",
        lambda found: (
            f"git config --global --add safe.directory {shlex.quote(found['directory'])}   # if you trust its owner",
        ),
    ),
    rule(
        "git-refused",
        r"Permission denied \(publickey|Host key verification failed|HTTP Basic: Access denied|Authentication failed for|"
        r"Repository not found",
        _REFUSED,
        whole=True,
    ),
    rule(
        "vcs-missing",
        r"exec: \"(?P<program>git|hg|svn|bzr|fossil)\": executable file not found",
        "sudo apt-get install {program}",
    ),
    rule(
        "go-too-old",
        r"requires go >= (?P<go>[\d.a-z]+)",
        "unset GOTOOLCHAIN; go env -w GOTOOLCHAIN=auto   # lets go fetch the version it needs: build again; or install go {go}",
    ),
    rule(
        "go-too-old",
        r"cannot find \"go(?P<go>[\d.a-z]+)\" in PATH",
        "unset GOTOOLCHAIN; go env -w GOTOOLCHAIN=auto   # lets go fetch go{go}: build again; or install it",
    ),
    rule(
        "toolchain-missing",
        r"download go(?P<go>[\d.a-z]+) for (?P<os>\w+)/(?P<arch>\w+): toolchain not available",
        "curl -sSI PROXY/golang.org/toolchain/@v/v0.0.1-go{go}.{os}-{arch}.zip   # each PROXY of: go env GOPROXY\n"
        "# let one have it; or install go{go}, and where several are installed: go env -w GOTOOLCHAIN=local",
    ),
    rule("gosumdb-off", r"checksum database disabled by GOSUMDB=off", "go env -u GOSUMDB"),
    rule(
        "goproxy-password",
        r"refusing to pass credentials to insecure URL: (?P<url>https?://(?:[^@/]*@)?(?P<host>[^/:]+)\S*)",
        "go env -w GOPROXY=https://{host}   # and the password to netrc: machine {host} login USER password TOKEN",
    ),
    rule(
        "vendor-inconsistent",
        r"inconsistent vendoring",
        "go mod vendor   # or, if GOFLAGS says -mod=vendor: go env -u GOFLAGS",
    ),
    rule(
        "not-found",
        r"reading file://(?P<file>\S+): no such file or directory",
        "ls -l {file}   # is the version there, and GOPROXY the right directory?",
    ),
    rule("goproxy-off", r"module lookup disabled by GOPROXY=off", _OFF),
    rule("goproxy-empty", r"GOPROXY list is not the empty string, but contains no entries", "go env -u GOPROXY"),
    rule(
        "goproxy-invalid",
        r"invalid (?:file:// )?proxy URL|invalid GOPROXY|parsing proxy URL|unsupported protocol scheme"
        r"|^go: (?:.*: )?parse \".+\": (?:invalid |missing ']' in host|first path segment in URL)"
        r"|Get \"[^\"]+\": (?:dial tcp: address \S+: invalid port|http: no Host in request URL)",
        "go env -w GOPROXY=https://GOPROXY.YOUR.COMPANY",
    ),
    rule(
        "gosumdb-invalid", r"(?:missing|invalid|unknown) GOSUMDB|GOSUMDB=.*(?:malformed|invalid)", "go env -u GOSUMDB"
    ),
    rule("goflags", r"parsing \$GOFLAGS|go: .*GOFLAGS|unknown flag -insecure", "go env -u GOFLAGS"),
    rule(
        "git-refused", r"Could not read from remote repository", _REFUSED
    ),  # git's last line after every failure of ssh
)

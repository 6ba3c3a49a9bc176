"""Every code the doctor knows, and why the cause hurts. Codes are stable; docs/doctor.md has a section for each."""

from collections.abc import Mapping

_SETTINGS = {
    "goproxy-off": "With GOPROXY=off go downloads nothing at all.",
    "goproxy-empty": "A GOPROXY of separators only has no entries, and go refuses to work with it.",
    "goproxy-invalid": "go reads only http, https and file URLs here; every download stops at this entry.",
    "goproxy-no-directory": "go finds no module at this entry: the directory that it names is not there.",
    "goproxy-hides-errors": "After a | go goes on at any error: when the proxy fails, nobody sees it, and modules come from "
    "elsewhere, unaudited.",
    "goproxy-direct": "What the company's proxy does not have is fetched from its origin: past the cache and the audit, with "
    "the module's name told outside, and it fails where git has no access.",
    "goproxy-leaks-private": "The names of private modules are sent to a public proxy, and whoever publishes a module of the "
    "same name there gets it into your build.",
    "goproxy-plain-http": "Without TLS anyone on the way can read and change what comes, unnoticed for modules without "
    "public checksums. go sends no credentials that way: a proxy that wants them refuses.",
    "goproxy-password": "go prints GOPROXY in errors and build logs, and the password with it.",
    "goprivate-bypass": "GOPRIVATE also sets GONOPROXY: private modules come past the private proxy, straight from git, which "
    "needs credentials on every machine and uses neither cache nor proof.",
    "pattern-blank": "go takes the blank as part of the name, so the pattern fits no module, and what should be private is "
    "asked for in public.",
    "gonosumdb-missing": "go asks the public checksum database about private modules: their names leave the company, and the "
    "download fails, because the database cannot know them.",
    "gonosumdb-too-wide": "Checksums of public modules are not checked: a changed module comes in unnoticed.",
    "gosumdb-off": "Checksums of public modules are not checked: a changed module comes in unnoticed. Private modules need "
    "GONOSUMDB only.",
    "gosumdb-invalid": "go cannot tell which checksum database is meant and refuses to download.",
    "goflags": "A flag in GOFLAGS changes every go command on this machine, also where nobody expects it.",
    "goinsecure": "For these modules go gives up TLS: anyone on the way can change what comes.",
    "goauth-off": "With GOAUTH=off go sends no credentials, so a proxy that asks for them refuses.",
    "goauth-broken": "go has no credentials from a command that fails, and with a GOAUTH that it cannot read it ends at once.",
    "ca-file-unreadable": "go trusts only the certificates it can read: with this setting it trusts none, or too few.",
}

_NETWORK = {
    "dns-no-such-host": "The name cannot be resolved here, so nothing comes from it.",
    "dns-hijack": "This machine's DNS sends a public name to an address inside: an interception page answers, not the server.",
    "connection-refused": "Nothing listens there: the proxy is down, or the port is wrong.",
    "connection-cut": "The connection is cut before an answer or in its middle, as firewalls, filters and broken proxies do.",
    "timeout": "go waits for minutes and then fails.",
    "slow": "Each module takes this long, and a build asks for hundreds.",
    "http2-broken": "The server, or a filter before it, breaks HTTP/2 connections off before the answer is there.",
    "tls-unknown-authority": "Something between here and the server, most often the company's TLS inspection, shows a "
    "certificate of a CA that this machine does not trust; go refuses it.",
    "tls-wrong-name": "The server that answers is not the one that was asked for: a wrong address, a hijacked name, or a "
    "certificate made for another name.",
    "tls-expired": "go refuses a certificate outside its period of validity.",
    "tls-not-tls": "The other side does not speak TLS on this port.",
    "tls-failed": "No secure connection comes about, so nothing is downloaded.",
    "client-certificate": "The server wants a client certificate, and go cannot show one.",
    "login-page": "A login or block page answers in place of the proxy; go reads HTML where it expects a version.",
    "redirect-refused": "go follows no redirect from https to http, and no chain of ten: something between here and the "
    "server, most often a login page, sends requests elsewhere.",
    "html-answer": "The server answers with a web page: this is not the address of a Go module proxy.",
    "info-invalid": "go cannot read what the proxy says of the version, and refuses the module.",
    "html-zip": "Something between here and the proxy replaces archives by a web page: go says 'not a valid zip file'.",
    "forbidden": "The server, or a filter before it, refuses the request.",
    "needs-credentials": "The server wants credentials, and go has none for it.",
    "credentials-refused": "The server does not accept the credentials go has for it.",
    "server-error": "The server itself fails.",
    "rate-limited": "The server refuses because of too many requests.",
    "unexpected-status": "This is no answer of the GOPROXY protocol: go stops at it.",
    "egress-refused": "The company's web proxy does not let the connection out.",
    "egress-down": "The web proxy that HTTPS_PROXY or HTTP_PROXY names cannot be reached or hangs up, so nothing comes.",
    "egress-scheme": "The web proxy does not speak what its URL begins with (https://, socks5://), so nothing comes.",
    "egress-credentials": "The company's web proxy wants to know who asks.",
    "sumdb-blocked": "go cannot ask the checksum database, so it refuses every public module that is not in go.sum yet.",
    "sumdb-pinned": "The proxy says that it passes the checksum database on, so go asks only there; but it does not.",
    "sumdb-proxy-error": "The proxy answers the question for the checksum database with an error: go stops there. 404 "
    "would let it ask the database itself.",
}

_MACHINE = {
    "clock-wrong": "With a wrong clock certificates seem expired or not yet valid.",
    "netrc-permissions": "Other users of this machine can read the passwords in it.",
    "netrc-broken": "go cannot read the credentials in it, so it sends none.",
    "git-insteadof": "git goes elsewhere than go asks it to: unencrypted, with a password in the configuration, or to a host "
    "that does not answer.",
}

_EXPLAINED = {
    "not-found": "The proxy does not have this module or version, or may not read it from its source.",
    "checksum-mismatch": "The module's content is not what go.sum or the checksum database says: a tag was moved, or a proxy "
    "serves something else. Do not work around it before you know which.",
    "go-sum-missing": "go.sum lacks the checksum, and go does not add it by itself here.",
    "vendor-inconsistent": "The vendor directory is not what go.mod says, and go was told to build from it.",
    "module-path-mismatch": "The module line in that go.mod says another path than the one asked for.",
    "unknown-revision": "The repository has no such tag or commit, or the tag was not pushed.",
    "major-suffix": "From v2 on the module path must end in the major version, and the import path too.",
    "git-credentials": "git wants a password and nobody is there to type it.",
    "git-refused": "The git server does not let this machine in, or git does not trust the repository's owner.",
    "vcs-missing": "go needs this program to fetch a module directly, and it is not installed.",
    "vcs-disallowed": "GOVCS forbids the version control system that this module uses.",
    "go-too-old": "The module wants a newer go than this machine has.",
    "toolchain-missing": "A go.mod wants a newer go, which go itself would fetch as the module golang.org/toolchain; no proxy of "
    "GOPROXY has it.",
    "private-not-served": "Nobody says at https://MODULE?go-get=1 where this module's repository is.",
}

CAUSES: Mapping[str, str] = _SETTINGS | _NETWORK | _MACHINE | _EXPLAINED

"""The script that sets a developer's machine or a CI job up for the private proxy; `modsync doctor` then finds nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from shlex import quote
from urllib.parse import urlsplit

_PEM = re.compile(r"(?:-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----\s*)+")
_PATTERN = re.compile(r"[A-Za-z0-9._~*?\[\]/-]+")


@dataclass(frozen=True, slots=True)
class Setup:
    """`proxy_url`: what GOPROXY becomes, without credentials. `private`: module patterns for GONOSUMDB.

    `ca_pem`: the company's CA certificates, empty when machines trust them already. `password`: whether the proxy asks
    for one. ValueError when a part cannot be what it says.
    """

    proxy_url: str
    private: tuple[str, ...]
    ca_pem: str = ""
    password: bool = False

    def __post_init__(self) -> None:
        parts = urlsplit(self.proxy_url)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.username
            or re.search(r"[\s,|]", self.proxy_url)
        ):
            raise ValueError("the proxy's URL must be http(s)://HOST[:PORT][/PATH], without credentials")
        if bad := [pattern for pattern in self.private if not _PATTERN.fullmatch(pattern)]:
            raise ValueError(f"not a module pattern: {bad[0]!r}")
        if self.ca_pem and not _PEM.fullmatch(self.ca_pem.strip() + "\n"):
            raise ValueError("the CA is not a PEM file of certificates")


def setup_script(setup: Setup) -> str:
    """A POSIX shell script, to be read before it is run: `curl -fsS URL/setup.sh | sh`, or `sh setup.sh --ci` for CI."""
    values = f"proxy={quote(setup.proxy_url)}\nprivate={quote(','.join(setup.private))}\n"
    parts = [_HEAD, values, _CI_SETTINGS, _write_ca(setup), _GO, _netrc(setup), _FOOT]
    return "\n".join(part for part in parts if part)


def _write_ca(setup: Setup) -> str:
    return _CA.replace("@PEM@", setup.ca_pem.strip()) if setup.ca_pem else ""


def _netrc(setup: Setup) -> str:
    """go compares host and port with netrc's `machine`."""
    return _NETRC.replace("@MACHINE@", quote(urlsplit(setup.proxy_url).netloc)) if setup.password else ""


_HEAD = """\
#!/bin/sh
# Sets go up for the company's module proxy. Run it again at any time; it changes only what it names.
#   sh setup.sh        this account: go env -w, the company's CA, netrc
#   sh setup.sh --ci   print the variables for a CI job instead: sh setup.sh --ci >> variables.env
#                      The CA and netrc, if any, are files of this job: run it in each job.
set -eu
"""

_CI_SETTINGS = """\
ci=
if [ "${1:-}" = --ci ]; then
  ci=1
  printf '%s\\n' "GOPROXY=$proxy" "GONOSUMDB=$private" "GOSUMDB=sum.golang.org" "GONOPROXY=none" "GOPRIVATE="
fi
"""

_CA = """\
# The company's CA, for go and for everything else on this machine.
ca_directory=${XDG_CONFIG_HOME:-$HOME/.config}/modsync
mkdir -p "$ca_directory"
cat > "$ca_directory/company-ca.crt" <<'END_OF_CA'
@PEM@
END_OF_CA
if [ -n "$ci" ]; then
  echo "SSL_CERT_DIR=${SSL_CERT_DIR:-/etc/ssl/certs:/etc/pki/tls/certs}:$ca_directory"
elif [ "$(id -u)" = 0 ] && [ -z "${MODSYNC_NO_SYSTEM_CA:-}" ] && [ -d /usr/local/share/ca-certificates ]; then
  cp "$ca_directory/company-ca.crt" /usr/local/share/ca-certificates/company-ca.crt
  update-ca-certificates >/dev/null
elif [ "$(id -u)" = 0 ] && [ -z "${MODSYNC_NO_SYSTEM_CA:-}" ] && [ -d /etc/pki/ca-trust/source/anchors ]; then
  cp "$ca_directory/company-ca.crt" /etc/pki/ca-trust/source/anchors/company-ca.crt
  update-ca-trust
else
  echo "The company's CA is in $ca_directory. For all programs, as root (Debian, Ubuntu):"
  echo "  cp $ca_directory/company-ca.crt /usr/local/share/ca-certificates/ && update-ca-certificates"
  echo "Without root, for go alone, in your shell's profile:"
  echo "  export SSL_CERT_DIR=/etc/ssl/certs:/etc/pki/tls/certs:$ca_directory"
fi
"""

_GO = """\
if [ -z "$ci" ]; then
  command -v go >/dev/null || { echo "go is not installed, or not on PATH" >&2; exit 1; }
  # What a shell exports wins over go's own settings: say so instead of failing silently.
  for name in GOPROXY GOPRIVATE GONOPROXY GONOSUMDB GOSUMDB GOINSECURE; do
    eval "value=\\${$name:-}"
    # shellcheck disable=SC2154 # eval sets it
    [ -z "$value" ] || { echo "$name=$value is exported; take it out of your profile and run this again" >&2; exit 1; }
  done
  go env -w "GOPROXY=$proxy"
  if [ -n "$private" ]; then go env -w "GONOSUMDB=$private"; else go env -u GONOSUMDB; fi
  # GOPRIVATE and GONOPROXY would lead past the proxy; GOSUMDB=off and GOINSECURE would switch checks off.
  for name in GOPRIVATE GONOPROXY GOSUMDB GOINSECURE; do
    go env -u "$name"
  done
fi
"""

_NETRC = """\
# The proxy's password, where go looks for it. Set both variables to have it written; they are not shown.
machine=@MACHINE@
netrc=${NETRC:-$HOME/.netrc}
# With GOAUTH=off go sends none.
if [ -n "$ci" ]; then
  [ "${GOAUTH:-}" != off ] || echo GOAUTH=netrc
elif [ "${GOAUTH:-}" = off ]; then
  echo "GOAUTH=off is exported; take it out of your profile and run this again" >&2
  exit 1
elif [ "$(go env GOAUTH)" = off ]; then
  go env -u GOAUTH
fi
case "${GOPROXY_USER:-}${GOPROXY_TOKEN:-}" in
  *[[:space:]]*) echo "GOPROXY_USER and GOPROXY_TOKEN may hold no blanks: netrc cannot" >&2; exit 1 ;;
esac
# The first entry of the machine counts, as for go: is it these?
entry=
[ ! -f "$netrc" ] || entry=$(netrc_machine=$machine awk '
  { for (i = 1; i < NF; i += 2) {
      if ($i == "machine") { if (here) exit; here = $(i + 1) == ENVIRON["netrc_machine"] }
      if (here) is[$i] = $(i + 1)
  } }
  END {
    same = is["login"] == ENVIRON["GOPROXY_USER"] && is["password"] == ENVIRON["GOPROXY_TOKEN"]
    if (here) print same ? "same" : "other"
  }' "$netrc")
if [ -n "$entry" ]; then
  chmod 600 "$netrc"
  if [ "$entry" = other ] && [ -n "${GOPROXY_USER:-}" ] && [ -n "${GOPROXY_TOKEN:-}" ]; then
    echo "$netrc has another user or token for $machine, and that one counts: take it out and run this again" >&2
  fi
elif [ -n "${GOPROXY_USER:-}" ] && [ -n "${GOPROXY_TOKEN:-}" ]; then
  # A last line without an end would swallow what is added.
  if [ -n "$(tail -c 1 "$netrc" 2>/dev/null)" ]; then echo >> "$netrc"; fi
  (umask 077 && printf 'machine %s login %s password %s\\n' "$machine" "$GOPROXY_USER" "$GOPROXY_TOKEN" >> "$netrc")
  chmod 600 "$netrc"
else
  echo "The proxy wants a password. Run this again with GOPROXY_USER and GOPROXY_TOKEN set, or add to $netrc (mode 600):" >&2
  echo "  machine $machine login USER password TOKEN" >&2
fi
"""

_FOOT = """\
[ -n "$ci" ] || echo "go takes modules from $(go env GOPROXY). To check: modsync doctor"
"""

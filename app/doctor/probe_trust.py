"""The certificates go trusts on this machine (crypto/x509 root_unix.go), for Python's TLS."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from app.doctor.observed import CaProblem

_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/cacert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_DIRECTORIES = ("/etc/ssl/certs", "/etc/pki/tls/certs")


def trusting(environment: Mapping[str, str]) -> tuple[ssl.SSLContext, tuple[CaProblem, ...]]:
    """A context that trusts what go trusts, and what SSL_CERT_FILE or SSL_CERT_DIR name in vain."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.hostname_checks_common_name = False  # go looks at the alternative names only
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # what is trusted need not be a root, for go
    if not sys.platform.startswith("linux"):
        context.load_default_certs()  # go asks the system there, and neither variable counts
        return context, ()
    problems = [problem for path in _files(environment) if (problem := _load(context, path))]
    for directory in _directories(environment):
        for path in _readable(directory):
            _load(context, path)
    return context, (*_named(environment, problems), *_missing_directories(environment))


def unchecked() -> ssl.SSLContext:
    """A context that checks nothing: only to look at what the other side shows, never to send anything secret."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _files(environment: Mapping[str, str]) -> tuple[Path, ...]:
    if named := environment.get("SSL_CERT_FILE"):
        return (Path(named),)
    return tuple(path for path in map(Path, _FILES) if path.is_file())[:1]


def _directories(environment: Mapping[str, str]) -> tuple[Path, ...]:
    named = environment.get("SSL_CERT_DIR")
    return tuple(map(Path, named.split(":") if named else _DIRECTORIES))


def _readable(directory: Path) -> Iterator[Path]:
    try:
        yield from (path for path in sorted(directory.iterdir()) if path.is_file() and not _is_alias(path))
    except OSError:
        return


def _is_alias(path: Path) -> bool:
    """A link to a name beside it, as c_rehash makes them: go leaves those out, and reads links to elsewhere."""
    return path.is_symlink() and "/" not in str(path.readlink())


def _load(context: ssl.SSLContext, path: Path) -> str:
    """Load what is there; the problem in words, or nothing."""
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        return f"{path}: no certificates in it ({error.reason or 'not PEM'})"
    except OSError as error:
        return f"{path}: {error.strerror}"
    return ""


def _named(environment: Mapping[str, str], problems: list[str]) -> Iterator[CaProblem]:
    if named := environment.get("SSL_CERT_FILE"):
        yield from (CaProblem("SSL_CERT_FILE", named, problem) for problem in problems)


def _missing_directories(environment: Mapping[str, str]) -> Iterator[CaProblem]:
    for name in filter(None, environment.get("SSL_CERT_DIR", "").split(":")):
        if name not in _DIRECTORIES and not Path(name).is_dir():  # of those each system has one
            yield CaProblem("SSL_CERT_DIR", name, f"{name}: no such directory")

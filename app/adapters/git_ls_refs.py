"""Asks a git server for a few refs by one request of git's protocol, version 2: what `git ls-remote` cannot do.

`git ls-remote` lists all refs, whatever its patterns say, in two requests and two processes; a mirror has a tag for each
version that was ever released. One POST of `ls-refs` with the refs' names as prefixes is answered with these alone
(git's Documentation/gitprotocol-v2.txt and gitprotocol-http.txt: the server keeps no state, so nothing has to come first).
Whoever asks must be ready for None: then git itself asks, and says what is wrong. But for a login that was refused, for git's
would be the second one, and of those a GitLab counts thirty.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from urllib.parse import urlsplit

from app.adapters.git_env import Credential
from app.adapters.http_allowance import Allowance, answers_within
from app.adapters.http_session import SLOW_LINE
from app.adapters.reached import reached

_OK, _UNAUTHORIZED = 200, 401
_LARGEST = 64 << 20
_LENGTH = 4  # hex digits before each line, which count themselves
_FLUSH, _DELIMITER = b"0000", b"0001"
_ANSWER = "application/x-git-upload-pack-result"
_HEADERS = {
    "Content-Type": "application/x-git-upload-pack-request",
    "Accept": _ANSWER,
    "Git-Protocol": "version=2",
}
_PEELED = "peeled:"


class LoginRefusedError(Exception):
    """The other side answered 401; `said` is what git would say of it, with its status 128."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        # git has no other login than the one that was sent, and nobody to ask
        self.said = f"fatal: could not read Username for '{parts.scheme}://{parts.netloc}': terminal prompts disabled"
        super().__init__(self.said)


def ls_refs(
    url: str, prefixes: Sequence[str], credential: Credential | None, *, ca_file: Path | None, seconds: float,
    addresses: Sequence[str] = (),
) -> dict[str, str] | None:  # fmt: skip
    """ref -> object, and `<ref>^{}` -> what a tag peels to, of all refs that begin with one of `prefixes` ([]: all).

    `addresses`: where the host is, tried in turn; its name is looked up where none are given.
    None for every answer that is not exactly what was asked for, and for none within `seconds` (of each wait, and four
    times that in all, with more for what comes fast enough). Raises LoginRefusedError.
    """
    login = {"Authorization": credential.header()} if credential else {}
    try:
        connection = _connection(url, ca_file, seconds, addresses)
        connection.response_class = answers_within(Allowance(4 * seconds, slowest=SLOW_LINE))
        content = _posted(connection, url, _question(prefixes), {**_HEADERS, **login})
        return dict(pair for line in _lines(content) for pair in _pairs(line))
    except (HTTPException, OSError, ValueError):
        return None


def _posted(connection: HTTPConnection, url: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """The answer's body. ValueError for another answer than git's, LoginRefusedError.

    No redirect is followed, no proxy of the environment asked.
    """
    try:
        connection.request("POST", f"{urlsplit(url).path}/git-upload-pack", body, dict(headers))
        answer = connection.getresponse()
        if answer.status == _UNAUTHORIZED and "Authorization" in headers:  # without, git may read it in another way
            raise LoginRefusedError(url)
        if answer.status != _OK or answer.headers.get("Content-Type") != _ANSWER:
            raise ValueError("this is not git's answer")
        content = answer.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ValueError("no mirror has so many tags")
        return content
    finally:
        connection.close()


def _connection(url: str, ca_file: Path | None, seconds: float, addresses: Sequence[str]) -> HTTPConnection:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "http":
        return _Plain(host, parts.port, seconds, addresses)
    return _Secure(host, parts.port, seconds, addresses, ca_file)


class _Plain(HTTPConnection):
    """To one of these addresses, where there are any; the host's name stands in the request all the same."""

    def __init__(self, host: str, port: int | None, seconds: float, addresses: Sequence[str]) -> None:
        super().__init__(host, port, timeout=seconds)
        self._addresses = addresses

    def connect(self) -> None:
        """Connect to the first address that can be reached. Raises OSError."""
        self.sock = reached(self._addresses or [self.host], self.port, self.timeout)


class _Secure(HTTPSConnection):
    """The same by TLS; the certificate has to be the name's, not the address'."""

    def __init__(
        self, host: str, port: int | None, seconds: float, addresses: Sequence[str], ca_file: Path | None
    ) -> None:
        self._trust = _trusting(ca_file)
        super().__init__(host, port, timeout=seconds, context=self._trust)
        self._addresses = addresses

    def connect(self) -> None:
        """Connect to the first address that can be reached. Raises OSError."""
        plain = reached(self._addresses or [self.host], self.port, self.timeout)
        try:
            self.sock = self._trust.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


@lru_cache(maxsize=8)
def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    """To read all of the system's authorities takes longer than to ask a server."""
    return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)


def _question(prefixes: Sequence[str]) -> bytes:
    head = [_line("command=ls-refs"), _line("object-format=sha1"), _DELIMITER, _line("peel")]
    return b"".join([*head, *(_line(f"ref-prefix {prefix}") for prefix in prefixes), _FLUSH])


def _line(text: str) -> bytes:
    data = text.encode("utf-8", "surrogateescape") + b"\n"
    return b"%04x" % (len(data) + _LENGTH) + data


def _lines(content: bytes) -> Iterator[str]:
    """The lines up to the flush, which must be the end. ValueError for anything else."""
    at = 0
    while content[at : at + _LENGTH] != _FLUSH:
        length = int(content[at : at + _LENGTH], 16)
        line = content[at + _LENGTH : at + length]
        if length <= _LENGTH or len(line) != length - _LENGTH:
            raise ValueError("this is no line of git's protocol")
        yield line.decode("utf-8", "surrogateescape").rstrip("\n")
        at += length
    if at + _LENGTH != len(content):
        raise ValueError("something comes behind the end")


def _pairs(line: str) -> Iterator[tuple[str, str]]:
    found, ref, *more = line.split(" ")
    bytes.fromhex(found)
    yield ref, found
    yield from ((f"{ref}^{{}}", each.removeprefix(_PEELED)) for each in more if each.startswith(_PEELED))

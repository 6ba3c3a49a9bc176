"""Signed tags: what git said of one, and whether the tag object itself is the one of this version. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

# git verify-tag --raw: gpg's status lines (doc/DETAILS in GnuPG), or what ssh-keygen prints.
_GPG = re.compile(r"^\[GNUPG:\] VALIDSIG ([0-9A-F]{40,64})(?: \S+){8} ([0-9A-F]{40,64})", re.MULTILINE)
_GPG_USER = re.compile(r"^\[GNUPG:\] GOODSIG \S+ (.+)$", re.MULTILINE)
_SSH = re.compile(r'^Good "git" signature for (.+) with (\S+) key (SHA256:\S+)$', re.MULTILINE)
_SIGNED = re.compile(rb"^-----BEGIN (?:PGP SIGNATURE|PGP MESSAGE|SSH SIGNATURE|SIGNED MESSAGE)-----", re.MULTILINE)
_LONGEST = 300


class SigningPolicy(StrEnum):
    """What a source's tags have to be: whatever they are, looked at, or signed by a known key."""

    OFF = "off"
    WARN = "warn"
    REQUIRE = "require"


@dataclass(frozen=True, slots=True)
class TrustedKeys:
    """Files with the keys that are known: ssh's allowed signers (ssh-keygen(1)), and OpenPGP public keys."""

    ssh_signers: str | None = None
    gpg_keys: str | None = None


@dataclass(frozen=True, slots=True)
class Signature:
    """`state` is good, bad or unsigned; `key` the fingerprint of the key, `why` what is wrong."""

    state: str
    kind: str = ""
    signer: str = ""
    key: str = ""
    why: str = ""

    @property
    def good(self) -> bool:
        """True when a known key signed this very tag."""
        return self.state == "good"


UNSIGNED = Signature("unsigned", why="the tag is not signed")


def is_signed(tag: bytes) -> bool:
    """True when a raw tag object carries a signature of any kind."""
    return _SIGNED.search(tag) is not None


def judge(tag: bytes, name: str, commit: str, code: int, said: str) -> Signature:
    """The verdict on a raw tag object at refs/tags/`name` from verify-tag's exit status and output.

    The exit status decides: ssh prints "Good" for unknown keys, too. A tag object of another version verifies wherever
    it is put, so its own name and commit have to be these.
    """
    if not is_signed(tag):
        return UNSIGNED
    if fault := _fault(tag, name, commit):
        return Signature("bad", why=fault)
    if code != 0:
        return Signature("bad", why=_reason(said))
    if found := _GPG.search(said):
        user = _GPG_USER.search(said)
        return Signature("good", "gpg", user[1][:_LONGEST] if user else found[2], found[2])
    if found := _SSH.search(said):
        return Signature("good", "ssh", found[1][:_LONGEST], found[3])
    return Signature("bad", why="git named no key")


def _fault(tag: bytes, name: str, commit: str) -> str | None:
    """Why this tag object is not that of the version; headers come before the first empty line, each once."""
    lines = tag.partition(b"\n\n")[0].decode("utf-8", "replace").split("\n")
    headers = dict(line.split(" ", 1) for line in lines[:3] if " " in line)
    if headers.get("tag") != name:
        return f"the signed tag calls itself {headers.get('tag')!r}, not {name!r}"
    if (headers.get("type"), headers.get("object")) != ("commit", commit):
        return f"the signed tag is of {headers.get('type')} {headers.get('object')}, not of commit {commit}"
    return None


def _reason(said: str) -> str:
    """ssh-keygen's or gpg's last word, or the state that gpg's status lines name."""
    for word in ("REVKEYSIG", "EXPKEYSIG", "EXPSIG", "BADSIG", "NO_PUBKEY"):
        if f"[GNUPG:] {word} " in said:
            return {"NO_PUBKEY": "the key is not a configured one"}.get(word, f"gpg says {word}")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return (lines[-1] if lines else "git could not verify it")[:_LONGEST]

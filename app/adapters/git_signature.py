"""`git verify-tag` with nothing but the configured keys: no keyring of the machine's, no key servers, no agent."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path

from app.adapters.git_env import GitOptions
from app.adapters.git_errors import from_os
from app.adapters.git_repository import Repository, check_sha
from app.adapters.scratch import scratch_directory
from app.domain.errors import SyncError
from app.domain.signature import Signature, TrustedKeys, judge

_BLOCK = re.compile(rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(.*?)-----END PGP PUBLIC KEY BLOCK-----", re.DOTALL)
_GPG_CONF = "trust-model always\nno-autostart\nno-auto-key-retrieve\nno-auto-check-trustdb\nno-greeting\n"


def tag_signature(repo: Repository, tag: bytes, sha: str, name: str, commit: str, trust: TrustedKeys) -> Signature:
    """The verdict on the raw tag object `tag` named `sha`. Errors: git_timeout, git_failed, disk_full."""
    try:
        with scratch_directory(_place(repo.options, repo.path)) as home:
            _gpg_home(home, trust)
            settings = ["-c", f"gpg.ssh.allowedSignersFile={trust.ssh_signers or ''}", "-c", "gpg.x509.program=false"]
            words = [*settings, "verify-tag", "--raw", check_sha(sha)]
            done = repo.attempt(*words, more={"GNUPGHOME": str(home)})
    except OSError as error:
        raise from_os(error, "verifying a tag") from error
    return judge(tag, name, commit, done.code, done.err)


def keyring(data: bytes) -> bytes:
    """OpenPGP public keys as gpg's keyring has them: armoured blocks undone, binary ones as they are. Error: ValueError."""
    blocks = _BLOCK.findall(data)
    if not blocks:
        if data.lstrip().startswith(b"-----") or not data or not data[0] & 0x80:
            raise ValueError("holds no OpenPGP public keys")
        return data
    return b"".join(map(_dearmoured, blocks))


def _dearmoured(block: bytes) -> bytes:
    """The packets of an armoured block: behind its headers, without the checksum."""
    lines = block.replace(b"\r", b"").split(b"\n")
    body = lines[lines.index(b"") + 1 :] if b"" in lines[:-1] else lines
    try:
        return base64.b64decode(b"".join(line for line in body if line and not line.startswith(b"=")), validate=True)
    except binascii.Error as error:
        raise ValueError("has an armoured key that is broken") from error


def _gpg_home(home: Path, trust: TrustedKeys) -> None:
    (home / "gpg.conf").write_text(_GPG_CONF)
    if trust.gpg_keys:
        try:
            (home / "pubring.gpg").write_bytes(keyring(Path(trust.gpg_keys).read_bytes()))
        except ValueError as error:
            raise SyncError("git_failed", f"the file with the sources' GPG keys {error}") from error


def _place(options: GitOptions, path: Path | None) -> Path:
    return (path or options.cache_dir).parent

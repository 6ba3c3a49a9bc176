"""A checksum database with one module in it, signed with a throw-away key: a real `go` believes it (x/mod/sumdb)."""

import base64
import hashlib
import io
import subprocess
from dataclasses import dataclass
from pathlib import Path

from app.domain.modules import ModulePath, Version
from app.services.checksum import zip_sums
from tests.sandbox.bad_servers import Page, text
from tests.sandbox.goproxy_paths import escape

_ED25519 = b"\x01"
_LEAF = b"\x00"


@dataclass(frozen=True)
class Database:
    """`gosumdb`: what GOSUMDB must be. `pages`: what the database answers, without a prefix."""

    gosumdb: str
    pages: dict[str, Page]


def make_database(root: Path, module: str, version: str, archive: bytes, name: str = "sum.golang.org") -> Database:
    """Knows the module's zip `archive`, and nothing else; keys are made below `root`."""
    root.mkdir(parents=True)
    sums = zip_sums(io.BytesIO(archive), ModulePath.parse(module), Version.parse(version))
    record = "".join(f"{line}\n" for line in sums.go_sum)
    leaf = hashlib.sha256(_LEAF + record.encode()).digest()
    public = _public_key(root)
    tree = _signed(root, name, public, f"go.sum database tree\n1\n{_base64(leaf)}\n")
    pages = {
        "/latest": text(tree),
        f"/lookup/{escape(module)}@{escape(version)}": text(f"0\n{record}\n{tree}"),
        "/tile/8/0/000.p/1": (200, {"Content-Type": "application/octet-stream"}, leaf),
    }
    return Database(f"{name}+{_key_hash(name, public).hex()}+{_base64(_ED25519 + public)}", pages)


def _public_key(root: Path) -> bytes:
    _openssl("genpkey", "-algorithm", "ed25519", "-out", str(root / "key"))
    return _openssl("pkey", "-in", str(root / "key"), "-pubout", "-outform", "DER")[-32:]


def _signed(root: Path, name: str, public: bytes, note: str) -> str:
    (root / "note").write_text(note)
    signature = _openssl("pkeyutl", "-sign", "-rawin", "-inkey", str(root / "key"), "-in", str(root / "note"))
    return f"{note}\n— {name} {_base64(_key_hash(name, public) + signature)}\n"


def _key_hash(name: str, public: bytes) -> bytes:
    return hashlib.sha256(f"{name}\n".encode() + _ED25519 + public).digest()[:4]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _openssl(*arguments: str) -> bytes:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True).stdout

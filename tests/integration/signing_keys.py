"""Real keys for signed tags, made by ssh-keygen and gpg."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from app.domain.signature import TrustedKeys


class Keys:
    """An ssh key and an OpenPGP key of the release manager's, and another ssh key that nobody knows."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # gpg-agent's socket has to fit into 108 bytes.
        self.gnupg = Path(tempfile.mkdtemp(prefix="g-"))
        for name in ("release", "stranger"):
            self._run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(root / name))
        self.signers = root / "allowed_signers"
        self.signers.write_text(f'release@corp.example namespaces="git" {self._public("release")}')
        self._gpg("--passphrase", "", "--quick-gen-key", "Release Manager <r@corp.example>", "ed25519", "sign", "never")
        self.gpg_keys = root / "keys.asc"
        self.gpg_keys.write_bytes(self._gpg("--armor", "--export"))
        listed = self._gpg("--list-keys", "--with-colons").decode().splitlines()
        self.fingerprint = next(line.split(":")[9] for line in listed if line.startswith("fpr"))

    @property
    def trust(self) -> TrustedKeys:
        return TrustedKeys(str(self.signers), str(self.gpg_keys))

    def sign(self, repository: Path, tag: str, commit: str, with_: str, **more: str) -> None:
        """Tag in a repository: with `gpg`, or the ssh key of this name. `more`: variables of git's."""
        gpg = ["-c", f"user.signingkey={self.fingerprint}"]
        ssh = ["-c", "gpg.format=ssh", "-c", f"user.signingkey={self.root / with_}"]
        self._run(
            "git", "--git-dir", str(repository), "-c", "user.name=R", "-c", "user.email=r@x.y",
            *(gpg if with_ == "gpg" else ssh), "tag", "-s", "-m", f"Release {tag}", tag, commit, **more,
        )  # fmt: skip

    def old_gpg_key(self) -> None:
        """From now on the OpenPGP key is one of January 2024, and so are its signatures."""
        (self.gnupg / "gpg.conf").write_text("faked-system-time 20240101T000000\n")
        self._gpg("--passphrase", "", "--quick-gen-key", "Old Manager <o@corp.example>", "ed25519", "sign", "never")
        listed = self._gpg("--list-keys", "--with-colons", "o@corp.example").decode().splitlines()
        self.fingerprint = next(line.split(":")[9] for line in listed if line.startswith("fpr"))

    def end_gpg_key(self, how: str) -> TrustedKeys:
        """The same key `expired` in February 2024, or `revoked`."""
        if how == "expired":
            self._gpg("--passphrase", "", "--quick-set-expire", self.fingerprint, "20240201T000000")
        else:
            made = self.gnupg / "openpgp-revocs.d" / f"{self.fingerprint}.rev"
            revocation = self.root / "revocation"
            revocation.write_text(made.read_text().replace(":-----", "-----"))
            self._gpg("--import", str(revocation))
        ended = self.root / f"{how}.asc"
        ended.write_bytes(self._gpg("--armor", "--export", self.fingerprint))
        return TrustedKeys(gpg_keys=str(ended))

    def close(self) -> None:
        self._run("gpgconf", "--homedir", str(self.gnupg), "--kill", "all")
        shutil.rmtree(self.gnupg)

    def _public(self, name: str) -> str:
        return (self.root / f"{name}.pub").read_text()

    def _gpg(self, *words: str) -> bytes:
        return self._run("gpg", "--homedir", str(self.gnupg), "--batch", "--quiet", *words)

    def _run(self, *words: str, **more: str) -> bytes:
        environment = {"PATH": os.environ["PATH"], "GNUPGHOME": str(self.gnupg), "HOME": str(self.root), **more}
        return subprocess.run(words, env=environment, capture_output=True, check=True).stdout

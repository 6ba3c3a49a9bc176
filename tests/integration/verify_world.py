"""A released commit in a real repository, and a proxy in memory that may serve anything in its place."""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZipFile

from app.adapters.git_archive import GitArchive
from app.adapters.released_content import ReleasedContent
from app.domain.modules import ModulePath, Version
from app.domain.modzip import zip_prefix
from app.services.checksum import ModuleSums, write_module_zip, zip_sums
from app.services.ports import ProxyInfo
from app.services.stages.verify import Earlier, VerifyRequest, VerifyStage
from tests.contract.fake_go_proxy import FakeGoProxy
from tests.integration.flow_world import NO_REGISTRIES
from tests.integration.git_world import SOURCE, World, nothing
from tests.sandbox.repositories import Entry

MODULE, VERSION = ModulePath.parse("corp.example/team/lib/sub"), Version.parse("v1.1.0")
TAG = "sub/v1.1.0"
FILES: dict[str, str | bytes | Entry] = {
    "LICENSE": "Free to use.\n",
    "sub/go.mod": f"module {MODULE}\n\ngo 1.24\n",
    "sub/lib.go": "package lib\n",
    "sub/dos.txt": "one\ntwo\n",
    "sub/.gitattributes": "dos.txt text eol=crlf\n",
    "sub/vendor/dep.example/d/d.go": "package d\n",
    "sub/link": Entry(b"lib.go", "120000"),
}


class VerifyWorld:
    """`request` is what was released from `commit`; serve() puts content into the proxy. `brought`: what modsync released."""

    def __init__(self, root: Path, files: Mapping[str, str] | None = None) -> None:
        self.world = World(root)
        self.commit = self.world.repositories.commit(SOURCE, {**FILES, **(files or {})}, "Release")
        self.world.repositories.tag(SOURCE, TAG, self.commit)
        self.archive = GitArchive(self.world.repositories.path(SOURCE))
        packed = io.BytesIO()
        self.sums: ModuleSums = write_module_zip(self.archive, self.commit, MODULE, VERSION, "sub", packed)
        self.zip = packed.getvalue()
        self.proxy = FakeGoProxy()
        self.brought = [VERSION]
        look_up = ReleasedContent(self.world.door(), NO_REGISTRIES, root / "scratch")
        self.stage = VerifyStage(
            {"default": self.proxy}, zip_sums, look_up, {"default": "athens"}, lambda _: self.brought
        )

    def request(self, *earlier: Earlier) -> VerifyRequest:
        return VerifyRequest(
            MODULE, VERSION, self.commit, "default", hashlib.sha256(self.sums.go_mod_bytes).hexdigest(),
            self.sums.h1_zip, self.world.file_url(SOURCE), TAG, "sub", earlier,
        )  # fmt: skip

    def serve(
        self, zipped: bytes | None = None, *, mod: bytes | None = None, commit: str | None = None, version: str = ""
    ) -> None:
        """What is left out is as released."""
        info = ProxyInfo(version or VERSION.text, None, commit or self.commit)
        content = self.zip if zipped is None else zipped
        self.proxy.hold(MODULE.text, info, mod or self.sums.go_mod_bytes, content, version=VERSION.text)

    def verify(self, *earlier: Earlier) -> dict[str, object]:
        """The stage's facts."""
        return dict(self.stage.run(self.request(*earlier), nothing).facts["verify"])

    def zipped(self, change: dict[str, bytes | None], *, base: dict[str, bytes] | None = None) -> bytes:
        """The released zip with these files changed, added or (None) left out."""
        files: dict[str, bytes | None] = {**(base or unpacked(self.zip)), **change}
        return packed({name: content for name, content in files.items() if content is not None})

    def raw(self) -> dict[str, bytes]:
        """The module's directory as GitLab's own proxy packs it: raw blobs, no LICENSE from above, no rules."""
        names = self.world.git(SOURCE, "ls-tree", "-r", "--name-only", f"{self.commit}:sub").splitlines()
        return {name: self.archive.read_file(self.commit, f"sub/{name}", 1 << 20) or b"" for name in names}


def unpacked(data: bytes) -> dict[str, bytes]:
    """Names below the prefix, and contents."""
    prefix = zip_prefix(MODULE, VERSION)
    with ZipFile(io.BytesIO(data)) as archive:
        return {name.removeprefix(prefix): archive.read(name) for name in archive.namelist()}


def packed(files: dict[str, bytes], *more: tuple[str, bytes]) -> bytes:
    """A module zip of these; `more` entries come as they are, their names whole."""
    target = io.BytesIO()
    with ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(zip_prefix(MODULE, VERSION) + name, content)
        for name, content in more:
            archive.writestr(name, content)
    return target.getvalue()

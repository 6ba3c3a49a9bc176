"""A world whose private proxy finds the mirrors by modsync's own discovery: a real Athens, or the stand-in."""

import html
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
import requests

from tests.conftest import NOT_TO_BE_HAD
from tests.sandbox.athens import Athens
from tests.sandbox.discovery import Discovery, by_root
from tests.sandbox.goproxy import GoProxy
from tests.sandbox.goproxy_paths import escape
from tests.sandbox.modules import HOST, Release
from tests.sandbox.platform import basic
from tests.sandbox.serve import LoopbackServer
from tests.sandbox.tools import NotToBeHadError, athens_binary
from tests.sandbox.webhook import Delivered
from tests.sandbox.world import MIRRORS, World, free_port

_IMPORT = re.compile(r'name="go-import" content="(\S+) git (\S+)"')
_NOWHERE = "http://127.0.0.1:9/nothing.git"


class ProxyWorld(World):
    """Entering starts everything but modsync; `overrides` (module root to clone URL) come before modsync's discovery.

    `requests_log`: what the proxy asked modsync's discovery for.
    """

    def __init__(self, root: Path, backend: Literal["stand-in", "athens"]) -> None:
        super().__init__(root, give_up=8, patience=30)
        self.overrides: dict[str, str] = {}
        self.asked: list[str] = []
        self._front = LoopbackServer(Discovery(self.find))
        self._backend = backend
        credentials = {
            self.gitlab.url: basic(self.gitlab_token, "oauth2"), self.platform.url: basic(self.clone_token, "oauth2"),
        }  # fmt: skip
        self.private: GoProxy | Athens
        if backend == "athens":
            self.private = Athens(athens_binary(), root / "athens", free_port(), self._front.url, credentials)
        else:
            self.private = GoProxy(root / "private", self.find, credentials=credentials)

    def find(self, path: str) -> tuple[str, str] | None:
        """A module's root and clone URL: by `overrides`, else as modsync answers `?go-get=1`."""
        own = by_root(self.overrides)(path)
        if own is not None:
            return own
        self.asked.append(path)
        host, _, rest = path.partition("/")
        answer = requests.get(f"{self.url}/{rest}", {"go-get": "1"}, headers={"Host": host}, timeout=10)
        found = _IMPORT.search(answer.text)
        return (html.unescape(found[1]), html.unescape(found[2])) if found else None

    def start(self) -> None:
        """As World, with discovery open, the other proxy, and its own patience, shorter than the general one."""
        super().start()
        self._front.start()
        self.private.start()
        text = self.config.read_text(encoding="utf-8")
        kind = "athens" if self._backend == "athens" else "any"
        table = f'[[proxies]]\nkind = "{kind}"\nwait_seconds = 4\nurl = "{self.private.url}"'
        text = text.replace(f'[[proxies]]\nurl = "{self.proxy.url}"', table)
        self.config.write_text(f'{text}\n[discovery]\nmode = "open"\n', encoding="utf-8")

    def close(self) -> None:
        self.runner.stop()
        self.private.close()
        self._front.close()
        super().close()

    @contextmanager
    def mode(self, mode: Literal["sync", "async"]) -> Iterator[None]:
        """The proxy fetches while it is asked, or behind the scenes."""
        before, self.private.mode = self.private.mode, mode
        self._restart()
        try:
            yield
        finally:
            self.private.mode = before
            self._restart()

    def hide(self, repository: str) -> None:
        """The proxy cannot find this repository, as if somebody had forgotten its discovery."""
        self.overrides[f"{HOST}/{repository}"] = _NOWHERE

    def purge(self, module: str, version: str) -> None:
        """What an operator does by hand: the version's files go from the proxy's disk, as the run's message says."""
        if self._backend == "athens":
            shutil.rmtree(self.root / "athens/storage" / module / version)
            return
        files = list((self.root / "private/store" / escape(module) / "@v").glob(f"{escape(version)}.*"))
        assert files
        for file in files:
            file.unlink()

    def project(self, repository: str, **variables: str) -> str:
        """The repository's mirror, made beforehand with CI/CD variables of its own; its path."""
        path = f"{MIRRORS}/{repository}"
        self.gitlab.create_project(path)
        for key, value in variables.items():
            self.gitlab.set_variable(key, value, project=path)
        return path

    def send(self, release: Release, **fields: Any) -> str:
        """A signed release webhook; the run's id."""
        delivered: Delivered = self.platform.webhook(f"{self.url}/webhooks/platform", self.secret, release, **fields)
        assert delivered.status in (200, 202), delivered.text
        return str(delivered.json["runs"][0]["id"])

    def _restart(self) -> None:
        if self._backend == "athens":  # it reads its mode at the start
            self.private.stop()
            self.private.start()


def make_world(root: Path, backend: Literal["stand-in", "athens"]) -> ProxyWorld:
    """The world, or the test's skip where Athens is not to be had."""
    try:
        return ProxyWorld(root, backend)
    except NotToBeHadError as error:
        pytest.skip(f"{NOT_TO_BE_HAD}{error}")

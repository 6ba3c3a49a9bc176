"""Fetches module versions from the mirror with the real `go`, as Athens does."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.sandbox.discovery import CloneUrls, Discovery
from tests.sandbox.gotool import go_binary, go_environment
from tests.sandbox.processes import Children, ClosedError
from tests.sandbox.serve import LoopbackServer

_TIMEOUT_SECONDS = 120.0
_DIRECT = {
    "GOPROXY": "direct",
    "GOPRIVATE": "*",
    "GONOPROXY": "*",
    "GONOSUMDB": "*",
    "GOSUMDB": "off",
    "GOINSECURE": "*",
    "GOVCS": "*:git",
    "GIT_ALLOW_PROTOCOL": "http:https",
}


class FetchFailedError(Exception):
    """`go` could not get it; the text is what `go` said."""


@dataclass(frozen=True)
class Fetched:
    """A version's three files; `version` is the canonical one (a query may have named a branch)."""

    version: str
    files: Mapping[str, bytes]


class Fetcher:
    """Runs `go` in a fresh GOPATH below `root` for each call, against the clone URLs that `clone_urls` names.

    `credentials` maps URL prefixes to the Authorization header that git sends there.
    """

    def __init__(self, root: Path, clone_urls: CloneUrls, credentials: Mapping[str, str]) -> None:
        self._root = root
        self._credentials = dict(credentials)
        self._discovery = LoopbackServer(Discovery(clone_urls))
        self._children = Children()

    def start(self) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        self._children.open()
        self._discovery.start()

    def stop(self) -> None:
        """End whatever runs; `start()` permits it again."""
        self._children.close()
        self._discovery.stop()

    def close(self) -> None:
        self.stop()
        self._discovery.close()

    def download(self, query: str) -> Fetched:
        """The files `info`, `mod` and `zip` of `path@version`; raises FetchFailedError."""
        with self._workplace() as place:
            found = self._go(place, "mod", "download", "-json", query)
            names = {"info": found["Info"], "mod": found["GoMod"], "zip": found["Zip"]}
            return Fetched(found["Version"], {kind: Path(name).read_bytes() for kind, name in names.items()})

    def versions(self, module: str) -> list[str]:
        """The versions that the mirror has tags of; raises FetchFailedError."""
        with self._workplace() as place:
            return list(self._go(place, "list", "-m", "-versions", "-json", module).get("Versions") or [])

    def latest(self, module: str) -> bytes:
        """What `@latest` answers: the `.info` of the version that `go` finds latest; raises FetchFailedError."""
        with self._workplace() as place:
            found = self._go(place, "list", "-m", "-json", f"{module}@latest")
            return json.dumps({name: found[name] for name in ("Version", "Time") if name in found}).encode()

    @contextmanager
    def _workplace(self) -> Iterator[Path]:
        place = Path(tempfile.mkdtemp(prefix="fetch-", dir=self._root))
        try:
            yield place
        finally:
            shutil.rmtree(place)

    def _go(self, place: Path, *arguments: str) -> dict[str, Any]:
        environment = go_environment(
            place,
            web_proxy=self._discovery.url,
            cache=self._root / "gocache",
            **_DIRECT,
            **git_headers(self._credentials),
        )
        try:
            done = self._children.run([go_binary(), *arguments], env=environment, cwd=place, timeout=_TIMEOUT_SECONDS)
        except (subprocess.TimeoutExpired, ClosedError) as error:
            raise FetchFailedError(str(error) or "closed") from error
        return _parsed(done)


def _parsed(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        answer = {"Error": done.stderr.decode(errors="replace")}
    if done.returncode or answer.get("Error"):
        raise FetchFailedError(str(answer.get("Error") or done.stderr.decode(errors="replace")))
    return answer


def git_headers(credentials: Mapping[str, str]) -> dict[str, str]:
    """Environment that makes git send an Authorization header to the URLs below each prefix, and nowhere else."""
    result = {"GIT_CONFIG_COUNT": str(len(credentials))}
    for index, (prefix, value) in enumerate(credentials.items()):
        result[f"GIT_CONFIG_KEY_{index}"] = f"http.{prefix}.extraHeader"
        result[f"GIT_CONFIG_VALUE_{index}"] = f"Authorization: {value}"
    return result

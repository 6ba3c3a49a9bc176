"""A process of its own that serves bare repositories by git http-backend: its Python does not run beside what is measured."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from tests.integration.web_world import ROOT
from tests.sandbox.git_http import GitHttpBackend
from tests.sandbox.gitlab import GitLab
from tests.sandbox.serve import LoopbackServer

_PROJECTS = "/api/v4/projects/"


class Known:
    """The git server, and GitLab's answer to the look at a mirror that an earlier release made: project 1, still there."""

    def __init__(self, git: WSGIApplication) -> None:
        self._git = git

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        asked = unquote(str(environ["PATH_INFO"]))
        if not asked.startswith(_PROJECTS):
            return self._git(environ, start_response)
        path = asked.removeprefix(_PROJECTS)
        url = f"http://{environ['HTTP_HOST']}/{path}"
        project = {"id": 1, "path_with_namespace": path, "http_url_to_repo": f"{url}.git", "web_url": url}
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(project).encode()]


@contextmanager
def serving(root: Path, *groups: str) -> Iterator[list[str]]:
    """Serve the repositories below `root`; [URL]. With `groups` it is the stand-in GitLab that has them: [URL, token]."""
    command = [sys.executable, "-m", "tests.benchmarks.git_server", str(root), *groups]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def main(root: Path, groups: list[str]) -> None:
    """Serve until SIGTERM."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    if not groups:
        with LoopbackServer(Known(GitHttpBackend(root, receive_pack=True))) as server:
            print(server.url, flush=True)
            signal.sigwait({signal.SIGTERM, signal.SIGINT})
        return
    with GitLab(root) as gitlab:
        for group in groups:
            gitlab.create_group(group)
        print(gitlab.url, gitlab.create_token(), flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

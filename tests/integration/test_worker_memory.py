"""A 400 MB module through a worker's job: stages mirror and verify in under 100 MB, measured in a process of its own.

How the limit is read: all that is resident of the job's Python process at its peak (VmHWM), the interpreter and the imports,
which take most of it, included. The programs that git starts are not in it.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from wsgiref.types import StartResponse, WSGIEnvironment
from zipfile import ZipFile

import pytest

from app.adapters import migrate
from app.adapters.git_archive import GitArchive
from app.adapters.intake_store import SqlIntakeStore
from app.bootstrap import Container
from app.config import load_settings
from app.domain.modules import ModulePath, Version
from app.domain.run import Target, semantic_key
from app.services.checksum import module_sums
from app.services.stores import NewDelivery, PlannedRun
from tests.sandbox.modules import HOST
from tests.sandbox.serve import LoopbackServer
from tests.sandbox.world import MIRRORS, PROJECT, World

MIB = 1 << 20
LIMIT_MB = 100
GROWTH_MB = 32  # what the work itself may add; it takes four
FILES, SIZE = 10, 40 * MIB
REPOSITORY, VERSION, RUN = "large/module", "v1.0.0", "r" + "0" * 18 + "1"
MODULE = f"{HOST}/{REPOSITORY}"
_MOD = f"module {MODULE}\n".encode()

# As workers/pool.py: what a job needs is imported and built before it begins. The pipeline is another machine's work.
_JOB = """
import json, os, re, sys
from pathlib import Path
from app.bootstrap import Container
from app.config import load_settings
from app.services.stages import Finished
from workers import pool

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024 / 1e6

class Pipeline:
    def run(self, request, extra):
        self.before = peak()
        return Finished({})

container = Container(load_settings(Path(os.environ["MODSYNC_CONFIG"]), dict(os.environ)))
pool._warm(container)
base, flow, pipeline = peak(), container.flow, Pipeline()
flow._pipeline = pipeline
try:
    flow.advance(sys.argv[1])
finally:
    told = {"base": base, "mirror": getattr(pipeline, "before", 0), "all": peak()}
    print(json.dumps({name: round(number, 1) for name, number in told.items()}))
"""


def content(number: int) -> Iterator[bytes]:
    """A file's blocks: no two are alike, and nothing in them can be compressed."""
    block = _BLOCK
    for at in range(SIZE // MIB):
        yield b"%06d %06d" % (number, at) + block[13:]


_BLOCK = os.urandom(MIB)


def make_repository(path: Path) -> str:
    """The module's commit and tag at the platform, never whole in this process; the commit."""
    git = ["git", "--git-dir", str(path), "-c", "core.compression=0", "-c", "pack.compression=0"]
    with subprocess.Popen([*git, "fast-import", "--quiet"], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        head = b"commit refs/heads/main\ncommitter A <a@example.com> 1600000000 +0000\ndata 1\nx\n"
        process.stdin.write(head + b"M 100644 inline go.mod\ndata %d\n" % len(_MOD) + _MOD + b"\n")
        for number in range(FILES):
            process.stdin.write(b"M 100644 inline f%02d.bin\ndata %d\n" % (number, SIZE))
            for block in content(number):
                process.stdin.write(block)
            process.stdin.write(b"\n")
        process.stdin.write(b"\nreset refs/tags/v1.0.0\nfrom refs/heads/main\n\n")
    assert process.returncode == 0
    return subprocess.check_output([*git, "rev-parse", "refs/heads/main"], text=True).strip()


class Files:
    """A private proxy that has this one version: its zip is streamed from a file, as large as its content."""

    def __init__(self, zipped: Path) -> None:
        self.zipped, self.commit = zipped, ""
        with ZipFile(zipped, "w") as archive:
            archive.writestr(f"{MODULE}@{VERSION}/go.mod", _MOD)
            for number in range(FILES):
                with archive.open(f"{MODULE}@{VERSION}/f{number:02d}.bin", "w") as target:
                    target.writelines(content(number))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        asked = str(environ["PATH_INFO"]).rpartition("/")[2]
        info = json.dumps({"Version": VERSION, "Origin": {"VCS": "git", "Hash": self.commit}}).encode()
        told = {f"{VERSION}.info": info, "@latest": info, f"{VERSION}.mod": _MOD, "list": f"{VERSION}\n".encode()}
        size = self.zipped.stat().st_size if asked.endswith(".zip") else len(told[asked])
        start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(size))])
        return self._blocks() if asked.endswith(".zip") else [told[asked]]

    def _blocks(self) -> Iterator[bytes]:
        with self.zipped.open("rb") as file:
            while block := file.read(MIB):
                yield block


def take(container: Container, world: World, commit: str) -> None:
    """The release, recorded as intake does."""
    target = Target(world.platform.clone_url(REPOSITORY), f"{MIRRORS}/{REPOSITORY}")
    run = PlannedRun(
        id=RUN, source="platform", module=MODULE, version=VERSION, ref=f"refs/tags/{VERSION}", commit=commit,
        semantic=semantic_key(MODULE, VERSION, "", commit), event={}, target=target,
    )  # fmt: skip
    delivery = NewDelivery(
        id="d" + RUN[1:], source="platform", dedupe="1", scheme="article", secret_id="demo",
        received_at=container.clock.now(), headers={}, body=b"{}", verdict="accepted",
    )  # fmt: skip
    SqlIntakeStore(container.engine).record(delivery, [run])
    container.engine.dispose()


def job(environment: Mapping[str, str]) -> dict[str, float]:
    """One job in a process of its own, and its peaks in MB: of the imports, after stage mirror, in all."""
    command = [sys.executable, "-c", _JOB, RUN]
    done = subprocess.run(
        command, cwd=PROJECT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    peaks: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return peaks


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(600)
def test_a_400_mb_module_goes_through_a_job_in_under_100_mb(tmp_path: Path) -> None:
    with World(tmp_path / "world") as world:
        commit = make_repository(world.platform.make_repository(REPOSITORY))
        files = Files(tmp_path / "module.zip")
        files.commit = commit
        with LoopbackServer(files) as proxy:
            text = world.config.read_text()
            world.config.write_text(text.replace(f'url = "{world.proxy.url}"', f'url = "{proxy.url}"'))
            container = Container(load_settings(world.config, world.environment))
            migrate.upgrade(container.settings.store.url)
            take(container, world, commit)
            peaks = job(world.environment)
        run = container.replay.find(RUN)
        archive = GitArchive(world.platform.path(REPOSITORY))
        h1 = module_sums(archive, commit, ModulePath.parse(MODULE), Version.parse(VERSION), "").h1_zip
        assert (run.status, run.error_message) == ("done", None)
        assert run.facts["proof"]["h1"] == run.facts["verify"]["h1"] == h1
        assert world.gitlab.refs(f"{MIRRORS}/{REPOSITORY}")[f"refs/tags/{VERSION}"] == commit
    print(peaks)
    assert peaks["all"] < LIMIT_MB, peaks
    assert peaks["all"] - peaks["base"] < GROWTH_MB, peaks
